//! `cargo xtask check`: what every change must pass before its tests run.

use anyhow::Result;

use crate::abi;
use crate::cmd;
use crate::layers;
use crate::setup::{self, Purpose};
use crate::times::Times;

mod width;

/// Links to private items are welcome: those items are documented too.
const RUSTDOCFLAGS: &str = "-D warnings -A rustdoc::private_intra_doc_links";

pub(crate) fn run() -> Result<()> {
    let mut times = Times::default();
    let outcome = steps(&mut times);
    times.print();
    outcome
}

fn steps(times: &mut Times) -> Result<()> {
    times.of("formatting", || {
        let mut command = cmd::cargo(&["fmt", "--all", "--check"]);
        cmd::run("formatting (`cargo fmt` mends it)", &mut command)
    })?;
    times.of("lines", width::check)?;
    times.of("ABI", abi::check)?;
    let toolchain = setup::ensure(Purpose::Build)?;
    // The agent carries the eBPF object, so it compiles only after that one.
    times.of("eBPF object", || crate::build::object(&toolchain))?;
    times.of("layers without I/O", || layers::check_purity(&toolchain))?;
    times.of("clippy", || {
        let words = [
            "clippy",
            "--workspace",
            "--exclude",
            "datapath-ebpf",
            "--all-targets",
        ];
        clippy("clippy", &words)
    })?;
    times.of("clippy of the eBPF programs", || {
        // Release, because a program without a runtime needs `panic = "abort"`.
        let words = ["clippy", "-p", "datapath-ebpf", "--release"];
        clippy("clippy of the eBPF programs", &words)
    })?;
    times.of("documentation", || {
        let words = [
            "doc",
            "--workspace",
            "--exclude",
            "datapath-ebpf",
            "--no-deps",
        ];
        let mut command = cmd::cargo(&words);
        command
            .arg("--document-private-items")
            .env("RUSTDOCFLAGS", RUSTDOCFLAGS);
        cmd::run("documentation", &mut command)
    })
}

fn clippy(purpose: &str, words: &[&str]) -> Result<()> {
    let mut command = cmd::cargo(words);
    cmd::run(purpose, command.args(["--", "-D", "warnings"]))
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
