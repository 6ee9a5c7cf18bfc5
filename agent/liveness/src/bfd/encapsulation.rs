//! BFD control packets in UDP and IP (RFC 5881, sections 4 and 5).

use std::net::IpAddr;

use super::packet::{self, PORT, Packet, TTL};
use crossway_types::checksum;
use crossway_types::packet::UDP;

/// Bytes of an IPv4 header without options, of an IPv6 header, and of a UDP header.
const IPV4: usize = 20;
const IPV6: usize = 40;
const UDP_HEADER: usize = 8;
/// Bytes of the longest control packet with its headers.
pub const LONGEST: usize = IPV6 + UDP_HEADER + packet::LEN;

/// Where the packets of a session go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Our inner address.
    pub local: IpAddr,
    /// The far end's, of the same family.
    pub remote: IpAddr,
    /// UDP port that we send from: 49152 to 65535, and the same as long as the session lives.
    pub source_port: u16,
}

/// Whether an inner packet is a control packet of a single hop. What a router has forwarded has lost
/// its TTL of 255.
#[inline]
pub fn is_control(inner: &[u8]) -> bool {
    let (ttl, protocol, header) = match inner.first() {
        Some(0x45) => (8, 9, IPV4),
        Some(first) if first >> 4 == 6 => (7, 6, IPV6),
        _ => return false,
    };
    inner.get(ttl) == Some(&TTL)
        && inner.get(protocol) == Some(&UDP)
        && inner.get(header + 2..header + 4) == Some(&PORT.to_be_bytes())
}

/// The UDP payload of a packet for which [`is_control`] holds.
pub fn payload(inner: &[u8]) -> Option<&[u8]> {
    let header = if inner.first()? >> 4 == 4 { IPV4 } else { IPV6 };
    let udp = inner.get(header..)?;
    let length = usize::from(u16::from_be_bytes([*udp.get(4)?, *udp.get(5)?]));
    udp.get(UDP_HEADER..length)
}

/// Writes a control packet with its headers to the start of `to`; its length.
pub fn write(packet: &Packet, path: &Path, to: &mut [u8; LONGEST]) -> usize {
    let header = match (path.local, path.remote) {
        (IpAddr::V4(local), IpAddr::V4(remote)) => {
            let total = (IPV4 + UDP_HEADER + packet::LEN) as u16;
            to[..IPV4].fill(0);
            to[0] = 0x45;
            // Network control (RFC 5881 leaves it open; FRR and others send CS6).
            to[1] = 0xc0;
            to[2..4].copy_from_slice(&total.to_be_bytes());
            to[8] = TTL;
            to[9] = UDP;
            to[12..16].copy_from_slice(&local.octets());
            to[16..20].copy_from_slice(&remote.octets());
            let sum = checksum::finish(0, &to[..IPV4]);
            to[10..12].copy_from_slice(&sum.to_be_bytes());
            IPV4
        }
        (local, remote) => {
            let octets = |address: IpAddr| match address {
                IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
                IpAddr::V6(v6) => v6.octets(),
            };
            to[..4].copy_from_slice(&[0x6c, 0, 0, 0]);
            to[4..6].copy_from_slice(&((UDP_HEADER + packet::LEN) as u16).to_be_bytes());
            to[6] = UDP;
            to[7] = TTL;
            to[8..24].copy_from_slice(&octets(local));
            to[24..40].copy_from_slice(&octets(remote));
            IPV6
        }
    };
    let end = header + UDP_HEADER + packet::LEN;
    let udp = &mut to[header..end];
    udp[..2].copy_from_slice(&path.source_port.to_be_bytes());
    udp[2..4].copy_from_slice(&PORT.to_be_bytes());
    udp[4..6].copy_from_slice(&((UDP_HEADER + packet::LEN) as u16).to_be_bytes());
    udp[6..8].fill(0);
    udp[UDP_HEADER..].copy_from_slice(&packet.encode());
    let addresses = if header == IPV4 { 12..20 } else { 8..40 };
    let pseudo = checksum::pseudo_header(&to[addresses], UDP, UDP_HEADER + packet::LEN);
    let sum = checksum::finish(pseudo, &to[header..end]);
    // Zero means that there is none (RFC 768).
    let sum = if sum == 0 { 0xffff } else { sum };
    to[header + 6..header + 8].copy_from_slice(&sum.to_be_bytes());
    end
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::packet::{Diagnostic, State};
    use super::*;

    fn packet() -> Packet {
        Packet {
            state: State::Up,
            diagnostic: Diagnostic::None,
            poll: false,
            is_final: false,
            multiplier: 3,
            my_discriminator: 7,
            your_discriminator: 9,
            desired_min_tx: Duration::from_millis(100),
            required_min_rx: Duration::from_millis(100),
        }
    }

    fn path(local: &str, remote: &str) -> Path {
        Path {
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
            source_port: 49_200,
        }
    }

    #[test]
    fn what_is_written_is_recognised_and_sums_up() {
        for (path, header) in [
            (path("10.255.0.1", "10.255.0.2"), IPV4),
            (path("fe80::1", "fe80::2"), IPV6),
        ] {
            let mut bytes = [0xff; LONGEST];
            let length = write(&packet(), &path, &mut bytes);
            let inner = &bytes[..length];
            assert!(is_control(inner));
            assert_eq!(Packet::decode(payload(inner).unwrap()), Some(packet()));
            assert_eq!(
                crossway_types::packet::addresses(inner),
                Some((path.local, path.remote))
            );
            assert_eq!(crossway_types::packet::stated_length(inner), Some(length));
            let addresses = if header == IPV4 { 12..20 } else { 8..40 };
            let pseudo = checksum::pseudo_header(&inner[addresses], UDP, length - header);
            assert_eq!(checksum::finish(pseudo, &inner[header..]), 0);
            if header == IPV4 {
                assert_eq!(checksum::finish(0, &inner[..IPV4]), 0);
            }
        }
    }

    #[test]
    fn a_packet_that_was_forwarded_or_cut_short_is_none() {
        for path in [path("10.0.0.1", "10.0.0.2"), path("fe80::1", "fe80::2")] {
            let mut bytes = [0; LONGEST];
            let length = write(&packet(), &path, &mut bytes);
            for cut in 0..length {
                assert!(
                    !is_control(&bytes[..cut])
                        || payload(&bytes[..cut]).and_then(Packet::decode).is_none()
                );
            }
            let ttl = if path.local.is_ipv4() { 8 } else { 7 };
            bytes[ttl] = 254;
            assert!(!is_control(&bytes[..length]));
        }
    }
}
