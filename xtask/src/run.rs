//! `cargo xtask run`: the lab, or with a configuration the connector itself.

use std::env;

use anyhow::{Context, Result};

use crate::build::Agent;
use crate::setup::{self, Purpose};
use crate::{build, cmd, lab};

/// The connector on this machine, with the user's words.
pub(crate) fn gateway(words: &[String]) -> Result<()> {
    let toolchain = setup::ensure(Purpose::Build)?;
    build::build(&toolchain, Agent::Release)?;
    cmd::become_command(
        cmd::as_root(build::binary(Agent::Release))
            .arg("run")
            .args(words),
    )
}

/// Two sites on this machine, by this program as root.
pub(crate) fn lab(mut options: lab::Options) -> Result<()> {
    let toolchain = setup::ensure(Purpose::Lab)?;
    build::build(&toolchain, Agent::Lab)?;
    options.agent = Some(build::binary(Agent::Lab));
    if vm_tests::sys::is_root() {
        return lab::run(options);
    }
    let own = env::current_exe().context("cannot find out which program this is")?;
    cmd::become_command(cmd::as_root(own).arg(lab::TASK).args(options.words()))
}
