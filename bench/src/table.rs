//! The results for people.

use std::fmt::Write as _;

use crate::hops;
use crate::results::{Better, Figure, Results};

const NAME_WIDTH: usize = 22;
const FIGURE_WIDTH: usize = 25;
const LOAD_WIDTH: usize = 48;

/// One block for each load, one line for each contender, one column for each figure; the first judged
/// figure also as a share of plain forwarding and of the others.
pub(crate) fn table(results: &Results) -> String {
    let mut text = format!("\n{}\n", results.machine.line());
    for (name, value) in &results.settings {
        let _ = writeln!(text, "  {name}: {value}");
    }
    for (name, value) in &results.checks {
        let _ = writeln!(text, "  {name}: {value}");
    }
    for (contender, version) in &results.versions {
        let _ = writeln!(text, "  {contender}: {version}");
    }
    for (contender, reason) in &results.skipped {
        let _ = writeln!(text, "  left out: {contender}: {reason}");
    }
    text.push_str("Medians (lowest to highest).\n");
    for load in results.loads() {
        block(&mut text, results, load);
    }
    text
}

fn block(text: &mut String, results: &Results, load: &str) {
    let (of_hops, of_load): (Vec<&Figure>, Vec<&Figure>) = results
        .figures
        .iter()
        .filter(|figure| figure.load == load)
        .partition(|figure| figure.name.starts_with(hops::PREFIX));
    let names = unique(of_load.iter().map(|figure| figure.name.as_str()));
    let contenders = unique(of_load.iter().map(|figure| figure.contender.as_str()));
    let judged = |name: &str| {
        let mut figures = of_load.iter();
        figures.any(|figure| figure.name == name && figure.better != Better::Neither)
    };
    let width = |name: &str| {
        if judged(name) {
            FIGURE_WIDTH
        } else {
            name.len() + 2
        }
    };
    let headline = names.iter().find(|name| judged(name));
    let compared = of_load
        .iter()
        .any(|f| f.of_plain.is_some() || !f.ratio_to.is_empty());

    // A long name of a load moves the columns of its own block.
    let name_width = NAME_WIDTH.max(load.len() + 2);
    let _ = write!(text, "\n{load:<name_width$}");
    for name in &names {
        let _ = write!(text, "{name:<0$}", width(name));
    }
    text.push_str(if compared {
        "of plain  of the others\n"
    } else {
        "\n"
    });
    for contender in contenders {
        let _ = write!(text, "  {contender:<0$}", name_width - 2);
        for name in &names {
            let shown = results
                .get(load, contender, name)
                .map_or_else(String::new, show);
            let _ = write!(text, "{shown:<0$}", width(name));
        }
        if let Some(headline) = headline.and_then(|name| results.get(load, contender, name)) {
            text.push_str(&ratios(headline));
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
        let on_the_way = of_hops
            .iter()
            .filter(|figure| figure.contender == contender);
        on_the_way_line(text, on_the_way);
    }
}

/// What was lost or reordered where, if anything was.
fn on_the_way_line<'a>(text: &mut String, figures: impl Iterator<Item = &'a &'a Figure>) {
    let events = figures.filter(|figure| figure.median > 0.0).map(|figure| {
        let name = figure.name.trim_start_matches(hops::PREFIX);
        format!("{name} {}", number(figure.median))
    });
    let events: Vec<String> = events.collect();
    if !events.is_empty() {
        let _ = writeln!(text, "    on the way: {}", events.join(", "));
    }
}

/// One line for each load: for results of one contender.
pub(crate) fn list(results: &Results) -> String {
    let mut text = format!("\n{}\n", results.machine.line());
    for (name, value) in &results.settings {
        let _ = writeln!(text, "  {name}: {value}");
    }
    text.push_str("Medians (lowest to highest).\n\n");
    for load in results.loads() {
        let _ = write!(text, "{load:<LOAD_WIDTH$}");
        for figure in results.figures.iter().filter(|f| f.load == load) {
            let _ = write!(text, "{:<FIGURE_WIDTH$}{:<16}", show(figure), figure.name);
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

fn ratios(figure: &Figure) -> String {
    let plain = figure
        .of_plain
        .map_or("-".to_owned(), |share| format!("{:.0} %", share * 100.0));
    let others = figure.ratio_to.iter();
    let others: Vec<String> = others
        .map(|(other, ratio)| format!("{ratio:.2} x {other}"))
        .collect();
    if figure.of_plain.is_none() && others.is_empty() {
        return String::new();
    }
    format!("{plain:<10}{}", others.join(", "))
}

fn show(figure: &Figure) -> String {
    let Figure {
        median, min, max, ..
    } = figure;
    if figure.samples.len() == 1 || figure.better == Better::Neither {
        return number(*median);
    }
    format!("{} ({} to {})", number(*median), number(*min), number(*max))
}

/// Three digits that matter, and no more than three behind the point.
pub(crate) fn number(value: f64) -> String {
    let digits = match value.abs() {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

fn unique<'a>(words: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut unique = Vec::new();
    for word in words {
        if !unique.contains(&word) {
            unique.push(word);
        }
    }
    unique
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;

    #[test]
    fn what_was_lost_on_the_way_has_a_line_if_it_was() {
        let mut results = Results::new(Machine::default());
        results.add("tcp-1", "plain", "Gbit/s", Better::Higher, 4.0);
        for (name, count) in [
            ("hop: lost in gateway a", 12.0),
            ("hop: lost on WAN cable", 0.0),
        ] {
            results.add("tcp-1", "plain", name, Better::Neither, count);
        }
        results.finish();
        let text = table(&results);
        let expected = "\n    on the way: lost in gateway a 12.0\n";
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains("WAN cable"), "{text}");
    }

    #[test]
    fn a_line_holds_the_figures_and_the_ratios_of_the_first() {
        let mut results = Results::new(Machine::default());
        results.add("tcp-1", "plain", "Gbit/s", Better::Higher, 4.0);
        results.add("tcp-1", "crossway", "Gbit/s", Better::Higher, 3.0);
        results.add("tcp-1", "crossway", "Gbit/s", Better::Higher, 5.0);
        results.add("tcp-1", "crossway", "CPU s/GB", Better::Lower, 6.5);
        results.finish();
        let text = table(&results);
        let line = text.lines().find(|line| line.starts_with("  crossway"));
        let words: Vec<&str> = line.unwrap().split_whitespace().collect();
        assert_eq!(
            words.join(" "),
            "crossway 4.00 (3.00 to 5.00) 6.50 100 %",
            "{text}"
        );
    }
}
