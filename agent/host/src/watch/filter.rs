//! Keeps notes on what we did ourselves from being queued.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter, sock_fprog};

/// Where a message says who caused it: `nlmsg_pid` of linux/netlink.h, bytes from its start.
const CAUSE: u32 = 12;

/// Makes a netlink socket drop every message that the socket with `port` caused.
pub(super) fn ignore(socket: BorrowedFd<'_>, port: u32) -> io::Result<()> {
    let step = |code: u32, jt, jf, k| sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    // The filter loads words in network order, netlink writes them in the machine's.
    let cause = u32::from_be_bytes(port.to_ne_bytes());
    let mut steps = [
        step(BPF_LD | BPF_W | BPF_ABS, 0, 0, CAUSE),
        step(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, cause),
        step(BPF_RET | BPF_K, 0, 0, 0),
        step(BPF_RET | BPF_K, 0, 0, u32::MAX),
    ];
    let program = sock_fprog {
        len: steps.len() as u16,
        filter: steps.as_mut_ptr(),
    };
    // SAFETY: the option takes a `sock_fprog` of this size, whose pointer and length are those of
    // `steps`; the kernel copies both before the call returns.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size_of::<sock_fprog>() as libc::socklen_t,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
