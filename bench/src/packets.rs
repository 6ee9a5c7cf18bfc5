//! Packets to measure with, well-formed, checksums complete.

use std::net::Ipv4Addr;

use crossway::io::virtio::{GsoType, Header, NEEDS_CSUM};
use crossway_types::checksum;

const IP: usize = 20;
const TCP: usize = 20;
const UDP: usize = 8;
/// Survives as many decrements as possible: BPF_PROG_TEST_RUN repeats a program on one packet.
const TTL: u8 = 255;

/// Ends of a flow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    pub(crate) source: (Ipv4Addr, u16),
    pub(crate) destination: (Ipv4Addr, u16),
}

impl Flow {
    /// From 10.1.0.10 to 10.2.0.10.
    pub(crate) const A_TO_B: Self = Self {
        source: (Ipv4Addr::new(10, 1, 0, 10), 40_000),
        destination: (Ipv4Addr::new(10, 2, 0, 10), 5201),
    };
}

/// A datagram of `length` bytes from the IP header on.
pub(crate) fn udp(flow: Flow, length: usize) -> Vec<u8> {
    let mut packet = ip(flow, 17, length);
    packet[IP + 4..IP + 6].copy_from_slice(&((length - IP) as u16).to_be_bytes());
    finish(&mut packet, 17, IP + 6);
    packet
}

/// A TCP segment of `length` bytes from the IP header on, with ACK set; `index` counts segments of
/// this length.
pub(crate) fn tcp(flow: Flow, length: usize, index: usize) -> Vec<u8> {
    let mut packet = ip(flow, 6, length);
    packet[4..6].copy_from_slice(&(index as u16).to_be_bytes());
    let sequence = (index * (length - IP - TCP)) as u32;
    packet[IP + 4..IP + 8].copy_from_slice(&sequence.to_be_bytes());
    packet[IP + 12..IP + 16].copy_from_slice(&[0x50, 0x10, 0xff, 0xff]);
    finish(&mut packet, 6, IP + 16);
    packet
}

/// A super-packet of `count` TCP segments with `payload` bytes each, and its virtio header.
pub(crate) fn tcp_super(flow: Flow, payload: usize, count: usize) -> (Header, Vec<u8>) {
    let packet = tcp(flow, IP + TCP + payload * count, 0);
    (super_header(GsoType::Tcp4, TCP, payload, 16), packet)
}

/// A super-packet of `count` datagrams with `payload` bytes each, and its virtio header.
pub(crate) fn udp_super(flow: Flow, payload: usize, count: usize) -> (Header, Vec<u8>) {
    let packet = udp(flow, IP + UDP + payload * count);
    (super_header(GsoType::UdpL4, UDP, payload, 6), packet)
}

/// The packet behind an Ethernet header whose addresses are all zero, as the loopback device's are.
pub(crate) fn ethernet(packet: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 12];
    frame.extend([0x08, 0x00]);
    frame.extend(packet);
    frame
}

fn super_header(gso: GsoType, transport: usize, payload: usize, field: u16) -> Header {
    Header {
        flags: NEEDS_CSUM,
        gso,
        header_len: (IP + transport) as u16,
        gso_size: payload as u16,
        csum_start: IP as u16,
        csum_offset: field,
    }
}

fn ip(flow: Flow, protocol: u8, length: usize) -> Vec<u8> {
    let mut packet = vec![0x5a; length];
    packet[..IP + UDP].fill(0);
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&(length as u16).to_be_bytes());
    packet[8] = TTL;
    packet[9] = protocol;
    packet[12..16].copy_from_slice(&flow.source.0.octets());
    packet[16..20].copy_from_slice(&flow.destination.0.octets());
    packet[IP..IP + 2].copy_from_slice(&flow.source.1.to_be_bytes());
    packet[IP + 2..IP + 4].copy_from_slice(&flow.destination.1.to_be_bytes());
    packet
}

/// Fills in both checksums; that of the transport is at `field`.
fn finish(packet: &mut [u8], protocol: u8, field: usize) {
    packet[10..12].fill(0);
    let sum = checksum::finish(0, &packet[..IP]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet[field..field + 2].fill(0);
    let pseudo = checksum::pseudo_header(&packet[12..20], protocol, packet.len() - IP);
    let sum = checksum::finish(pseudo, &packet[IP..]);
    packet[field..field + 2].copy_from_slice(&sum.to_be_bytes());
}
