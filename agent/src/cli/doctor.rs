//! `crossway doctor`.

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;

use super::Options;
use super::check::tell_rejected;
use super::failure::Failure;
use super::output::{Colour, Look, print, print_json};
use super::units::counted;
use crate::control::message::{DoctorReport, Finding, Severity};
use crate::doctor::gather::{GatherError, Target, gather};
use crate::doctor::{examine, is_ill};

/// What is looked at.
#[derive(Args, Debug)]
pub(super) struct Doctor {
    /// Look at this configuration file, whether or not its gateway runs
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Looks for what is in the way, tells it, and fails if there is anything but notes.
pub(super) fn doctor(options: &Options, doctor: &Doctor) -> Result<(), Failure> {
    let target = Target {
        gateway: options.gateway.as_deref(),
        file: doctor.config.as_deref(),
    };
    let facts = gather(target).map_err(|error| match error {
        GatherError::File(rejected) => tell_rejected(&rejected),
        GatherError::Gateway(_) | GatherError::Elsewhere { .. } => {
            Failure::Wrong(error.to_string())
        }
        GatherError::Other(error) => Failure::Failed(error),
    })?;
    let report = examine(&facts);
    if options.json {
        print_json(&report, true)?;
    } else {
        print(&text(&report, Look::of_stdout(options)))?;
    }
    if is_ill(&report) {
        return Err(Failure::FailedAndTold);
    }
    Ok(())
}

fn text(report: &DoctorReport, look: Look) -> String {
    let mut text = head(report, look);
    for finding in &report.findings {
        let _ = write!(text, "\n{}", block(finding, look));
    }
    if !report.not_checked.is_empty() {
        text.push_str("\nNot looked at:\n");
        for skipped in &report.not_checked {
            let _ = writeln!(text, "  {}: {}", skipped.check, skipped.why);
        }
    }
    text
}

fn head(report: &DoctorReport, look: Look) -> String {
    let name = look.paint(&report.gateway, Some(Colour::Bold));
    let count = |severity| {
        let findings = report.findings.iter();
        findings
            .filter(|finding| finding.severity == severity)
            .count() as u64
    };
    let running = if report.running {
        "runs"
    } else {
        "does not run"
    };
    let found = match [Severity::Problem, Severity::Slow, Severity::Note].map(count) {
        [0, 0, 0] => "nothing found".to_owned(),
        [problems, slow, notes] => {
            let counts = [
                (problems, "problem", "problems"),
                (slow, "thing that costs speed", "things that cost speed"),
                (notes, "note", "notes"),
            ];
            let told = counts.iter().filter(|(count, ..)| *count > 0);
            let told = told.map(|(count, one, many)| counted(*count, one, many));
            told.collect::<Vec<_>>().join(", ")
        }
    };
    format!("{name} {running}: {found}\n")
}

fn block(finding: &Finding, look: Look) -> String {
    let colour = match finding.severity {
        Severity::Problem => Colour::Red,
        Severity::Slow => Colour::Yellow,
        Severity::Note => Colour::Bold,
    };
    let severity = look.paint(finding.severity.as_str(), Some(colour));
    format!(
        "{severity}  {}\n  {}\n  why   {}\n  mend  {}\n",
        finding.check, finding.what, finding.why, finding.mend
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_told_with_why_and_mend() {
        let finding = Finding {
            check: "forwarding".to_owned(),
            severity: Severity::Problem,
            subject: "lan0".to_owned(),
            what: "it is off".to_owned(),
            why: "nothing is forwarded".to_owned(),
            mend: "switch it on".to_owned(),
        };
        let report = DoctorReport {
            gateway: "a".to_owned(),
            running: true,
            findings: vec![finding],
            not_checked: Vec::new(),
        };
        assert_eq!(
            text(&report, Look::PLAIN),
            "a runs: 1 problem\n\n\
             problem  forwarding\n  it is off\n  why   nothing is forwarded\n  mend  switch it on\n"
        );
        let healthy = DoctorReport {
            findings: Vec::new(),
            running: false,
            ..report
        };
        assert_eq!(
            text(&healthy, Look::PLAIN),
            "a does not run: nothing found\n"
        );
    }
}
