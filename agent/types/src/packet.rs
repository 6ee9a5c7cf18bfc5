//! What the agent reads of an inner packet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IP protocol number of TCP.
pub const TCP: u8 = 6;
/// IP protocol number of UDP.
pub const UDP: u8 = 17;

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
    let (addresses, protocol) = match packet.first().map(|first| first >> 4) {
        Some(4) => (packet.get(12..20), packet.get(9)),
        Some(6) => (packet.get(8..40), packet.get(6)),
        _ => (None, None),
    };
    let ports = transport(packet)
        .filter(|(_, protocol)| matches!(*protocol, TCP | UDP))
        .and_then(|(at, _)| packet.get(at..at + 4));
    let mut hash = u64::from(protocol.copied().unwrap_or(0));
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

#[cfg(test)]
mod tests {
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
}
