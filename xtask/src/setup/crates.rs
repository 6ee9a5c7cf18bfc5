//! Programs that cargo builds from crates.

use std::fs;
use std::process::Command;

use anyhow::{Result, anyhow};

use crate::step::{Beside, Finished, Step};
use crate::{cmd, environment};

mod reason;

use reason::Reason;

/// A program that cargo builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Program {
    /// The crate.
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    /// Whether it is kept among this workspace's tools and not with cargo's own.
    pub(super) is_tool: bool,
    /// Whether its own speed matters: it is measured, or forwards packets in tests.
    pub(super) must_be_fast: bool,
    pub(super) expected: &'static str,
}

impl Program {
    /// Builds and installs it. A build that ran out of memory is tried once more, one crate after the other.
    pub(super) fn install(self) -> Result<()> {
        let finished = self.step().follow(&mut self.command(&[]))?;
        self.conclude(finished)
    }

    /// Starts to build it beside other work; [`Self::conclude`] takes what came of it.
    pub(super) fn start(self) -> Result<Beside> {
        let folder = environment::workspace().join("target");
        fs::create_dir_all(&folder)?;
        let log = folder.join(format!("install-{}.log", self.name));
        self.step().beside(self.command(&[]), log)
    }

    /// Nothing if it is built now; else it is tried again where that may help, or the error tells the mend.
    pub(super) fn conclude(self, mut finished: Finished) -> Result<()> {
        if finished.status.success() {
            return Ok(());
        }
        if Reason::of(&finished.text) == Reason::OutOfMemory {
            eprintln!(
                "building {} ran out of memory ({}): once more, one crate after the other",
                self.name,
                memory()
            );
            finished = self.step().follow(&mut self.command(&["--jobs", "1"]))?;
            if finished.status.success() {
                return Ok(());
            }
        }
        let what = format!("cargo could not install {} {}", self.name, self.version);
        Err(match Reason::of(&finished.text) {
            Reason::Other => anyhow!("{what}. Its last lines:\n{}", finished.tail()),
            Reason::OutOfMemory => anyhow!(
                "{what}: {}, {}.\nMend: {}",
                Reason::OutOfMemory,
                memory(),
                Reason::OutOfMemory.mend()
            ),
            reason => anyhow!("{what}: {reason}.\nMend: {}", reason.mend()),
        })
    }

    fn step(self) -> Step {
        Step::new(format!("building {}", self.name), self.expected)
    }

    fn command(self, more: &[&str]) -> Command {
        let mut command =
            cmd::cargo(&["install", self.name, "--version", self.version, "--locked"]);
        command.args(more);
        if self.is_tool {
            command.arg("--root").arg(environment::tools());
        }
        if !self.must_be_fast {
            // Half the time of its own profile.
            for (setting, value) in [
                ("OPT_LEVEL", "0"),
                ("DEBUG", "0"),
                ("LTO", "off"),
                ("CODEGEN_UNITS", "16"),
            ] {
                command.env(format!("CARGO_PROFILE_RELEASE_{setting}"), value);
            }
        }
        command
    }
}

/// How much this machine has, for messages.
fn memory() -> String {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    reason::memory_in(&text).unwrap_or_else(|| "its memory is unknown".to_owned())
}
