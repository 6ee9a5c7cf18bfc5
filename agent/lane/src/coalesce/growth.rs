//! Which packets may follow one another in a super-packet: all that the kernel, cutting it up again,
//! would make of it.

use super::Joins;
use crossway_types::checksum;
use crossway_types::packet;
use crossway_types::packet::tcp_flags::{ACK, PSH};

/// Longest IP and TCP header that is joined: no IPv4 options, no IPv6 extension headers.
pub(super) const MAX_HEADERS: usize = 40 + 60;

/// How a packet can grow: what the next of its flow must look like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Growth {
    pub(super) ipv4: bool,
    pub(super) tcp: bool,
    /// Offset of the transport header.
    pub(super) transport: usize,
    pub(super) headers: usize,
    /// Payload of every segment but perhaps the last.
    pub(super) segment: usize,
    pub(super) count: usize,
    pub(super) next_sequence: u32,
    pub(super) next_id: u16,
    /// Whether the first packet's checksum was found right.
    pub(super) verified: bool,
}

impl Growth {
    /// How a single packet may grow.
    pub(super) fn of(bytes: &[u8], joins: Joins) -> Option<Self> {
        let (transport, protocol) = packet::transport(bytes)?;
        let ipv4 = transport == 20 && bytes[0] == 0x45;
        if !ipv4 && bytes[0] >> 4 != 6 {
            return None;
        }
        let tcp = match protocol {
            packet::TCP if joins.tcp => true,
            packet::UDP if joins.udp => false,
            _ => return None,
        };
        let upper = bytes.get(transport..)?;
        let headers = if tcp {
            if upper.len() < 20 || upper[13] != ACK {
                return None;
            }
            let length = usize::from(upper[12] >> 4) * 4;
            if length < 20 {
                return None;
            }
            transport + length
        } else {
            // A zero checksum (IPv4 only) would have to stay zero.
            if upper.len() < 8 || upper[6..8] == [0, 0] {
                return None;
            }
            transport + 8
        };
        let payload = bytes.len().checked_sub(headers)?;
        if packet::stated_length(bytes) != Some(bytes.len())
            || headers > MAX_HEADERS
            || payload < headers
            || !describes(bytes, ipv4, tcp, transport)
        {
            return None;
        }
        let id = u16::from_be_bytes([bytes[4], bytes[5]]);
        let sequence = if tcp {
            let at = transport + 4;
            u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        } else {
            0
        };
        Some(Self {
            ipv4,
            tcp,
            transport,
            headers,
            segment: payload,
            count: 1,
            next_sequence: sequence.wrapping_add(payload as u32),
            next_id: id.wrapping_add(1),
            verified: false,
        })
    }

    /// Whether `new` follows in the flow of the packet that begins with `first`: all header fields
    /// equal but those that segments of one stream differ in.
    pub(super) fn same_flow(&self, first: &[u8], new: &[u8]) -> bool {
        packet::stated_length(new) == Some(new.len())
            && self.same_network(first, new)
            && describes(new, self.ipv4, self.tcp, self.transport)
            && self.same_transport(first, new)
    }

    fn same_network(&self, first: &[u8], new: &[u8]) -> bool {
        if self.ipv4 {
            // Ids count up, or do not matter where fragments are forbidden (RFC 6864 4.1).
            let atomic = new[6] & 0x40 != 0;
            let id = u16::from_be_bytes([new[4], new[5]]);
            first[..2] == new[..2]
                && (atomic || id == self.next_id)
                && first[6..10] == new[6..10]
                && first[12..20] == new[12..20]
        } else {
            first[..4] == new[..4] && first[6..40] == new[6..40]
        }
    }

    fn same_transport(&self, first: &[u8], new: &[u8]) -> bool {
        let (old, tcp) = (&first[self.transport..], &new[self.transport..self.headers]);
        if !self.tcp {
            return old[..4] == tcp[..4] && (tcp[6] != 0 || tcp[7] != 0);
        }
        let sequence = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]);
        old[..4] == tcp[..4]
            && sequence == self.next_sequence
            && old[8..13] == tcp[8..13]
            && tcp[13] & !PSH == ACK
            && old[14..16] == tcp[14..16]
            && old[18..] == tcp[18..]
    }

    /// Whether the transport checksum of a single packet is right.
    pub(super) fn sums_right(&self, bytes: &[u8]) -> bool {
        let length = bytes.len() - self.transport;
        let sum = self.pseudo_of_length(bytes, length);
        checksum::fold(checksum::add(sum, &bytes[self.transport..])) == 0xffff
    }

    /// Sum of the pseudo header of the first packet.
    pub(super) fn pseudo(&self, headers: &[u8]) -> u64 {
        self.pseudo_of_length(headers, self.headers - self.transport + self.segment)
    }

    fn pseudo_of_length(&self, headers: &[u8], length: usize) -> u64 {
        let addresses = if self.ipv4 { 12..20 } else { 8..40 };
        let protocol = if self.tcp { packet::TCP } else { packet::UDP };
        checksum::pseudo_header(&headers[addresses], protocol, length)
    }
}

/// Whether the headers say of the packet what they will say once it is cut up again: the sum of the IPv4 header
/// is right, and UDP's length is that of what is there.
fn describes(bytes: &[u8], ipv4: bool, tcp: bool, transport: usize) -> bool {
    if ipv4 && !sums_up(&bytes[..20]) {
        return false;
    }
    let told = u16::from_be_bytes([bytes[transport + 4], bytes[transport + 5]]);
    tcp || usize::from(told) == bytes.len() - transport
}

/// Whether the checksum of an IPv4 header is right: shorter than what [`checksum::add`] is made for.
fn sums_up(header: &[u8]) -> bool {
    let (words, _) = header.as_chunks::<2>();
    // All ones is the same in either byte order.
    let sum: u64 = words
        .iter()
        .map(|word| u64::from(u16::from_ne_bytes(*word)))
        .sum();
    checksum::fold(sum) == 0xffff
}
