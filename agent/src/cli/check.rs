//! `crossway check FILE` and `crossway show FILE`.

mod overlaps;

use std::path::Path;

use serde_json::{Value, json};

use super::Options;
use super::failure::Failure;
use super::output::{print, print_json};
use super::units::counted;
use crate::config::{Accepted, Config, Diagnostic, Policy, Rejected};
use crate::disk::Disk;

/// Tells everything about a configuration file: findings on standard error, `ok` on standard output.
pub(super) fn check(options: &Options, file: &Path) -> Result<(), Failure> {
    let checked = Config::load(file, &Disk);
    if options.json {
        return check_as_json(&checked);
    }
    let config = tell_findings(checked)?;
    for note in overlaps::notes(&config) {
        eprintln!("{}: note: {note}", file.display());
    }
    print(&format!("{}: ok: {}\n", file.display(), summary(&config)))
}

/// Prints a configuration file as it is understood.
pub(super) fn show(file: &Path) -> Result<(), Failure> {
    let config = tell_findings(Config::load(file, &Disk))?;
    print(&config.to_string())
}

fn tell_findings(checked: Result<Accepted, Rejected>) -> Result<Config, Failure> {
    let accepted = checked.map_err(|rejected| tell_rejected(&rejected))?;
    for warning in &accepted.warnings {
        eprintln!("{warning}");
    }
    Ok(accepted.config)
}

/// Tells warnings and errors on standard error.
pub(super) fn tell_rejected(rejected: &Rejected) -> Failure {
    for warning in &rejected.warnings {
        eprintln!("{warning}");
    }
    eprintln!("{rejected}");
    Failure::WrongAndTold
}

fn check_as_json(checked: &Result<Accepted, Rejected>) -> Result<(), Failure> {
    let (errors, warnings): (&[Diagnostic], &[Diagnostic]) = match checked {
        Ok(accepted) => (&[], &accepted.warnings),
        Err(rejected) => (&rejected.errors, &rejected.warnings),
    };
    let list = |findings: &[Diagnostic]| findings.iter().map(finding_as_json).collect::<Value>();
    let notes = checked
        .as_ref()
        .map_or_else(|_| Vec::new(), |accepted| overlaps::notes(&accepted.config));
    let answer = json!({
        "ok": checked.is_ok(),
        "errors": list(errors),
        "warnings": list(warnings),
        "notes": notes,
    });
    print_json(&answer, true)?;
    if checked.is_ok() {
        Ok(())
    } else {
        Err(Failure::WrongAndTold)
    }
}

fn finding_as_json(finding: &Diagnostic) -> Value {
    json!({
        "file": finding.file,
        "line": finding.position.map(|(line, _)| line),
        "column": finding.position.map(|(_, column)| column),
        "place": finding.place,
        "problem": finding.problem,
        "mend": finding.mend,
        "text": finding.to_string(),
    })
}

fn summary(config: &Config) -> String {
    let routes: usize = config.sites.iter().map(|site| site.routes.len()).sum();
    format!(
        "gateway {}, {}, {}, {}, {}, policy: {}",
        config.gateway.name,
        counted(config.gateway.lan.len() as u64, "LAN", "LANs"),
        counted(config.gateway.wan.len() as u64, "WAN", "WANs"),
        counted(config.sites.len() as u64, "site", "sites"),
        counted(routes as u64, "route", "routes"),
        policy(&config.policy),
    )
}

/// What may pass, and what is tried beside it.
fn policy(policy: &Policy) -> String {
    let source = &policy.source;
    let mut text = if policy.is_open() {
        "open, every site reaches everything".to_owned()
    } else {
        counted(source.allow.len() as u64, "rule", "rules")
    };
    let more = [
        (&source.shadow, "shadow rule", "shadow rules"),
        (&source.never, "never", "never"),
        (&source.expect, "expect", "expect"),
    ];
    for (entries, one, many) in more {
        if !entries.is_empty() {
            text.push_str(", ");
            text.push_str(&counted(entries.len() as u64, one, many));
        }
    }
    text
}
