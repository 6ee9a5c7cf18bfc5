//! Long commands. What they print is passed on as it comes; when one prints nothing for some seconds, a line says
//! what goes on, for how long already, and how long it may take.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use vm_tests::wait;

use crate::cmd;

/// Nothing is silent for longer.
pub(crate) const SILENCE: Duration = Duration::from_secs(5);
/// How soon the end of a command is noticed that left its output open to others.
const POLL: Duration = Duration::from_millis(200);
/// What is kept of the output, so that a failure can be explained.
const KEPT: usize = 64 << 10;
/// Lines that are shown of a log.
const TAIL: usize = 30;

/// A command with a name, and what one may expect of it.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// Such as "building the agent".
    pub(crate) purpose: String,
    /// Such as "about a minute on two cores"; empty if nobody knows.
    pub(crate) expected: &'static str,
}

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    /// The end of all that it printed.
    pub(crate) text: String,
}

impl Step {
    pub(crate) fn new(purpose: impl Into<String>, expected: &'static str) -> Self {
        Self {
            purpose: purpose.into(),
            expected,
        }
    }

    /// Shows the command and runs it. A failure is the caller's to explain.
    pub(crate) fn follow(&self, command: &mut Command) -> Result<Finished> {
        self.announce(command);
        let terminal = io::stderr().is_terminal();
        if terminal {
            keep_progress_bars(command);
        }
        let screen = Screen {
            out: io::stdout(),
            err: io::stderr(),
            terminal,
            line: Line::Complete,
        };
        self.run_on(command, screen, SILENCE)
    }

    /// Starts the command beside others, all that it prints in a file. [`Beside::join`] waits for it.
    pub(crate) fn beside(&self, mut command: Command, log: PathBuf) -> Result<Beside> {
        self.announce(&command);
        let file = File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
        let output = file.try_clone()?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(file)
            .spawn()
            .with_context(|| cannot_start(&self.purpose, &command))?;
        Ok(Beside {
            step: self.clone(),
            start: wait::now(),
            log,
            waiter: thread::spawn(move || child.wait()),
        })
    }

    fn announce(&self, command: &Command) {
        eprintln!("+ {}", cmd::typed(command));
        if !self.expected.is_empty() {
            eprintln!("  {}: {}", self.purpose, self.expected);
        }
    }

    fn run_on<O: Write, E: Write>(
        &self,
        command: &mut Command,
        mut screen: Screen<O, E>,
        silence: Duration,
    ) -> Result<Finished> {
        let start = wait::now();
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| cannot_start(&self.purpose, command))?;
        let (sender, pieces) = mpsc::channel();
        let readers = [
            child
                .stdout
                .take()
                .map(|pipe| read(pipe, Stream::Out, sender.clone())),
            child
                .stderr
                .take()
                .map(|pipe| read(pipe, Stream::Err, sender)),
        ];
        let mut kept = VecDeque::new();
        let mut last = start;
        let mut ended = None;
        let status = loop {
            match pieces.recv_timeout(POLL) {
                Ok((stream, bytes)) => {
                    last = wait::now();
                    kept.extend(&bytes);
                    kept.drain(..kept.len().saturating_sub(KEPT));
                    screen.pass_on(stream, &bytes)?;
                }
                Err(RecvTimeoutError::Disconnected) => break child.wait()?,
                Err(RecvTimeoutError::Timeout) => {
                    // Something that it left running may hold its output open: that is not waited for.
                    if let Some(status) = ended {
                        break status;
                    }
                    ended = child.try_wait()?;
                }
            }
            if last.elapsed() >= silence {
                last = wait::now();
                screen.tick(&self.so_far(start.elapsed(), ""))?;
            }
        };
        screen.end()?;
        // A reader of output that is still open ends with the last of those who hold it.
        for reader in readers
            .into_iter()
            .flatten()
            .filter(JoinHandle::is_finished)
        {
            let _ = reader.join();
        }
        let text = String::from_utf8_lossy(kept.make_contiguous()).into_owned();
        Ok(Finished { status, text })
    }

    /// What is said when nothing else is.
    fn so_far(&self, elapsed: Duration, detail: &str) -> String {
        let mut line = format!("  {}: {} s so far", self.purpose, elapsed.as_secs());
        for more in [self.expected, detail] {
            if !more.is_empty() {
                line = format!("{line}, {more}");
            }
        }
        line
    }
}

impl Finished {
    /// An error that names the command, unless it succeeded.
    pub(crate) fn checked(&self, purpose: &str, command: &Command) -> Result<()> {
        ensure!(
            self.status.success(),
            "{purpose}: `{}` failed ({})",
            cmd::typed(command),
            self.status
        );
        Ok(())
    }

    /// The last lines of what it printed.
    pub(crate) fn tail(&self) -> String {
        let lines: Vec<&str> = self.text.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }
}

/// A command that runs beside others.
#[derive(Debug)]
pub(crate) struct Beside {
    step: Step,
    start: Instant,
    log: PathBuf,
    waiter: JoinHandle<io::Result<ExitStatus>>,
}

impl Beside {
    /// Waits for its end, and says from time to time what it is at.
    pub(crate) fn join(self) -> Result<Finished> {
        let mut last = wait::now();
        while !self.waiter.is_finished() {
            thread::sleep(POLL);
            if last.elapsed() >= SILENCE {
                last = wait::now();
                let text = std::fs::read_to_string(&self.log).unwrap_or_default();
                let detail = text.lines().last().unwrap_or_default().trim();
                eprintln!("{}", self.step.so_far(self.start.elapsed(), detail));
            }
        }
        let waited = self.waiter.join();
        let status =
            waited.map_err(|_| anyhow::anyhow!("{}: its waiter died", self.step.purpose))??;
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        eprintln!(
            "  {}: ended after {} s; what it said is in {}",
            self.step.purpose,
            self.start.elapsed().as_secs(),
            self.log.display()
        );
        Ok(Finished { status, text })
    }
}

#[derive(Clone, Copy, Debug)]
enum Stream {
    Out,
    Err,
}

/// How the last line on the screen stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Complete,
    /// A line that the next one may overwrite: a progress bar, or ours.
    Passing,
    Open,
}

/// Where output goes.
struct Screen<O, E> {
    out: O,
    err: E,
    terminal: bool,
    line: Line,
}

impl<O: Write, E: Write> Screen<O, E> {
    fn pass_on(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        if self.line == Line::Passing && self.terminal {
            self.err.write_all(b"\x1b[K")?;
            self.err.flush()?;
        }
        self.line = match bytes.last() {
            Some(b'\n') => Line::Complete,
            Some(b'\r') => Line::Passing,
            _ => Line::Open,
        };
        match stream {
            Stream::Out => self.out.write_all(bytes).and_then(|()| self.out.flush()),
            Stream::Err => self.err.write_all(bytes).and_then(|()| self.err.flush()),
        }
    }

    fn tick(&mut self, line: &str) -> io::Result<()> {
        if self.line == Line::Open {
            writeln!(self.err)?;
        }
        if self.terminal {
            // The cursor stays at its start: what comes next takes its place.
            write!(self.err, "\r\x1b[K{line}\r")?;
            self.line = Line::Passing;
        } else {
            writeln!(self.err, "{line}")?;
            self.line = Line::Complete;
        }
        self.err.flush()
    }

    fn end(&mut self) -> io::Result<()> {
        if self.line == Line::Passing && self.terminal {
            write!(self.err, "\x1b[K")?;
        }
        self.err.flush()
    }
}

fn read(
    mut pipe: impl Read + Send + 'static,
    stream: Stream,
    sender: Sender<(Stream, Vec<u8>)>,
) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut buffer = vec![0; 8 << 10];
        while let Ok(length @ 1..) = pipe.read(&mut buffer) {
            if sender.send((stream, buffer[..length].to_vec())).is_err() {
                break;
            }
        }
    })
}

/// cargo shows colours and its bar to a terminal alone, and sees a pipe.
fn keep_progress_bars(command: &mut Command) {
    for (name, value) in [
        ("CARGO_TERM_COLOR", "always"),
        ("CARGO_TERM_PROGRESS_WHEN", "always"),
        ("CARGO_TERM_PROGRESS_WIDTH", "100"),
    ] {
        if std::env::var_os(name).is_none() {
            command.env(name, value);
        }
    }
}

fn cannot_start(purpose: &str, command: &Command) -> String {
    format!("{purpose}: cannot start `{}`", cmd::typed(command))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str, terminal: bool) -> (Finished, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let screen = Screen {
            out: &mut out,
            err: &mut err,
            terminal,
            line: Line::Complete,
        };
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let step = Step::new("waiting", "a moment");
        let finished = step.run_on(&mut command, screen, Duration::from_millis(300));
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (finished.unwrap(), text(out), text(err))
    }

    #[test]
    fn a_silent_command_is_spoken_for() {
        let (finished, out, err) = run("sleep 1; echo done", false);
        assert!(finished.status.success());
        assert_eq!(out, "done\n");
        assert!(
            err.starts_with("  waiting: 0 s so far, a moment\n"),
            "{err:?}"
        );
    }

    #[test]
    fn a_command_that_talks_is_not_spoken_for() {
        let (finished, out, err) = run("echo to out; echo to err >&2; exit 3", false);
        assert_eq!((out.as_str(), err.as_str()), ("to out\n", "to err\n"));
        assert_eq!(finished.status.code(), Some(3));
        assert!(finished.text.contains("to out") && finished.text.contains("to err"));
    }

    #[test]
    fn on_a_terminal_the_line_gives_way_to_what_comes() {
        let (_, _, err) = run("sleep 1; echo more >&2", true);
        assert!(
            err.starts_with("\r\x1b[K  waiting: 0 s so far, a moment\r"),
            "{err:?}"
        );
        assert!(err.ends_with("\r\x1b[Kmore\n"), "{err:?}");
    }

    #[test]
    fn what_a_command_leaves_running_is_not_waited_for() {
        let start = wait::now();
        let (finished, ..) = run("sleep 20 & echo started", false);
        assert!(finished.status.success());
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}
