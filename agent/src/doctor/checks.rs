//! The checks, each in its file: facts in, findings out.

mod cards;
mod clock;
mod fast_path;
mod file;
mod firewall;
mod flows;
mod links;
mod overlap;
mod start;
mod sysctls;
mod told;
mod ways;

use super::facts::Facts;
use crate::control::message::{Finding, Severity};

/// A check.
pub type Check = fn(&Facts) -> Vec<Finding>;

/// In the order in which a person would look: the file, the host, the ways, the links, what passes.
pub const ALL: &[Check] = &[
    file::check,
    start::check,
    told::check,
    sysctls::check,
    firewall::check,
    ways::check,
    links::check,
    overlap::check,
    flows::check,
    flows::table,
    fast_path::check,
    cards::check,
    clock::check,
];

pub use cards::wanted as wanted_of_card;

/// Of one kind of finding no more than that many are told one by one.
const MOST: usize = 5;

/// A finding.
fn finding(
    check: &str,
    severity: Severity,
    subject: impl Into<String>,
    [what, why, mend]: [String; 3],
) -> Finding {
    Finding {
        check: check.to_owned(),
        severity,
        subject: subject.into(),
        what,
        why,
        mend,
    }
}
