//! `cargo xtask abi`: the boundary between eBPF and agent as a text that is committed. A change of the
//! text without a new `ABI_VERSION` is refused: the agent would take over pinned maps that it misreads.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use vm_tests::process;

use crate::environment;

mod text;

/// The committed text, from the root of the workspace.
const FILE: &str = "datapath-ebpf/abi/abi.txt";
/// Branches that changes start from, the first that exists counts.
const BASES: [&str; 2] = ["origin/main", "main"];

/// Prints the text, or records it.
pub(crate) fn run(write: bool) -> Result<()> {
    if !write {
        print!("{}", text::generate());
        return Ok(());
    }
    let path = path();
    fs::write(&path, text::generate())
        .with_context(|| format!("cannot write {}", path.display()))?;
    println!("Written to {}", path.display());
    Ok(())
}

/// The committed text is that of the code, and differs from the one this change started from only with
/// another version.
pub(crate) fn check() -> Result<()> {
    eprintln!("+ ABI check against {FILE}");
    let generated = text::generate();
    let committed = fs::read_to_string(path()).unwrap_or_default();
    ensure!(
        committed == generated,
        "the ABI check: {FILE} is not what the code says. First difference:\n{}\nIf it is meant, \
        raise ABI_VERSION and run `cargo xtask abi --write`",
        first_difference(&committed, &generated)
    );
    match base() {
        Some((name, before)) => judge(&before, &generated)
            .with_context(|| format!("the ABI check, compared with {name}")),
        None => Ok(()),
    }
}

/// Refuses other content under the same version.
fn judge(before: &str, now: &str) -> Result<()> {
    let same_version = text::version(before) == text::version(now);
    if before != now && same_version {
        bail!(
            "the boundary changed, ABI_VERSION did not. First difference:\n{}\nRaise ABI_VERSION \
            in datapath-ebpf/abi/src/lib.rs and run `cargo xtask abi --write`",
            first_difference(before, now)
        );
    }
    Ok(())
}

/// The text at the point that this change started from; on the base branch itself, at the commit before.
fn base() -> Option<(String, String)> {
    let head = git(&["rev-parse", "HEAD"])?;
    let fork = BASES
        .iter()
        .find_map(|branch| git(&["merge-base", branch, "HEAD"]));
    let commit = match fork {
        Some(commit) if commit != head => commit,
        _ => git(&["rev-parse", "--verify", "--quiet", "HEAD~1"])?,
    };
    let text = process::run(&mut git_command(&["show", &format!("{commit}:{FILE}")])).ok()?;
    Some((commit, text))
}

fn git(words: &[&str]) -> Option<String> {
    let text = process::run(&mut git_command(words)).ok()?;
    Some(text.trim().to_owned())
}

fn git_command(words: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.args(words).current_dir(environment::workspace());
    command
}

fn path() -> PathBuf {
    environment::workspace().join(FILE)
}

fn first_difference(before: &str, now: &str) -> String {
    let mut lines = before.lines();
    for line in now.lines() {
        match lines.next() {
            Some(old) if old == line => {}
            Some(old) => return format!("- {old}\n+ {line}"),
            None => return format!("+ {line}"),
        }
    }
    lines
        .next()
        .map_or_else(String::new, |old| format!("- {old}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_needs_another_version() {
        let before = "version 1\nstruct A 4\n";
        assert!(judge(before, before).is_ok());
        assert!(judge(before, "version 2\nstruct A 8\n").is_ok());
        let error = judge(before, "version 1\nstruct A 8\n").unwrap_err();
        assert!(
            error.to_string().contains("- struct A 4\n+ struct A 8"),
            "{error}"
        );
    }

    #[test]
    fn the_text_names_its_version() {
        let expected = datapath_abi::ABI_VERSION.to_string();
        assert_eq!(text::version(&text::generate()), Some(expected.as_str()));
    }
}
