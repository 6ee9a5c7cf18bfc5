//! Which network namespace this thread is in.

use std::net::UdpSocket;
use std::os::fd::AsRawFd;

/// A number that no other network namespace of this boot has or will have (SO_NETNS_COOKIE, kernel
/// 5.14); inode numbers are given out again. `None` on older kernels.
pub fn cookie() -> Option<u64> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    let mut cookie = 0u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the descriptor is open as long as `socket` lives; `cookie` and `length` are valid and
    // writable for the call, and `length` says how many bytes `cookie` has.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    (answer == 0).then_some(cookie)
}
