//! `cargo xtask bench`: builds everything, then runs the bench as root.

use std::path::PathBuf;

use anyhow::Result;

use crate::build::Agent;
use crate::setup::{self, Purpose, toolchain::Toolchain};
use crate::{build, cmd, environment};

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let asks_for_help = arguments
        .iter()
        .any(|word| word == "--help" || word == "-h");
    let task = arguments.first().map(String::as_str);
    let runs_the_product = !asks_for_help && !matches!(task, Some("compare" | "to"));
    if runs_the_product {
        let toolchain = match task {
            Some("micro" | "scale") => setup::ensure(Purpose::Lab)?,
            Some("failover") => ensure_peers(Purpose::Test)?,
            _ => ensure_peers(Purpose::Bench)?,
        };
        build::build(&toolchain, Agent::Release)?;
    } else if task == Some("to") {
        setup::ensure(Purpose::Lab)?;
    }
    let program = build_bench()?;
    let mut command = if runs_the_product {
        cmd::as_root(program)
    } else {
        std::process::Command::new(program)
    };
    cmd::become_command(command.args(arguments))
}

/// The bench's program.
pub(crate) fn build_bench() -> Result<PathBuf> {
    cmd::run(
        "building the bench",
        &mut cmd::cargo(&["build", "--quiet", "--release", "-p", "bench"]),
    )?;
    Ok(environment::workspace().join("target/release/bench"))
}

/// A peer that cannot be installed is left out by the bench, with the reason; the rest is measured.
pub(crate) fn ensure_peers(purpose: Purpose) -> Result<Toolchain> {
    let toolchain = setup::ensure(Purpose::Lab)?;
    match setup::ensure(purpose) {
        Ok(toolchain) => Ok(toolchain),
        Err(error) => {
            eprintln!("warning: not every peer could be installed: {error:#}");
            Ok(toolchain)
        }
    }
}
