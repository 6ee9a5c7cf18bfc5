//! Frames made by hand: Ethernet, IP and UDP headers with right lengths and checksums.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::netns::Netns;

/// Bytes of an Ethernet header without a tag.
pub const ETHERNET: usize = 14;
const IPV4: usize = 20;
const IPV6: usize = 40;
const UDP: u8 = 17;
const TTL: u8 = 64;

/// A link-layer address.
pub type Mac = [u8; 6];

/// The link-layer address of an interface.
pub fn mac_of(netns: &Netns, interface: &str) -> Result<Mac> {
    let text = netns.ip(&format!("-j link show dev {interface}"))?;
    let json: Value = serde_json::from_str(&text)?;
    let text = json[0]["address"].as_str().unwrap_or_default();
    let bytes = text.split(':').map(|byte| u8::from_str_radix(byte, 16));
    let bytes: Vec<u8> = bytes.collect::<Result<_, _>>()?;
    let mac = bytes.try_into().ok();
    mac.with_context(|| format!("{interface} has no link-layer address: {text:?}"))
}

/// `packet` behind an Ethernet header.
pub fn frame(from: Mac, to: Mac, packet: &[u8]) -> Vec<u8> {
    let kind: [u8; 2] = match packet.first().map(|byte| byte >> 4) {
        Some(6) => [0x86, 0xdd],
        _ => [0x08, 0x00],
    };
    [&to[..], &from, &kind, packet].concat()
}

/// An IP packet with a UDP datagram. Both addresses are of one family.
pub fn udp(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let length = 8 + payload.len();
    let mut datagram = Vec::with_capacity(length);
    datagram.extend(from.port().to_be_bytes());
    datagram.extend(to.port().to_be_bytes());
    datagram.extend((length as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    let mut packet = ip(from.ip(), to.ip(), UDP, &datagram);
    fix_transport_checksum(&mut packet);
    packet
}

/// An IP packet of any protocol. Both addresses are of one family.
pub fn ip(from: IpAddr, to: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::with_capacity(IPV6 + payload.len());
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            packet.extend([0x45, 0]);
            packet.extend(((IPV4 + payload.len()) as u16).to_be_bytes());
            packet.extend([0, 0, 0, 0, TTL, protocol, 0, 0]);
            packet.extend(from.octets());
            packet.extend(to.octets());
            fix_header_checksum(&mut packet);
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            packet.extend([0x60, 0, 0, 0]);
            packet.extend((payload.len() as u16).to_be_bytes());
            packet.extend([protocol, TTL]);
            packet.extend(from.octets());
            packet.extend(to.octets());
        }
        _ => panic!("{from} and {to} are not of one family"),
    }
    packet.extend(payload);
    packet
}

/// Makes the checksum of an IPv4 header right, as far as there is one.
pub fn fix_header_checksum(packet: &mut [u8]) {
    let header = usize::from(packet.first().map_or(0, |byte| byte & 0xf)) * 4;
    if packet.first().is_none_or(|byte| byte >> 4 != 4) || !(IPV4..=packet.len()).contains(&header)
    {
        return;
    }
    packet[10..12].fill(0);
    let sum = !fold(add(0, &packet[..header]));
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// Makes the checksum of TCP, UDP, ICMP or ICMPv6 right in a packet without options, extension headers or
/// padding.
pub fn fix_transport_checksum(packet: &mut [u8]) {
    let (start, protocol, addresses) = match packet.first().map(|byte| byte >> 4) {
        Some(4) if packet.len() > IPV4 => (IPV4, packet[9], 12..20),
        Some(6) if packet.len() > IPV6 => (IPV6, packet[6], 8..40),
        _ => return,
    };
    let at = start
        + match protocol {
            UDP => 6,
            6 => 16,
            1 | 58 => 2,
            _ => return,
        };
    if at + 2 > packet.len() {
        return;
    }
    packet[at..at + 2].fill(0);
    let mut sum = add(0, &packet[start..]);
    if protocol != 1 {
        sum = add(sum, &packet[addresses]);
        sum += u64::from(protocol) + (packet.len() - start) as u64;
    }
    let sum = !fold(sum);
    // Zero means to UDP that there is none (RFC 768).
    let sum = if sum == 0 && protocol == UDP {
        0xffff
    } else {
        sum
    };
    packet[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// Whether an IPv4 header sums up.
pub fn header_sums_up(header: &[u8]) -> bool {
    fold(add(0, header)) == 0xffff
}

fn add(sum: u64, bytes: &[u8]) -> u64 {
    let words = bytes.chunks(2).map(|pair| {
        let low = pair.get(1).copied().unwrap_or(0);
        u64::from(u16::from_be_bytes([pair[0], low]))
    });
    sum + words.sum::<u64>()
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_a_known_packet() {
        // RFC 1071's way on an example of Wikipedia's article on the IPv4 header checksum.
        let mut header = [
            0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0x00,
            0x01, 0xc0, 0xa8, 0x00, 0xc7,
        ];
        fix_header_checksum(&mut header);
        assert_eq!(header[10..12], [0xb8, 0x61]);
        assert!(header_sums_up(&header));
    }

    #[test]
    fn a_datagram_of_either_family_sums_up_with_its_pseudo_header() {
        for (from, to, start) in [
            ("192.0.2.1:1000", "192.0.2.2:2000", IPV4),
            ("[2001:db8::1]:1000", "[2001:db8::2]:2000", IPV6),
        ] {
            let packet = udp(from.parse().unwrap(), to.parse().unwrap(), b"odd");
            let addresses = if start == IPV4 { 12..20 } else { 8..40 };
            let sum = add(add(17 + 11, &packet[addresses]), &packet[start..]);
            assert_eq!(fold(sum), 0xffff);
        }
    }
}
