//! Paths, and what commands inherit.

use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// Set in a process that has started itself again, so that it does so once.
const EXTENDED: &str = "CROSSWAY_XTASK_PATH";

/// Root of the workspace.
pub(crate) fn workspace() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}

/// Where cargo installs programs.
pub(crate) fn cargo_bin() -> PathBuf {
    cargo_home().join("bin")
}

/// Where cargo keeps its configuration and what it fetched.
pub(crate) fn cargo_home() -> PathBuf {
    home_directory("CARGO_HOME", ".cargo")
}

/// Where rustup keeps its own.
pub(crate) fn rustup_home() -> PathBuf {
    home_directory("RUSTUP_HOME", ".rustup")
}

/// Programs that only this workspace uses, in `bin` below it.
pub(crate) fn tools() -> PathBuf {
    workspace().join("target/tools")
}

/// Where rustup keeps toolchains.
pub(crate) fn rustup_toolchains() -> PathBuf {
    rustup_home().join("toolchains")
}

/// The cargo that runs this.
pub(crate) fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Makes programs in cargo's own directory, among the tools and in `sbin` (which Debian leaves out for users)
/// visible to everything that is started from here, by starting this process again where they are not.
pub(crate) fn extend_search_path() -> Result<()> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut directories: Vec<PathBuf> = env::split_paths(&path).collect();
    let before = directories.len();
    for directory in [
        cargo_bin(),
        tools().join("bin"),
        "/usr/sbin".into(),
        "/sbin".into(),
    ] {
        if !directories.contains(&directory) {
            directories.push(directory);
        }
    }
    if directories.len() == before || env::var_os(EXTENDED).is_some() {
        return Ok(());
    }
    let program = env::current_exe().context("cannot find out which program this is")?;
    let error = Command::new(program)
        .args(env::args_os().skip(1))
        .env("PATH", env::join_paths(directories)?)
        .env(EXTENDED, "1")
        .exec();
    Err(error).context("cannot start this program again")
}

/// The words that run what follows them as root with this environment: none for root, else `sudo`'s.
pub(crate) fn as_root() -> Vec<OsString> {
    if vm_tests::sys::is_root() {
        return Vec::new();
    }
    let mut words: Vec<OsString> = ["sudo", "-E", "env"].map(OsString::from).into();
    for name in ["PATH", "HOME", EXTENDED] {
        if let Some(value) = env::var_os(name) {
            let mut word = OsString::from(name);
            word.push("=");
            word.push(value);
            words.push(word);
        }
    }
    words
}

fn home_directory(variable: &str, default: &str) -> PathBuf {
    env::var_os(variable).map_or_else(
        || PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(default),
        PathBuf::from,
    )
}
