//! Which network namespace this thread is in.

use std::net::UdpSocket;

use nix::sys::socket::getsockopt;
use nix::{getsockopt_impl, sockopt_impl};

/// A number that no other network namespace of this boot has or will have (SO_NETNS_COOKIE, kernel
/// 5.14); inode numbers are given out again. `None` on older kernels.
pub fn cookie() -> Option<u64> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    getsockopt(&socket, NetnsCookie).ok()
}

sockopt_impl!(
    NetnsCookie,
    GetOnly,
    libc::SOL_SOCKET,
    libc::SO_NETNS_COOKIE,
    u64
);
