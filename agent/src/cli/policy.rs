//! `crossway policy`.

mod diff;
mod of_services;
mod promote;
mod rewrite;
mod show;
mod suggest;
mod take;

use clap::Subcommand;

use super::Options;
use super::failure::Failure;

pub(super) use suggest::of_gateway as of_services;

/// What is asked of the policy, or done with it.
#[derive(Debug, Subcommand)]
pub(super) enum Policy {
    /// Show the rules, what is open and what is closed, and how many flows each rule has allowed
    Show(show::Show),
    /// Show what the shadow rules would drop that passes now, and what they would let pass that is denied
    Diff(diff::Diff),
    /// Put the shadow rules of a file in force: they become its rules, and the gateway reads it again
    Promote(promote::Promote),
    /// Print rules that let the traffic pass that was seen, and nothing else
    Suggest(suggest::Suggest),
}

/// Carries it out.
pub(super) fn policy(options: &Options, policy: &Policy) -> Result<(), Failure> {
    match policy {
        Policy::Show(show) => show::show(options, show),
        Policy::Diff(diff) => diff::diff(options, diff),
        Policy::Promote(promote) => promote::promote(options, promote),
        Policy::Suggest(suggest) => suggest::suggest(options, suggest),
    }
}
