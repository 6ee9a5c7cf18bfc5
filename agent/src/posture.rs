//! What the agent may do, and what it gives up: capabilities(7), no_new_privs, seccomp(2), core dumps.
//!
//! [`begin`] comes first of all, while the agent is one thread: it keeps what a start needs and hands the
//! starting of a successor to a process of its own, so that the agent itself need never run a program.
//! When the gateway forwards, [`capabilities::settle`] leaves each thread what its part needs, and
//! [`seccomp::confine`] leaves all of them the system calls they go on with. [`status`] reads from the
//! kernel what came of it.

pub mod capabilities;
pub mod seccomp;
mod starter;
pub mod status;
mod sys;

use std::io;
use std::path::Path;

use anyhow::{Context, Result};

pub use capabilities::Part;
pub use starter::{Starter, Told};

/// Gives up what not even the start needs, and sets the starter of successors aside.
///
/// # Errors
/// The kernel refused, which it does to nobody who gives something up.
pub fn begin(config: &Path) -> Result<Starter> {
    // Sockets and files are the owner's alone until they are given to somebody.
    sys::set_umask(0o077);
    sys::refuse_new_privileges().context("to refuse new privileges")?;
    refuse_dumps().context("to keep memory out of core dumps")?;
    if let Err(error) = sys::allow_any_nice() {
        tracing::debug!("could not raise the priority limit: {error}");
    }
    capabilities::keep_for_start().context("to drop capabilities")?;
    let starter = Starter::fork(config).context("to set a process aside for upgrades")?;
    capabilities::forget_inherited().context("to drop capabilities")?;
    Ok(starter)
}

/// Keys are in our memory: no core file has it, and no process of our user reads it.
fn refuse_dumps() -> io::Result<()> {
    sys::set_undumpable()?;
    sys::forbid_core_files()
}
