//! The network and transport headers of a packet, as far as routing and the flow table need them: read
//! by the programs out of kernel memory and by the agent out of a slice, by the same rules.

mod opening;

use network_types::ip::{IpProto, Ipv4Hdr, Ipv6Hdr};

use crate::address::{self, Address};
use crate::outcome::StackReason;
use crate::packet::{Packet, Slot};

pub use self::opening::Opening;

/// Extension headers that are walked. Real packets have one or two (RFC 8504, 5.3 lets a node bound them).
const MAX_EXTENSION_HEADERS: usize = 4;
/// Shortest header of TCP.
const TCP_HEADER: u32 = 20;
/// What is read of a transport header: enough for ports, the ICMP identifier, and no protocol's is shorter.
const TRANSPORT_HEAD: usize = 8;

/// Number of TCP.
pub const TCP: u8 = IpProto::Tcp as u8;
/// Number of UDP.
pub const UDP: u8 = IpProto::Udp as u8;
/// Number of DCCP.
pub const DCCP: u8 = IpProto::Dccp as u8;
/// Number of SCTP.
pub const SCTP: u8 = IpProto::Sctp as u8;
/// Number of UDP-Lite.
pub const UDP_LITE: u8 = IpProto::UdpLite as u8;
/// Number of ICMP.
pub const ICMP: u8 = IpProto::Icmp as u8;
/// Number of ICMPv6.
pub const ICMPV6: u8 = IpProto::Ipv6Icmp as u8;
const HOP_BY_HOP: u8 = IpProto::HopOpt as u8;
const ROUTING: u8 = IpProto::Ipv6Route as u8;
const FRAGMENT: u8 = IpProto::Ipv6Frag as u8;
const DESTINATION_OPTIONS: u8 = IpProto::Ipv6Opts as u8;

/// IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4 = 4,
    /// IPv6.
    V6 = 6,
}

/// What is known of a packet.
#[derive(Clone, Copy, Debug)]
pub struct Headers {
    /// IP version.
    pub family: Family,
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Upper-layer protocol.
    pub protocol: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// IPv4: the header checksum in network order.
    pub checksum: [u8; 2],
    /// Where the IP header starts, in bytes from the start of the packet.
    pub ip_offset: usize,
    /// Bytes from the IP header on, by that header.
    pub ip_length: u32,
    /// Bytes of the network header with options or extension headers, and of the header of TCP or UDP.
    pub header_length: u32,
    /// Ports or echo identifiers; zero where there are none.
    pub ports: Ports,
    /// Byte 13 of the TCP header.
    pub tcp_flags: u8,
    /// What the packet says of who opened its flow.
    pub opening: Opening,
    /// Well-formed, but only the stack may forward it, and why.
    pub stack_only: Option<StackReason>,
}

impl Headers {
    /// Reads the headers of an IPv4 or IPv6 packet of `length` bytes that starts at `ip_offset`.
    #[inline(always)]
    pub fn read(
        packet: &(impl Packet + ?Sized),
        family: Family,
        ip_offset: usize,
        length: u32,
    ) -> Result<Self, StackReason> {
        let (mut headers, upper) = match family {
            Family::V4 => read_ipv4(packet, ip_offset)?,
            Family::V6 => read_ipv6(packet, ip_offset)?,
        };
        if headers.header_length > headers.ip_length || headers.ip_length > length {
            return Err(StackReason::Malformed);
        }
        if upper.later_fragment {
            headers.opening = Opening::LATER_FRAGMENT;
        } else {
            headers.read_transport(packet)?;
        }
        Ok(headers)
    }

    /// As [`Headers::read`], for a packet without a link-layer header: its first byte says the version.
    #[inline(always)]
    pub fn read_bare(packet: &(impl Packet + ?Sized), length: u32) -> Result<Self, StackReason> {
        let mut slot = Slot::<[u8; 1]>::new();
        let [first] = packet.read(0, &mut slot).ok_or(StackReason::Malformed)?;
        match first >> 4 {
            4 => Self::read(packet, Family::V4, 0, length),
            6 => Self::read(packet, Family::V6, 0, length),
            _ => Err(StackReason::NotIp),
        }
    }

    /// What [`crate::explanation::Explanation::headers`] says of them.
    #[inline(always)]
    pub fn summary(&self) -> u32 {
        u32::from(self.protocol) | (self.family as u32) << 8 | (self.ip_offset as u32) << 16
    }

    /// Adds ports, flags and header length; `header_length` is that of the network header so far.
    #[inline(always)]
    fn read_transport(&mut self, packet: &(impl Packet + ?Sized)) -> Result<(), StackReason> {
        let offset = self.ip_offset + self.header_length as usize;
        let room = self.ip_length - self.header_length;
        match self.protocol {
            TCP => {
                let mut slot = Slot::<[u8; 14]>::new();
                let head = packet
                    .read(offset, &mut slot)
                    .ok_or(StackReason::Malformed)?;
                let length = u32::from(head[12] >> 4) * 4;
                if length < TCP_HEADER || length > room {
                    return Err(StackReason::Malformed);
                }
                self.ports = Ports::new([head[0], head[1], head[2], head[3]]);
                self.tcp_flags = head[13];
                self.opening = Opening::of_tcp(head[13]);
                self.header_length += length;
            }
            UDP | UDP_LITE | SCTP | DCCP => {
                let mut slot = Slot::new();
                let head = read_head(packet, offset, room, &mut slot)?;
                self.ports = Ports::new([head[0], head[1], head[2], head[3]]);
                if self.protocol == UDP {
                    self.header_length += TRANSPORT_HEAD as u32;
                }
            }
            ICMP if self.family == Family::V4 => {
                let mut slot = Slot::new();
                let head = read_head(packet, offset, room, &mut slot)?;
                // Echo Reply and Echo (RFC 792).
                if matches!(head[0], 0 | 8) {
                    self.ports = Ports::of_echo(*head);
                }
                self.opening = Opening::of_icmp(self.family, head[0]).at(self.ports);
            }
            ICMPV6 if self.family == Family::V6 => {
                let mut slot = Slot::new();
                let head = read_head(packet, offset, room, &mut slot)?;
                match head[0] {
                    // Echo Request and Echo Reply (RFC 4443, 4.1 and 4.2).
                    128 | 129 => self.ports = Ports::of_echo(*head),
                    // Neighbour and router discovery (RFC 4861, 4) never leaves the link.
                    133..=137 => self.stack_only = Some(StackReason::NotRoutable),
                    _ => {}
                }
                self.opening = Opening::of_icmp(self.family, head[0]).at(self.ports);
            }
            _ => {}
        }
        Ok(())
    }
}

/// Source and destination port, or echo identifiers, as [`crate::flow::FlowKey`] defines them. One
/// word, as in the packet and in the key: hashing a key that was just written in smaller pieces has to
/// wait for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports(u32);

impl Ports {
    const NONE: Self = Self(0);

    #[inline(always)]
    fn new(bytes: [u8; 4]) -> Self {
        Self(u32::from_ne_bytes(bytes))
    }

    #[inline(always)]
    fn of_echo(head: [u8; TRANSPORT_HEAD]) -> Self {
        Self::new([head[4], head[5], head[4], head[5]])
    }

    /// What [`Ports::word`] gave.
    #[inline(always)]
    pub fn of_word(word: u32) -> Self {
        Self(word)
    }

    /// Both, the source's in front in memory.
    #[inline(always)]
    pub fn word(self) -> u32 {
        self.0
    }

    /// As of a packet of the other direction.
    #[inline(always)]
    #[must_use]
    pub fn swapped(self) -> Self {
        Self(self.0.rotate_left(16))
    }

    /// The source's, in host order.
    #[inline(always)]
    pub fn source(self) -> u16 {
        (u32::from_be(self.0) >> 16) as u16
    }

    /// The destination's, in host order.
    #[inline(always)]
    pub fn destination(self) -> u16 {
        u32::from_be(self.0) as u16
    }
}

/// Whether a protocol's header begins with two ports.
#[inline(always)]
pub fn has_ports(protocol: u8) -> bool {
    matches!(protocol, TCP | UDP | UDP_LITE | SCTP | DCCP)
}

/// What follows the network header.
#[derive(Clone, Copy, Debug)]
pub struct Upper {
    /// IP protocol number of the upper layer.
    pub protocol: u8,
    /// Where it starts, in bytes from the start of the packet.
    pub offset: usize,
    /// A fragment other than the first, so no transport header is there.
    pub later_fragment: bool,
    /// A fragment of any kind.
    pub fragment: bool,
    /// A header that a router must look at, or more than are walked.
    pub stack_only: Option<StackReason>,
}

impl Upper {
    /// A header that nothing lies in front of, of no fragment.
    #[inline(always)]
    pub fn at(protocol: u8, offset: usize) -> Self {
        Self {
            protocol,
            offset,
            later_fragment: false,
            fragment: false,
            stack_only: None,
        }
    }

    /// What extension headers have made of it, as one number: for a function that returns no more.
    #[inline(always)]
    pub fn to_word(walked: Result<Self, StackReason>) -> u64 {
        let upper = match walked {
            Ok(upper) => upper,
            Err(StackReason::ExtensionHeader) => return MALFORMED | STACK_ONLY,
            Err(_) => return MALFORMED,
        };
        let bit = |bit, condition| if condition { bit } else { 0 };
        u64::from(upper.protocol)
            | bit(LATER_FRAGMENT, upper.later_fragment)
            | bit(ANY_FRAGMENT, upper.fragment)
            | bit(STACK_ONLY, upper.stack_only.is_some())
            | (upper.offset as u64 & MOST_OFFSET) << OFFSET_SHIFT
    }

    /// What [`Upper::to_word`] gave.
    #[inline(always)]
    pub fn of_word(word: u64) -> Result<Self, StackReason> {
        if word & MALFORMED != 0 {
            return Err(match word & STACK_ONLY {
                0 => StackReason::Malformed,
                _ => StackReason::ExtensionHeader,
            });
        }
        Ok(Self {
            protocol: word as u8,
            offset: (word >> OFFSET_SHIFT & MOST_OFFSET) as usize,
            later_fragment: word & LATER_FRAGMENT != 0,
            fragment: word & ANY_FRAGMENT != 0,
            stack_only: (word & STACK_ONLY != 0).then_some(StackReason::ExtensionHeader),
        })
    }
}

/// Bits of [`Upper::to_word`] beside the protocol in the lowest eight.
const LATER_FRAGMENT: u64 = 1 << 8;
const ANY_FRAGMENT: u64 = 1 << 9;
const STACK_ONLY: u64 = 1 << 10;
const MALFORMED: u64 = 1 << 11;
const OFFSET_SHIFT: u32 = 16;
/// Four extension headers of 2048 bytes behind all other headers fit into 14 bits.
const MOST_OFFSET: u64 = 0x3fff;

#[inline(always)]
fn read_ipv4(
    packet: &(impl Packet + ?Sized),
    ip_offset: usize,
) -> Result<(Headers, Upper), StackReason> {
    let mut slot = Slot::<Ipv4Hdr>::new();
    let header = packet
        .read(ip_offset, &mut slot)
        .ok_or(StackReason::Malformed)?;
    let upper = upper_of_ipv4(header, ip_offset)?;
    // A router must look (RFC 1812, 5.2.2). What has options is looked at by the stack.
    if upper.stack_only.is_none() && !sums_up(header) {
        return Err(StackReason::Malformed);
    }
    let headers = Headers {
        family: Family::V4,
        source: address::mapped(header.src_addr),
        destination: address::mapped(header.dst_addr),
        protocol: header.proto,
        ttl: header.ttl,
        checksum: header.check,
        ip_offset,
        ip_length: u32::from(header.tot_len()),
        header_length: u32::from(header.ihl()),
        ports: Ports::NONE,
        tcp_flags: 0,
        opening: Opening::PLAIN,
        stack_only: upper.stack_only,
    };
    Ok((headers, upper))
}

#[inline(always)]
fn read_ipv6(
    packet: &(impl Packet + ?Sized),
    ip_offset: usize,
) -> Result<(Headers, Upper), StackReason> {
    let mut slot = Slot::<Ipv6Hdr>::new();
    let header = packet
        .read(ip_offset, &mut slot)
        .ok_or(StackReason::Malformed)?;
    let upper = upper_of_ipv6(packet, header, ip_offset)?;
    let headers = Headers {
        family: Family::V6,
        source: address::from_bytes(header.src_addr),
        destination: address::from_bytes(header.dst_addr),
        protocol: upper.protocol,
        ttl: header.hop_limit,
        checksum: [0; 2],
        ip_offset,
        ip_length: Ipv6Hdr::LEN as u32 + u32::from(header.payload_len()),
        header_length: (upper.offset - ip_offset) as u32,
        ports: Ports::NONE,
        tcp_flags: 0,
        opening: Opening::PLAIN,
        stack_only: upper.stack_only,
    };
    Ok((headers, upper))
}

/// Whether a header without options has the right checksum (RFC 1071: the order of bytes does not matter).
#[inline(always)]
fn sums_up(header: &Ipv4Hdr) -> bool {
    let word = |bytes: [u8; 2]| u32::from(u16::from_ne_bytes(bytes));
    let words = |bytes: [u8; 4]| word([bytes[0], bytes[1]]) + word([bytes[2], bytes[3]]);
    let sum = word([header.vihl, header.tos])
        + word(header.tot_len)
        + word(header.id)
        + word(header.frags)
        + word([header.ttl, header.proto])
        + word(header.check)
        + words(header.src_addr)
        + words(header.dst_addr);
    // Ten words carry over once, and once more.
    let sum = (sum & 0xffff) + (sum >> 16);
    (sum & 0xffff) + (sum >> 16) == 0xffff
}

/// What follows an IPv4 header.
#[inline(always)]
pub fn upper_of_ipv4(header: &Ipv4Hdr, ip_offset: usize) -> Result<Upper, StackReason> {
    let header_length = usize::from(header.ihl());
    if header.version() != 4 || header_length < Ipv4Hdr::LEN {
        return Err(StackReason::Malformed);
    }
    let later_fragment = header.frag_offset() != 0;
    Ok(Upper {
        protocol: header.proto,
        offset: ip_offset + header_length,
        later_fragment,
        fragment: later_fragment || header.frag_flags() & MORE_FRAGMENTS != 0,
        stack_only: (header_length > Ipv4Hdr::LEN).then_some(StackReason::IpOptions),
    })
}

/// Of the three flag bits of an IPv4 header (RFC 791, 3.1).
const MORE_FRAGMENTS: u8 = 1;

/// What follows an IPv6 header and its extension headers.
#[inline(always)]
pub fn upper_of_ipv6(
    packet: &(impl Packet + ?Sized),
    header: &Ipv6Hdr,
    ip_offset: usize,
) -> Result<Upper, StackReason> {
    if header.version() != 6 {
        return Err(StackReason::Malformed);
    }
    let upper = Upper::at(header.next_hdr, ip_offset + Ipv6Hdr::LEN);
    if is_extension(upper.protocol) {
        return packet.skip_extensions(upper);
    }
    Ok(upper)
}

#[inline(always)]
fn is_extension(protocol: u8) -> bool {
    matches!(
        protocol,
        HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS | FRAGMENT
    )
}

/// Walks extension headers from the first one on: what follows them.
#[inline(always)]
pub fn skip_extensions(
    packet: &(impl Packet + ?Sized),
    mut upper: Upper,
) -> Result<Upper, StackReason> {
    for _ in 0..MAX_EXTENSION_HEADERS {
        match upper.protocol {
            HOP_BY_HOP | ROUTING => upper.stack_only = Some(StackReason::ExtensionHeader),
            DESTINATION_OPTIONS | FRAGMENT => {}
            _ => return Ok(upper),
        }
        // All start with the next header and (not the fragment header) their length in units of 8
        // bytes beyond the first 8 (RFC 8200, 4.3 to 4.6).
        let mut slot = Slot::<[u8; 4]>::new();
        let extension = packet
            .read(upper.offset, &mut slot)
            .ok_or(StackReason::Malformed)?;
        if upper.protocol == FRAGMENT {
            upper.fragment = true;
            upper.later_fragment = u16::from_be_bytes([extension[2], extension[3]]) & !7 != 0;
            upper.offset += 8;
        } else {
            upper.offset += (usize::from(extension[1]) + 1) * 8;
        }
        upper.protocol = extension[0];
        if upper.later_fragment {
            return Ok(upper);
        }
    }
    // What lies behind is not known: neither its flow nor whether a rule allows it.
    if is_extension(upper.protocol) {
        return Err(StackReason::ExtensionHeader);
    }
    Ok(upper)
}

/// Reads the start of a transport header, which must also lie within the `room` that the IP header leaves.
#[inline(always)]
fn read_head<'a>(
    packet: &(impl Packet + ?Sized),
    offset: usize,
    room: u32,
    slot: &'a mut Slot<[u8; TRANSPORT_HEAD]>,
) -> Result<&'a [u8; TRANSPORT_HEAD], StackReason> {
    if room < TRANSPORT_HEAD as u32 {
        return Err(StackReason::Malformed);
    }
    packet.read(offset, slot).ok_or(StackReason::Malformed)
}

#[cfg(test)]
mod tests;
