//! Sockets that only send, one for each way out of this host, so that a slow uplink fills a buffer of its own.
//!
//! All have the port of the socket that receives, as far ends want it. Which socket of a port gets a datagram is
//! the kernel's to choose. These share it by SO_REUSEPORT (kernel 3.9) and are of IPv6, which speaks IPv4 as well:
//!
//! - beside a receiver of IPv4, such a socket counts for less (`compute_score` in the kernel's net/ipv4/udp.c);
//! - beside a receiver of IPv6 they are one group, whose program (kernel 4.5) always says the first, which receives;
//! - of IPv6, sockets that share a port are found behind those that were there before, so the receiver, which does not
//!   share it any more once these are bound, keeps everybody else from the port.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use socket2::SockRef;

use super::{Endpoint, address, new_socket};
use crossway_sys::socket_option::set;

/// Ways that have a buffer of their own: four uplinks, or two with both families. Of more, those share that were
/// used last.
pub(super) const WAYS: usize = 4;

/// A way out of this host: by an interface, or from an address, of which each uplink has its own.
type Way = (Option<NonZeroU32>, Option<IpAddr>);

/// The sockets, and which way each serves.
#[derive(Debug)]
pub(super) struct Ways {
    sockets: Vec<Socket>,
    /// Counts what was asked for.
    clock: u64,
}

#[derive(Debug)]
struct Socket {
    fd: OwnedFd,
    way: Option<Way>,
    /// By the clock of [`Ways`].
    used: u64,
}

impl Ways {
    /// Sockets beside `receiver`, which is bound to a port. It must be the first of its group if it is in one.
    pub(super) fn beside(receiver: &OwnedFd) -> io::Result<Self> {
        share(receiver, true)?;
        let sockets = senders(receiver);
        // In any case: else others could bind the port.
        share(receiver, false)?;
        Ok(Self {
            sockets: sockets?,
            clock: 0,
        })
    }

    /// No socket: all is sent by the one that receives.
    pub(super) fn none() -> Self {
        Self {
            sockets: Vec::new(),
            clock: 0,
        }
    }

    /// Number of the socket for the way to `endpoint`. A way that is new takes the socket that was used longest ago.
    #[inline]
    pub(super) fn of(&mut self, endpoint: &Endpoint) -> Option<usize> {
        let way = (endpoint.interface, endpoint.local);
        self.clock += 1;
        let known = self
            .sockets
            .iter()
            .position(|socket| socket.way == Some(way));
        let sockets = self.sockets.iter().enumerate();
        let number = known.or_else(|| Some(sockets.min_by_key(|(_, socket)| socket.used)?.0))?;
        let socket = &mut self.sockets[number];
        socket.way = Some(way);
        socket.used = self.clock;
        Some(number)
    }

    /// The socket of a number that [`Self::of`] gave; it is of IPv6.
    pub(super) fn socket(&self, number: usize) -> BorrowedFd<'_> {
        self.sockets[number].fd.as_fd()
    }
}

fn senders(receiver: &OwnedFd) -> io::Result<Vec<Socket>> {
    let address = address::local(receiver)?;
    let mapped = match address {
        SocketAddr::V4(v4) => SocketAddr::from((v4.ip().to_ipv6_mapped(), v4.port())),
        SocketAddr::V6(_) => address,
    };
    let mut sockets = Vec::new();
    for number in 0..WAYS {
        let fd = new_socket(true)?;
        share(&fd, true)?;
        SockRef::from(&fd).bind(&mapped.into())?;
        if number == 0 && address.is_ipv6() {
            // There is a group from the second socket on.
            choose_first(receiver)?;
        }
        sockets.push(Socket {
            fd,
            way: None,
            used: 0,
        });
    }
    Ok(sockets)
}

/// Whether others of the same user may bind the same port.
fn share(fd: &OwnedFd, on: bool) -> io::Result<()> {
    let on = libc::c_int::from(on);
    set(fd, libc::SOL_SOCKET, libc::SO_REUSEPORT, &on)
}

/// Has every datagram for the group given to the socket that was bound first.
fn choose_first(of_group: &OwnedFd) -> io::Result<()> {
    let mut program = [libc::sock_filter {
        code: (libc::BPF_RET | libc::BPF_K) as u16,
        jt: 0,
        jf: 0,
        k: 0,
    }];
    let program = libc::sock_fprog {
        len: 1,
        filter: program.as_mut_ptr(),
    };
    let option = libc::SO_ATTACH_REUSEPORT_CBPF;
    set(of_group, libc::SOL_SOCKET, option, &program)
}

#[cfg(test)]
mod tests;
