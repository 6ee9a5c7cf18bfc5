//! BFD control packets in UDP and IP (RFC 5881, sections 4 and 5).

use std::net::IpAddr;

use super::packet::{self, PORT, Packet, TTL};
use crossway_types::packet::UDP;
use crossway_types::packet::write::{IPV4, IPV6, Ip, UDP_HEADER};

/// Network control (RFC 5881 leaves it open; FRR and others send CS6).
const CLASS: u8 = 0xc0;
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
    let ip = Ip {
        source: path.local,
        destination: path.remote,
        class: CLASS,
        dont_fragment: false,
        ttl: TTL,
        protocol: UDP,
    };
    ip.write_udp((path.source_port, PORT), &packet.encode(), to)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::packet::{Diagnostic, State};
    use super::*;
    use crossway_types::checksum;

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
