//! The UDP socket of a lane: batches of datagrams out (`sendmmsg` with UDP_SEGMENT, kernel 4.18)
//! and in (`recvmmsg` with UDP_GRO, kernel 5.0; right for tunnels from 5.12).

pub mod address;
mod receive;
mod send;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

pub use receive::{ReceiveBatch, Received};
use send::Headers;

use super::offload::{Offload, ToldOff};
use crossway_sys::clock;
use crossway_sys::socket_option::set;
pub use crossway_tunnel::transmit::Endpoint;

/// The offloads' names.
const GSO: &str = "udp-gso";
const GRO: &str = "udp-gro";
/// Bytes of socket buffer asked for each way: 10 Gbit/s for about 6 ms.
const SOCKET_BUFFER: libc::c_int = 8 << 20;

/// A bound UDP socket.
#[derive(Debug)]
pub struct UdpSocket {
    fd: OwnedFd,
    ipv6: bool,
    /// Several datagrams to one endpoint in one call.
    pub gso: Offload,
    /// Several datagrams from one endpoint in one call.
    pub gro: Offload,
    headers: Headers,
}

impl UdpSocket {
    /// Binds `listen`. A socket on `[::]` takes IPv4 as well.
    ///
    /// # Errors
    /// What the kernel says of the address, EADDRINUSE among them.
    pub fn bind(listen: SocketAddr) -> io::Result<Self> {
        let family = if listen.is_ipv6() {
            libc::AF_INET6
        } else {
            libc::AF_INET
        };
        let kind = libc::SOCK_DGRAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: the call takes no pointer.
        let fd = unsafe { libc::socket(family, kind, libc::IPPROTO_UDP) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made this descriptor and nobody else knows it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };

        if listen.is_ipv6() {
            set(&fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, &0)?;
            set(&fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, &1)?;
        } else {
            set(&fd, libc::IPPROTO_IP, libc::IP_PKTINFO, &1)?;
        }
        // The outer packet may be fragmented on its way (as kernel WireGuard's may): a narrow link
        // in the middle then costs speed, not the connection. Of IPv4, where routers on the way do it, no ICMP
        // message makes us do it: anybody could send one that quotes a tunnel, and take its segmentation offload away.
        set(
            &fd,
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            &libc::IP_PMTUDISC_OMIT,
        )?;
        for (forced, plain) in [
            (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF),
            (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF),
        ] {
            if set(&fd, libc::SOL_SOCKET, forced, &SOCKET_BUFFER).is_err() {
                set(&fd, libc::SOL_SOCKET, plain, &SOCKET_BUFFER)?;
            }
        }
        address::bind(&fd, listen)?;

        let now = clock::now();
        let gro = set(&fd, libc::SOL_UDP, libc::UDP_GRO, &1);
        let gso = set(&fd, libc::SOL_UDP, libc::UDP_SEGMENT, &0);
        Ok(Self {
            fd,
            ipv6: listen.is_ipv6(),
            gso: Offload::probed(GSO, gso, now),
            gro: Offload::probed(GRO, gro, now),
            headers: Headers::new(),
        })
    }

    /// A socket that another agent of this gateway has bound, with what that found out about it.
    pub fn taken_over(fd: OwnedFd, off: &[ToldOff]) -> io::Result<Self> {
        let now = clock::now();
        Ok(Self {
            ipv6: address::local(&fd)?.is_ipv6(),
            fd,
            gso: Offload::told(GSO, off, now),
            gro: Offload::told(GRO, off, now),
            headers: Headers::new(),
        })
    }

    /// From now on nobody's datagrams are for this socket, as if it were closed (the kernel counts each, and says
    /// so to its sender); but what has come can still be taken.
    pub fn turn_away(&self) -> io::Result<()> {
        // The discard port of this host (RFC 863): nothing comes from there.
        let nobody = if self.ipv6 {
            SocketAddr::from((Ipv6Addr::LOCALHOST, 9))
        } else {
            SocketAddr::from((Ipv4Addr::LOCALHOST, 9))
        };
        address::connect(&self.fd, nobody)
    }

    /// The address the socket is bound to.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        address::local(&self.fd)
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests;
