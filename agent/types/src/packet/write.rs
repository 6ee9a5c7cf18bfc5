//! The packets that the agent makes itself: IP, UDP and ICMP headers with their checksums, written into the
//! caller's buffer.

use std::net::IpAddr;

use crate::checksum;
use crate::protocol::{ICMPV6, UDP};

/// Bytes of an IPv4 header without options.
pub const IPV4: usize = 20;
/// Bytes of an IPv6 header without extensions.
pub const IPV6: usize = 40;
/// Bytes of a UDP header.
pub const UDP_HEADER: usize = 8;
/// Bytes of the shortest ICMP message.
pub const ICMP_HEADER: usize = 8;

/// What an IP header says. Both addresses are of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ip {
    /// Who sends it.
    pub source: IpAddr,
    /// Who is to get it.
    pub destination: IpAddr,
    /// Type of service, or traffic class.
    pub class: u8,
    /// Of IPv4: routers may not cut it.
    pub dont_fragment: bool,
    /// TTL, or hop limit.
    pub ttl: u8,
    /// What is behind the header.
    pub protocol: u8,
}

impl Ip {
    /// Bytes of the header.
    pub fn header_len(&self) -> usize {
        if self.source.is_ipv4() { IPV4 } else { IPV6 }
    }

    /// Writes a packet with `payload` to the start of `to`, which has room for it; its length.
    pub fn write(&self, payload: &[u8], to: &mut [u8]) -> usize {
        let (header, rest) = to.split_at_mut(self.header_len());
        self.write_header(payload.len(), header);
        rest[..payload.len()].copy_from_slice(payload);
        header.len() + payload.len()
    }

    /// Writes a UDP datagram from one port to the other; see [`Self::write`]. The protocol is UDP.
    pub fn write_udp(&self, ports: (u16, u16), payload: &[u8], to: &mut [u8]) -> usize {
        let length = UDP_HEADER + payload.len();
        let (header, rest) = to.split_at_mut(self.header_len());
        self.write_header(length, header);
        let udp = &mut rest[..length];
        udp[..2].copy_from_slice(&ports.0.to_be_bytes());
        udp[2..4].copy_from_slice(&ports.1.to_be_bytes());
        udp[4..6].copy_from_slice(&(length as u16).to_be_bytes());
        udp[6..8].fill(0);
        udp[UDP_HEADER..].copy_from_slice(payload);
        let pseudo = checksum::pseudo_header(addresses(header), UDP, length);
        // Zero means that there is none (RFC 768).
        let sum = match checksum::finish(pseudo, udp) {
            0 => 0xffff,
            sum => sum,
        };
        udp[6..8].copy_from_slice(&sum.to_be_bytes());
        header.len() + length
    }

    /// Writes an ICMP message of either family, whose checksum is still zero; see [`Self::write`].
    pub fn write_icmp(&self, message: &[u8], to: &mut [u8]) -> usize {
        let end = self.write(message, to);
        let (header, icmp) = to[..end].split_at_mut(self.header_len());
        // Only that of ICMPv6 covers the addresses (RFC 4443, 2.3).
        let pseudo = match self.protocol {
            ICMPV6 => checksum::pseudo_header(addresses(header), ICMPV6, icmp.len()),
            _ => 0,
        };
        let sum = checksum::finish(pseudo, icmp);
        icmp[2..4].copy_from_slice(&sum.to_be_bytes());
        end
    }

    fn write_header(&self, payload: usize, to: &mut [u8]) {
        to.fill(0);
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                to[..2].copy_from_slice(&[0x45, self.class]);
                to[2..4].copy_from_slice(&((IPV4 + payload) as u16).to_be_bytes());
                to[6] = u8::from(self.dont_fragment) << 6;
                to[8..10].copy_from_slice(&[self.ttl, self.protocol]);
                to[12..16].copy_from_slice(&source.octets());
                to[16..20].copy_from_slice(&destination.octets());
                let sum = checksum::finish(0, to);
                to[10..12].copy_from_slice(&sum.to_be_bytes());
            }
            (source, destination) => {
                to[..2].copy_from_slice(&[0x60 | self.class >> 4, self.class << 4]);
                to[4..6].copy_from_slice(&(payload as u16).to_be_bytes());
                to[6..8].copy_from_slice(&[self.protocol, self.ttl]);
                to[8..24].copy_from_slice(&octets(source));
                to[24..40].copy_from_slice(&octets(destination));
            }
        }
    }
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// Both addresses, as they stand in a header of either family.
fn addresses(header: &[u8]) -> &[u8] {
    if header.len() == IPV4 {
        &header[12..20]
    } else {
        &header[8..40]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet;
    use crate::protocol::ICMP;

    fn ip(source: &str, destination: &str, protocol: u8) -> Ip {
        Ip {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            class: 0xc0,
            dont_fragment: true,
            ttl: 255,
            protocol,
        }
    }

    #[test]
    fn the_headers_are_those_of_the_books() {
        let mut bytes = [0xff; 64];
        let end = ip("10.1.0.2", "224.0.0.18", 112).write(b"message", &mut bytes);
        assert_eq!(end, 27);
        assert_eq!(
            bytes[..12],
            [0x45, 0xc0, 0, 27, 0, 0, 0x40, 0, 255, 112, 0x90, 0x9d]
        );
        assert_eq!(bytes[12..20], [10, 1, 0, 2, 224, 0, 0, 18]);
        assert_eq!(&bytes[20..28], b"message\xff");
        let end = ip("fe80::2", "ff02::12", 112).write(b"message", &mut bytes);
        assert_eq!(end, 47);
        assert_eq!(bytes[..8], [0x6c, 0, 0, 0, 0, 7, 112, 255]);
        assert_eq!(
            packet::addresses(&bytes),
            Some(("fe80::2".parse().unwrap(), "ff02::12".parse().unwrap()))
        );
        assert_eq!(&bytes[40..48], b"message\xff");
    }

    #[test]
    fn what_was_in_the_buffer_does_not_matter_and_every_sum_is_right() {
        for (source, destination, icmp) in [
            ("10.1.0.2", "10.2.0.2", ICMP),
            ("2001:db8::1", "2001:db8::2", ICMPV6),
        ] {
            for payload in [&b""[..], b"odd", b"even", &[0xff; 100]] {
                let mut bytes = [0x5a; 160];
                let udp = ip(source, destination, UDP);
                let end = udp.write_udp((49_200, 3784), payload, &mut bytes);
                let (header, datagram) = bytes[..end].split_at(udp.header_len());
                assert_eq!(packet::stated_length(&bytes[..end]), Some(end));
                assert_eq!(datagram[..4], [0xc0, 0x30, 0x0e, 0xc8]);
                assert_eq!(usize::from(datagram[5]), datagram.len());
                assert_eq!(&datagram[UDP_HEADER..], payload);
                let pseudo = checksum::pseudo_header(addresses(header), UDP, datagram.len());
                assert_eq!(checksum::finish(pseudo, datagram), 0);
                if header.len() == IPV4 {
                    assert_eq!(checksum::finish(0, header), 0);
                }

                let mut bytes = [0x5a; 160];
                let echo = ip(source, destination, icmp);
                let message = [&[8, 0, 0, 0, 1, 2, 3, 4], payload].concat();
                let end = echo.write_icmp(&message, &mut bytes);
                let (header, written) = bytes[..end].split_at(echo.header_len());
                let pseudo = match icmp {
                    ICMP => 0,
                    _ => checksum::pseudo_header(addresses(header), ICMPV6, written.len()),
                };
                assert_eq!(checksum::finish(pseudo, written), 0);
                assert_eq!(written[4..], message[4..]);
            }
        }
    }

    #[test]
    fn a_udp_checksum_is_never_zero() {
        let udp = ip("fe80::1", "fe80::2", UDP);
        let mut bytes = [0; 64];
        for word in 0..=u16::MAX {
            udp.write_udp((1, 2), &word.to_be_bytes(), &mut bytes);
            assert_ne!(bytes[46..48], [0, 0], "payload {word}");
        }
    }
}
