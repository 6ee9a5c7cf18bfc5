//! Clocks of an agent's own, which a test may set: those of the machine are everybody's. A library in front of the C
//! library's gives them; the agent is the real one.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::crossway::Crossway;
use crate::process;

const SOURCE: &str = include_str!("clocks.c");

/// The clocks of one agent.
#[derive(Debug)]
pub struct Clocks {
    offsets: File,
    wall: Duration,
    boot: Duration,
}

impl Clocks {
    /// Gives them to an agent, from its next start on. Needs a C compiler, as building the agent does.
    pub fn give(agent: &mut Crossway, directory: &Path) -> Result<Self> {
        let [source, library, offsets] =
            ["clocks.c", "clocks.so", "clocks.offsets"].map(|name| directory.join(name));
        fs::write(&source, SOURCE)?;
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]);
        process::run(compiler.args([&library, &source]))?;
        fs::write(&offsets, [0; 16])?;
        agent.set_variable("LD_PRELOAD", &library.display().to_string());
        agent.set_variable("CLOCK_OFFSETS", &offsets.display().to_string());
        Ok(Self {
            offsets: File::options().write(true).open(offsets)?,
            wall: Duration::ZERO,
            boot: Duration::ZERO,
        })
    }

    /// As after a sleep of the machine: all clocks but the monotonic one have gone on.
    pub fn sleep(&mut self, time: Duration) -> Result<()> {
        self.wall += time;
        self.boot += time;
        self.write()
    }

    /// Sets the wall clock forward, as it is after a snapshot was restored.
    pub fn set_forward(&mut self, time: Duration) -> Result<()> {
        self.wall += time;
        self.write()
    }

    fn write(&self) -> Result<()> {
        let both = [self.wall, self.boot].map(|offset| offset.as_secs().to_ne_bytes());
        self.offsets.write_all_at(&both.concat(), 0)?;
        Ok(())
    }
}
