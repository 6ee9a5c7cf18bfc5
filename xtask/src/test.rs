//! `cargo xtask test [FILTER]`: the rings of tests, from those that take milliseconds to those that
//! move real traffic. Every ring runs, so that one failure does not hide another.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::setup::{self, Purpose};
use crate::{build, cmd, environment};

/// Test files of `vm-tests` whose name starts so load programs and judge frames, but move no traffic.
const VERDICT_PREFIX: &str = "verdict";

struct Ring {
    name: &'static str,
    command: Command,
}

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    ensure!(
        arguments.len() <= 1,
        "test takes one filter: a part of a test's name"
    );
    let filter = arguments.first().map(String::as_str);
    let toolchain = setup::ensure(Purpose::Test)?;
    build::build(&toolchain)?;
    let mut failed = Vec::new();
    for mut ring in rings()? {
        eprintln!("\n=== {} ring", ring.name);
        if let Some(filter) = filter {
            ring.command.args(["--", filter]);
        }
        if let Err(error) = cmd::run(ring.name, &mut ring.command) {
            eprintln!("{error:#}");
            failed.push(ring.name);
        }
    }
    if !failed.is_empty() {
        bail!("failed: {} ring", failed.join(" ring, "));
    }
    eprintln!("\nAll rings passed.");
    Ok(())
}

fn rings() -> Result<Vec<Ring>> {
    let (verdicts, namespaces): (Vec<String>, Vec<String>) = root_tests()?
        .into_iter()
        .partition(|name| name.starts_with(VERDICT_PREFIX));
    let pure = [
        "test",
        "--workspace",
        "--exclude",
        "datapath-ebpf",
        "--exclude",
        "vm-tests",
        "--no-fail-fast",
    ];
    let library = ["test", "-p", "vm-tests", "--lib", "--no-fail-fast"];
    let mut rings = vec![
        Ring {
            name: "pure",
            command: cmd::cargo(&pure),
        },
        Ring {
            name: "pure (test library)",
            command: cmd::cargo(&library),
        },
    ];
    for (name, tests) in [("verdict", verdicts), ("namespace", namespaces)] {
        if tests.is_empty() {
            eprintln!("The {name} ring has no tests.");
            continue;
        }
        rings.push(Ring {
            name,
            command: as_root(&tests),
        });
    }
    Ok(rings)
}

/// Names of the test files that need root.
fn root_tests() -> Result<Vec<String>> {
    let directory = environment::workspace().join("vm-tests/tests");
    if !directory.exists() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(&directory).context("cannot list vm-tests/tests")? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs")
            && let Some(stem) = path.file_stem()
        {
            names.push(stem.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Builds as the user, runs as root.
fn as_root(tests: &[String]) -> Command {
    let mut command = cmd::cargo(&["test", "-p", "vm-tests", "--no-fail-fast"]);
    for test in tests {
        command.args(["--test", test]);
    }
    let words = environment::as_root();
    if !words.is_empty() {
        let runner: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        let host = std::env::consts::ARCH.to_uppercase();
        command.env(
            format!("CARGO_TARGET_{host}_UNKNOWN_LINUX_GNU_RUNNER"),
            runner.join(" "),
        );
    }
    command
}
