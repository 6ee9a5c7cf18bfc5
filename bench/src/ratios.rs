//! One contender against each other, where only ratios mean anything: on an emulated CPU.

use std::fmt::Write as _;

use crate::results::{Better, Figure, Results};
use crate::summary::Summary;
use crate::table::number;

const NAME_WIDTH: usize = 30;
const RATIO_WIDTH: usize = 30;

/// For each load, `of` over every other contender: the ratios of runs that followed each other, their median and
/// their range.
pub(crate) fn ratios(results: &Results, of: &str) -> String {
    let mut text = format!("\n{}\n", results.machine.line());
    for (name, value) in &results.settings {
        let _ = writeln!(text, "  {name}: {value}");
    }
    for (contender, version) in &results.versions {
        let _ = writeln!(text, "  {contender}: {version}");
    }
    for (contender, reason) in &results.skipped {
        let _ = writeln!(text, "  left out: {contender}: {reason}");
    }
    let _ = writeln!(
        text,
        "Ratios of paired runs on an emulated CPU: medians (lowest to highest)."
    );
    for load in results.loads() {
        block(&mut text, results, of, load);
    }
    text
}

fn block(text: &mut String, results: &Results, of: &str, load: &str) {
    let judged = |figure: &&Figure| {
        figure.load == load && figure.contender == of && figure.better != Better::Neither
    };
    let ours: Vec<&Figure> = results.figures.iter().filter(judged).collect();
    let _ = write!(text, "\n{load:<NAME_WIDTH$}");
    for figure in &ours {
        let _ = write!(text, "{:<RATIO_WIDTH$}", figure.name);
    }
    text.truncate(text.trim_end().len());
    for other in results.versions.keys().filter(|name| *name != of) {
        let _ = write!(
            text,
            "\n  {:<1$}",
            format!("{of} / {other}"),
            NAME_WIDTH - 2
        );
        for figure in &ours {
            let theirs = results.get(load, other, &figure.name);
            let shown = theirs.map_or_else(String::new, |theirs| ratio(figure, theirs));
            let _ = write!(text, "{shown:<RATIO_WIDTH$}");
        }
        text.truncate(text.trim_end().len());
    }
    text.push('\n');
}

fn ratio(ours: &Figure, theirs: &Figure) -> String {
    let pairs = ours.samples.iter().zip(&theirs.samples);
    let ratios: Vec<f64> = pairs.map(|(ours, theirs)| ours / theirs).collect();
    let Summary { median, min, max } = Summary::of(&ratios);
    let [median, min, max] = [median, min, max].map(number);
    format!("{median} x ({min} to {max})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;

    #[test]
    fn a_ratio_is_that_of_runs_that_belong_together() {
        let mut results = Results::new(Machine {
            emulated: true,
            ..Machine::default()
        });
        // A machine that becomes twice as fast changes no ratio.
        for (contender, samples) in [("crossway", [2.0, 4.0]), ("kernel-wireguard", [1.0, 2.0])] {
            results.versions.insert(contender.into(), "1".into());
            for sample in samples {
                results.add("tcp-1", contender, "Gbit/s", Better::Higher, sample);
            }
        }
        results.add("tcp-1", "crossway", "retransmits", Better::Neither, 3.0);
        results.finish();
        let text = ratios(&results, "crossway");
        let line = text.lines().find(|line| line.contains(" / ")).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let expected = "crossway / kernel-wireguard 2.00 x (2.00 to 2.00)";
        assert_eq!(words.join(" "), expected, "{text}");
        assert!(text.contains("emulated CPU"), "{text}");
        assert!(!text.contains("retransmits"), "{text}");
    }
}
