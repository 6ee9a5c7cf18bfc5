//! A packet is mapped where it lies: its addresses, every checksum that covers them, and in the errors of ICMP the packet
//! that they quote. Checksums are corrected by the difference (RFC 1624), so that one which was wrong stays wrong. What
//! cannot be read whole is mapped as far as it can: a router may quote eight bytes of a transport header.

use datapath_abi::headers;
use datapath_abi::packet::{Packet as _, Slot};

use super::{Mapper, find};
use crate::checksum;
use crate::packet::write::{ICMP_HEADER, IPV4, IPV6};
use crate::protocol::{DCCP, ICMP, ICMPV6, TCP, UDP, UDP_LITE};

/// An IP header whose addresses are mapped.
struct Mapped {
    ipv4: bool,
    /// What that adds to the sum of a pseudo header.
    change: u32,
    /// Protocol and offset of the transport header, where there is one.
    upper: Option<(u8, usize)>,
}

impl Mapper<'_> {
    /// Maps a packet. `unfinished` is the offset of a checksum that holds the sum of the pseudo header only, for whoever
    /// finishes it (the offload header of a super-packet says so).
    #[inline]
    pub fn apply(self, packet: &mut [u8], unfinished: Option<usize>) {
        let Some(mapped) = self.map_header(packet, 0) else {
            return;
        };
        let Some((protocol, at)) = mapped.upper else {
            return;
        };
        if protocol == if mapped.ipv4 { ICMP } else { ICMPV6 } {
            return self.apply_to_icmp(packet, at, &mapped, unfinished);
        }
        let Some(place) = place_of_sum(protocol, mapped.ipv4) else {
            return;
        };
        if unfinished == Some(at + place) {
            finish_later(packet, at + place, mapped.change);
        } else {
            correct(packet, at + place, protocol, mapped.change);
        }
    }

    fn apply_to_icmp(
        self,
        packet: &mut [u8],
        at: usize,
        mapped: &Mapped,
        unfinished: Option<usize>,
    ) {
        let Some(kind) = packet.get(at).copied() else {
            return;
        };
        let (error, protocol) = if mapped.ipv4 {
            (matches!(kind, 3 | 4 | 11 | 12), ICMP)
        } else {
            (kind < 128, ICMPV6)
        };
        let quoted = if error {
            self.map_quoted(packet, at + ICMP_HEADER)
        } else {
            0
        };
        // ICMP of IPv4 has no pseudo header.
        let pseudo = if mapped.ipv4 { 0 } else { mapped.change };
        if unfinished == Some(at + 2) {
            finish_later(packet, at + 2, pseudo);
        } else {
            correct(packet, at + 2, protocol, pseudo + quoted);
        }
    }

    /// Maps the packet that an ICMP error quotes, which went the other way; what that adds to the sum of its bytes.
    #[cold]
    fn map_quoted(self, packet: &mut [u8], at: usize) -> u32 {
        let back = Self {
            source: self.destination,
            destination: self.source,
        };
        let Some(mapped) = back.map_header(packet, at) else {
            return 0;
        };
        // The sum of an IPv4 header is the same as before: its checksum has taken up the difference.
        let header = if mapped.ipv4 { 0 } else { mapped.change };
        let upper = mapped.upper.and_then(|(protocol, at)| {
            let at = at + place_of_sum(protocol, mapped.ipv4)?;
            Some(correct(packet, at, protocol, mapped.change))
        });
        header + upper.unwrap_or(0)
    }

    /// Maps the addresses of the IP header at `at`; `None` if there is no whole one.
    #[inline]
    fn map_header(self, packet: &mut [u8], at: usize) -> Option<Mapped> {
        match packet.get(at)? >> 4 {
            4 => self.map_ipv4(packet, at),
            6 => self.map_ipv6(packet, at),
            _ => None,
        }
    }

    #[inline]
    fn map_ipv4(self, packet: &mut [u8], at: usize) -> Option<Mapped> {
        let header: &mut [u8; IPV4] = packet.get_mut(at..)?.first_chunk_mut()?;
        let mut change = 0;
        let (words, _) = header.as_chunks_mut::<4>();
        for (address, table) in [(3, self.source), (4, self.destination)] {
            let address = &mut words[address];
            if let Some((to, by)) = find(&table.v4, u32::from_be_bytes(*address)) {
                *address = to.to_be_bytes();
                change += u32::from(by);
            }
        }
        let sum = &mut words[2];
        let checksum = u16::from_be_bytes([sum[2], sum[3]]);
        [sum[2], sum[3]] = corrected(checksum, change).to_be_bytes();

        let length = usize::from(header[0] & 0xf) * 4;
        let later_fragment = u16::from_be_bytes([header[6], header[7]]) & 0x1fff != 0;
        let upper = (length >= IPV4 && !later_fragment).then_some((header[9], at + length));
        Some(Mapped {
            ipv4: true,
            change,
            upper,
        })
    }

    #[inline]
    fn map_ipv6(self, packet: &mut [u8], at: usize) -> Option<Mapped> {
        let header: &mut [u8; IPV6] = packet.get_mut(at..)?.first_chunk_mut()?;
        let mut change = 0;
        let (_, addresses) = header.split_at_mut(8);
        let (addresses, _) = addresses.as_chunks_mut::<16>();
        for (address, table) in addresses.iter_mut().zip([self.source, self.destination]) {
            if let Some((to, by)) = find(&table.v6, u128::from_be_bytes(*address)) {
                *address = to.to_be_bytes();
                change += u32::from(by);
            }
        }
        let upper = match header[6] {
            TCP | UDP | ICMPV6 => Some((header[6], at + IPV6)),
            _ => upper_of_ipv6(packet, at),
        };
        Some(Mapped {
            ipv4: false,
            change,
            upper,
        })
    }
}

/// What follows an IPv6 header with its extension headers; `None` behind a fragment that is not the first.
fn upper_of_ipv6(packet: &[u8], at: usize) -> Option<(u8, usize)> {
    let mut slot = Slot::new();
    let header = packet.read(at, &mut slot)?;
    let upper = headers::upper_of_ipv6(packet, header, at).ok()?;
    (!upper.later_fragment).then_some((upper.protocol, upper.offset))
}

/// Where the transport header has a checksum that covers the addresses.
fn place_of_sum(protocol: u8, ipv4: bool) -> Option<usize> {
    match protocol {
        TCP => Some(16),
        UDP | UDP_LITE | DCCP => Some(6),
        ICMPV6 if !ipv4 => Some(2),
        _ => None,
    }
}

/// A checksum over words whose sum has grown by `change`.
#[inline]
fn corrected(checksum: u16, change: u32) -> u16 {
    match checksum::fold(change.into()) {
        // Both stand for nothing; a second form of zero would come out of the second.
        0 | 0xffff => checksum,
        change => !checksum::fold(u64::from(!checksum) + u64::from(change)),
    }
}

/// Corrects the checksum at `at`, if the packet holds it; what that adds to the sum of its bytes.
#[inline]
fn correct(packet: &mut [u8], at: usize, protocol: u8, change: u32) -> u32 {
    let Some(field) = packet.get_mut(at..).and_then(<[u8]>::first_chunk_mut) else {
        return 0;
    };
    let old = u16::from_be_bytes(*field);
    if protocol == UDP && old == 0 {
        return 0; // It has none (RFC 768).
    }
    let new = match corrected(old, change) {
        // Zero would mean that it has none.
        0 if matches!(protocol, UDP | UDP_LITE) => 0xffff,
        new => new,
    };
    *field = new.to_be_bytes();
    u32::from(!old) + u32::from(new)
}

/// Corrects the sum of a pseudo header, which whoever finishes the checksum adds to the rest.
fn finish_later(packet: &mut [u8], at: usize, change: u32) {
    let Some(field) = packet.get_mut(at..).and_then(<[u8]>::first_chunk_mut) else {
        return;
    };
    let sum = u64::from(u16::from_be_bytes(*field)) + u64::from(change);
    *field = checksum::fold(sum).to_be_bytes();
}
