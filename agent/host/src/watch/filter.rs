//! Keeps notes that say nothing new from being queued: sockets drop them in the kernel.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{
    BPF_ABS, BPF_H, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter, sock_fprog,
};

/// Where a message says what it is and who caused it: `nlmsg_type` and `nlmsg_pid` of linux/netlink.h, bytes from its
/// start.
const KIND: u32 = 4;
const CAUSE: u32 = 12;
/// What a filter leaves of a message.
const NOTHING: u32 = 0;
const ALL: u32 = u32::MAX;

/// Makes a netlink socket drop every message that the socket with `port` caused.
pub(crate) fn ignore(socket: BorrowedFd<'_>, port: u32) -> io::Result<()> {
    // The filter loads words in network order, netlink writes them in the machine's.
    let cause = u32::from_be_bytes(port.to_ne_bytes());
    attach(socket, BPF_W, CAUSE, cause, [NOTHING, ALL])
}

/// Makes a netlink socket drop every message that does not begin with one of this kind.
pub(crate) fn only(socket: BorrowedFd<'_>, kind: u16) -> io::Result<()> {
    let kind = u16::from_be_bytes(kind.to_ne_bytes());
    attach(socket, BPF_H, KIND, kind.into(), [ALL, NOTHING])
}

/// Leaves the first of a message where its field `at` is `value`, and else the second.
fn attach(
    socket: BorrowedFd<'_>,
    size: u32,
    at: u32,
    value: u32,
    [equal, other]: [u32; 2],
) -> io::Result<()> {
    let step = |code: u32, jt, jf, k| sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let mut steps = [
        step(BPF_LD | size | BPF_ABS, 0, 0, at),
        step(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, value),
        step(BPF_RET | BPF_K, 0, 0, equal),
        step(BPF_RET | BPF_K, 0, 0, other),
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
