//! `crossway doctor`: looks for what is in the way of packets.
//!
//! [`gather`] collects facts, from the gateway if it runs and from the host; [`checks`] judge them, and do nothing
//! else. What the running gateway warns of itself is not looked for again: [`checks`] passes it on.
//!
//! A finding is certain: where a check cannot know, it says nothing, or [`Severity::Note`] where the administrator may
//! well have meant it so.

pub mod checks;
pub mod facts;
pub mod gather;

use crate::control::message::{DoctorReport, Finding, Severity};
use facts::Facts;

/// Judges the facts.
pub fn examine(facts: &Facts) -> DoctorReport {
    let mut findings: Vec<Finding> = checks::ALL.iter().flat_map(|check| check(facts)).collect();
    // Problems first, each check's own order within.
    findings.sort_by_key(|finding| finding.severity);
    DoctorReport {
        gateway: facts.gateway.clone(),
        running: facts.running.is_some(),
        findings,
        not_checked: facts.not_checked.clone(),
    }
}

/// Whether anything was found that should be mended; notes are not.
pub fn is_ill(report: &DoctorReport) -> bool {
    let mut findings = report.findings.iter();
    findings.any(|finding| finding.severity != Severity::Note)
}
