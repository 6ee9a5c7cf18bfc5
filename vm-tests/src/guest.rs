//! Virtual machines with kernels of their own: QEMU with a Debian kernel, an [`image`] made of this machine's
//! programs, and a first process (`src/bin/guest-init.rs`) that does what it is asked over a serial line.
//!
//! ```text
//!  host                                             guest
//!  Guest::run(…) ── Request ──► unix socket ── ttyS1 ──► guest-init serve ──► program
//!       ▲                                                     │ its output, its exit code
//!       └────────── Answer ◄────────────────────────────────-─┘
//!  console file ◄────────────── ttyS0 ◄── kernel messages
//! ```

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::process::ProcessGuard;
use crate::wait;

pub mod accelerator;
pub mod card;
pub mod gateway;
pub mod image;
pub mod kernel;
pub mod place;
pub mod protocol;
pub mod ring;
pub mod traffic;

pub use accelerator::Accelerator;
pub use card::{Card, Offloads};
pub use gateway::GuestGateway;
pub use place::Place;
use protocol::{Answer, Request};

/// From power on to the first answer: emulated, on a busy machine.
const BOOT_LIMIT: Duration = Duration::from_mins(3);
/// What is asked of a guest in passing ends well before. Its answer would be taken for that to the next
/// question, so a guest that has let this pass is of no more use.
const RUN_LIMIT: Duration = Duration::from_mins(3);
/// A guest that was told to switch off.
const OFF_LIMIT: Duration = Duration::from_secs(20);
/// Between two looks at the clock while nothing comes.
const PATIENCE: Duration = Duration::from_millis(200);
/// Lines of the console that a failure shows.
const CONSOLE_LINES: usize = 60;

/// What a guest is made of.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The kernel, as `vmlinuz`.
    pub kernel: PathBuf,
    /// The initial file system, which stays the only one.
    pub image: PathBuf,
    /// Virtual CPUs.
    pub cpus: u32,
    /// Memory, MiB.
    pub memory_mib: u32,
    /// Who runs the guest's instructions.
    pub accelerator: Accelerator,
    /// Network cards.
    pub cards: Vec<Card>,
}

/// A running guest. Dropped, it is gone.
#[derive(Debug)]
pub struct Guest {
    name: String,
    kernel: String,
    console: PathBuf,
    port: BufReader<UnixStream>,
    process: ProcessGuard,
}

impl Machine {
    /// Switches the machine on and waits until it takes requests. `directory` gets the console's text and the
    /// socket of the serial line.
    pub fn boot(&self, name: &str, directory: &Path) -> Result<Guest> {
        self.boot_within(name, directory, BOOT_LIMIT)
    }

    /// As [`Self::boot`], with a limit of one's own.
    pub fn boot_within(&self, name: &str, directory: &Path, limit: Duration) -> Result<Guest> {
        let console = directory.join(format!("{name}.console"));
        let socket = directory.join(format!("{name}.sock"));
        for left in [&console, &socket] {
            if left.exists() {
                fs::remove_file(left)?;
            }
        }
        let log = directory.join(format!("{name}.qemu"));
        let mut command = self.command(&console, &socket);
        let mut process = ProcessGuard::spawn(name, &mut command, &log)?;
        let stream = process.wait_until("open its serial port", limit, || {
            UnixStream::connect(&socket).ok()
        })?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut guest = Guest {
            name: name.to_owned(),
            kernel: String::new(),
            console,
            port: BufReader::new(stream),
            process,
        };
        match guest.answer("the guest to boot", limit)? {
            Answer::Ready { kernel } => guest.kernel = kernel,
            other => bail!("{name} said {other:?} before it was ready"),
        }
        Ok(guest)
    }

    fn command(&self, console: &Path, socket: &Path) -> Command {
        let mut command = Command::new("qemu-system-x86_64");
        command.args(["-nodefaults", "-no-user-config", "-no-reboot"]);
        command.args(["-display", "none", "-machine", "q35"]);
        command.args(self.accelerator.words());
        command.args(["-smp", &self.cpus.to_string()]);
        command.args(["-m", &self.memory_mib.to_string()]);
        command.arg("-kernel").arg(&self.kernel);
        command.arg("-initrd").arg(&self.image);
        // What hides in the processor is not what is tested, and costs an emulated one dearly; and on a busy
        // machine its timer may come too late for the kernel to believe in it.
        command.args([
            "-append",
            "console=ttyS0 loglevel=5 panic=-1 mitigations=off no_timer_check",
        ]);
        command
            .arg("-serial")
            .arg(format!("file:{}", console.display()));
        command
            .arg("-serial")
            .arg(format!("unix:{},server=on,wait=off", socket.display()));
        command.args(["-device", "virtio-rng-pci"]);
        for card in &self.cards {
            command.args(card.words());
        }
        command
    }
}

impl Guest {
    /// Its name, as it was booted with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its kernel's release, as `uname -r` gives it.
    pub fn kernel(&self) -> &str {
        &self.kernel
    }

    /// Runs a command line of words separated by blanks to its end; an error if it fails.
    pub fn run(&mut self, line: &str) -> Result<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        self.run_words(&words)
    }

    /// As [`Self::run`], for words that have blanks themselves.
    pub fn run_words(&mut self, words: &[&str]) -> Result<String> {
        let mut output = String::new();
        let code = self.follow(words, RUN_LIMIT, |piece| output += piece)?;
        if code != 0 {
            bail!(
                "{}: `{}` failed (exit code {code}): {}",
                self.name,
                words.join(" "),
                output.trim()
            );
        }
        Ok(output)
    }

    /// Runs a program to its end, gives its output to `on_output` as it comes, and returns its exit code.
    pub fn follow(
        &mut self,
        words: &[&str],
        limit: Duration,
        mut on_output: impl FnMut(&str),
    ) -> Result<i32> {
        let what = format!("`{}` to end", words.join(" "));
        self.ask(&Request::Run {
            words: words.iter().map(ToString::to_string).collect(),
        })?;
        let start = wait::now();
        loop {
            match self.answer(&what, limit.saturating_sub(start.elapsed()))? {
                Answer::Output(piece) => on_output(&piece),
                Answer::Exit(code) => return Ok(code),
                other => return self.unexpected(&other),
            }
        }
    }

    /// Starts a program that goes on in the guest, its output in `log`, and returns its process id.
    pub fn spawn(&mut self, line: &str, log: &str) -> Result<u32> {
        self.ask(&Request::Spawn {
            words: line.split_whitespace().map(ToOwned::to_owned).collect(),
            log: log.to_owned(),
        })?;
        match self.answer(line, RUN_LIMIT)? {
            Answer::Started(pid) => Ok(pid),
            other => self.unexpected(&other),
        }
    }

    /// Writes a file in the guest.
    pub fn write(&mut self, path: &str, text: &str, mode: u32) -> Result<()> {
        self.ask(&Request::Write {
            path: path.to_owned(),
            text: text.to_owned(),
            mode,
        })?;
        match self.answer(path, RUN_LIMIT)? {
            Answer::Done => Ok(()),
            other => self.unexpected(&other),
        }
    }

    /// As [`Self::run`]; what it says is read as JSON.
    pub fn run_json(&mut self, words: &[&str]) -> Result<Value> {
        let text = self.run_words(words)?;
        serde_json::from_str(&text).with_context(|| {
            let line = words.join(" ");
            format!("{}: `{line}` did not answer in JSON: {text}", self.name)
        })
    }

    /// Takes its power away, as a fault does.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()?;
        Ok(())
    }

    /// Switches it off and waits for that.
    pub fn power_off(mut self) -> Result<()> {
        self.ask(&Request::PowerOff)?;
        self.process.wait(OFF_LIMIT)?;
        Ok(())
    }

    /// What its console said last.
    pub fn console(&self) -> String {
        let text = fs::read(&self.console).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(CONSOLE_LINES);
        format!(
            "--- console of {}:\n{}\n---",
            self.name,
            lines[from..].join("\n")
        )
    }

    fn ask(&mut self, request: &Request) -> Result<()> {
        let mut line = serde_json::to_string(request)?;
        line.push('\n');
        let port = self.port.get_mut();
        port.write_all(line.as_bytes())
            .with_context(|| format!("{} does not listen", self.name))
    }

    /// The next answer; the console with the error if none comes.
    fn answer(&mut self, what: &str, limit: Duration) -> Result<Answer> {
        let start = wait::now();
        let mut line = Vec::new();
        loop {
            match self.port.read_until(b'\n', &mut line) {
                Ok(0) => bail!("{} switched itself off\n{}", self.name, self.console()),
                Ok(_) if line.ends_with(b"\n") => break,
                Ok(_) => {}
                Err(error) if is_patience(error.kind()) => {}
                Err(error) => return Err(error).context("reading the guest's serial port"),
            }
            if crate::sys::stop_requested() {
                bail!("interrupted while waiting for {what}");
            }
            if start.elapsed() > limit {
                bail!("waited {limit:?} for {what}\n{}", self.console());
            }
        }
        let text = String::from_utf8_lossy(&line);
        serde_json::from_str(&text).with_context(|| format!("{} said {text:?}", self.name))
    }

    fn unexpected<T>(&self, answer: &Answer) -> Result<T> {
        match answer {
            Answer::Failed(why) => bail!("{}: {why}", self.name),
            other => bail!("{} said {other:?}\n{}", self.name, self.console()),
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.console());
        }
    }
}

fn is_patience(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}
