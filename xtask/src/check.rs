//! `cargo xtask check`: what every change must pass before its tests run.

use anyhow::{Result, ensure};

use crate::abi;
use crate::cmd;
use crate::setup::{self, Purpose};

/// Links to private items are welcome: those items are documented too.
const RUSTDOCFLAGS: &str = "-D warnings -A rustdoc::private_intra_doc_links";

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    ensure!(arguments.is_empty(), "check takes no arguments");
    cmd::run(
        "formatting (`cargo fmt` mends it)",
        &mut cmd::cargo(&["fmt", "--all", "--check"]),
    )?;
    abi::check()?;
    // The agent carries the eBPF object, so it compiles only after that one.
    setup::ensure(Purpose::Build).and_then(|toolchain| crate::build::object(&toolchain))?;
    cmd::run(
        "clippy",
        &mut cmd::cargo(&[
            "clippy",
            "--workspace",
            "--exclude",
            "datapath-ebpf",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]),
    )?;
    cmd::run(
        "clippy of the eBPF programs",
        // Release, because a program without a runtime needs `panic = "abort"`.
        &mut cmd::cargo(&[
            "clippy",
            "-p",
            "datapath-ebpf",
            "--release",
            "--",
            "-D",
            "warnings",
        ]),
    )?;
    let mut documentation = cmd::cargo(&[
        "doc",
        "--workspace",
        "--exclude",
        "datapath-ebpf",
        "--no-deps",
        "--document-private-items",
    ]);
    cmd::run(
        "documentation",
        documentation.env("RUSTDOCFLAGS", RUSTDOCFLAGS),
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::{fs, io};

    use crate::environment;

    #[test]
    fn every_test_that_the_threat_model_names_exists() {
        let workspace = environment::workspace();
        let model = fs::read_to_string(workspace.join("SECURITY.md")).unwrap();
        let mut sources = String::new();
        for package in ["agent", "vm-tests"] {
            read_sources(&workspace.join(package), &mut sources).unwrap();
        }
        let missing: Vec<&str> = tests_named_in(&model)
            .filter(|name| !sources.contains(&format!("fn {name}(")))
            .collect();
        assert!(missing.is_empty(), "SECURITY.md names {missing:?}");
    }

    /// What stands in backticks and looks like a test: words with two underscores or more.
    fn tests_named_in(text: &str) -> impl Iterator<Item = &str> {
        let quoted = text.split('`').skip(1).step_by(2);
        quoted.filter(|name| {
            let is_name =
                |letter: char| letter.is_ascii_lowercase() || "_0123456789".contains(letter);
            name.chars().all(is_name) && name.matches('_').count() >= 2
        })
    }

    fn read_sources(folder: &Path, all: &mut String) -> io::Result<()> {
        let Ok(entries) = fs::read_dir(folder) else {
            return Ok(());
        };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                read_sources(&path, all)?;
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                all.push_str(&fs::read_to_string(&path)?);
            }
        }
        Ok(())
    }
}
