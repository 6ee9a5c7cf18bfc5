//! `cargo xtask test [FILTER]`: the rings of tests, from those that take milliseconds to those that
//! move real traffic. Every ring runs, so that one failure does not hide another.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::build::Agent;
use crate::setup::{self, Purpose};
use crate::times::Times;
use crate::{build, cmd, environment};

mod side_by_side;

/// Test files of `vm-tests` whose name starts so load programs and judge frames, but move no traffic.
const VERDICT_PREFIX: &str = "verdict";
/// Test files of `vm-tests` for guests alone, or of several guests: `cargo xtask vm-test` runs them.
const GUEST_PREFIXES: [&str; 2] = ["guest_", "virtio_"];
/// Layers of the agent whose test files need root: they change hosts in namespaces of their own.
const ROOT_LAYERS: [&str; 2] = ["agent/datapath", "agent/host"];

struct Ring {
    name: &'static str,
    command: Command,
    as_root: bool,
}

impl Ring {
    fn run(&mut self, filter: Option<&str>) -> Result<()> {
        if self.as_root {
            let agent = build::binary(Agent::Release);
            return side_by_side::run(self.name, &mut self.command, filter, &agent);
        }
        if let Some(filter) = filter {
            self.command.args(["--", filter]);
        }
        cmd::run(self.name, &mut self.command)
    }
}

/// `with_browser` has Chromium installed, which `report` has a page looked at with where it is there. The gate does
/// without: it is larger than all else together.
pub(crate) fn run(filter: Option<&str>, with_browser: bool) -> Result<()> {
    let mut times = Times::default();
    times.of("setup and build", || {
        if with_browser {
            setup::ensure_tool("chromium")?;
        }
        let toolchain = setup::ensure(Purpose::Test)?;
        build::build(&toolchain, Agent::Release)
    })?;
    let mut failed = Vec::new();
    for mut ring in rings()? {
        eprintln!("\n=== {} ring", ring.name);
        let outcome = times.of(ring.name, || ring.run(filter));
        if let Err(error) = outcome {
            eprintln!("{error:#}");
            failed.push(ring.name);
        }
    }
    times.print();
    if !failed.is_empty() {
        bail!("failed: {} ring", failed.join(" ring, "));
    }
    eprintln!("\nAll rings passed.");
    Ok(())
}

fn rings() -> Result<Vec<Ring>> {
    let is_for_guests = |name: &String| GUEST_PREFIXES.iter().any(|start| name.starts_with(start));
    let (verdicts, mut namespaces): (Vec<String>, Vec<String>) = tests_of("vm-tests")?
        .into_iter()
        .filter(|name| !is_for_guests(name))
        .partition(|name| name.starts_with(VERDICT_PREFIX));
    for layer in ROOT_LAYERS {
        namespaces.extend(tests_of(layer)?);
    }
    namespaces.extend(tests_of("xtask")?);
    let mut pure = cmd::cargo(&["test", "--workspace", "--lib", "--bins", "--no-fail-fast"]);
    pure.args(["--exclude", "datapath-ebpf", "--exclude", "vm-tests"]);
    let library = ["test", "-p", "vm-tests", "--lib"];
    let examples = ["test", "--workspace", "--exclude", "datapath-ebpf", "--doc"];
    let mut rings = vec![
        Ring {
            name: "pure",
            command: with_tests(pure, &pure_tests_of_the_agent()?),
            as_root: false,
        },
        Ring {
            name: "pure (test library)",
            command: cmd::cargo(&library),
            as_root: false,
        },
        Ring {
            name: "pure (examples in the documentation)",
            command: cmd::cargo(&examples),
            as_root: false,
        },
    ];
    // boringtun reads the clock by itself: only a build of its own has one that tests can turn.
    let by_the_clock = ["-p", "crossway-tunnel", "--features", "mock-clock", "--lib"];
    let mut command = cmd::cargo(&["test"]);
    command.args(by_the_clock).arg("engines::by_the_clock");
    rings.push(Ring {
        name: "pure (both engines by the clock)",
        command,
        as_root: false,
    });
    for (name, tests) in [("verdict", verdicts), ("namespace", namespaces)] {
        if tests.is_empty() {
            eprintln!("The {name} ring has no tests.");
        } else {
            rings.push(Ring {
                name,
                command: for_root(&tests),
                as_root: true,
            });
        }
    }
    Ok(rings)
}

/// Test files of the agent and of its layers, but for those that need root.
fn pure_tests_of_the_agent() -> Result<Vec<String>> {
    let mut names = tests_of("agent")?;
    let folder = environment::workspace().join("agent");
    let entries = fs::read_dir(&folder);
    for entry in entries.with_context(|| format!("cannot list {}", folder.display()))? {
        let layer = format!("agent/{}", entry?.file_name().to_string_lossy());
        if !ROOT_LAYERS.contains(&layer.as_str()) {
            names.extend(tests_of(&layer)?);
        }
    }
    Ok(names)
}

/// Names of a package's test files.
fn tests_of(package: &str) -> Result<Vec<String>> {
    let directory = environment::workspace().join(package).join("tests");
    if !directory.exists() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    let entries = fs::read_dir(&directory);
    for entry in entries.with_context(|| format!("cannot list {}", directory.display()))? {
        let path = entry?.path();
        let is_test = path.extension().is_some_and(|extension| extension == "rs")
            || path.join("main.rs").exists();
        if let Some(stem) = path.file_stem().filter(|_| is_test) {
            names.push(stem.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn with_tests(mut command: Command, tests: &[String]) -> Command {
    for test in tests {
        command.args(["--test", test]);
    }
    command
}

/// Builds test files that need root.
fn for_root(tests: &[String]) -> Command {
    let packages =
        ["vm-tests", "crossway-datapath", "crossway-host", "xtask"].map(|package| ["-p", package]);
    let mut command = cmd::cargo(&["test"]);
    command.args(packages.concat());
    with_tests(command, tests)
}
