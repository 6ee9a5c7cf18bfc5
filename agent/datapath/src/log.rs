//! What the programs say, in the agent's log: faults, each with its program's name.

use std::io;

use anyhow::{Context, Result};
use aya::Ebpf;
use aya_log::EbpfLogger;
use datapath_abi::fault::FaultKind;
use log::{Log, Metadata, Record};
use tokio::io::unix::AsyncFd;
use tracing::warn;

use super::sys::ring;

/// The ring in which the programs of this load write. An agent that takes over loads programs with a ring of
/// their own; what programs say whose agent has died is lost.
pub struct ProgramLog {
    ring: AsyncFd<EbpfLogger<Tracing>>,
}

impl ProgramLog {
    /// Must be called inside a tokio runtime.
    pub(super) fn new(programs: &mut Ebpf) -> Result<Self> {
        let logger = EbpfLogger::init_with_logger(programs, Tracing)
            .context("the eBPF object has no log: run `cargo xtask build`")?;
        let ring = ring::watch(logger).context("wait for what the eBPF programs say")?;
        Ok(Self { ring })
    }

    /// Waits until the programs say something, and logs it.
    pub async fn follow(&mut self) -> io::Result<()> {
        let mut ready = self.ring.readable_mut().await?;
        ready.get_inner_mut().flush();
        ready.clear_ready();
        Ok(())
    }
}

/// Takes the records of aya-log, whose target is the program.
struct Tracing;

impl Log for Tracing {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let program = record.target();
        warn!(
            program,
            "{program} {}",
            sentence(&record.args().to_string())
        );
    }

    fn flush(&self) {}
}

/// A message in words.
fn sentence(message: &str) -> String {
    let Some((kind, about)) = read(message) else {
        return format!("says {message:?}, which this agent does not know");
    };
    kind.about().map_or_else(
        || kind.as_str().to_owned(),
        |what| format!("{} ({what} {about})", kind.as_str()),
    )
}

/// A fault and what it is about, as [`FaultKind`] says it is written.
fn read(message: &str) -> Option<(FaultKind, u32)> {
    let (kind, about) = message.split_once(' ')?;
    let kind = FaultKind::ALL.get(kind.parse::<usize>().ok()?)?;
    Some((*kind, about.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_told_in_words_with_what_it_is_about() {
        assert!(sentence("1 7").ends_with("(interface 7)"));
        assert_eq!(sentence("4 0"), FaultKind::FlowRefused.as_str());
        for unknown in ["99 0", "1", "something else"] {
            assert!(sentence(unknown).contains(unknown));
        }
    }
}
