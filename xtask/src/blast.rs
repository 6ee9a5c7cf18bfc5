//! `cargo xtask blast`: malformed packets against a live pair, as the namespace ring does in
//! short.

use anyhow::Result;

use crate::build::Agent;
use crate::setup::{self, Purpose};
use crate::{build, cmd, environment};

/// The seed where none is asked for.
const SEED: u64 = 1;

/// What the user asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// Packets.
    pub(crate) count: u64,
    pub(crate) seed: Option<u64>,
}

pub(crate) fn run(options: Options) -> Result<()> {
    let toolchain = setup::ensure(Purpose::Lab)?;
    build::build(&toolchain, Agent::Release)?;
    let words = [
        "build",
        "--quiet",
        "--release",
        "-p",
        "vm-tests",
        "--example",
        "blast",
    ];
    cmd::run("building the blaster", &mut cmd::cargo(&words))?;
    let program = environment::workspace().join("target/release/examples/blast");
    let numbers = [options.count, options.seed.unwrap_or(SEED)].map(|number| number.to_string());
    cmd::become_command(cmd::as_root(program).args(numbers))
}

/// A number such as 500k or 10m.
pub(crate) fn number(word: &str) -> Result<u64, String> {
    let (digits, unit) = match word.strip_suffix(['k', 'm']) {
        Some(digits) if word.ends_with('k') => (digits, 1000),
        Some(digits) => (digits, 1_000_000),
        None => (word, 1),
    };
    let number = digits
        .parse()
        .ok()
        .and_then(|number: u64| number.checked_mul(unit));
    number
        .filter(|number| *number > 0)
        .ok_or_else(|| "expected a number such as 500k or 10m".to_owned())
}
