//! Packets from site to site come in by the TUN and leave by it, and the kernel tells no
//! site to bypass the gateway.

use std::net::{Ipv4Addr, Ipv6Addr};

use crossway_host::{Host, Wanted};

use crate::lab::{Tun, gateway, in_namespace, set_sysctl, state_path, sysctl};
use crate::{TUN, wanted};

#[test]
fn a_hub_forwards_between_sites_and_sends_no_redirects() {
    in_namespace(async || {
        let packets = through_the_hub(&wanted()).await;
        assert_eq!(forwarded(&packets), 4, "two of each family: {packets:?}");
        assert_eq!(redirects(&packets), 0, "{packets:?}");
        // As before for the others: `all` was on, now each has it itself.
        assert_eq!(sysctl("ipv4/conf/all/send_redirects"), "0");
        assert_eq!(sysctl("ipv4/conf/wan/send_redirects"), "1");
    });
}

/// What comes out of the tunnel after two packets of each family went from site to site.
async fn through_the_hub(wanted: &Wanted) -> Vec<Vec<u8>> {
    gateway();
    for interface in ["all", "lan", "wan", "default"] {
        set_sysctl(&format!("ipv4/conf/{interface}/send_redirects"), "1");
    }
    let mut host = Host::connect_with_state(state_path()).await.unwrap();
    host.claim_tun(TUN).await.unwrap();
    let tun = Tun::open(TUN);
    host.apply(wanted).await.unwrap();
    for mark in [1, 2] {
        tun.send(&ipv4(mark));
        tun.send(&ipv6(mark));
    }
    tun.receive_until(|packet| packet[0] >> 4 == 6 && packet[6] == 17 && packet.last() == Some(&2))
}

/// UDP datagrams among `packets`.
fn forwarded(packets: &[Vec<u8>]) -> usize {
    let udp = packets.iter().filter(|packet| match packet[0] >> 4 {
        4 => packet[9] == 17,
        _ => packet[6] == 17,
    });
    udp.count()
}

/// ICMP (RFC 792) and ICMPv6 (RFC 4861, 4.5) redirects among `packets`.
fn redirects(packets: &[Vec<u8>]) -> usize {
    let redirects = packets.iter().filter(|packet| match packet[0] >> 4 {
        4 => packet[9] == 1 && packet[20] == 5,
        _ => packet[6] == 58 && packet[40] == 137,
    });
    redirects.count()
}

fn ipv4(mark: u8) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 29, 0, 1, 0, 0, 64, 17, 0, 0];
    packet.extend("10.2.0.5".parse::<Ipv4Addr>().unwrap().octets());
    packet.extend("10.3.0.5".parse::<Ipv4Addr>().unwrap().octets());
    let words = packet.chunks(2);
    let sum: u32 = words
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    let folded = (sum >> 16) + (sum & 0xffff);
    let checksum = !(folded as u16);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet.extend(udp(mark));
    packet
}

fn ipv6(mark: u8) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 9, 17, 64];
    packet.extend("2001:db8:2::5".parse::<Ipv6Addr>().unwrap().octets());
    packet.extend("2001:db8:3::5".parse::<Ipv6Addr>().unwrap().octets());
    packet.extend(udp(mark));
    packet
}

/// One byte from port 1000 to port 2000; a router does not look at the checksum.
fn udp(mark: u8) -> [u8; 9] {
    [3, 232, 7, 208, 0, 9, 0, 1, mark]
}
