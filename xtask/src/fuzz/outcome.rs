//! What a fuzzer said of its run.

use std::fmt;

/// Above the lines of outcomes.
pub(super) const HEAD: &str = "target        executions      per s  coverage  inputs  finds";

/// Words before the path of an input that made a target fail.
const FOUND: &str = "Test unit written to ";

/// One target's run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    target: String,
    executions: u64,
    per_second: u64,
    /// Edges of the program that were reached.
    coverage: u64,
    /// Inputs that reached them.
    inputs: u64,
    /// Paths of inputs that made it fail.
    pub(super) finds: Vec<String>,
}

impl Outcome {
    /// From libFuzzer's output: `#12 NEW cov: 3 ft: 9 corp: 2/8b …` and `stat::name: 7` at the end.
    pub(super) fn read(target: &str, output: &str) -> Self {
        let mut outcome = Self {
            target: target.to_owned(),
            ..Self::default()
        };
        for line in output.lines() {
            if let Some((_, path)) = line.split_once(FOUND) {
                outcome.finds.push(path.trim().to_owned());
            } else if let Some(found) = number_behind(line, "cov: ") {
                outcome.coverage = found;
                outcome.inputs = number_behind(line, "corp: ").unwrap_or(outcome.inputs);
            } else if let Some(found) = number_behind(line, "stat::number_of_executed_units: ") {
                outcome.executions = found;
            } else if let Some(found) = number_behind(line, "stat::average_exec_per_sec: ") {
                outcome.per_second = found;
            }
        }
        outcome
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            target,
            executions,
            per_second,
            coverage,
            inputs,
            finds,
        } = self;
        let finds = finds.len();
        write!(
            f,
            "{target:<12} {executions:>11} {per_second:>10} {coverage:>9} {inputs:>7} {finds:>6}"
        )
    }
}

/// Whether a line is for people to see while it runs.
pub(super) fn matters(line: &str) -> bool {
    let progress = line.starts_with('#') && line.contains("pulse");
    progress
        || ["INITED", "DONE", "panicked", "ERROR", FOUND]
            .iter()
            .any(|word| line.contains(word))
}

fn number_behind(line: &str, words: &str) -> Option<u64> {
    let (_, rest) = line.split_once(words)?;
    let rest = rest.trim_start();
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    rest[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
#2	INITED cov: 101 ft: 120 corp: 1/1b exec/s: 0 rss: 40Mb
#9000	NEW    cov: 731 ft: 2210 corp: 85/4123b lim: 88 exec/s: 4500 rss: 60Mb L: 9/88 MS: 1 EraseBytes-
thread '<unnamed>' panicked at agent/src/fuzz/bfd.rs:7:9:
artifact_prefix='/x/artifacts/bfd/'; Test unit written to /x/artifacts/bfd/crash-da39
stat::number_of_executed_units: 9001
stat::average_exec_per_sec:     4500
";

    #[test]
    fn the_last_figures_and_every_find_are_read() {
        let outcome = Outcome::read("bfd", OUTPUT);
        assert_eq!((outcome.executions, outcome.per_second), (9001, 4500));
        assert_eq!((outcome.coverage, outcome.inputs), (731, 85));
        assert_eq!(outcome.finds, ["/x/artifacts/bfd/crash-da39"]);
        assert_eq!(outcome.to_string().len(), HEAD.len());
    }

    #[test]
    fn a_run_without_output_has_done_nothing() {
        let expected = Outcome {
            target: "bfd".to_owned(),
            ..Outcome::default()
        };
        assert_eq!(Outcome::read("bfd", ""), expected);
        assert!(matters(OUTPUT.lines().next().unwrap()));
        assert!(!matters(OUTPUT.lines().nth(1).unwrap()));
    }
}
