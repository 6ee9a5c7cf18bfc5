//! `bench compare A.json B.json`: what got worse from A to B beyond the noise.

use std::fmt;

use crate::results::{Better, Figure, Results};
use crate::table::number;

/// Differences below this share are not worth a word, however quiet the machine was.
const FLOOR: f64 = 0.03;
/// With fewer samples than this on either side the spread says nothing, and only a difference above
/// [`FLOOR_WITHOUT_SPREAD`] counts.
const SAMPLES: usize = 5;
const FLOOR_WITHOUT_SPREAD: f64 = 0.2;

/// Which changes stand under a heading.
type Wanted = fn(&Change) -> bool;

/// The contender whose changes are judged.
const OURS: &str = "crossway";

/// One figure that moved beyond the noise.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    what: String,
    /// Of Crossway. Nobody changed the others: when they move, the machine has.
    ours: bool,
    before: f64,
    after: f64,
    worse: bool,
}

/// What the two runs say about each other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Comparison {
    changes: Vec<Change>,
    /// Figures in both.
    compared: usize,
    /// Figures of the first that the second lacks.
    missing: Vec<String>,
    /// Differences that make the comparison doubtful.
    doubts: Vec<String>,
}

impl Comparison {
    /// Whether the two have nothing in common.
    pub(crate) fn is_empty(&self) -> bool {
        self.compared == 0
    }

    /// Figures of Crossway that got worse beyond the noise.
    pub(crate) fn regressions(&self) -> usize {
        self.count(|change| change.ours && change.worse)
    }

    fn count(&self, wanted: impl Fn(&Change) -> bool) -> usize {
        self.changes.iter().filter(|change| wanted(change)).count()
    }
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
                ours: old.contender == OURS,
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
/// Beyond the noise means: the ranges of the two runs do not touch. Of five samples each that happens by
/// chance once in 126 comparisons.
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
        new.max < old.min
    } else {
        new.min > old.max
    };
    apart.then_some(fell == higher_is_better)
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
        let headings: [(&str, Wanted); 3] = [
            ("Worse beyond the noise:", |change| {
                change.ours && change.worse
            }),
            ("Better beyond the noise:", |change| {
                change.ours && !change.worse
            }),
            (
                "Not ours, and moved all the same (the machine's mood, or another version):",
                |change| !change.ours,
            ),
        ];
        for (heading, wanted) in headings {
            if self.count(wanted) > 0 {
                writeln!(f, "{heading}")?;
            }
            for change in self.changes.iter().filter(|change| wanted(change)) {
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
        if self.compared == 0 {
            return writeln!(
                f,
                "nothing was measured both times: compare runs of the same loads and, of `to`, the same --label"
            );
        }
        writeln!(
            f,
            "{} figures compared; of Crossway's, {} worse, {} better, the others within the noise",
            self.compared,
            self.regressions(),
            self.count(|change| change.ours && !change.worse)
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
    fn ranges_that_touch_are_noise() {
        let before = [2.0, 2.1, 2.2, 2.3, 2.4];
        let below = [1.5, 1.6, 1.7, 1.8, 1.9];
        let touching = [1.5, 1.6, 1.7, 1.8, 2.1];
        assert_eq!(worse(Better::Higher, &before, &touching), None);
        assert_eq!(worse(Better::Higher, &before, &below), Some(true));
        assert_eq!(worse(Better::Lower, &before, &below), Some(false));
        assert_eq!(worse(Better::Neither, &before, &below), None);
    }

    #[test]
    fn what_happens_to_others_is_said_but_no_regression() {
        let mut before = Results::new(Machine::default());
        let mut after = before.clone();
        for _ in 0..5 {
            before.add("tcp-1", "plain", "Gbit/s", Better::Higher, 4.0);
            after.add("tcp-1", "plain", "Gbit/s", Better::Higher, 3.0);
        }
        before.finish();
        after.finish();
        let comparison = compare(&before, &after);
        assert_eq!(comparison.regressions(), 0);
        assert!(comparison.to_string().contains("Not ours"), "{comparison}");
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
