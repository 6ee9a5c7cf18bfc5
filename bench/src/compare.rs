//! `bench compare A.json B.json`: what got worse from A to B beyond the noise.

use std::fmt;

use crate::results::{Better, Figure, Results};
use crate::table::number;

/// Differences below this share are not worth a word, however quiet the machine was.
const FLOOR: f64 = 0.03;
/// With fewer samples than this on either side the spread says nothing, and only a difference above
/// [`FLOOR_WITHOUT_SPREAD`] counts.
const SAMPLES: usize = 3;
const FLOOR_WITHOUT_SPREAD: f64 = 0.2;

/// One figure that moved beyond the noise.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    what: String,
    before: f64,
    after: f64,
    pub(crate) worse: bool,
}

/// What the two runs say about each other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Comparison {
    pub(crate) changes: Vec<Change>,
    /// Figures in both.
    pub(crate) compared: usize,
    /// Figures of the first that the second lacks.
    pub(crate) missing: Vec<String>,
    /// Differences that make the comparison doubtful.
    pub(crate) doubts: Vec<String>,
}

pub(crate) fn compare(before: &Results, after: &Results) -> Comparison {
    let mut comparison = Comparison {
        doubts: doubts(before, after),
        ..Comparison::default()
    };
    for old in &before.figures {
        let what = format!("{} {}, {}", old.load, old.contender, old.name);
        let Some(new) = after.get(&old.load, &old.contender, &old.name) else {
            comparison.missing.push(what);
            continue;
        };
        comparison.compared += 1;
        if let Some(worse) = judge(old, new) {
            comparison.changes.push(Change {
                what,
                before: old.median,
                after: new.median,
                worse,
            });
        }
    }
    comparison
}

/// Whether it got worse (`true`) or better beyond the noise; `None` within.
///
/// Beyond the noise means: each median lies outside of the other run's whole range.
fn judge(old: &Figure, new: &Figure) -> Option<bool> {
    let higher_is_better = match old.better {
        Better::Higher => true,
        Better::Lower => false,
        Better::Neither => return None,
    };
    let size = (new.median - old.median).abs();
    let known_spread = old.samples.len().min(new.samples.len()) >= SAMPLES;
    let floor = if known_spread {
        FLOOR
    } else {
        FLOOR_WITHOUT_SPREAD
    };
    if size <= old.median.abs() * floor {
        return None;
    }
    let fell = new.median < old.median;
    let apart = if fell {
        new.median < old.min && old.median > new.max
    } else {
        new.median > old.max && old.median < new.min
    };
    (apart || !known_spread).then_some(fell == higher_is_better)
}

fn doubts(before: &Results, after: &Results) -> Vec<String> {
    let mut doubts = Vec::new();
    let (old, new) = (before.machine.line(), after.machine.line());
    if old != new {
        doubts.push(format!("measured on different machines: {old}; {new}"));
    }
    for (name, value) in &before.settings {
        let other = after.settings.get(name);
        if other != Some(value) {
            let other = other.map_or("not set", String::as_str);
            doubts.push(format!("different settings: {name}: {value}; {other}"));
        }
    }
    doubts
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for doubt in &self.doubts {
            writeln!(f, "doubtful: {doubt}")?;
        }
        for (worse, heading) in [(true, "Worse"), (false, "Better")] {
            let mut changes = self.changes.iter().filter(|c| c.worse == worse).peekable();
            if changes.peek().is_some() {
                writeln!(f, "{heading} beyond the noise:")?;
            }
            for change in changes {
                let percent = (change.after / change.before - 1.0) * 100.0;
                writeln!(
                    f,
                    "  {:<60} {} to {} ({percent:+.0} %)",
                    change.what,
                    number(change.before),
                    number(change.after)
                )?;
            }
        }
        for what in &self.missing {
            writeln!(f, "not measured the second time: {what}")?;
        }
        let worse = self.changes.iter().filter(|change| change.worse).count();
        writeln!(
            f,
            "{} figures compared, {worse} worse, {} better, the others within the noise",
            self.compared,
            self.changes.len() - worse
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;

    fn results(better: Better, samples: &[f64]) -> Results {
        let mut results = Results::new(Machine::default());
        for sample in samples {
            results.add("load", "crossway", "figure", better, *sample);
        }
        results.finish();
        results
    }

    fn worse(better: Better, before: &[f64], after: &[f64]) -> Option<bool> {
        let comparison = compare(&results(better, before), &results(better, after));
        comparison.changes.first().map(|change| change.worse)
    }

    #[test]
    fn ranges_that_hold_the_other_median_are_noise() {
        let before = [2.0, 2.2, 2.4];
        assert_eq!(worse(Better::Higher, &before, &[1.5, 1.9, 2.3]), None);
        assert_eq!(worse(Better::Higher, &before, &[1.5, 1.6, 1.7]), Some(true));
        assert_eq!(worse(Better::Lower, &before, &[1.5, 1.6, 1.7]), Some(false));
        assert_eq!(worse(Better::Neither, &before, &[1.5, 1.6, 1.7]), None);
    }

    #[test]
    fn a_small_change_is_no_news_even_without_noise() {
        assert_eq!(worse(Better::Lower, &[100.0; 5], &[102.0; 5]), None);
        assert_eq!(worse(Better::Lower, &[100.0; 5], &[104.0; 5]), Some(true));
    }

    #[test]
    fn single_samples_need_a_large_change() {
        assert_eq!(worse(Better::Lower, &[100.0], &[115.0]), None);
        assert_eq!(worse(Better::Lower, &[100.0], &[130.0]), Some(true));
    }

    #[test]
    fn what_appears_from_nothing_is_worse() {
        assert_eq!(worse(Better::Lower, &[0.0; 5], &[1.0; 5]), Some(true));
    }

    #[test]
    fn other_settings_and_missing_figures_are_said() {
        let mut before = results(Better::Lower, &[1.0]);
        before.settings.insert("MTU".into(), "1500".into());
        let after = Results::new(Machine::default());
        let text = compare(&before, &after).to_string();
        assert!(text.contains("MTU: 1500; not set"), "{text}");
        assert!(
            text.contains("not measured the second time: load crossway, figure"),
            "{text}"
        );
    }
}
