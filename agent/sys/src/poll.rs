//! Waiting for readiness, and waking a waiting lane.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};

/// Waits until one of `fds` is readable or `timeout` has passed.
pub fn wait(fds: &[BorrowedFd<'_>; 3], timeout: Duration) -> io::Result<()> {
    poll(
        &mut fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)),
        timeout,
    )
}

/// Waits until the other end of `fd` is closed; an error if that takes longer than `timeout`.
pub fn wait_hang_up(fd: BorrowedFd<'_>, timeout: Duration) -> io::Result<()> {
    let mut entry = [PollFd::new(fd, PollFlags::empty())];
    poll(&mut entry, timeout)?;
    let happened = entry[0].revents().unwrap_or(PollFlags::empty());
    if !happened.contains(PollFlags::POLLHUP) {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(())
}

fn poll(entries: &mut [PollFd<'_>], timeout: Duration) -> io::Result<()> {
    let timeout = PollTimeout::try_from(timeout.as_millis()).unwrap_or(PollTimeout::MAX);
    match nix::poll::poll(entries, timeout) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// An eventfd by which another thread ends a lane's wait.
#[derive(Debug)]
pub struct Waker {
    fd: EventFd,
    /// Somebody has waked it since it was cleared.
    awake: AtomicBool,
}

impl Waker {
    /// A waker that nobody has used yet.
    pub fn new() -> io::Result<Self> {
        let fd = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Self {
            fd,
            awake: AtomicBool::new(false),
        })
    }

    /// Makes the descriptor readable.
    pub fn wake(&self) {
        self.awake.store(true, Ordering::Relaxed);
        // A full counter (the only failure of an eventfd) is readable already.
        let _ = self.fd.write(1);
    }

    /// Whether it was waked since it was cleared, without a system call.
    pub fn is_awake(&self) -> bool {
        self.awake.load(Ordering::Relaxed)
    }

    /// Makes the descriptor quiet again.
    pub fn clear(&self) {
        self.awake.store(false, Ordering::Relaxed);
        // An empty counter reads as EAGAIN.
        let _ = self.fd.read();
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
