//! Waiting for readiness, and waking a waiting lane.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Waits until one of `fds` is readable or `timeout` has passed.
pub fn wait(fds: &[BorrowedFd<'_>; 3], timeout: Duration) -> io::Result<()> {
    poll(&mut fds.map(|fd| entry(fd, libc::POLLIN)), timeout)
}

/// Waits until `fd` takes more output or `timeout` has passed.
pub fn wait_writable(fd: BorrowedFd<'_>, timeout: Duration) -> io::Result<()> {
    poll(&mut [entry(fd, libc::POLLOUT)], timeout)
}

/// Waits until the other end of `fd` is closed; an error if that takes longer than `timeout`.
pub fn wait_hang_up(fd: BorrowedFd<'_>, timeout: Duration) -> io::Result<()> {
    let mut entries = [entry(fd, 0)];
    poll(&mut entries, timeout)?;
    if entries[0].revents & libc::POLLHUP == 0 {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(())
}

fn entry(fd: BorrowedFd<'_>, events: libc::c_short) -> libc::pollfd {
    libc::pollfd {
        fd: fd.as_raw_fd(),
        events,
        revents: 0,
    }
}

fn poll(entries: &mut [libc::pollfd], timeout: Duration) -> io::Result<()> {
    let milliseconds = libc::c_int::try_from(timeout.as_millis()).unwrap_or(libc::c_int::MAX);
    // SAFETY: the pointer and the length are those of one exclusive slice.
    let result = unsafe {
        libc::poll(
            entries.as_mut_ptr(),
            entries.len() as libc::nfds_t,
            milliseconds,
        )
    };
    if result < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    Ok(())
}

/// An eventfd by which another thread ends a lane's wait.
#[derive(Debug)]
pub struct Waker {
    fd: OwnedFd,
    /// Somebody has waked it since it was cleared.
    awake: AtomicBool,
}

impl Waker {
    /// A waker that nobody has used yet.
    pub fn new() -> io::Result<Self> {
        // SAFETY: the call takes no pointer.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made this descriptor and nobody else knows it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self {
            fd,
            awake: AtomicBool::new(false),
        })
    }

    /// Makes the descriptor readable.
    pub fn wake(&self) {
        self.awake.store(true, Ordering::Relaxed);
        let one = 1u64.to_ne_bytes();
        // SAFETY: `one` outlives the call and is as long as said. A full counter (the only failure
        // of an eventfd) is readable already.
        unsafe { libc::write(self.fd.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Whether it was waked since it was cleared, without a system call.
    pub fn is_awake(&self) -> bool {
        self.awake.load(Ordering::Relaxed)
    }

    /// Makes the descriptor quiet again.
    pub fn clear(&self) {
        self.awake.store(false, Ordering::Relaxed);
        let mut count = [0u8; 8];
        // SAFETY: `count` is writable and as long as said. An empty counter reads as EAGAIN.
        unsafe { libc::read(self.fd.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
