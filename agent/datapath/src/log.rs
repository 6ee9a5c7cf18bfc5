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
        let (program, text) = (record.target(), record.args().to_string());
        match read(&text) {
            Some((kind, about)) => match kind.about() {
                Some(what) => warn!(program, "{program} {} ({what} {about})", kind.as_str()),
                None => warn!(program, "{program} {}", kind.as_str()),
            },
            None => warn!(program, "{program} says: {text}"),
        }
    }

    fn flush(&self) {}
}

/// A fault and what it is about, as [`FaultKind`] says it is written.
fn read(text: &str) -> Option<(FaultKind, u32)> {
    let (kind, about) = text.split_once(' ')?;
    let kind = FaultKind::ALL.get(kind.parse::<usize>().ok()?)?;
    Some((*kind, about.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_read_with_what_it_is_about() {
        assert_eq!(read("1 7"), Some((FaultKind::NoRole, 7)));
        assert_eq!(read("4 0"), Some((FaultKind::FlowRefused, 0)));
        assert_eq!(read("99 0"), None);
        assert_eq!(read("1"), None);
        assert_eq!(read("something else"), None);
    }
}
