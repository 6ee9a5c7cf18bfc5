//! Packets of IPv4 between hosts 10.a.0.b.

use crossway_types::packet::UDP;
use crossway_types::packet::write::{IPV4, Ip};
use crossway_types::protocol::ICMP;

/// Network and host.
type Host = [u8; 2];

fn ip(from: Host, to: Host, protocol: u8) -> Ip {
    let [source, destination] = [from, to].map(|[network, host]| [10, network, 0, host].into());
    Ip {
        source,
        destination,
        class: 0,
        dont_fragment: false,
        ttl: 64,
        protocol,
    }
}

fn written(ip: Ip, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; IPV4 + payload.len()];
    ip.write(payload, &mut packet);
    packet
}

fn ports(source: u16, destination: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (source.to_be_bytes(), destination.to_be_bytes());
    [a, b, c, d]
}

pub(super) fn udp(from: Host, to: Host, source: u16, destination: u16) -> Vec<u8> {
    let mut datagram = [0; 12];
    datagram[..4].copy_from_slice(&ports(source, destination));
    datagram[5] = 12;
    written(ip(from, to, UDP), &datagram)
}

pub(super) fn tcp(from: Host, to: Host, source: u16, destination: u16, flags: u8) -> Vec<u8> {
    let mut segment = [0; 20];
    segment[..4].copy_from_slice(&ports(source, destination));
    segment[12] = 5 << 4;
    segment[13] = flags;
    written(ip(from, to, 6), &segment)
}

/// An echo or its reply, with an identifier.
pub(super) fn icmp(from: Host, to: Host, kind: u8) -> Vec<u8> {
    written(ip(from, to, ICMP), &[kind, 0, 0, 0, 0x12, 0x34, 0, 1])
}

pub(super) fn later_fragment(from: Host, to: Host, protocol: u8) -> Vec<u8> {
    let mut packet = written(ip(from, to, protocol), &[0; 16]);
    packet[6..8].copy_from_slice(&[0, 185]);
    packet[10..12].fill(0);
    let sum = crossway_types::checksum::finish(0, &packet[..IPV4]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// A router's word that a packet could not be delivered.
pub(super) fn error_about(packet: &[u8], router: Host, to: Host) -> Vec<u8> {
    let message = [&[3, 1, 0, 0, 0, 0, 0, 0], packet].concat();
    written(ip(router, to, ICMP), &message)
}
