//! `cargo xtask clean-lab`: what a lab or a test left that was killed.

use std::env;

use anyhow::{Context, Result};
use vm_tests::{cleanup, peers, sys};

use crate::{cmd, lab};

pub(crate) fn run() -> Result<()> {
    if !sys::is_root() {
        let own = env::current_exe().context("cannot find out which program this is")?;
        return cmd::become_command(cmd::as_root(own).arg("clean-lab"));
    }
    let _lock = lab::lock()?;
    let mut removed = cleanup::remove_leftovers(lab::PREFIX)?;
    removed.extend(cleanup::remove_dead_tests()?);
    peers::remove_stale_sockets();
    for line in &removed {
        println!("removed {line}");
    }
    if removed.is_empty() {
        println!("Nothing was left.");
    }
    Ok(())
}
