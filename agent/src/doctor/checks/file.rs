//! The configuration file and the key files that it names.

use super::finding;
use crate::config::Diagnostic;
use crate::control::message::{Finding, Severity};
use crate::doctor::facts::Facts;

const CHECK: &str = "config";

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let (errors, warnings) = match &facts.config {
        None => return Vec::new(),
        Some(Ok(accepted)) => (&[][..], &accepted.warnings),
        Some(Err(rejected)) => (rejected.errors.as_slice(), &rejected.warnings),
    };
    let wrong = errors.iter().map(|error| {
        let why = "the running gateway goes on with what it has read before; a reload, an upgrade or a restart will be \
                   refused";
        told(error, why)
    });
    let doubtful = warnings.iter().map(|warning| {
        told(
            warning,
            "the file is taken, but it is probably not meant so",
        )
    });
    wrong.chain(doubtful).collect()
}

fn told(diagnostic: &Diagnostic, why: &str) -> Finding {
    let subject = match diagnostic.position {
        Some((line, column)) => format!("{}:{line}:{column}", diagnostic.file),
        None => diagnostic.file.clone(),
    };
    let place = match diagnostic.place.as_str() {
        "" => String::new(),
        place => format!("{place}: "),
    };
    let what = format!("{place}{}", diagnostic.problem);
    let mend = diagnostic.mend.clone();
    finding(
        CHECK,
        Severity::Problem,
        subject,
        [what, why.to_owned(), mend],
    )
}
