//! The system calls that std does not offer; by hand only where no crate wraps them.

use std::fs::File;
use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::mount::MsFlags;
use nix::sched::{self, CloneFlags};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::signal::{self, Signal};
use nix::sys::termios::{self, SetArg};
use nix::sys::wait::wait;
use nix::unistd::Pid;
use socket2::{Domain, Socket, Type};

static STOP: AtomicBool = AtomicBool::new(false);

/// Runs `work` on a thread that is another user's, of one group.
pub fn as_user<T: Send>(uid: u32, gid: u32, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    let become_user = move || {
        let none = std::ptr::null::<libc::gid_t>();
        let calls: [&dyn Fn() -> libc::c_long; 3] = [
            // SAFETY: a list of no groups. The bare system call changes the calling thread alone.
            &|| unsafe { libc::syscall(libc::SYS_setgroups, 0, none) },
            // SAFETY: numbers only, for the calling thread.
            &|| unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) },
            // SAFETY: as above.
            &|| unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) },
        ];
        for call in calls {
            if call() != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(work())
    };
    std::thread::scope(|scope| match scope.spawn(become_user).join() {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// Moves the calling thread, and only it, into the network namespace that `namespace` is open on.
pub fn enter_network_namespace(namespace: &File) -> io::Result<()> {
    Ok(sched::setns(namespace, CloneFlags::CLONE_NEWNET)?)
}

/// A raw socket of one IP protocol in the calling thread's network namespace (raw(7)).
pub fn raw_socket(ipv4: bool, protocol: u8) -> io::Result<OwnedFd> {
    let family = if ipv4 { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(family, Type::RAW, Some(i32::from(protocol).into()))?;
    Ok(socket.into())
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

/// `struct tcp_info` of a connection (linux/tcp.h), up to the counters of Linux 4.19; what an older kernel
/// lacks is 0.
pub fn tcp_info(stream: &TcpStream) -> io::Result<[u8; 216]> {
    let mut info = [0; 216];
    let mut length = info.len() as libc::socklen_t;
    let (level, name) = (libc::IPPROTO_TCP, libc::TCP_INFO);
    let buffer = info.as_mut_ptr().cast();
    // SAFETY: the pointer and the length are those of `info`, of which the call writes no more.
    let result =
        unsafe { libc::getsockopt(stream.as_raw_fd(), level, name, buffer, &raw mut length) };
    if result == 0 {
        Ok(info)
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Sends SIGTERM to one process.
pub fn terminate(pid: u32) -> io::Result<()> {
    signal(pid, Signal::SIGTERM)
}

/// Sends SIGINT to one process.
pub fn interrupt(pid: u32) -> io::Result<()> {
    signal(pid, Signal::SIGINT)
}

/// Sends SIGKILL to one process.
pub fn kill(pid: u32) -> io::Result<()> {
    signal(pid, Signal::SIGKILL)
}

/// Sends SIGUSR2 to one process: for a gateway, "start your successor".
pub fn upgrade(pid: u32) -> io::Result<()> {
    signal(pid, Signal::SIGUSR2)
}

/// Stops one process by SIGSTOP until [`thaw`].
pub fn freeze(pid: u32) -> io::Result<()> {
    signal(pid, Signal::SIGSTOP)
}

/// Lets a frozen process go on.
pub fn thaw(pid: u32) -> io::Result<()> {
    signal(pid, Signal::SIGCONT)
}

/// Sends SIGHUP to one process: for a gateway, "read your configuration again".
pub fn hang_up(pid: u32) -> io::Result<()> {
    signal(pid, Signal::SIGHUP)
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

/// Mounts a file system that has no device.
pub fn mount(kind: &str, place: &Path) -> io::Result<()> {
    let no_data = None::<&str>;
    let flags = MsFlags::empty();
    Ok(nix::mount::mount(
        Some(kind),
        place,
        Some(kind),
        flags,
        no_data,
    )?)
}

/// Makes a terminal a line of bytes: nothing is echoed, translated or waited for (cfmakeraw(3)).
pub fn make_raw_terminal(terminal: &File) -> io::Result<()> {
    let mut settings = termios::tcgetattr(terminal)?;
    termios::cfmakeraw(&mut settings);
    Ok(termios::tcsetattr(terminal, SetArg::TCSANOW, &settings)?)
}

/// Waits for children and inherited orphans until the child `last` has ended.
pub fn wait_for_children_until(last: u32) -> io::Result<()> {
    let last = Pid::from_raw(last as i32);
    while wait()?.pid() != Some(last) {}
    Ok(())
}

/// Switches the machine off, with nothing written back: for process 1 of a guest that has no disk.
pub fn power_off() -> io::Result<()> {
    reboot(RebootMode::RB_POWER_OFF).map(|never| match never {})?;
    Ok(())
}

/// Whether this process is root.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

extern "C" fn on_stop_signal(_number: libc::c_int) {
    STOP.store(true, Ordering::Relaxed);
}

fn signal(pid: u32, signal: Signal) -> io::Result<()> {
    let pid = i32::try_from(pid)
        .ok()
        .filter(|pid| *pid > 1)
        .ok_or_else(|| io::Error::other(format!("{pid} is no process to signal")))?;
    Ok(signal::kill(Pid::from_raw(pid), signal)?)
}
