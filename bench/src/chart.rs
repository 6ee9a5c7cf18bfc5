//! The results as a chart: one panel for each load, one bar for each contender, in SVG.

use std::fmt::Write as _;

use crate::results::{Better, CEILING, Figure, Results};
use crate::table::number;

const COLUMNS: usize = 2;
const PANEL_WIDTH: usize = 440;
const LABEL_WIDTH: usize = 140;
const VALUE_WIDTH: usize = 60;
const BAR_WIDTH: usize = PANEL_WIDTH - LABEL_WIDTH - VALUE_WIDTH - 20;
const BAR: usize = 16;
const BAR_STEP: usize = 22;
const TITLE: usize = 30;
const HEAD: usize = 56;
const MARGIN: usize = 16;

/// Readable on light and on dark pages.
const STYLE: &str = "\
text{font:12px system-ui,sans-serif;fill:#24292f}.title{font-weight:600}.small{font-size:11px;fill:#57606a}\
.ours{fill:#1a7f37}.plain{fill:#afb8c1}.other{fill:#6e7f99}.range{stroke:#24292f;stroke-width:1.5}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.small{fill:#8d96a0}.ours{fill:#3fb950}.plain{fill:#484f58}\
.other{fill:#7d8da6}.range{stroke:#e6edf3}}";

/// The first judged figure of each load; thin lines are the range of all runs.
pub(crate) fn svg(results: &Results) -> String {
    let panels: Vec<Vec<&Figure>> = results
        .loads()
        .into_iter()
        .map(|load| headline(results, load))
        .filter(|bars| !bars.is_empty())
        .collect();
    let rows: Vec<&[Vec<&Figure>]> = panels.chunks(COLUMNS).collect();
    let heights: Vec<usize> = rows.iter().map(|row| height(row)).collect();
    let width = COLUMNS * PANEL_WIDTH + 2 * MARGIN;
    let total = HEAD + heights.iter().sum::<usize>() + MARGIN;

    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {total}\" width=\"{width}\" height=\"{total}\">\n<style>{STYLE}</style>\n"
    );
    write_text(
        &mut text,
        MARGIN,
        22,
        "title",
        "Between two sites, one machine: medians, and lowest to highest of all runs",
    );
    write_text(&mut text, MARGIN, 40, "small", &results.machine.line());
    let mut y = HEAD;
    for (row, height) in rows.iter().zip(heights) {
        for (column, bars) in row.iter().enumerate() {
            panel(&mut text, MARGIN + column * PANEL_WIDTH, y, bars);
        }
        y += height;
    }
    text.push_str("</svg>\n");
    text
}

fn headline<'a>(results: &'a Results, load: &str) -> Vec<&'a Figure> {
    let of_load = || results.figures.iter().filter(|figure| figure.load == load);
    let Some(first) = of_load().find(|figure| figure.better != Better::Neither) else {
        return Vec::new();
    };
    of_load().filter(|f| f.name == first.name).collect()
}

fn height(row: &[Vec<&Figure>]) -> usize {
    let bars = row.iter().map(Vec::len).max().unwrap_or(0);
    TITLE + bars * BAR_STEP + MARGIN
}

fn panel(text: &mut String, x: usize, y: usize, bars: &[&Figure]) {
    let largest = bars.iter().map(|figure| figure.max).fold(0.0, f64::max);
    let scale = BAR_WIDTH as f64 / largest.max(f64::MIN_POSITIVE);
    let first = bars[0];
    let way = match first.better {
        Better::Lower => "lower is better",
        _ => "higher is better",
    };
    let title = format!("{}: {} ({way})", first.load, first.name);
    write_text(text, x, y + 18, "title", &title);
    for (index, figure) in bars.iter().enumerate() {
        let top = y + TITLE + index * BAR_STEP;
        let baseline = top + BAR - 4;
        let left = x + LABEL_WIDTH;
        write_text(text, x, baseline, "name", &figure.contender);
        let class = match figure.contender.as_str() {
            "crossway" => "ours",
            CEILING => "plain",
            _ => "other",
        };
        let length = figure.median * scale;
        let _ = writeln!(
            text,
            "<rect class=\"{class}\" x=\"{left}\" y=\"{top}\" width=\"{length:.1}\" height=\"{BAR}\" rx=\"2\"/>"
        );
        let (from, to) = (figure.min * scale, figure.max * scale);
        let middle = top + BAR / 2;
        let _ = writeln!(
            text,
            "<line class=\"range\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle}\" y2=\"{middle}\"/>",
            left as f64 + from,
            left as f64 + to
        );
        let behind = left + to.max(length) as usize + 6;
        write_text(text, behind, baseline, "value", &number(figure.median));
    }
}

fn write_text(text: &mut String, x: usize, y: usize, class: &str, words: &str) {
    let words = words
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    let _ = writeln!(
        text,
        "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{words}</text>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;

    #[test]
    fn bars_are_as_long_as_their_medians_and_words_are_escaped() {
        let mut results = Results::new(Machine {
            processor: "A & B <C>".into(),
            ..Machine::default()
        });
        results.add("tcp-1", "plain", "Gbit/s", Better::Higher, 4.0);
        results.add("tcp-1", "crossway", "Gbit/s", Better::Higher, 2.0);
        results.add("tcp-1", "crossway", "retransmits", Better::Neither, 9.0);
        results.finish();
        let svg = svg(&results);
        assert!(svg.contains(&format!("width=\"{BAR_WIDTH}.0\"")), "{svg}");
        assert!(
            svg.contains(&format!("width=\"{}.0\"", BAR_WIDTH / 2)),
            "{svg}"
        );
        assert!(svg.contains("A &amp; B &lt;C&gt;"), "{svg}");
        assert!(!svg.contains("retransmits"), "{svg}");
    }
}
