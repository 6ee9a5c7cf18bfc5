//! What the guests' tests came to.

use std::time::Duration;

use anyhow::{Error, Result};

use super::tests::Test;

/// One file of tests on one kernel.
#[derive(Debug)]
struct Row {
    kernel: &'static str,
    test: String,
    passed: usize,
    failed: usize,
    note: String,
    seconds: f64,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// Notes what a file of tests printed, and how it ended.
    pub(super) fn add(
        &mut self,
        kernel: &'static str,
        test: &Test,
        output: &str,
        ended: Result<i32>,
        took: Duration,
    ) {
        let (passed, failed) = counts(output);
        let (failed, note) = match ended {
            Ok(0) => (failed, notes(output)),
            // A failure that no test owns: it died in between.
            Ok(code) => (failed.max(1), format!("exit code {code}")),
            Err(error) => (failed.max(1), first_line(&error)),
        };
        self.rows.push(Row {
            kernel,
            test: test.name.clone(),
            passed,
            failed,
            note,
            seconds: took.as_secs_f64(),
        });
    }

    /// Notes that a kernel's tests could not run, or not to their end.
    pub(super) fn broken(&mut self, kernel: &'static str, error: &Error) {
        self.rows.push(Row {
            kernel,
            test: "the guest".into(),
            passed: 0,
            failed: 1,
            note: first_line(error),
            seconds: 0.0,
        });
    }

    /// How many tests failed.
    pub(super) fn failed(&self) -> usize {
        self.rows.iter().map(|row| row.failed).sum()
    }

    /// One line for each file of tests, and the sum.
    pub(super) fn print(&self) {
        println!(
            "\n{:<12} {:<24} {:>6} {:>6} {:>6}",
            "kernel", "tests", "passed", "failed", "s"
        );
        for row in &self.rows {
            println!(
                "{:<12} {:<24} {:>6} {:>6} {:>6.0}  {}",
                row.kernel, row.test, row.passed, row.failed, row.seconds, row.note
            );
        }
        let passed: usize = self.rows.iter().map(|row| row.passed).sum();
        println!("{passed} passed, {} failed", self.failed());
    }
}

/// Passed and failed, from the lines that Rust's test harness writes for each test.
fn counts(output: &str) -> (usize, usize) {
    let ends = |word: &str| output.lines().filter(|line| line.ends_with(word)).count();
    (ends("... ok"), ends("... FAILED"))
}

/// What tests said of themselves on lines that begin so, for the report.
fn notes(output: &str) -> String {
    let said: Vec<&str> = output
        .lines()
        .filter_map(|line| line.split_once("note: ").map(|(_, note)| note))
        .collect();
    said.join("; ")
}

fn first_line(error: &Error) -> String {
    let text = format!("{error:#}");
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_counted_by_the_lines_of_the_harness() {
        let output =
            "running 3 tests\ntest a ... ok\ntest b ... FAILED\ntest c ... ok\nnote: no tcx here\n";
        assert_eq!(counts(output), (2, 1));
        assert_eq!(notes(output), "no tcx here");
    }
}
