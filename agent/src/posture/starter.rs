//! A process set aside before the agent gives anything up. At SIGUSR2 it runs the program at our path, which
//! may be a newer one by now and needs the rights of a start; the agent itself can run nothing.
//!
//! ```text
//!  agent                                          starter (`crossway-next`)
//!    one byte       ─────────────────────────▶     runs `crossway run --take-over --config FILE`
//!                   ◀─────────────────────────     Told::Started(pid), or Told::Failed(errno)
//!                   ◀─────────────────────────     Told::Ended(status), should it end instead of taking over
//!    (ends)                                        ends
//! ```
//! It knows nothing but two paths, and reads nothing but that one byte.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use super::sys;
use crossway_sys::poll;

/// How often the starter looks whether the program it has started has ended.
const LOOK: Duration = Duration::from_millis(100);
/// Milliseconds that it may take to end.
const ENDING_LOOKS: u32 = 200;
/// Bytes of a word: its kind, and a number.
const WORD: usize = 5;

/// The agent's end. Dropped, the starter ends.
#[derive(Debug)]
pub struct Starter {
    stream: Option<UnixStream>,
    pid: libc::pid_t,
    /// What it runs.
    program: PathBuf,
}

/// What became of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It runs, as this process.
    Started(i32),
    /// It does not run: an error of the system.
    Failed(i32),
    /// It has ended: its wait status.
    Ended(i32),
}

impl Starter {
    /// Forks. To be called while there is one thread, and before there are secrets.
    pub(super) fn fork(config: &Path) -> io::Result<Self> {
        let program = std::env::current_exe()?;
        let (ours, its) = UnixStream::pair()?;
        // SAFETY: the process has one thread, so that no lock of the C library or the allocator is held by
        // another, and the child may go on as any program.
        let pid = unsafe { libc::fork() };
        match pid {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                drop(ours);
                serve(its, &program, config);
                std::process::exit(0)
            }
            pid => {
                ours.set_nonblocking(true)?;
                Ok(Self {
                    stream: Some(ours),
                    pid,
                    program,
                })
            }
        }
    }

    /// What it runs.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Asks for a successor.
    ///
    /// # Errors
    /// The starter has gone.
    pub fn order(&mut self) -> io::Result<()> {
        self.stream()?.write_all(&[1])
    }

    /// What has been told since the last call, if anything.
    ///
    /// # Errors
    /// The starter has gone.
    pub fn told(&mut self) -> io::Result<Option<Told>> {
        let mut word = [0; WORD];
        match self.stream()?.read(&mut word) {
            Ok(WORD) => Ok(Told::of(word)),
            Ok(_) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn stream(&mut self) -> io::Result<&mut UnixStream> {
        self.stream
            .as_mut()
            .ok_or(io::ErrorKind::NotConnected.into())
    }
}

impl Drop for Starter {
    fn drop(&mut self) {
        // It ends at once, so that nothing of us is left when we have ended.
        self.stream = None;
        for _ in 0..ENDING_LOOKS {
            // SAFETY: no status is asked for; the process is our child, and nobody else waits for it.
            if unsafe { libc::waitpid(self.pid, std::ptr::null_mut(), libc::WNOHANG) } != 0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Told {
    fn word(self) -> [u8; WORD] {
        let (kind, number) = match self {
            Self::Started(pid) => (0, pid),
            Self::Failed(errno) => (1, errno),
            Self::Ended(status) => (2, status),
        };
        let [a, b, c, d] = number.to_le_bytes();
        [kind, a, b, c, d]
    }

    fn of([kind, a, b, c, d]: [u8; WORD]) -> Option<Self> {
        let number = i32::from_le_bytes([a, b, c, d]);
        match kind {
            0 => Some(Self::Started(number)),
            1 => Some(Self::Failed(number)),
            2 => Some(Self::Ended(number)),
            _ => None,
        }
    }
}

/// The starter's life: until the agent has gone.
fn serve(mut agent: UnixStream, program: &Path, config: &Path) {
    sys::set_name(c"crossway-next");
    // What is meant for the agent may reach its whole group.
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGUSR1, libc::SIGUSR2] {
        // SAFETY: no handler of ours runs: the signal is passed over.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    let mut byte = [0];
    while matches!(agent.read(&mut byte), Ok(1)) {
        let arguments = ["run", "--take-over", "--config"].map(OsStr::new);
        let started = Command::new(program).args(arguments).arg(config).spawn();
        let gone = match started {
            Ok(mut child) => tell(&mut agent, Told::Started(child.id() as i32))
                .and_then(|()| attend(&mut agent, &mut child)),
            Err(error) => tell(&mut agent, Told::Failed(error.raw_os_error().unwrap_or(0))),
        };
        if gone.is_err() {
            return;
        }
    }
}

fn tell(agent: &mut UnixStream, told: Told) -> io::Result<()> {
    agent.write_all(&told.word())
}

/// Waits until the program has ended, or the agent has, which it does when it has handed over.
fn attend(agent: &mut UnixStream, child: &mut Child) -> io::Result<()> {
    loop {
        if let Some(status) = child.try_wait()? {
            return tell(agent, Told::Ended(ExitStatus::into_raw(status)));
        }
        if poll::wait_hang_up(std::os::fd::AsFd::as_fd(agent), LOOK).is_ok() {
            return Err(io::ErrorKind::NotConnected.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_arrive_as_they_were_sent() {
        for told in [Told::Started(4711), Told::Failed(2), Told::Ended(-1)] {
            assert_eq!(Told::of(told.word()), Some(told));
        }
        assert_eq!(Told::of([9; WORD]), None);
    }
}
