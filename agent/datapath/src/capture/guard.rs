//! Kernels before 6.6 hold a TC program by a filter, which stays when the process that has set it dies. So another
//! process waits for that: it is told of each filter before it is set, and removes them all when its standard input
//! ends, which the kernel sees to however the first one ends.

use std::io::{self, BufRead, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result};
use aya::programs::TcAttachType;
use aya::programs::tc::{SchedClassifierLink, TcHandle};

use crossway_sys::interface;

/// Priority of the filters: in front of the agent's.
pub(super) const PRIORITY: u16 = 0xafff;

/// The command of this program that runs [`serve`]; behind it comes the number of the process that captures.
pub const COMMAND: &str = "capture-guard";

/// Tells the filters of one capture from those of others.
pub(super) fn handle(process: u32) -> TcHandle {
    TcHandle::from(process)
}

/// The other process, as the first one sees it. Dropped, it has ended.
pub(super) struct Guard {
    process: Child,
    words: Option<ChildStdin>,
}

impl Guard {
    pub(super) fn start() -> Result<Self> {
        let program = std::env::current_exe().context("find this program")?;
        let mut process = Command::new(program)
            .args([COMMAND, &std::process::id().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C is for the first one.
            .process_group(0)
            .spawn()
            .context("start the process that removes the filters if this one dies")?;
        let words = process.stdin.take();
        Ok(Self { process, words })
    }

    /// Has it remove this process's filter of an interface.
    pub(super) fn watch(&mut self, index: u32, direction: TcAttachType) -> Result<()> {
        let words = self.words.as_mut().context("it has no input")?;
        let line = format!("{index} {}\n", word(direction));
        words
            .write_all(line.as_bytes())
            .context("tell the process that removes the filters")
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.words = None;
        // Only root's kill -9 keeps it from ending.
        let _ = self.process.wait();
    }
}

/// What that process does: reads interfaces from `input`, and at its end removes the filters that `process` has set
/// there and not removed.
///
/// # Errors
/// `input` cannot be read or makes no sense.
pub fn serve(process: u32, input: impl BufRead) -> io::Result<()> {
    let mut places = Vec::new();
    let read = input.lines().try_for_each(|line| {
        places.push(place_in(&line?).ok_or(io::ErrorKind::InvalidData)?);
        Ok(())
    });
    for (index, direction) in places {
        // An error says that the interface is gone, and the filter with it.
        if let Ok(name) = interface::name(index)
            && let Ok(filter) =
                SchedClassifierLink::attached(&name, direction, PRIORITY, handle(process), None)
        {
            // Removes it, if it is still there.
            drop(filter);
        }
    }
    read
}

fn word(direction: TcAttachType) -> &'static str {
    match direction {
        TcAttachType::Egress => "out",
        _ => "in",
    }
}

fn place_in(line: &str) -> Option<(u32, TcAttachType)> {
    let (index, direction) = line.split_once(' ')?;
    let direction = [TcAttachType::Ingress, TcAttachType::Egress]
        .into_iter()
        .find(|known| word(*known) == direction)?;
    Some((index.parse().ok()?, direction))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_told_in_a_line() {
        for direction in [TcAttachType::Ingress, TcAttachType::Egress] {
            let line = format!("17 {}", word(direction));
            assert_eq!(place_in(&line), Some((17, direction)));
        }
        for wrong in ["", "17", "x in", "17 sideways"] {
            assert_eq!(place_in(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_an_error_and_the_end_is_none() {
        assert!(serve(1, &b""[..]).is_ok());
        let error = serve(1, &b"nonsense\n"[..]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
