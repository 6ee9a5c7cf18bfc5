//! Commands that run to their end, and processes that run until their guard is dropped.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::{sys, wait};

/// Lines of a log that a failure shows.
const TAIL_LINES: usize = 40;

/// Runs a command to its end and returns what it wrote to standard output. An exit code other
/// than 0 is an error that holds the command and what it wrote to standard error.
pub fn run(command: &mut Command) -> Result<String> {
    let shown = show(command);
    let output = command
        .stdin(Stdio::null())
        // Ctrl-C is for the one who started this command: it must be able to clean up with more of them.
        .process_group(0)
        .output()
        .with_context(|| format!("cannot start `{shown}`"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let stdout = String::from_utf8_lossy(&output.stdout);
        bail!(
            "`{shown}` failed ({}): {}{}",
            output.status,
            stderr.trim(),
            if stderr.trim().is_empty() {
                stdout.trim()
            } else {
                ""
            }
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs `ip` with words separated by blanks, such as `"-n ns link set lo up"`.
pub fn ip(words: &str) -> Result<String> {
    run(Command::new("ip").args(words.split_whitespace()))
}

/// Whether a program of this name is in the search path.
pub fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// A command as one would type it, for messages.
pub fn show(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

/// A process in the background, its output in a file. Dropped, it is killed; if the drop happens
/// because of a panic, the end of its output is shown first.
#[derive(Debug)]
pub struct ProcessGuard {
    child: Child,
    name: String,
    log: PathBuf,
}

impl ProcessGuard {
    /// Starts `command` in a process group of its own (so that Ctrl-C reaches only the one who started it),
    /// standard output and error appended to `log`. `name` stands in messages.
    pub fn spawn(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let shown = show(command);
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot open the log {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start `{shown}`"))?;
        Ok(Self {
            child,
            name: name.to_owned(),
            log: log.to_owned(),
        })
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// All that it wrote so far.
    pub fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The end of what it wrote, with a heading.
    pub fn tail(&self) -> String {
        let output = self.output();
        let lines: Vec<&str> = output.lines().collect();
        let from = lines.len().saturating_sub(TAIL_LINES);
        format!("--- {}:\n{}\n---", self.name, lines[from..].join("\n"))
    }

    /// Waits until `ready` gives a value. If the process ends before or `limit` passes, the error holds
    /// the end of its output.
    pub fn wait_until<T>(
        &mut self,
        what: &str,
        limit: Duration,
        mut ready: impl FnMut() -> Option<T>,
    ) -> Result<T> {
        let Self { child, name, .. } = self;
        wait::try_until(&format!("{name} to {what}"), limit, || {
            if let Some(status) = child.try_wait()? {
                bail!("{name} ended ({status})");
            }
            Ok(ready())
        })
        .map_err(|error| anyhow!("{error:#}\n{}", self.tail()))
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let Self { child, name, .. } = self;
        wait::try_until(&format!("{name} to end"), limit, || Ok(child.try_wait()?))
    }

    /// Sends SIGTERM and waits for the end; an error if it does not come within `limit`.
    pub fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        sys::terminate(self.pid())?;
        // Not `wait`: a stop signal to this process must not cut the clean-up short.
        let start = wait::now();
        while start.elapsed() < limit {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!(
            "{} was still there {limit:?} after SIGTERM\n{}",
            self.name,
            self.tail()
        )
    }

    /// Sends SIGKILL and waits for the end.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        self.child.kill()?;
        Ok(self.child.wait()?)
    }
}

impl Drop for ProcessGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.tail());
        }
        // It may have ended by itself; there is nothing to do about any other failure here.
        let _ = self.kill();
    }
}
