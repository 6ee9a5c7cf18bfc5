//! The UDP port of a lane: batches of datagrams out (`sendmmsg` with UDP_SEGMENT, kernel 4.18)
//! and in (`recvmmsg` with UDP_GRO, kernel 5.0; right for tunnels from 5.12).
//!
//! One socket receives, and sends what keeps links alive: handshakes, keepalives, BFD, probes. Inner packets are sent
//! by sockets of their own ([`ways`]). A buffer that is full costs whoever filled it their packets, and nobody else
//! anything: nothing here waits.

pub mod address;
mod receive;
mod send;
mod ways;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

pub use receive::{ReceiveBatch, Received};
pub use send::Unsent;
use send::{Headers, Sorting};
use ways::Ways;

use super::offload::{Offload, ToldOff};
use crossway_sys::clock;
use crossway_sys::socket_option::set;
pub use crossway_tunnel::transmit::Endpoint;

/// The offloads' names.
const GSO: &str = "udp-gso";
const GRO: &str = "udp-gro";
/// Bytes of socket buffer asked for each way: 10 Gbit/s for about 6 ms.
const SOCKET_BUFFER: libc::c_int = 8 << 20;

/// Whether a datagram may be fragmented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fragments {
    /// Here and, of IPv4, on its way.
    Allowed,
    /// Nowhere, whatever the kernel believes of the path.
    Forbidden,
}

/// A bound UDP port.
#[derive(Debug)]
pub struct UdpSocket {
    /// Receives, and sends what is no inner packet.
    fd: OwnedFd,
    /// Send inner packets.
    ways: Ways,
    ipv6: bool,
    /// Several datagrams to one endpoint in one call.
    pub gso: Offload,
    /// Several datagrams from one endpoint in one call.
    pub gro: Offload,
    headers: Headers,
    sorting: Sorting,
}

impl UdpSocket {
    /// Binds `listen`. A socket on `[::]` takes IPv4 as well.
    ///
    /// # Errors
    /// What the kernel says of the address, EADDRINUSE among them.
    pub fn bind(listen: SocketAddr) -> io::Result<Self> {
        let fd = new_socket(listen.is_ipv6())?;
        if listen.is_ipv6() {
            set(&fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, &1)?;
        } else {
            set(&fd, libc::IPPROTO_IP, libc::IP_PKTINFO, &1)?;
        }
        // An address that is not there yet: it may come, as by DHCP, and packets to it find this socket then.
        if listen.is_ipv6() {
            set(&fd, libc::IPPROTO_IPV6, libc::IPV6_FREEBIND, &1)?;
        } else {
            set(&fd, libc::IPPROTO_IP, libc::IP_FREEBIND, &1)?;
        }
        hear_marks(&fd, listen.is_ipv6())?;
        SockRef::from(&fd).bind(&listen.into())?;

        let now = clock::now();
        let gro = set(&fd, libc::SOL_UDP, libc::UDP_GRO, &1);
        let gso = set(&fd, libc::SOL_UDP, libc::UDP_SEGMENT, &0);
        Ok(Self {
            ways: ways_beside(&fd),
            fd,
            ipv6: listen.is_ipv6(),
            gso: Offload::probed(GSO, gso, now),
            gro: Offload::probed(GRO, gro, now),
            headers: Headers::new(),
            sorting: Sorting::new(),
        })
    }

    /// A socket that another agent of this gateway has bound, with what that found out about it.
    pub fn taken_over(fd: OwnedFd, off: &[ToldOff]) -> io::Result<Self> {
        let now = clock::now();
        let ipv6 = address::local(&fd)?.is_ipv6();
        // The agent before may not have known of them.
        hear_marks(&fd, ipv6)?;
        Ok(Self {
            ipv6,
            ways: ways_beside(&fd),
            fd,
            gso: Offload::told(GSO, off, now),
            gro: Offload::told(GRO, off, now),
            headers: Headers::new(),
            sorting: Sorting::new(),
        })
    }

    /// From now on nobody's datagrams are for this socket, as if it were closed (the kernel counts each, and says
    /// so to its sender); but what has come can still be taken.
    pub fn turn_away(&mut self) -> io::Result<()> {
        // Of one port all are asked, also those that only send.
        self.ways = Ways::none();
        // The discard port of this host (RFC 863): nothing comes from there.
        let nobody = if self.ipv6 {
            SocketAddr::from((Ipv6Addr::LOCALHOST, 9))
        } else {
            SocketAddr::from((Ipv4Addr::LOCALHOST, 9))
        };
        SockRef::from(&self.fd).connect(&nobody.into())
    }

    /// The address the socket is bound to.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        address::local(&self.fd)
    }
}

/// A socket that is not bound yet, with all that matters for sending.
fn new_socket(ipv6: bool) -> io::Result<OwnedFd> {
    let domain = if ipv6 { Domain::IPV6 } else { Domain::IPV4 };
    let socket = Socket::new(domain, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    let fd = OwnedFd::from(socket);
    if ipv6 {
        set(&fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, &0)?;
    }
    fragment(&fd, ipv6, Fragments::Allowed)?;
    for (forced, plain) in [
        (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF),
        (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF),
    ] {
        if set(&fd, libc::SOL_SOCKET, forced, &SOCKET_BUFFER).is_err() {
            set(&fd, libc::SOL_SOCKET, plain, &SOCKET_BUFFER)?;
        }
    }
    Ok(fd)
}

/// Says whether what a socket sends from now on may be fragmented.
fn fragment(fd: &OwnedFd, ipv6: bool, fragments: Fragments) -> io::Result<()> {
    // The outer packet may be fragmented on its way (as kernel WireGuard's may): a narrow link
    // in the middle then costs speed, not the connection. Of IPv4, where routers on the way do it, no ICMP
    // message makes us do it: anybody could send one that quotes a tunnel, and take its segmentation offload away.
    let (v4, v6) = match fragments {
        Fragments::Allowed => (libc::IP_PMTUDISC_OMIT, libc::IPV6_PMTUDISC_WANT),
        Fragments::Forbidden => (libc::IP_PMTUDISC_PROBE, libc::IPV6_PMTUDISC_PROBE),
    };
    if ipv6 {
        set(fd, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, &v6)?;
    }
    // Also of a socket of IPv6, which speaks IPv4 as well.
    set(fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, &v4)
}

/// Has datagrams come with their type of service or traffic class.
fn hear_marks(fd: &OwnedFd, ipv6: bool) -> io::Result<()> {
    if ipv6 {
        set(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, &1)?;
    }
    // Of IPv4 datagrams also where they come to a socket of IPv6.
    set(fd, libc::IPPROTO_IP, libc::IP_RECVTOS, &1)
}

/// The sockets that send beside `receiver`. Without them all is sent by that one: slower links then slow down others.
fn ways_beside(receiver: &OwnedFd) -> Ways {
    Ways::beside(receiver).unwrap_or_else(|error| {
        tracing::warn!(
            "all uplinks share one send buffer, so a slow one can cost the others packets: {error}"
        );
        Ways::none()
    })
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests;
