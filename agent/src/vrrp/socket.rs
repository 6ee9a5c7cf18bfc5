//! How advertisements come in and frames go out.
//!
//! They come in by a raw socket on the LAN interface, which has joined the group there. They go out by a
//! packet socket on it as whole frames, since their source is the virtual router's MAC also where the device
//! with that MAC is down.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use tokio::io::unix::AsyncFd;

use super::packet::PROTOCOL;
use crate::ids::IfIndex;
use crossway_sys::socket_option::set;
use crossway_types::address::Family;

/// Longer than any advertisement with its IPv4 header: 8 bytes and 255 addresses of 16.
const LONGEST: usize = 4608;
/// Linux 4.20, include/uapi/linux/in6.h.
const IPV6_MULTICAST_ALL: libc::c_int = 29;
/// The highest band of the kernel's queueing disciplines (TC_PRIO_CONTROL, linux/pkt_sched.h).
const PRIORITY_CONTROL: libc::c_int = 7;
/// Space for one control message with an int.
const CONTROL: usize = 64;

/// The receiving side of one family on one LAN interface.
#[derive(Debug)]
pub struct Receiver {
    socket: AsyncFd<OwnedFd>,
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
    socket: OwnedFd,
    interface: IfIndex,
}

impl Receiver {
    /// Opens it, inside a tokio runtime.
    pub fn open(family: Family, interface: IfIndex) -> io::Result<Self> {
        let domain = match family {
            Family::Ipv4 => libc::AF_INET,
            Family::Ipv6 => libc::AF_INET6,
        };
        let socket = open(domain, PROTOCOL.into())?;
        let index = interface.0 as libc::c_int;
        set(&socket, libc::SOL_SOCKET, libc::SO_BINDTOIFINDEX, &index)?;
        match family {
            Family::Ipv4 => join_ipv4(&socket, index)?,
            Family::Ipv6 => join_ipv6(&socket, interface)?,
        }
        // SAFETY: an `OwnedFd` gives the same open descriptor as long as it lives.
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
        let socket = open(libc::AF_PACKET, 0)?;
        set(
            &socket,
            libc::SOL_SOCKET,
            libc::SO_PRIORITY,
            &PRIORITY_CONTROL,
        )?;
        Ok(Self { socket, interface })
    }

    /// Sends a whole Ethernet frame.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        // SAFETY: a C structure of integers; zeroes are valid.
        let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        to.sll_family = libc::AF_PACKET as u16;
        to.sll_ifindex = self.interface.0 as libc::c_int;
        if let Some(kind) = frame.get(12..14) {
            to.sll_protocol = u16::from_ne_bytes([kind[0], kind[1]]);
        }
        // SAFETY: the frame and the address outlive the call, and their lengths are said.
        let sent = unsafe {
            libc::sendto(
                self.socket.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const to).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

fn open(domain: libc::c_int, protocol: libc::c_int) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: the call takes no pointer.
    let socket = unsafe { libc::socket(domain, kind, protocol) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(socket) })
}

fn join_ipv4(socket: &OwnedFd, index: libc::c_int) -> io::Result<()> {
    let IpAddr::V4(group) = Family::Ipv4.group() else {
        unreachable!("the group of IPv4 is IPv4")
    };
    let request = libc::ip_mreqn {
        imr_multiaddr: libc::in_addr {
            s_addr: u32::from_ne_bytes(group.octets()),
        },
        imr_address: libc::in_addr { s_addr: 0 },
        imr_ifindex: index,
    };
    set(socket, libc::IPPROTO_IP, libc::IP_MULTICAST_ALL, &0)?;
    set(socket, libc::IPPROTO_IP, libc::IP_ADD_MEMBERSHIP, &request)
}

fn join_ipv6(socket: &OwnedFd, interface: IfIndex) -> io::Result<()> {
    let IpAddr::V6(group) = Family::Ipv6.group() else {
        unreachable!("the group of IPv6 is IPv6")
    };
    let request = libc::ipv6_mreq {
        ipv6mr_multiaddr: libc::in6_addr {
            s6_addr: group.octets(),
        },
        ipv6mr_interface: interface.0,
    };
    let level = libc::IPPROTO_IPV6;
    set(socket, level, libc::IPV6_RECVHOPLIMIT, &1)?;
    // Before 4.20 there is no such option; the id and the checksum tell what is ours all the same.
    let _ = set(socket, level, IPV6_MULTICAST_ALL, &0);
    set(socket, level, libc::IPV6_ADD_MEMBERSHIP, &request)
}

type Datagram = (usize, IpAddr, u8);

/// A raw socket of IPv4 gives the whole packet (raw(7)); its source and TTL are read from there.
fn receive_ipv4(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<Datagram> {
    // SAFETY: the buffer is writable for its length.
    let length = unsafe {
        libc::recv(
            socket.as_raw_fd(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            0,
        )
    };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
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
fn receive_ipv6(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<Datagram> {
    // SAFETY: C structures of integers and pointers; zeroes are valid.
    let (mut from, mut message): (libc::sockaddr_in6, libc::msghdr) =
        unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    let mut part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // Of u64, for the alignment that control messages have.
    let mut control = [0u64; CONTROL / 8];
    message.msg_name = (&raw mut from).cast();
    message.msg_namelen = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = CONTROL as _;
    // SAFETY: all that the message points to is writable for the lengths said, and outlives the call.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, 0) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    let source = Ipv6Addr::from(from.sin6_addr.s6_addr);
    Ok((length, source.into(), hop_limit(&message)))
}

fn hop_limit(message: &libc::msghdr) -> u8 {
    // SAFETY: the kernel has filled the control buffer, which is alive, and set its length.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !next.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR give headers that lie whole inside the buffer.
        let header = unsafe { *next };
        if (header.cmsg_level, header.cmsg_type) == (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) {
            // SAFETY: the value of this control message is an int, maybe not aligned.
            let hops: libc::c_int =
                unsafe { std::ptr::read_unaligned(libc::CMSG_DATA(next).cast()) };
            return u8::try_from(hops).unwrap_or(0);
        }
        // SAFETY: as for CMSG_FIRSTHDR.
        next = unsafe { libc::CMSG_NXTHDR(message, next) };
    }
    0
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
