//! `cargo xtask run`: the lab, or with a configuration the connector itself.

use std::env;

use anyhow::{Context, Result};

use crate::setup::{self, Purpose};
use crate::{build, cmd, lab};

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    match arguments {
        [separator, words @ ..] if separator == "--" => gateway(words),
        words => laboratory(words),
    }
}

/// The connector on this machine, with the user's words.
fn gateway(words: &[String]) -> Result<()> {
    let toolchain = setup::ensure(Purpose::Build)?;
    build::build(&toolchain)?;
    cmd::become_command(cmd::as_root(build::binary()).arg("run").args(words))
}

/// `cargo xtask lab`: as `run`, and with `--scenario` one with something to fail over to.
pub(crate) fn lab(arguments: &[String]) -> Result<()> {
    laboratory(arguments)
}

/// Two sites on this machine, by this program as root.
fn laboratory(words: &[String]) -> Result<()> {
    lab::Options::parse(words)?;
    let toolchain = setup::ensure(Purpose::Lab)?;
    build::build(&toolchain)?;
    if vm_tests::sys::is_root() {
        return lab::run(words);
    }
    let own = env::current_exe().context("cannot find out which program this is")?;
    cmd::become_command(cmd::as_root(own).arg(lab::TASK).args(words))
}
