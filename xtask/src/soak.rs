//! `cargo xtask soak`: everything at once for a long time; see [`vm_tests::soak`].

use std::env;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use vm_tests::soak;
use vm_tests::{cleanup, sys};

use crate::build::Agent;
use crate::setup::{self, Purpose};
use crate::{build, cmd, environment, span};

/// The word by which it starts itself as root.
pub(crate) const TASK: &str = "soak-as-root";
/// Names of namespaces and gateways start with it.
const PREFIX: &str = "cw-soak";

/// What the user asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) duration: Duration,
    pub(crate) seed: Option<u64>,
}

/// `cargo xtask soak`.
pub(crate) fn task(options: Options) -> Result<()> {
    let toolchain = setup::ensure(Purpose::Test)?;
    build::build(&toolchain, Agent::Release)?;
    if sys::is_root() {
        return run(options);
    }
    let own = env::current_exe().context("cannot find out which program this is")?;
    let mut command = cmd::as_root(own);
    command
        .arg(TASK)
        .arg("--for")
        .arg(span::show(options.duration));
    if let Some(seed) = options.seed {
        command.arg("--seed").arg(seed.to_string());
    }
    cmd::become_command(&mut command)
}

/// As root.
pub(crate) fn run(options: Options) -> Result<()> {
    ensure!(sys::is_root(), "a soak needs root");
    sys::watch_stop_signals();
    for line in cleanup::remove_leftovers(PREFIX)? {
        eprintln!("removed what a killed soak left: {line}");
    }
    soak::run(&soak::Options {
        span: options.duration,
        seed: options.seed.unwrap_or_else(seed_of_this_run),
        prefix: Some(PREFIX.to_owned()),
        logs: environment::workspace().join("target/soak"),
        steps: None,
    })
}

/// Another one each time, short enough to be typed.
fn seed_of_this_run() -> u64 {
    std::process::id().into()
}
