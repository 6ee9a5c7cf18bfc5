//! What tells the LAN that the virtual router is here now: switches learn the port of its MAC, and
//! hosts that had no entry, or another one, learn the MAC of its addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::frame;
use crossway_types::address::{Family, Mac};
use crossway_types::packet::write::IPV6;
use crossway_types::protocol::ICMPV6;

const NEIGHBOR_ADVERTISEMENT: u8 = 136;
/// Router and override, not solicited (RFC 5798, 6.4.1, and RFC 4861, 4.4).
const ROUTER_AND_OVERRIDE: u8 = 0xa0;
const TARGET_LINK_LAYER_ADDRESS: u8 = 2;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// The frame for a virtual address of router `id`: a gratuitous ARP request or an unsolicited neighbour
/// advertisement.
pub fn frame(id: u8, address: IpAddr) -> Vec<u8> {
    let from = Mac::of_router(Family::of(address), id);
    match address {
        IpAddr::V4(address) => gratuitous_arp(from, address),
        IpAddr::V6(address) => unsolicited_advertisement(from, address),
    }
}

/// A request, which every host takes (RFC 5227, 3); sender and target are the virtual address.
fn gratuitous_arp(from: Mac, address: Ipv4Addr) -> Vec<u8> {
    // Ethernet, IPv4, lengths of their addresses, request.
    let mut arp = vec![0, 1, 0x08, 0x00, 6, 4, 0, 1];
    arp.extend(from.0);
    arp.extend(address.octets());
    arp.extend([0; 6]);
    arp.extend(address.octets());
    frame::ethernet(frame::BROADCAST, from, frame::ARP, &arp)
}

fn unsolicited_advertisement(from: Mac, address: Ipv6Addr) -> Vec<u8> {
    let mut message = vec![
        NEIGHBOR_ADVERTISEMENT,
        0,
        0,
        0,
        ROUTER_AND_OVERRIDE,
        0,
        0,
        0,
    ];
    message.extend(address.octets());
    // The option's length is in units of 8 bytes.
    message.extend([TARGET_LINK_LAYER_ADDRESS, 1]);
    message.extend(from.0);
    let ip = frame::multicast(address.into(), ALL_NODES.into(), ICMPV6);
    let mut packet = vec![0; IPV6 + message.len()];
    ip.write_icmp(&message, &mut packet);
    frame::around(from, &ip, &packet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossway_types::checksum;

    #[test]
    fn a_gratuitous_arp_gives_the_virtual_mac_to_everybody() {
        let frame = frame(51, "10.1.0.254".parse().unwrap());
        let mac = [0x00, 0x00, 0x5e, 0x00, 0x01, 51];
        assert_eq!(frame[..6], [0xff; 6]);
        assert_eq!(frame[6..12], mac);
        assert_eq!(frame[12..22], [8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
        assert_eq!(frame[22..28], mac);
        assert_eq!(frame[28..32], [10, 1, 0, 254]);
        assert_eq!(frame[38..42], [10, 1, 0, 254]);
    }

    #[test]
    fn an_unsolicited_advertisement_is_of_a_router_and_overrides() {
        let address: Ipv6Addr = "fe80::254".parse().unwrap();
        let frame = frame(51, address.into());
        let mac = [0x00, 0x00, 0x5e, 0x00, 0x02, 51];
        assert_eq!(frame[..6], [0x33, 0x33, 0, 0, 0, 1]);
        assert_eq!(frame[6..12], mac);
        let (header, message) = frame[14..].split_at(40);
        assert_eq!((header[6], header[7]), (58, 255));
        assert_eq!(message[0], 136);
        assert_eq!(message[4], 0xa0, "router and override, not solicited");
        assert_eq!(message[8..24], address.octets());
        assert_eq!(message[26..32], mac);
        let sum = checksum::pseudo_header(&header[8..40], 58, message.len());
        assert_eq!(checksum::finish(sum, message), 0);
    }
}
