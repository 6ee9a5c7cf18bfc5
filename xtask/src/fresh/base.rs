//! A bare Debian 12, made once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use vm_tests::{process, wait};

use super::{inside, remove};
use crate::private_apt;
use crate::step::Step;

const SUITE: &str = "bookworm";
/// What every installed Debian has beside the packages that none can be without.
const INCLUDED: &str = "sudo,ca-certificates";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The folder that it is in.
pub(super) fn ensure(folder: &Path) -> Result<PathBuf> {
    let base = folder.join(format!("base-{SUITE}"));
    if base.exists() {
        eprintln!(
            "The bare Debian of an earlier run is used: {}",
            base.display()
        );
        return Ok(base);
    }
    // Complete or not there at all, also if this is interrupted.
    let partial = folder.join("base.partial");
    remove(&partial)?;
    let start = wait::now();
    let mirror = private_apt::mirror("Debian")?;
    let step = Step::new("making a bare Debian", "about a minute");
    let mut command = Command::new("debootstrap");
    command.args(["--variant=minbase", &format!("--include={INCLUDED}"), SUITE]);
    command.arg(&partial).arg(&mirror);
    let finished = step.follow(&mut command)?;
    finished.checked(&step.purpose, &command)?;
    set_up_apt(&partial, &mirror)?;
    set_up_user(&partial)?;
    fs::rename(&partial, &base)?;
    eprintln!("A bare Debian was made in {} s.", start.elapsed().as_secs());
    Ok(base)
}

/// The archives that this machine has its packages from, reached as it reaches them.
fn set_up_apt(root: &Path, mirror: &str) -> Result<()> {
    let security = private_apt::mirror("Debian-Security")?;
    let etc = root.join("etc/apt");
    let sources = format!(
        "deb [signed-by={KEYRING}] {mirror} {SUITE} main\n\
         deb [signed-by={KEYRING}] {mirror} {SUITE}-updates main\n\
         deb [signed-by={KEYRING}] {security} {SUITE}-security main\n"
    );
    fs::write(etc.join("sources.list"), sources)?;
    for entry in fs::read_dir("/etc/apt/apt.conf.d")?.flatten() {
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        if text.contains("Acquire::") && !text.contains("GzipIndexes") {
            fs::write(etc.join("apt.conf.d").join(entry.file_name()), text)?;
        }
    }
    // Nobody is there to say yes; packages of daemons start none, as nothing here starts daemons.
    fs::write(
        etc.join("apt.conf.d/99yes"),
        "APT::Get::Assume-Yes \"true\";\n",
    )?;
    Ok(())
}

/// One who may do all by sudo, as whom the installer of Debian makes.
fn set_up_user(root: &Path) -> Result<()> {
    let user = inside::USER;
    let mut command = Command::new("chroot");
    command
        .arg(root)
        .args(["useradd", "--create-home", "--shell", "/bin/bash", user]);
    process::run(&mut command).context("cannot make a user in the new system")?;
    let rule = format!("{user} ALL=(ALL:ALL) NOPASSWD: ALL\n");
    fs::write(root.join("etc/sudoers.d/user"), rule)?;
    Ok(())
}
