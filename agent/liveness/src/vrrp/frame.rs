//! Ethernet frames, made whole here: the source is the virtual router, whichever device they leave by.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::packet::{HOPS, PROTOCOL};
use crossway_types::address::{Family, Mac};
use crossway_types::checksum;

/// Everybody on the LAN.
pub(super) const BROADCAST: Mac = Mac([0xff; 6]);

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
pub(super) const ARP: u16 = 0x0806;
/// Internetwork control (RFC 791, RFC 2474): such packets are the last that a switch drops.
const NETWORK_CONTROL: u8 = 0xc0;

/// Ethernet header and payload.
pub fn ethernet(to: Mac, from: Mac, kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(14 + payload.len());
    frame.extend(to.0);
    frame.extend(from.0);
    frame.extend(kind.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A frame with an advertisement from `source`, to its family's group.
pub fn advertisement(from: Mac, source: IpAddr, message: &[u8]) -> Vec<u8> {
    match (source, Family::of(source).group()) {
        (IpAddr::V4(source), IpAddr::V4(group)) => {
            let packet = ipv4(source, group, message);
            ethernet(mac_of_ipv4_group(group), from, IPV4, &packet)
        }
        (IpAddr::V6(source), IpAddr::V6(group)) => ipv6(from, source, group, PROTOCOL, message),
        _ => unreachable!("a group is of the family that it was asked for"),
    }
}

fn ipv4(source: Ipv4Addr, destination: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    const HEADER: usize = 20;
    let length = (HEADER + payload.len()) as u16;
    let mut packet = vec![0x45, NETWORK_CONTROL];
    packet.extend(length.to_be_bytes());
    // No identification, not to be cut; then TTL, protocol, and a checksum yet to come.
    packet.extend([0, 0, 0x40, 0, HOPS, PROTOCOL, 0, 0]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    let sum = checksum::finish(0, &packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(payload);
    packet
}

/// A frame with an IPv6 packet to a multicast group, hop limit 255.
pub fn ipv6(from: Mac, source: Ipv6Addr, group: Ipv6Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let class = u32::from(NETWORK_CONTROL) << 20;
    let mut packet = Vec::with_capacity(40 + payload.len());
    packet.extend((6 << 28 | class).to_be_bytes());
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([protocol, HOPS]);
    packet.extend(source.octets());
    packet.extend(group.octets());
    packet.extend(payload);
    ethernet(mac_of_ipv6_group(group), from, IPV6, &packet)
}

/// RFC 1112, 6.4.
fn mac_of_ipv4_group(group: Ipv4Addr) -> Mac {
    let [_, b, c, d] = group.octets();
    Mac([0x01, 0x00, 0x5e, b & 0x7f, c, d])
}

/// RFC 2464, 7.
fn mac_of_ipv6_group(group: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = group.octets();
    Mac([0x33, 0x33, a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advertisement_comes_from_the_virtual_router_with_a_ttl_of_255() {
        let from = Mac::of_router(Family::Ipv4, 7);
        let frame = advertisement(from, "10.1.0.2".parse().unwrap(), b"message");
        assert_eq!(frame[..6], [0x01, 0x00, 0x5e, 0, 0, 18]);
        assert_eq!(frame[6..12], from.0);
        let packet = &frame[14..];
        assert_eq!((packet[8], packet[9]), (255, 112));
        assert_eq!(checksum::finish(0, &packet[..20]), 0);
        assert_eq!(packet[2..4], 27u16.to_be_bytes());
        assert_eq!(packet[16..20], [224, 0, 0, 18]);

        let from = Mac::of_router(Family::Ipv6, 7);
        let frame = advertisement(from, "fe80::2".parse().unwrap(), b"message");
        assert_eq!(frame[..6], [0x33, 0x33, 0, 0, 0, 0x12]);
        assert_eq!(frame[14..22], [0x6c, 0, 0, 0, 0, 7, 112, 255]);
        assert_eq!(frame.len(), 14 + 40 + 7);
    }
}
