//! Builds frames byte by byte, well-formed unless told otherwise.

use std::net::IpAddr;

pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMP: u8 = 1;
pub(crate) const ICMPV6: u8 = 58;
pub(crate) const HOP_BY_HOP: u8 = 0;
pub(crate) const ROUTING: u8 = 43;
pub(crate) const FRAGMENT: u8 = 44;
pub(crate) const DESTINATION_OPTIONS: u8 = 60;

pub(crate) const ETHERNET: usize = 14;
pub(crate) const VLAN: u16 = 0x8100;
pub(crate) const PROVIDER_VLAN: u16 = 0x88a8;

/// An IP packet in the making.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    source: IpAddr,
    destination: IpAddr,
    ttl: u8,
    options: Vec<u8>,
    /// Offset in units of 8 bytes, and whether more fragments follow.
    fragment: (u16, bool),
    extensions: Vec<(u8, Vec<u8>)>,
    protocol: u8,
    transport: Vec<u8>,
}

impl Packet {
    /// From one address to another, with TTL 64 and an empty payload of an experimental protocol.
    pub(crate) fn new(source: &str, destination: &str) -> Self {
        Self {
            source: source.parse().expect("an IP address"),
            destination: destination.parse().expect("an IP address"),
            ttl: 64,
            options: Vec::new(),
            fragment: (0, false),
            extensions: Vec::new(),
            protocol: 253,
            transport: Vec::new(),
        }
    }

    pub(crate) fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    /// IPv4 options: whole words.
    pub(crate) fn options(mut self, options: &[u8]) -> Self {
        assert!(options.len().is_multiple_of(4));
        self.options = options.to_vec();
        self
    }

    /// Makes it an IPv4 fragment.
    pub(crate) fn fragment(mut self, offset: u16, more: bool) -> Self {
        self.fragment = (offset, more);
        self
    }

    /// Adds an IPv6 extension header; `body` is what follows its first byte, in all whole units of 8.
    pub(crate) fn extension(mut self, kind: u8, body: &[u8]) -> Self {
        assert!((body.len() + 1).is_multiple_of(8));
        self.extensions.push((kind, body.to_vec()));
        self
    }

    /// Adds an IPv6 fragment header.
    pub(crate) fn fragment6(self, offset: u16, more: bool) -> Self {
        let [high, low] = (offset << 3 | u16::from(more)).to_be_bytes();
        self.extension(FRAGMENT, &[0, high, low, 1, 2, 3, 4])
    }

    pub(crate) fn transport(mut self, protocol: u8, bytes: &[u8]) -> Self {
        self.protocol = protocol;
        self.transport = bytes.to_vec();
        self
    }

    pub(crate) fn tcp(self, source: u16, destination: u16, flags: u8, payload: usize) -> Self {
        let mut bytes = ports(source, destination);
        bytes.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        bytes.resize(bytes.len() + payload, 0xaa);
        self.transport(TCP, &bytes)
    }

    pub(crate) fn udp(self, source: u16, destination: u16, payload: &[u8]) -> Self {
        let mut bytes = ports(source, destination);
        bytes.extend((payload.len() as u16 + 8).to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(payload);
        self.transport(UDP, &bytes)
    }

    /// A message of ICMP or ICMPv6, with an identifier where an echo has it.
    pub(crate) fn icmp(self, kind: u8, identifier: u16) -> Self {
        let protocol = if self.source.is_ipv4() { ICMP } else { ICMPV6 };
        let [high, low] = identifier.to_be_bytes();
        self.transport(protocol, &[kind, 0, 0, 0, high, low, 0, 1, 5, 6, 7, 8])
    }

    /// The packet without a link-layer header.
    pub(crate) fn bare(&self) -> Vec<u8> {
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                self.bare4(source.octets(), destination.octets())
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                self.bare6(source.octets(), destination.octets())
            }
            _ => panic!("source and destination are of different families"),
        }
    }

    /// The packet in an Ethernet frame for the loopback device (all addresses zero).
    pub(crate) fn frame(&self) -> Vec<u8> {
        self.tagged(&[])
    }

    /// The packet in an Ethernet frame with VLAN tags: Ethernet type and TCI of each, outermost first.
    pub(crate) fn tagged(&self, tags: &[(u16, u16)]) -> Vec<u8> {
        let mut frame = vec![0; 12];
        for (kind, tci) in tags {
            frame.extend(kind.to_be_bytes());
            frame.extend(tci.to_be_bytes());
        }
        let kind: u16 = if self.source.is_ipv4() {
            0x0800
        } else {
            0x86dd
        };
        frame.extend(kind.to_be_bytes());
        frame.extend(self.bare());
        frame
    }

    fn bare4(&self, source: [u8; 4], destination: [u8; 4]) -> Vec<u8> {
        let header_length = 20 + self.options.len();
        let length = (header_length + self.transport.len()) as u16;
        let (offset, more) = self.fragment;
        let mut bytes = vec![0x40 | (header_length / 4) as u8, 0];
        bytes.extend(length.to_be_bytes());
        bytes.extend([0x12, 0x34]);
        bytes.extend((offset | u16::from(more) << 13).to_be_bytes());
        bytes.extend([self.ttl, self.protocol, 0, 0]);
        bytes.extend(source);
        bytes.extend(destination);
        bytes.extend(&self.options);
        let checksum = !sum(&bytes);
        bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
        bytes.extend(&self.transport);
        bytes
    }

    fn bare6(&self, source: [u8; 16], destination: [u8; 16]) -> Vec<u8> {
        let extensions: usize = self.extensions.iter().map(|(_, body)| body.len() + 1).sum();
        let length = (extensions + self.transport.len()) as u16;
        let kinds: Vec<u8> = self.extensions.iter().map(|(kind, _)| *kind).collect();
        let mut following = kinds.into_iter().chain([self.protocol]);
        let mut bytes = vec![0x60, 0, 0, 0];
        bytes.extend(length.to_be_bytes());
        bytes.extend(following.next());
        bytes.push(self.ttl);
        bytes.extend(source);
        bytes.extend(destination);
        for (_, body) in &self.extensions {
            bytes.extend(following.next());
            bytes.extend(body);
        }
        bytes.extend(&self.transport);
        bytes
    }
}

/// The Internet checksum's sum (RFC 1071) of whole words; 0xffff over a header with a right checksum.
pub(crate) fn sum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn ports(source: u16, destination: u16) -> Vec<u8> {
    [source.to_be_bytes(), destination.to_be_bytes()].concat()
}
