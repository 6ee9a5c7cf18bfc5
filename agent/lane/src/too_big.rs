//! Packets that are larger than their link takes. What can be made smaller without its sender is; its sender is told in
//! any case, as by any router (RFC 1191, RFC 8201).
//!
//! - TCP is cut into smaller segments, as super-packets are anyway: nothing is lost meanwhile, also behind a firewall that
//!   drops ICMP.
//! - IPv4 whose sender allows it is fragmented, and its sender is not told.
//! - All else is dropped.

pub(crate) mod message;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Once;
use std::time::Instant;

use crossway_sys::socket_option::set;
use crossway_types::checksum;
use crossway_types::packet::tcp_flags::{RST, SYN, URG};
use crossway_types::packet::{self, TCP};
use socket2::{Domain, Protocol, Socket, Type};

use crate::fragment;
use crate::io::virtio::{GsoType, Header, NEEDS_CSUM};
use crate::mss;
use crate::pace::Pace;

/// Senders that a lane tells in a second: each needs to be told once for each connection.
const TOLD_PER_SECOND: u32 = 200;
/// Segments smaller than this are not made: a link of such an MTU carries nothing that matters.
const LEAST_SEGMENT: usize = 256;

/// TCP options that sign each segment as it is: MD5 (RFC 2385) and authentication (RFC 5925).
const SIGNATURES: [u8; 2] = [19, 29];

/// What can be done with a packet that is too big.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remedy {
    /// It is TCP: cut it as this header says.
    Segments(Header),
    /// It may be fragmented.
    Fragments,
    /// It is lost.
    None,
}

/// Bytes of the largest packet that a super-packet stands for; of a packet, its own.
#[inline]
pub fn largest(header: &Header, packet: &[u8]) -> usize {
    let transport = usize::from(header.csum_start);
    let headers = match header.gso {
        GsoType::None => return packet.len(),
        GsoType::UdpL4 => transport + 8,
        GsoType::Tcp4 | GsoType::Tcp6 => {
            let offset = packet.get(transport + 12).map_or(0, |byte| byte >> 4);
            transport + usize::from(offset) * 4
        }
    };
    packet.len().min(headers + usize::from(header.gso_size))
}

/// What can be done with a packet of which one of more than `mtu` bytes would go out.
fn remedy(header: &Header, packet: &[u8], mtu: usize) -> Remedy {
    if let Some(smaller) = smaller_segments(header, packet, mtu) {
        return Remedy::Segments(smaller);
    }
    if fragment::is_allowed(packet) {
        return Remedy::Fragments;
    }
    Remedy::None
}

/// How a packet of TCP is to be cut to fit, unless its sender means it to arrive as it is.
fn smaller_segments(header: &Header, packet: &[u8], mtu: usize) -> Option<Header> {
    let (at, protocol) = packet::transport(packet)?;
    let tcp = packet.get(at..).filter(|_| protocol == TCP)?;
    if tcp.len() < 20 || packet::stated_length(packet) != Some(packet.len()) {
        return None;
    }
    let headers = at + usize::from(tcp[12] >> 4) * 4;
    let signed = SIGNATURES.iter().any(|kind| mss::has_option(tcp, *kind));
    if tcp[13] & (SYN | RST | URG) != 0 || signed || headers > packet.len() {
        return None;
    }
    let segment = mtu
        .checked_sub(headers)
        .filter(|size| *size >= LEAST_SEGMENT)?;
    let ipv4 = packet[0] >> 4 == 4;
    let gso = if ipv4 { GsoType::Tcp4 } else { GsoType::Tcp6 };
    let fits = match header.gso {
        GsoType::UdpL4 => false,
        GsoType::Tcp4 | GsoType::Tcp6 => usize::from(header.csum_start) == at,
        GsoType::None => header.flags & NEEDS_CSUM != 0 || sums_up(packet, at),
    };
    if !fits {
        return None;
    }
    Some(Header {
        flags: NEEDS_CSUM,
        gso,
        header_len: headers as u16,
        gso_size: segment as u16,
        csum_start: at as u16,
        csum_offset: 16,
    })
}

/// Whether the sum of a packet of TCP is right: it is made anew where the packet is cut, and what came damaged must not
/// look whole.
fn sums_up(packet: &[u8], at: usize) -> bool {
    let addresses = if packet[0] >> 4 == 4 { 12..20 } else { 8..40 };
    let tcp = &packet[at..];
    let pseudo = checksum::pseudo_header(&packet[addresses], TCP, tcp.len());
    checksum::finish(pseudo, tcp) == 0
}

/// Tells senders what is too big. The kernel sends it, from the address and by the way that it chooses for its own.
#[derive(Debug)]
pub(super) struct Teller {
    v4: Option<Socket>,
    v6: Option<Socket>,
    pace: Pace,
}

impl Teller {
    /// Wants `CAP_NET_RAW`. Without it nobody is told.
    pub(super) fn open(now: Instant) -> Self {
        let opened = |socket: io::Result<Socket>| socket.inspect_err(warn_once).ok();
        Self {
            v4: opened(open_v4()),
            v6: opened(open_v6()),
            pace: Pace::new(TOLD_PER_SECOND, now),
        }
    }

    /// What is to become of a packet, of which one of `largest` bytes would go out over a link that takes `mtu`: how it
    /// is to be cut, and the size beyond which it is to be fragmented. `None` if it is lost. Its sender is told, unless it
    /// allows fragments.
    #[cold]
    pub(super) fn make_fit(
        &mut self,
        header: &Header,
        packet: &[u8],
        (largest, mtu): (usize, usize),
        now: Instant,
    ) -> Option<(Header, usize)> {
        let fits = match remedy(header, packet, mtu) {
            Remedy::Segments(smaller) => Some((smaller, usize::MAX)),
            Remedy::Fragments => return Some((*header, mtu)),
            Remedy::None => None,
        };
        self.tell(packet, (largest, mtu), now);
        fits
    }

    /// Tells the sender of `packet`, of which one of `largest` bytes would have gone out, that `mtu` would do.
    fn tell(&mut self, packet: &[u8], (largest, mtu): (usize, usize), now: Instant) {
        let Some((sender, message)) = message::too_big(packet, largest, mtu) else {
            return;
        };
        if !self.pace.admits(now) {
            return;
        }
        let socket = match sender {
            IpAddr::V4(_) => &self.v4,
            IpAddr::V6(_) => &self.v6,
        };
        if let Some(socket) = socket
            && let Err(error) = socket.send_to(&message, &SocketAddr::new(sender, 0).into())
        {
            tracing::debug!(%sender, %error, "it could not be told what is too big");
        }
    }
}

fn warn_once(error: &io::Error) {
    static WARNED: Once = Once::new();
    WARNED.call_once(|| {
        tracing::warn!(
            "hosts are not told that a packet is too big for a link; TCP is cut all the same (CAP_NET_RAW would do): \
             {error}"
        );
    });
}

pub(crate) fn open_v4() -> io::Result<Socket> {
    // Linux include/uapi/linux/icmp.h: a bit for each type that is not wanted.
    const SOL_RAW: libc::c_int = 255;
    const ICMP_FILTER: libc::c_int = 1;
    let kind = Type::RAW.nonblocking().cloexec();
    let socket = Socket::new(Domain::IPV4, kind, Some(Protocol::ICMPV4))?;
    set(&socket, SOL_RAW, ICMP_FILTER, &u32::MAX)?;
    Ok(socket)
}

pub(crate) fn open_v6() -> io::Result<Socket> {
    // Linux include/uapi/linux/icmpv6.h: as above, for 256 types.
    const ICMPV6_FILTER: libc::c_int = 1;
    let kind = Type::RAW.nonblocking().cloexec();
    let socket = Socket::new(Domain::IPV6, kind, Some(Protocol::ICMPV6))?;
    set(&socket, libc::IPPROTO_ICMPV6, ICMPV6_FILTER, &[u32::MAX; 8])?;
    Ok(socket)
}

#[cfg(test)]
mod tests;
