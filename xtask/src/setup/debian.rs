//! Packages by apt-get; on other systems, the list of what to install.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Result, bail, ensure};
use vm_tests::{process, sys};

use crate::cmd;

/// Installs the packages. Package lists are fetched only if one of them is unknown so far.
pub(super) fn install(packages: &[&str]) -> Result<()> {
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!(
            "this is no Debian system: install what these Debian packages hold, then run the same command again: {}{}",
            packages.join(", "),
            if packages.contains(&"rust-web-src") {
                "\nInstead of rustc-web and rust-web-src: rustup toolchain install nightly --component rust-src"
            } else {
                ""
            }
        );
    }
    ensure!(
        sys::is_root() || process::in_path("sudo"),
        "installing packages needs root and there is no sudo: as root, run `apt-get install {}`",
        packages.join(" ")
    );
    if packages.iter().any(|package| !is_known(package)) {
        cmd::run("fetching package lists", &mut apt_get(&["update"]))?;
    }
    let mut command = apt_get(&["install", "-y", "--no-install-recommends"]);
    cmd::run("installing packages", command.args(packages))
}

fn apt_get(words: &[&str]) -> Command {
    let mut command = cmd::as_root("env");
    command
        .arg("DEBIAN_FRONTEND=noninteractive")
        .arg("apt-get")
        .args(words);
    command
}

/// Whether the lists that are here name the package.
fn is_known(package: &str) -> bool {
    let output = Command::new("apt-cache")
        .args(["show", "--no-all-versions", package])
        .stderr(Stdio::null())
        .output();
    output.is_ok_and(|output| output.status.success() && !output.stdout.is_empty())
}
