//! Commands that are shown before they run, and named when they fail.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};
use vm_tests::process;

use crate::environment;
use crate::step::Step;

/// `cargo` of the toolchain that runs this, in the workspace.
pub(crate) fn cargo(words: &[&str]) -> Command {
    let mut command = Command::new(environment::cargo());
    command.args(words).current_dir(environment::workspace());
    // What the cargo that runs this has set about this package: build scripts that look at it (ring's does) would
    // run again, and all that stands on them be built again, at every change between this and cargo by hand.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    command
}

/// A command that runs as root, by `sudo` where this process is not root.
pub(crate) fn as_root(program: impl AsRef<OsStr>) -> Command {
    let mut words = environment::as_root();
    words.push(program.as_ref().to_owned());
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}

/// Prints the command, runs it with this process's terminal, and fails with `purpose` if it does.
pub(crate) fn run(purpose: &str, command: &mut Command) -> Result<()> {
    run_for(purpose, "", command)
}

/// As [`run`], and says how long it may take.
pub(crate) fn run_for(purpose: &str, expected: &'static str, command: &mut Command) -> Result<()> {
    let finished = Step::new(purpose, expected).follow(command)?;
    finished.checked(purpose, command)
}

/// Prints the command and becomes it.
pub(crate) fn become_command(command: &mut Command) -> Result<()> {
    eprintln!("+ {}", typed(command));
    let error = command.exec();
    Err(error).with_context(|| format!("cannot start `{}`", typed(command)))
}

/// The command as one would type it: cargo without its directory, sudo without the environment that it
/// keeps, and the variables that are set for this command alone.
pub(crate) fn typed(command: &Command) -> String {
    let variables = command.get_envs().filter_map(|(name, value)| {
        let (name, value) = (name.to_string_lossy(), value?.to_string_lossy());
        let value = value.replace('\x1f', " ");
        Some(if value.contains(' ') {
            format!("{name}='{value}' ")
        } else {
            format!("{name}={value} ")
        })
    });
    let line = process::show(command);
    let cargo = environment::cargo();
    let line = if let Some(rest) = line.strip_prefix(&*cargo.to_string_lossy()) {
        format!("cargo{rest}")
    } else if let Some(rest) = line.strip_prefix("sudo -E env ") {
        let words = rest.split(' ').skip_while(|word| word.contains('='));
        format!("sudo {}", words.collect::<Vec<_>>().join(" "))
    } else {
        line
    };
    variables.collect::<String>() + &line
}
