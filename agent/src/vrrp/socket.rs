//! How advertisements come in and frames go out.
//!
//! They come in by a raw socket on the LAN interface, which has joined the group there. They go out by a
//! packet socket on it as whole frames, since their source is the virtual router's MAC also where the device
//! with that MAC is down.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;

use nix::cmsg_space;
use nix::sys::socket::{
    ControlMessageOwned, LinkAddr, MsgFlags, SockaddrIn6, SockaddrLike, recv, recvmsg, sendto,
};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::io::unix::AsyncFd;

use super::packet::PROTOCOL;
use crate::ids::IfIndex;
use crossway_sys::socket_option::set;
use crossway_types::address::Family;

/// Longer than any advertisement with its IPv4 header: 8 bytes and 255 addresses of 16.
const LONGEST: usize = 4608;
/// The highest band of the kernel's queueing disciplines (TC_PRIO_CONTROL, linux/pkt_sched.h).
const PRIORITY_CONTROL: u32 = 7;

/// The receiving side of one family on one LAN interface.
#[derive(Debug)]
pub struct Receiver {
    socket: AsyncFd<Socket>,
    family: Family,
    buffer: Vec<u8>,
}

/// A message, not yet judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received<'a> {
    /// Where it says that it comes from.
    pub source: IpAddr,
    /// Its TTL or hop limit.
    pub hops: u8,
    /// What is behind the IP header.
    pub message: &'a [u8],
}

/// The sending side on one LAN interface.
#[derive(Debug)]
pub struct Sender {
    socket: Socket,
    interface: IfIndex,
}

impl Receiver {
    /// Opens it, inside a tokio runtime.
    pub fn open(family: Family, interface: IfIndex) -> io::Result<Self> {
        let domain = match family {
            Family::Ipv4 => Domain::IPV4,
            Family::Ipv6 => Domain::IPV6,
        };
        let socket = open(domain, Protocol::from(i32::from(PROTOCOL)))?;
        let index = interface.0 as libc::c_int;
        set(&socket, libc::SOL_SOCKET, libc::SO_BINDTOIFINDEX, &index)?;
        match family.group() {
            IpAddr::V4(group) => {
                socket.set_multicast_all_v4(false)?;
                let interface = InterfaceIndexOrAddress::Index(interface.0);
                socket.join_multicast_v4_n(&group, &interface)?;
            }
            IpAddr::V6(group) => {
                socket.set_recv_hoplimit_v6(true)?;
                // Before 4.20 there is no such option; the id and the checksum tell what is ours all the same.
                let _ = socket.set_multicast_all_v6(false);
                socket.join_multicast_v6(&group, interface.0)?;
            }
        }
        // SAFETY: a `Socket` gives the same open descriptor as long as it lives.
        let socket = unsafe { AsyncFd::register(socket) }?;
        Ok(Self {
            socket,
            family,
            buffer: vec![0; LONGEST],
        })
    }

    /// Waits for the next message. Safe to cancel.
    pub async fn receive(&mut self) -> io::Result<Received<'_>> {
        let (length, source, hops) = loop {
            let mut ready = self.socket.readable().await?;
            let buffer = &mut self.buffer;
            let family = self.family;
            let result = ready.try_io(|socket| match family {
                Family::Ipv4 => receive_ipv4(socket.get_ref(), buffer),
                Family::Ipv6 => receive_ipv6(socket.get_ref(), buffer),
            });
            // An error of "would block": wait again.
            if let Ok(result) = result {
                break result?;
            }
        };
        Ok(match (self.family, source) {
            (Family::Ipv4, _) => parse_ipv4(&self.buffer[..length]),
            (Family::Ipv6, source) => Received {
                source,
                hops,
                message: &self.buffer[..length],
            },
        })
    }
}

impl Sender {
    /// Opens it.
    pub fn open(interface: IfIndex) -> io::Result<Self> {
        // Protocol 0: it receives nothing.
        let socket = open(Domain::PACKET, Protocol::from(0))?;
        socket.set_priority(PRIORITY_CONTROL)?;
        Ok(Self { socket, interface })
    }

    /// Sends a whole Ethernet frame.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        let kind = frame.get(12..14).unwrap_or(&[0; 2]);
        let to = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: u16::from_ne_bytes([kind[0], kind[1]]),
            sll_ifindex: self.interface.0 as libc::c_int,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        // SAFETY: it points to a whole address of the family that it states, and is copied.
        let to = unsafe { LinkAddr::from_raw((&raw const to).cast(), None) };
        let to = to.ok_or(io::ErrorKind::InvalidInput)?;
        sendto(self.socket.as_raw_fd(), frame, &to, MsgFlags::empty())?;
        Ok(())
    }
}

fn open(domain: Domain, protocol: Protocol) -> io::Result<Socket> {
    Socket::new(domain, Type::RAW.nonblocking(), Some(protocol))
}

type Datagram = (usize, IpAddr, u8);

/// A raw socket of IPv4 gives the whole packet (raw(7)); its source and TTL are read from there.
fn receive_ipv4(socket: &Socket, buffer: &mut [u8]) -> io::Result<Datagram> {
    let length = recv(socket.as_raw_fd(), buffer, MsgFlags::empty())?;
    Ok((length, Ipv4Addr::UNSPECIFIED.into(), 0))
}

/// Cut short, it becomes an empty message, which is refused as such.
pub fn parse_ipv4(packet: &[u8]) -> Received<'_> {
    let nothing = Received {
        source: Ipv4Addr::UNSPECIFIED.into(),
        hops: 0,
        message: &[],
    };
    let Some(header) = packet.first_chunk::<20>() else {
        return nothing;
    };
    let source = Ipv4Addr::new(header[12], header[13], header[14], header[15]);
    let start = usize::from(header[0] & 0xf) * 4;
    if start < header.len() {
        return nothing;
    }
    let end = usize::from(u16::from_be_bytes([header[2], header[3]]));
    Received {
        source: source.into(),
        hops: header[8],
        message: packet.get(start..end.min(packet.len())).unwrap_or(&[]),
    }
}

/// A raw socket of IPv6 gives no header (RFC 3542, 3): the source is the sender's address, the hop limit
/// a control message.
fn receive_ipv6(socket: &Socket, buffer: &mut [u8]) -> io::Result<Datagram> {
    let mut control = cmsg_space!(libc::c_int);
    let mut parts = [IoSliceMut::new(buffer)];
    let received = recvmsg::<SockaddrIn6>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut control),
        MsgFlags::empty(),
    )?;
    let source = received
        .address
        .map_or(Ipv6Addr::UNSPECIFIED, |from| from.ip());
    let mut messages = received.cmsgs().into_iter().flatten();
    let hops = messages.find_map(|message| match message {
        ControlMessageOwned::Ipv6HopLimit(hops) => u8::try_from(hops).ok(),
        _ => None,
    });
    Ok((received.bytes, source.into(), hops.unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_of_ipv4_is_read_with_its_options_and_never_past_the_end() {
        let mut packet = vec![0; 28];
        packet[0] = 0x46;
        packet[3] = 26;
        packet[8] = 255;
        packet[12..16].copy_from_slice(&[10, 1, 0, 2]);
        packet[24] = 0x31;
        let received = parse_ipv4(&packet);
        assert_eq!(received.source, IpAddr::from([10, 1, 0, 2]));
        assert_eq!((received.hops, received.message), (255, &[0x31, 0][..]));
        packet[0] = 0x44;
        assert!(
            parse_ipv4(&packet).message.is_empty(),
            "a header has 20 bytes"
        );
        for first in 0..=255 {
            for length in 0..packet.len() {
                let mut hostile = packet.clone();
                hostile[0] = first;
                hostile[3] = 255 - first;
                let _ = parse_ipv4(&hostile[..length]);
            }
        }
    }
}
