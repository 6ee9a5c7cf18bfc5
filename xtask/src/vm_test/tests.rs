//! Which tests guests run, and their building.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{cmd, environment};

/// Files of tests, by package, in the order in which they run: what loads the programs first.
#[rustfmt::skip]
const TESTS: &[(&str, &[&str])] = &[
    ("vm-tests", &[
        "verdicts", "guest_smoke", "capture_ends", "two_sites", "guest_kernel_wireguard", "guest_weather", "virtio_xdp", "virtio_offloads", "virtio_sites",
    ]),
];

/// Those that `--long` adds: emulated, they take longer than one waits for at each change.
#[rustfmt::skip]
const LONG: &[(&str, &[&str])] = &[
    ("crossway", &["datapath", "host"]),
    ("vm-tests", &[
        "guest_rekey", "three_sites", "protocols", "slow_path", "trace", "mtu", "spoofing", "counters", "lanes", "interop", "junk",
        "lifecycle", "reload", "endpoints", "host_events", "on_down", "failover", "posture", "tagged_wan",
    ]),
];

/// Which of them are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Quick,
    Usual,
    Long,
    /// This file, wherever it stands.
    Only(String),
}

/// Those of `--quick`, with the parts of names that choose among their tests: every program loads, and pings and
/// TCP pass between two sites, and a capture leaves nothing.
const QUICK: &[(&str, &[&str])] = &[
    ("verdicts", &["load::"]),
    ("guest_smoke", &[]),
    ("capture_ends", &[]),
];

/// Those that a kernel runs which does not take the eBPF programs.
const WITHOUT_FAST_PATH: &[&str] = &[
    "guest_smoke",
    "two_sites",
    "host",
    "guest_kernel_wireguard",
    "guest_rekey",
    "guest_weather",
];

/// Files of tests whose name starts so run on this machine and switch several guests on.
const ON_HOST_PREFIX: &str = "virtio_";

/// A built file of tests.
#[derive(Debug)]
pub(super) struct Test {
    pub(super) name: String,
    pub(super) executable: PathBuf,
    /// Parts of names; without any, all of its tests run.
    pub(super) filters: &'static [&'static str],
}

impl Test {
    /// Whether it needs a kernel that takes the eBPF programs.
    pub(super) fn needs_fast_path(&self) -> bool {
        !WITHOUT_FAST_PATH.contains(&self.name.as_str())
    }

    pub(super) fn path_in_guest(&self) -> String {
        format!("/tests/{}", self.name)
    }

    pub(super) fn is_on_host(&self) -> bool {
        self.name.starts_with(ON_HOST_PREFIX)
    }
}

/// Builds the tests that are wanted.
pub(super) fn build(which: &Which) -> Result<Vec<Test>> {
    let mut built = Vec::new();
    for (package, names) in TESTS.iter().chain(LONG) {
        let is_usual = TESTS.iter().any(|(_, usual)| usual == names);
        let wanted = names.iter().copied().filter(|name| match which {
            Which::Only(only) => name == only,
            Which::Quick => quick_filters(name).is_some(),
            Which::Usual => is_usual,
            Which::Long => true,
        });
        let wanted: Vec<&str> = wanted.collect();
        if !wanted.is_empty() {
            built.extend(build_of(package, &wanted)?);
        }
    }
    for test in &mut built {
        test.filters = quick_filters(&test.name)
            .filter(|_| *which == Which::Quick)
            .unwrap_or_default();
    }
    let names = TESTS.iter().chain(LONG).flat_map(|(_, names)| names.iter());
    ensure!(
        !built.is_empty(),
        "no such test: the files are {}",
        names.copied().collect::<Vec<_>>().join(", ")
    );
    Ok(built)
}

fn quick_filters(name: &str) -> Option<&'static [&'static str]> {
    let found = QUICK.iter().find(|(quick, _)| *quick == name);
    found.map(|(_, filters)| *filters)
}

/// Builds the guests' first process.
pub(super) fn build_init() -> Result<PathBuf> {
    build_program("guest-init")
}

/// Builds a program of the test library for guests.
pub(super) fn build_program(name: &str) -> Result<PathBuf> {
    let words = ["build", "--release", "-p", "vm-tests", "--bin", name];
    cmd::run("building a program for guests", &mut cmd::cargo(&words))?;
    Ok(environment::workspace().join("target/release").join(name))
}

fn build_of(package: &str, names: &[&str]) -> Result<Vec<Test>> {
    let mut command = cmd::cargo(&["test", "--no-run", "-p", package]);
    for name in names {
        command.args(["--test", name]);
    }
    command.args(["--message-format", "json-render-diagnostics"]);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    ensure!(output.status.success(), "building the tests failed");
    let messages = String::from_utf8_lossy(&output.stdout);
    let executables: Vec<(String, PathBuf)> = messages.lines().filter_map(executable).collect();
    names
        .iter()
        .map(|name| {
            let found = executables.iter().find(|(built, _)| built == name);
            let (_, executable) = found.with_context(|| format!("cargo built no {name}"))?;
            Ok(Test {
                name: (*name).to_owned(),
                executable: executable.clone(),
                filters: &[],
            })
        })
        .collect()
}

/// The name and the path in one of cargo's messages, if it is about a test that was built.
fn executable(message: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(message).ok()?;
    let path = message.get("executable")?.as_str()?;
    let target = message.get("target")?;
    let is_test = target["kind"].as_array()?.contains(&"test".into());
    is_test.then(|| {
        (
            target["name"].as_str().unwrap_or_default().to_owned(),
            path.into(),
        )
    })
}
