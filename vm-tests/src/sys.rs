//! The system calls that std does not offer.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

static STOP: AtomicBool = AtomicBool::new(false);

/// Moves the calling thread, and only it, into the network namespace that `namespace` is open on.
pub fn enter_network_namespace(namespace: &File) -> io::Result<()> {
    // SAFETY: `setns` takes no pointer; the descriptor is open for as long as `namespace` is borrowed.
    let result = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// A raw socket of one IP protocol in the calling thread's network namespace (raw(7)).
pub fn raw_socket(ipv4: bool, protocol: u8) -> io::Result<OwnedFd> {
    let family = if ipv4 { libc::AF_INET } else { libc::AF_INET6 };
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: `socket` takes no pointer.
    let fd = unsafe { libc::socket(family, kind, protocol.into()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just opened, and nothing else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sets an option of a socket whose value is bytes, such as `IP_OPTIONS` (ip(7)).
pub fn set_socket_option(
    socket: &impl AsFd,
    level: libc::c_int,
    name: libc::c_int,
    value: &[u8],
) -> io::Result<()> {
    let socket = socket.as_fd().as_raw_fd();
    let length = value.len() as libc::socklen_t;
    // SAFETY: the pointer and the length are those of `value`, which the call only reads.
    let result = unsafe { libc::setsockopt(socket, level, name, value.as_ptr().cast(), length) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Sends SIGTERM to one process.
pub fn terminate(pid: u32) -> io::Result<()> {
    signal(pid, libc::SIGTERM)
}

/// Sends SIGINT to one process.
pub fn interrupt(pid: u32) -> io::Result<()> {
    signal(pid, libc::SIGINT)
}

/// Sends SIGKILL to one process.
pub fn kill(pid: u32) -> io::Result<()> {
    signal(pid, libc::SIGKILL)
}

/// Sends SIGUSR2 to one process: for a gateway, "start your successor".
pub fn upgrade(pid: u32) -> io::Result<()> {
    signal(pid, libc::SIGUSR2)
}

/// Stops one process by SIGSTOP until [`thaw`].
pub fn freeze(pid: u32) -> io::Result<()> {
    signal(pid, libc::SIGSTOP)
}

/// Lets a frozen process go on.
pub fn thaw(pid: u32) -> io::Result<()> {
    signal(pid, libc::SIGCONT)
}

/// Sends SIGHUP to one process: for a gateway, "read your configuration again".
pub fn hang_up(pid: u32) -> io::Result<()> {
    signal(pid, libc::SIGHUP)
}

/// From now on SIGINT and SIGTERM do not end this process but make [`stop_requested`] true, so
/// that its guards can clean up.
pub fn watch_stop_signals() {
    for number in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: the handler only stores into an atomic, which is async-signal-safe, and it is a
        // function that lives as long as the program.
        unsafe { libc::signal(number, on_stop_signal as *const () as libc::sighandler_t) };
    }
}

/// Whether SIGINT or SIGTERM came since [`watch_stop_signals`].
pub fn stop_requested() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// From now on the calling thread runs before every thread of ordinary priority (`SCHED_FIFO`, sched(7)): for a
/// measurement that must not wait for what it measures. It must sleep most of the time.
pub fn run_first() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 1 };
    // SAFETY: the pointer is to a live value of the type that the call reads; 0 is the calling thread.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Whether this process is root.
pub fn is_root() -> bool {
    // SAFETY: `geteuid` takes nothing and always succeeds.
    unsafe { libc::geteuid() == 0 }
}

extern "C" fn on_stop_signal(_number: libc::c_int) {
    STOP.store(true, Ordering::Relaxed);
}

fn signal(pid: u32, number: libc::c_int) -> io::Result<()> {
    let pid = i32::try_from(pid)
        .ok()
        .filter(|pid| *pid > 1)
        .ok_or_else(|| io::Error::other(format!("{pid} is no process to signal")))?;
    // SAFETY: `kill` takes no pointer, and `pid` names one process (it is positive and not init).
    let result = unsafe { libc::kill(pid, number) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
