//! Packages by apt-get; on other systems, the list of what to install.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow, bail, ensure};
use vm_tests::{process, sys, wait};

use crate::cmd;
use crate::step::{Finished, Step};

mod lists;
mod reason;

use reason::Reason;

/// How long another program that installs packages is waited for.
const LOCK_LIMIT: Duration = Duration::from_mins(3);
/// Between two looks at its lock.
const LOCK_RETRY: Duration = Duration::from_secs(4);
const SOURCES: &str = "/etc/apt";

/// Installs the packages. Package lists are fetched before where they are older than a day or do not name one of
/// them, and after an install that failed for old lists; it is then tried once more.
pub(super) fn install(packages: &[&str]) -> Result<()> {
    ensure_debian(packages)?;
    ensure!(
        sys::is_root() || process::in_path("sudo"),
        "installing packages needs root, and there is no sudo: as root, run `apt-get update && \
        apt-get install {}`, then the same command again",
        packages.join(" ")
    );
    let mut update = None;
    if let Some(why) = lists::reason_to_fetch(packages) {
        update = Some(fetch_lists(&why)?);
    }
    let mut finished = install_once(packages)?;
    if !finished.status.success() && update.is_none() && Reason::of(&finished.text).is_of_lists() {
        update = Some(fetch_lists("an install failed with those that are here")?);
        finished = install_once(packages)?;
    }
    if finished.status.success() {
        return Ok(());
    }
    Err(failure(packages, &finished, update.as_ref()))
}

fn ensure_debian(packages: &[&str]) -> Result<()> {
    if Path::new("/usr/bin/apt-get").exists() {
        return Ok(());
    }
    let instead = if packages.contains(&"rust-web-src") {
        "\nInstead of rustc-web and rust-web-src: rustup toolchain install nightly --component rust-src"
    } else {
        ""
    };
    bail!(
        "{} is no Debian: there is no apt-get. Install what these Debian packages hold, then run \
        the same command again: {}{instead}",
        system(),
        packages.join(", "),
    )
}

/// What this system calls itself (os-release(5)).
fn system() -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(
        || "this system".to_owned(),
        |name| name.trim_matches('"').to_owned(),
    )
}

fn install_once(packages: &[&str]) -> Result<Finished> {
    let step = Step::new(
        "installing Debian packages",
        "half a minute, and as long as 150 MB take to come",
    );
    let lock = format!("DPkg::Lock::Timeout={}", LOCK_LIMIT.as_secs());
    let mut command = apt_get(&["-o", &lock, "install", "-y", "--no-install-recommends"]);
    step.follow(command.args(packages))
}

/// Fetches the lists. A failure is for the install that follows to tell: what it needs may be in those that came.
fn fetch_lists(why: &str) -> Result<Finished> {
    eprintln!("Package lists are fetched: {why}");
    let step = Step::new("fetching package lists", "some seconds");
    let start = wait::now();
    loop {
        // By default, apt-get takes lists that cannot be fetched for a success.
        let words = ["-q", "-o", "APT::Update::Error-Mode=any", "update"];
        let finished = step.follow(&mut apt_get(&words))?;
        let reason = Reason::of(&finished.text);
        if finished.status.success() || !reason.is_a_lock() || start.elapsed() >= LOCK_LIMIT {
            if !finished.status.success() {
                eprintln!("warning: not all package lists came: {reason}");
            }
            return Ok(finished);
        }
        eprintln!("  {reason}; waiting for up to {} s", LOCK_LIMIT.as_secs());
        thread::sleep(LOCK_RETRY);
    }
}

/// What failed, where, why, and the mend.
fn failure(packages: &[&str], install: &Finished, update: Option<&Finished>) -> anyhow::Error {
    let failed_update = update.filter(|update| !update.status.success());
    // An install that misses what an update did not bring says less than the update.
    let first = failed_update.map(|update| Reason::of(&update.text));
    let reason = match (Reason::of(&install.text), first) {
        (own, Some(first)) if own.is_of_lists() && first != Reason::Other => first,
        (own, _) => own,
    };
    let what = format!("apt-get could not install {}", packages.join(" "));
    let after = match update {
        Some(update) if update.status.success() => ", also with new package lists",
        Some(_) => ", and fetching package lists failed too",
        None => "",
    };
    match reason {
        Reason::Other => anyhow!("{what}{after}. Its last lines:\n{}", install.tail()),
        reason => anyhow!("{what}{after}: {reason}.\nMend: {}", reason.mend(SOURCES)),
    }
}

/// apt-get as root, in English, so that its messages are understood, and never with questions.
fn apt_get(words: &[&str]) -> Command {
    let mut command = cmd::as_root("env");
    command.args([
        "LC_ALL=C.UTF-8",
        "DEBIAN_FRONTEND=noninteractive",
        "apt-get",
    ]);
    command.args(words).stdin(Stdio::null());
    command
}
