//! One command of a new user: shown, timed, and ended as one would where it runs until Ctrl-C.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use vm_tests::{process, wait};

/// How long the live status is looked at.
const LOOK: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(100);

/// What came of a command.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) success: bool,
    pub(super) took: Duration,
    /// The longest time without output, and what had been said before.
    pub(super) silence: (Duration, String),
    /// All that it printed.
    pub(super) text: String,
}

/// Runs the command. Some seconds after it has said `enough`, if it does, Ctrl-C is pressed.
pub(super) fn run(mut command: Command, enough: &str) -> Result<Outcome> {
    let start = wait::now();
    let (mut output, input) = io::pipe()?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(input.try_clone()?)
        .stderr(input)
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start `{}`", process::show(&command)))?;
    // It holds the ends that are written to.
    drop(command);
    let (sender, pieces) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = vec![0; 8 << 10];
        while let Ok(length @ 1..) = output.read(&mut buffer) {
            if sender.send(buffer[..length].to_vec()).is_err() {
                break;
            }
        }
    });
    let mut bytes = Vec::new();
    let mut last = start;
    let mut silence = (Duration::ZERO, String::new());
    let mut patience = Patience::Unlimited;
    let status = loop {
        let piece = pieces.recv_timeout(POLL);
        if let Ok(piece) = &piece {
            if last.elapsed() > silence.0 {
                silence = (last.elapsed(), last_line(&bytes));
            }
            last = wait::now();
            bytes.extend_from_slice(piece);
            io::stdout().write_all(piece)?;
            io::stdout().flush()?;
        }
        patience = match patience {
            Patience::Unlimited if has(&bytes, enough) => Patience::Until(wait::now() + LOOK),
            Patience::Until(end) if wait::now() >= end => {
                interrupt(child.id())?;
                Patience::Ended
            }
            other => other,
        };
        match piece {
            Err(RecvTimeoutError::Disconnected) => break child.wait()?,
            // Something that it left running may hold its output open: that is not waited for.
            Err(RecvTimeoutError::Timeout) => {
                if let Some(status) = child.try_wait()? {
                    break status;
                }
            }
            Ok(_) => {}
        }
    };
    Ok(Outcome {
        success: status.success(),
        took: start.elapsed(),
        silence,
        text: String::from_utf8_lossy(&bytes).into_owned(),
    })
}

/// When Ctrl-C is pressed.
#[derive(Clone, Copy, Debug)]
enum Patience {
    Unlimited,
    Until(Instant),
    Ended,
}

/// As a terminal does where Ctrl-C is pressed: the whole group hears of it.
fn interrupt(group: u32) -> Result<()> {
    println!("^C");
    let script = format!("kill -INT -{group}");
    process::run(Command::new("sh").args(["-c", &script]))?;
    Ok(())
}

/// Whether a line that was printed holds the words. What is looked at stays short: they come once and late.
fn has(bytes: &[u8], words: &str) -> bool {
    const FAR: usize = 16 << 10;
    let end = &bytes[bytes.len().saturating_sub(FAR)..];
    !words.is_empty()
        && end
            .windows(words.len())
            .any(|window| window == words.as_bytes())
}

fn last_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.lines().last().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn the_longest_silence_is_told_with_what_came_before() {
        let outcome = run(shell("echo one; echo two; sleep 0.7; echo three"), "").unwrap();
        assert!(outcome.success);
        let (silence, before) = outcome.silence;
        assert!(silence >= Duration::from_millis(500), "{silence:?}");
        assert_eq!(before, "two");
        assert_eq!(outcome.text, "one\ntwo\nthree\n");
    }

    #[test]
    fn a_failure_is_no_success() {
        assert!(!run(shell("exit 3"), "").unwrap().success);
    }
}
