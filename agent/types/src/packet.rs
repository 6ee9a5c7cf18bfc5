//! What the agent reads of an inner packet: a few fields where the fast path needs no more, by the rules of
//! the reader that it shares with the eBPF programs ([`datapath_abi::headers`]), which walks the rest.

pub mod sample;
pub mod tcp_flags;
pub mod write;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use datapath_abi::headers;
use datapath_abi::packet::{Packet as _, Slot};

pub use crate::protocol::{TCP, UDP};

/// Extension headers of IPv6 that are not the fragment header (RFC 8200, 4.1).
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const DESTINATION_OPTIONS: u8 = 60;

/// Source and destination; `None` for what is no whole IPv4 or IPv6 header.
pub fn addresses(packet: &[u8]) -> Option<(IpAddr, IpAddr)> {
    match packet.first()? >> 4 {
        4 => {
            let address = |at: usize| -> Option<IpAddr> {
                let octets: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
                Some(Ipv4Addr::from(octets).into())
            };
            Some((address(12)?, address(16)?))
        }
        6 => {
            let address = |at: usize| -> Option<IpAddr> {
                let octets: [u8; 16] = packet.get(at..at + 16)?.try_into().ok()?;
                Some(Ipv6Addr::from(octets).into())
            };
            Some((address(8)?, address(24)?))
        }
        _ => None,
    }
}

/// The length of a packet by its IP header; `None` for what is no whole IPv4 or IPv6 header.
pub fn stated_length(packet: &[u8]) -> Option<usize> {
    let word = |at: usize| usize::from(u16::from_be_bytes([packet[at], packet[at + 1]]));
    match (packet.first()? >> 4, packet.len()) {
        (4, 20..) => Some(word(2)),
        (6, 40..) => Some(40 + word(4)),
        _ => None,
    }
}

/// Offset and protocol of the transport header of a packet that is not a fragment; IPv6 extension
/// headers are not walked (such packets are rare and need no offload).
pub fn transport(packet: &[u8]) -> Option<(usize, u8)> {
    match packet.first()? >> 4 {
        4 => {
            let header = usize::from(packet[0] & 0xf) * 4;
            let fragment = u16::from_be_bytes([*packet.get(6)?, *packet.get(7)?]) & 0x3fff;
            (header >= 20 && fragment == 0).then_some((header, *packet.get(9)?))
        }
        6 => Some((40, *packet.get(6)?)),
        _ => None,
    }
}

/// A number that is the same for all packets of a flow, by addresses, protocol and ports. A fragment
/// counts without ports, so that the pieces of one packet stay together.
pub fn flow_hash(packet: &[u8]) -> u32 {
    let (addresses, first) = match packet.first().map(|first| first >> 4) {
        Some(4) => (packet.get(12..20), packet.get(9)),
        Some(6) => (packet.get(8..40), packet.get(6)),
        _ => (None, None),
    };
    let (protocol, ports) = match transport(packet) {
        Some((at, protocol @ (TCP | UDP))) => (protocol, packet.get(at..at + 4)),
        Some((_, HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS)) => behind_extensions(packet),
        _ => (first.copied().unwrap_or(0), None),
    };
    let mut hash = u64::from(protocol);
    for word in [addresses, ports]
        .into_iter()
        .flatten()
        .flat_map(|bytes| bytes.as_chunks::<4>().0)
    {
        // 2^64 divided by the golden ratio spreads what was added over all bits.
        hash = (hash ^ u64::from(u32::from_ne_bytes(*word))).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^= hash >> 32;
    }
    hash as u32
}

/// Which of `count` links carries the flow that `hash` stands for. The upper bits of a product spread any number evenly
/// (Lemire).
#[inline]
pub fn share(hash: u32, count: usize) -> usize {
    ((u64::from(hash) * count as u64) >> 32) as usize
}

/// Protocol and ports of a packet of IPv6 with extension headers. A fragment's protocol is that of its first
/// header, which all of its pieces have.
#[cold]
fn behind_extensions(packet: &[u8]) -> (u8, Option<&[u8]>) {
    let mut slot = Slot::new();
    let Some(header) = packet.read(0, &mut slot) else {
        return (0, None);
    };
    match headers::upper_of_ipv6(packet, header, 0) {
        Ok(upper) if !upper.fragment => {
            let ports = matches!(upper.protocol, TCP | UDP);
            let at = upper.offset;
            let ports = ports.then(|| packet.get(at..at + 4)).flatten();
            (upper.protocol, ports)
        }
        _ => (header.next_hdr, None),
    }
}

#[cfg(test)]
mod tests {
    use datapath_abi::address;
    use rand::rngs::StdRng;
    use rand::{Rng as _, SeedableRng as _};

    use super::*;

    #[test]
    fn short_or_odd_packets_have_no_addresses() {
        let mut packet = [0x45; 40];
        for length in 0..20 {
            assert_eq!(addresses(&packet[..length]), None);
        }
        assert!(addresses(&packet).is_some());
        packet[0] = 0x65;
        assert!(addresses(&packet).is_some());
        assert_eq!(addresses(&packet[..39]), None);
        packet[0] = 0x55;
        assert_eq!(addresses(&packet), None);
    }

    /// A packet that is often whole and sometimes cut or spoilt.
    fn random(random: &mut StdRng) -> Vec<u8> {
        let mut packet = vec![0_u8; random.random_range(0..120)];
        random.fill(&mut packet[..]);
        let length = packet.len() as u16;
        if random.random_bool(0.5) && packet.len() >= 20 {
            packet[0] = if random.random_bool(0.9) { 0x45 } else { 0x46 };
            packet[2..4].copy_from_slice(&length.to_be_bytes());
            let flags = [0, 0x40, 0x20, 0x01][random.random_range(0..4)];
            packet[6..8].copy_from_slice(&[flags, 0]);
            packet[9] = [TCP, UDP, 1, 47][random.random_range(0..4)];
            packet[10..12].fill(0);
            let sum = crate::checksum::finish(0, &packet[..20]);
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
        } else if packet.len() >= 40 {
            packet[0] = 0x60;
            packet[4..6].copy_from_slice(&(length - 40).to_be_bytes());
            let kinds = [TCP, UDP, 58, HOP_BY_HOP, ROUTING, 44, DESTINATION_OPTIONS];
            packet[6] = kinds[random.random_range(0..kinds.len())];
            if packet.len() >= 48 {
                packet[40] = kinds[random.random_range(0..kinds.len())];
                packet[41] = 0;
            }
        }
        packet
    }

    #[test]
    fn the_fast_readers_agree_with_the_one_that_the_programs_share() {
        let mut rng = StdRng::seed_from_u64(47);
        let mut read = 0;
        for _ in 0..20_000 {
            let packet = random(&mut rng);
            let bytes = &packet[..];
            flow_hash(bytes);
            let length = packet.len() as u32;
            let Ok(found) = headers::Headers::read_bare(bytes, length) else {
                continue;
            };
            read += 1;
            let canonical = |address| Ipv6Addr::from(address::to_bytes(address)).to_canonical();
            let (source, destination) = addresses(bytes).expect("the header is whole");
            assert_eq!(source.to_canonical(), canonical(found.source));
            assert_eq!(destination.to_canonical(), canonical(found.destination));
            assert_eq!(stated_length(bytes), Some(found.ip_length as usize));
            let upper = if packet[0] >> 4 == 4 {
                let mut slot = Slot::new();
                headers::upper_of_ipv4(bytes.read(0, &mut slot).unwrap(), 0)
            } else {
                let mut slot = Slot::new();
                headers::upper_of_ipv6(bytes, bytes.read(0, &mut slot).unwrap(), 0)
            };
            let upper = upper.expect("it was read");
            let expected = match (upper.fragment, packet[0] >> 4) {
                (true, 4) => None,
                (_, 6) => Some((40, packet[6])),
                _ => Some((upper.offset, upper.protocol)),
            };
            assert_eq!(transport(bytes), expected, "{packet:02x?}");
        }
        assert!(read > 5_000, "{read} packets were whole");
    }

    #[test]
    fn extension_headers_do_not_part_a_flow_and_fragments_stay_together() {
        let mut plain = vec![0_u8; 40];
        plain[0] = 0x60;
        plain[5] = 8;
        plain[6] = UDP;
        plain[8..40].fill(0x20);
        let ports = [0x12, 0x34, 0, 53, 0, 8, 0, 0];
        let options = [UDP, 0, 1, 4, 0, 0, 0, 0];
        let mut with_options = plain.clone();
        with_options[5] = 16;
        with_options[6] = DESTINATION_OPTIONS;
        with_options.extend(options.iter().chain(&ports));
        plain.extend(ports);
        assert_eq!(flow_hash(&with_options), flow_hash(&plain));
        let other = [&plain[..40], &[0x12, 0x35], &plain[42..]].concat();
        assert_ne!(flow_hash(&other), flow_hash(&plain));

        // Behind the options a fragment header: the first piece has ports, the second has none.
        let piece = |offset: u16| {
            let mut piece = with_options[..48].to_vec();
            piece[40] = 44;
            piece.extend([UDP, 0]);
            piece.extend(((offset << 3) | 1).to_be_bytes());
            piece.extend([0, 0, 0, 9]);
            piece.extend(ports);
            piece
        };
        assert_eq!(flow_hash(&piece(0)), flow_hash(&piece(7)));
    }
}
