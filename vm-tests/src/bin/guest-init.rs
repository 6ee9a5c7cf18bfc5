//! The first process of a guest: mounts what programs expect, says that it is ready, and does what its
//! host asks over a serial line (see [`vm_tests::guest::protocol`]) until it shall switch off.
//!
//! Two processes, for the first one of a machine inherits every orphan: it does nothing but wait for them,
//! while its child serves.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{Context, Result};
use vm_tests::guest::protocol::{Answer, PORT, Request};
use vm_tests::{process, sys};

/// Argument of the child that serves.
const SERVE: &str = "serve";
/// Loaded at once: what makes devices. All else is loaded by the kernel when it is first asked for.
const MODULES: [&str; 3] = ["virtio_pci", "virtio_net", "tun"];
/// File systems: kind, where.
const MOUNTS: [(&str, &str); 8] = [
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("devpts", "/dev/pts"),
    ("tmpfs", "/run"),
    ("tmpfs", "/tmp"),
    ("bpf", "/sys/fs/bpf"),
    ("cgroup2", "/sys/fs/cgroup"),
];

fn main() -> ExitCode {
    let result = if std::env::args().nth(1).as_deref() == Some(SERVE) {
        serve()
    } else {
        first()
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("guest-init: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Process 1: prepares the machine, and outlives everything.
fn first() -> Result<()> {
    for (kind, place) in MOUNTS {
        fs::create_dir_all(place)?;
        sys::mount(kind, Path::new(place)).with_context(|| format!("cannot mount {place}"))?;
    }
    let console = File::options().write(true).open("/dev/console")?;
    // Loading fails where it is built in; a missing network card is seen by who needs it.
    for module in MODULES {
        let _ = process::run(Command::new("modprobe").arg(module));
    }
    fs::write("/proc/sys/kernel/hostname", "guest")?;
    process::ip("link set lo up")?;
    let served = Command::new("/proc/self/exe")
        .arg(SERVE)
        .stdout(console.try_clone()?)
        .stderr(console)
        .spawn()?;
    sys::wait_for_children_until(served.id())?;
    sys::power_off()?;
    Ok(())
}

/// Answers requests until the one to switch off.
fn serve() -> Result<()> {
    let port = File::options().read(true).write(true).open(PORT)?;
    sys::make_raw_terminal(&port)?;
    let mut answers = port.try_clone()?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let kernel = kernel.trim().to_owned();
    send(&mut answers, &Answer::Ready { kernel })?;
    let mut started: Vec<Child> = Vec::new();
    for line in BufReader::new(port).lines() {
        // Whoever asks whether they still run shall not find what is only waited for.
        started.retain_mut(|child| !matches!(child.try_wait(), Ok(Some(_))));
        let request: Request = serde_json::from_str(&line?)?;
        let answer = match request {
            Request::Run { words } => run(&words, &mut answers).map(Answer::Exit),
            Request::Spawn { words, log } => spawn(&words, &log).map(|child| {
                let pid = child.id();
                started.push(child);
                Answer::Started(pid)
            }),
            Request::Write { path, text, mode } => write(&path, &text, mode).map(|()| Answer::Done),
            Request::PowerOff => return Ok(()),
        };
        let answer = answer.unwrap_or_else(|error| Answer::Failed(format!("{error:#}")));
        send(&mut answers, &answer)?;
    }
    Ok(())
}

fn send(port: &mut File, answer: &Answer) -> Result<()> {
    let mut line = serde_json::to_string(answer)?;
    line.push('\n');
    port.write_all(line.as_bytes())?;
    Ok(())
}

/// Runs a program, sends what it writes, and returns its exit code.
fn run(words: &[String], port: &mut File) -> Result<i32> {
    let (mut output, input) = std::io::pipe()?;
    let mut child = command(words)?
        .stdout(input.try_clone()?)
        .stderr(input)
        .spawn()
        .with_context(|| format!("cannot start {words:?}"))?;
    let mut piece = [0; 4096];
    loop {
        // Ends with the last one who holds the other end: a program that leaves a process behind gives it a log.
        let length = output.read(&mut piece)?;
        if length == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&piece[..length]).into_owned();
        send(port, &Answer::Output(text))?;
    }
    let status = child.wait()?;
    Ok(status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or_default()))
}

fn spawn(words: &[String], log: &str) -> Result<Child> {
    let log = File::options().create(true).append(true).open(log)?;
    command(words)?
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start {words:?}"))
}

fn command(words: &[String]) -> Result<Command> {
    let (program, arguments) = words.split_first().context("an empty command line")?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    Ok(command)
}

fn write(path: &str, text: &str, mode: u32) -> Result<()> {
    if let Some(folder) = Path::new(path).parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text).with_context(|| format!("cannot write {path}"))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok(())
}
