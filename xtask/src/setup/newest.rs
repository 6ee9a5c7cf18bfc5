//! The newest build of a Debian package's program, beside the one that this release of Debian has: under
//! a name of its own in this workspace's tools.

use std::fs;

use anyhow::{Context, Result};

use crate::environment;
use crate::private_apt::PrivateApt;

/// Debian's name for what is newer than any release.
const SUITE: &str = "sid";

/// Fetches `package` and puts its program into the tools as `program`.
pub(super) fn install(package: &str, program: &str) -> Result<()> {
    let apt = PrivateApt::of(SUITE, &environment::tools().join("apt"))?;
    let unpacked = environment::tools().join("unpacked");
    apt.unpack(&[package.to_owned()], &unpacked)?;
    let bin = environment::tools().join("bin");
    fs::create_dir_all(&bin)?;
    let from = unpacked.join("usr/bin").join(package);
    fs::copy(&from, bin.join(program)).with_context(|| format!("no {}", from.display()))?;
    fs::remove_dir_all(&unpacked)?;
    apt.remove()
}
