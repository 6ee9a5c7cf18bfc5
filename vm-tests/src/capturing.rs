//! `crossway capture` as a process, and what tshark (Debian's package of that name) reads
//! in its files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::api::CaptureSummary;
use crate::crossway::binary;
use crate::netns::Netns;
use crate::process::{self, ProcessGuard};
use crate::sys;

/// Loading and verifying the programs takes a fraction of a second; the rest is for a busy machine.
const BEGIN_LIMIT: Duration = Duration::from_mins(1);
const END_LIMIT: Duration = Duration::from_secs(20);

/// A capture that runs. Dropped, it is killed.
#[derive(Debug)]
pub struct Capturing {
    process: ProcessGuard,
    file: PathBuf,
}

impl Capturing {
    /// Begins a capture on a gateway in its namespace, into a file of this name in `directory`; returns when it
    /// captures.
    pub fn start(
        netns: &Netns,
        gateway: &str,
        (directory, name): (&Path, &str),
        words: &[&str],
    ) -> Result<Self> {
        let file = directory.join(format!("{name}.pcapng"));
        let mut command = command(netns, gateway, words)?;
        command.arg("--json").arg("--write").arg(&file);
        let log = directory.join(format!("{name}.log"));
        let mut process = ProcessGuard::spawn(name, &mut command, &log)?;
        let said = log.clone();
        process.wait_until("capture", BEGIN_LIMIT, || {
            let said = fs::read_to_string(&said).ok()?;
            said.contains("capturing on").then_some(())
        })?;
        Ok(Self { process, file })
    }

    /// Where it writes.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// All that it has said.
    pub fn said(&self) -> String {
        self.process.output()
    }

    /// Ends it as Ctrl-C does; what it says of itself.
    pub fn end(&mut self) -> Result<CaptureSummary> {
        sys::interrupt(self.pid())?;
        self.wait()
    }

    /// Waits until it ends by itself; what it says.
    pub fn wait(&mut self) -> Result<CaptureSummary> {
        let status = self.process.wait(END_LIMIT)?;
        ensure!(status.success(), "{status}: {}", self.said());
        let said = self.said();
        let json = said.find('{').context("it says nothing at its end")?;
        serde_json::from_str(&said[json..]).with_context(|| said.clone())
    }

    /// Ends it by SIGKILL.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.process.kill()
    }
}

/// The command in a gateway's namespace. Only the network's: pins and sockets are where they are.
pub fn command(netns: &Netns, gateway: &str, words: &[&str]) -> Result<Command> {
    let program = binary();
    let program = program.to_str().context("a path that is no text")?;
    let mut command = netns.command(program);
    command.args(["--gateway", gateway, "capture"]).args(words);
    Ok(command)
}

/// What tshark reads: of each packet these fields.
pub fn tshark(file: &Path, filter: &str, fields: &[&str]) -> Result<Vec<Vec<String>>> {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(file).args(["-n", "-T", "fields"]);
    if !filter.is_empty() {
        command.args(["-Y", filter]);
    }
    for field in fields {
        command.args(["-e", field]);
    }
    let text = process::run(&mut command).context("is Debian's package tshark there?")?;
    let rows = text.lines().map(|line| {
        let cells = line.split('\t').map(str::to_owned);
        cells.collect::<Vec<String>>()
    });
    Ok(rows.collect())
}

/// The value of a key in a comment.
pub fn word<'a>(comment: &'a str, key: &str) -> Option<&'a str> {
    let mut words = comment.split_whitespace();
    words.find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}
