//! `cargo xtask fresh`: what a new user meets. The commands of the README's first section, taken from it, run on a bare
//! Debian in a folder: as a user who has sudo, with a copy of HEAD, with this machine's Rust and nothing else of it.
//!
//! ```text
//!   this machine                          │ namespaces of its own: mounts, processes, network
//!   target/fresh/base   debootstrap, kept │   /                target/fresh/root, a copy of base
//!   slirp4netns ──────────────────────────┼── tap0             to the archives, by this machine's network
//!   ~/.rustup ────────────────────────────┼── /opt/rustup      read-only
//!   HEAD ─────────────────────────────────┼── /srv/head        a bundle of git
//! ```
//!
//! Package lists are made stale before each command: those of `run` are a month old, those of `test` look new and
//! name a file that the archive does not have.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use vm_tests::{process, sys};

use crate::setup;
use crate::{cmd, environment};

mod base;
mod follow;
mod inside;
mod network;
mod readme;
mod stale;
mod state;

pub(crate) use inside::run as inside;

/// The word by which it starts itself in namespaces.
pub(crate) const TASK: &str = "fresh-inside";
/// HEAD, as the new system sees it.
const BUNDLE: &str = "srv/head";
/// Where the new system finds this machine's toolchains.
const RUSTUP: &str = "opt/rustup";
/// Certificates by which this machine trusts the registries, if it has any.
const CERTIFICATES: &str = "srv/certificates.crt";

/// What the user asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// `run` or `test`; without, both.
    pub(crate) only: Option<String>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let own = env::current_exe().context("cannot find out which program this is")?;
    if !sys::is_root() {
        return cmd::become_command(cmd::as_root(own).arg("fresh").args(&options.only));
    }
    for program in ["debootstrap", "slirp4netns", "git"] {
        setup::ensure_tool(program)?;
    }
    let folder = folder();
    fs::create_dir_all(&folder)?;
    let base = base::ensure(&folder)?;
    let root = copy_of(&base, &folder)?;
    bring_head(&root)?;
    bring_rust(&root)?;
    bring_registries(&root)?;
    let mut command = mortal("unshare");
    command.args(["--mount", "--pid", "--net", "--ipc", "--uts", "--fork"]);
    command.args(["--kill-child", "--propagation", "private", "--"]);
    command.arg(own).arg(TASK).args(&options.only);
    eprintln!("+ {}", process::show(&command));
    let mut child = command.spawn().context("cannot start unshare")?;
    let network = network::connect(child.id());
    let status = child.wait()?;
    network?;
    ensure!(
        status.success(),
        "the new machine did not pass ({status}); it is still in {}",
        root.display()
    );
    remove(&root)
}

/// A program that ends with this one, however this one ends.
fn mortal(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", program]);
    command
}

/// All that is kept between runs.
fn folder() -> PathBuf {
    environment::workspace().join("target/fresh")
}

/// A new system, as it was made.
fn copy_of(base: &Path, folder: &Path) -> Result<PathBuf> {
    let root = folder.join("root");
    remove(&root)?;
    let mut command = Command::new("cp");
    command
        .args(["--archive", "--reflink=auto"])
        .args([base, &root]);
    cmd::run("copying the new system", &mut command)?;
    Ok(root)
}

/// Removes a tree, but never what is mounted in it. Mounts of a run are in namespaces that end with it.
fn remove(root: &Path) -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    if let Some(mount) = mount_below(&mounts, &root.display().to_string()) {
        bail!("{mount} is mounted: `umount --lazy {mount}` first, nothing was removed");
    }
    if root.exists() {
        fs::remove_dir_all(root).with_context(|| format!("cannot remove {}", root.display()))?;
    }
    Ok(())
}

/// The first mount at or below a path, in what proc_pid_mountinfo(5) describes.
fn mount_below<'a>(mounts: &'a str, path: &str) -> Option<&'a str> {
    let mut places = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    places.find(|place| {
        let rest = place.strip_prefix(path);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

fn bring_head(root: &Path) -> Result<()> {
    let mut git = Command::new("git");
    git.arg("-C").arg(environment::workspace());
    git.args(["-c", "safe.directory=*", "bundle", "create", "--quiet"]);
    git.arg(root.join(BUNDLE)).arg("HEAD");
    cmd::run("packing HEAD", &mut git)
}

/// rustup's program, under the names by which it stands for those of a toolchain.
fn bring_rust(root: &Path) -> Result<()> {
    let rustup = environment::cargo_bin().join("rustup");
    ensure!(
        rustup.is_file() && environment::rustup_toolchains().is_dir(),
        "{} is missing: the new system gets this machine's Rust, which must be rustup's",
        rustup.display()
    );
    let bin = root
        .join(inside::HOME.trim_start_matches('/'))
        .join(".cargo/bin");
    fs::create_dir_all(&bin)?;
    fs::copy(&rustup, bin.join("rustup"))?;
    for name in [
        "cargo",
        "rustc",
        "rustdoc",
        "cargo-fmt",
        "rustfmt",
        "cargo-clippy",
        "clippy-driver",
    ] {
        std::os::unix::fs::symlink("rustup", bin.join(name))?;
    }
    fs::create_dir_all(root.join(RUSTUP))?;
    let config = environment::cargo_home().join("config.toml");
    if config.is_file() {
        fs::copy(&config, bin.with_file_name("config.toml"))?;
    }
    inside::give_to_user(root)
}

/// How this machine reaches the registries, so that the new system does alike.
fn bring_registries(root: &Path) -> Result<()> {
    let named = ["CARGO_HTTP_CAINFO", "SSL_CERT_FILE"]
        .into_iter()
        .find_map(env::var_os);
    if let Some(certificates) = named {
        fs::copy(&certificates, root.join(CERTIFICATES))
            .with_context(|| format!("cannot copy {}", certificates.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_in_a_tree_is_seen_before_the_tree_is_removed() {
        let mounts = "22 1 254:0 / / rw - ext4 /dev/vda rw\n\
            30 22 0:5 / /w/root/proc rw - proc proc rw\n31 22 0:5 / /w/rooted rw - tmpfs tmpfs rw\n";
        assert_eq!(mount_below(mounts, "/w/root"), Some("/w/root/proc"));
        assert_eq!(mount_below(mounts, "/w/rooted"), Some("/w/rooted"));
        assert_eq!(mount_below(mounts, "/w/roo"), None);
    }
}
