//! `cargo xtask audit`: what is known of the crates in the lock file.
//!
//! Licences, duplicate versions and sources are judged from the lock file and the crates themselves
//! (`deny.toml`), withdrawn versions from the index of crates.io, vulnerabilities from RustSec's database, which
//! is at GitHub and nowhere else. What cannot be reached is said, never passed over in silence.

use std::process::Command;

use anyhow::{Result, bail};
use vm_tests::process;

use crate::{cmd, environment};

mod yanked;

/// The program that reads `deny.toml`, and its version.
const TOOL: (&str, &str) = ("cargo-deny", "0.20.2");
/// Where RustSec's database is.
const ADVISORIES: &str = "https://github.com/RustSec/advisory-db";

pub(crate) fn run() -> Result<()> {
    install_tool()?;
    let mut findings = Vec::new();
    let mut check = |what: &str, command: &mut Command| {
        if let Err(error) = cmd::run(what, command) {
            findings.push(format!("{error:#}"));
        }
    };
    check(
        "licences, versions and sources",
        &mut cmd::cargo(&["deny", "check", "licenses", "bans", "sources"]),
    );
    let reachable = has_advisories();
    if reachable {
        check(
            "known vulnerabilities",
            &mut cmd::cargo(&["deny", "check", "advisories"]),
        );
    }
    match yanked::look() {
        Ok(found) => findings.extend(found),
        Err(error) => eprintln!("NOT CHECKED: withdrawn versions: {error:#}"),
    }
    if !findings.is_empty() {
        bail!("{}", findings.join("\n"));
    }
    if !reachable {
        eprintln!(
            "NOT CHECKED: known vulnerabilities: {ADVISORIES} cannot be reached from here. Run this again where it can."
        );
    }
    eprintln!("Nothing was found in what was checked.");
    Ok(())
}

fn install_tool() -> Result<()> {
    let (name, version) = TOOL;
    if process::in_path(name) {
        return Ok(());
    }
    eprintln!(
        "{name} {version} is built by cargo among this workspace's tools; it takes some minutes."
    );
    let mut command = cmd::cargo(&["install", name, "--version", version, "--locked"]);
    command.arg("--root").arg(environment::tools());
    cmd::run(&format!("installing {name}"), &mut command)
}

/// Whether the database can be reached now. Git asks for no password here.
fn has_advisories() -> bool {
    let mut git = Command::new("git");
    git.args(["ls-remote", "--heads", ADVISORIES, "main"]);
    git.env("GIT_TERMINAL_PROMPT", "0");
    process::run(&mut git).is_ok()
}
