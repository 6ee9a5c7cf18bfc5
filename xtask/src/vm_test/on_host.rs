//! Tests of several guests at once: they run on this machine, as root, and switch guests on themselves.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use vm_tests::guest::image::Image;
use vm_tests::guest::kernel::Kernel;
use vm_tests::guest::ring;
use vm_tests::process::ProcessGuard;
use vm_tests::{cleanup, wait};

use super::Stage;
use super::kernels::Choice;
use super::report::Report;
use super::tests::{self, Test};
use crate::build::{self, Agent};
use crate::cmd;

/// What one file of tests may take: several machines boot and verify programs at the same time.
const LIMIT: Duration = Duration::from_mins(10);
const END_LIMIT: Duration = Duration::from_secs(5);
/// Between two looks at what a test has written.
const LOOK: Duration = Duration::from_millis(200);

/// Programs of this machine that these guests have: few, for each guest holds the image in its memory.
const PROGRAMS: &[&str] = &[
    "cat",
    "dmesg",
    "env",
    "ethtool",
    "hostname",
    "ip",
    "kill",
    "ls",
    "modprobe",
    "ping",
    "sh",
    "sleep",
    "sysctl",
    "tail",
    "tc",
    "timeout",
    "traceroute",
];

/// Runs the files of tests with one kernel.
pub(super) fn run(
    kernel: &Kernel,
    tests: &[&Test],
    stage: &Stage,
    choice: &Choice,
    report: &mut Report,
) -> Result<()> {
    let image = pack(kernel, stage)?;
    for test in tests {
        eprintln!("\n--- {} with guests of {}", test.name, kernel.release);
        let mut command = cmd::as_root("env");
        for (name, path) in [
            (ring::KERNEL, kernel.vmlinuz()?),
            (ring::IMAGE, image.clone()),
            (ring::KEPT, stage.kept.clone()),
        ] {
            command.arg(format!("{name}={}", path.display()));
        }
        command.arg(&test.executable);
        command.args(["--test-threads=1", "--show-output"]);
        let start = wait::now();
        let log = stage.kept.join(format!("{}.log", test.name));
        let mut output = String::new();
        let ended = follow(&test.name, &mut command, &log, &mut output);
        if vm_tests::sys::stop_requested() {
            bail!("interrupted");
        }
        if let Err(error) = &ended {
            eprintln!("{error:#}");
        }
        report.add(choice.name, test, &output, ended, start.elapsed());
    }
    Ok(())
}

/// Runs a program to its end, shows what it writes and keeps it in `output`, and returns its exit code.
fn follow(name: &str, command: &mut Command, log: &Path, output: &mut String) -> Result<i32> {
    if log.exists() {
        fs::remove_file(log)?;
    }
    let start = wait::now();
    let mut process = ProcessGuard::spawn(name, command, log)?;
    loop {
        let running = process.is_running();
        let text = process.output();
        eprint!("{}", &text[output.len()..]);
        *output = text;
        if !running {
            let status = process.wait(END_LIMIT)?;
            return status.code().context("ended by a signal");
        }
        if !wait::pace(LOOK) || start.elapsed() > LIMIT {
            let ended = process.terminate(END_LIMIT);
            // Its guests run in namespaces that are named after it.
            cleanup::remove_dead_tests()?;
            ended?;
            bail!("{name} was ended after {:.0?}", start.elapsed());
        }
    }
}

fn pack(kernel: &Kernel, stage: &Stage) -> Result<PathBuf> {
    let mut image = Image::create(&stage.kept.join("stage"))?;
    for program in PROGRAMS {
        image.program(program)?;
    }
    image.file(&build::binary(Agent::Release), "usr/bin/crossway")?;
    image.file(
        &tests::build_program("guest-traffic")?,
        "usr/bin/guest-traffic",
    )?;
    image.file(&stage.init, "init")?;
    let archive = stage.kept.join("image-of-several.cpio");
    image.pack(kernel, &archive)?;
    Ok(archive)
}
