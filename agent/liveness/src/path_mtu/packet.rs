//! Probes of a path's MTU and their answers, as inner packets between the gateways' own addresses.
//!
//! ```text
//!   UDP payload   version (1)  kind (1: probe, 2: answer)  size (2)  mtu (2)  reserved (2: 0)  id (8)  padding
//! ```
//! All in network order. `size` is the length of the probe's inner packet, `mtu` what the sender's own packets are held
//! to at the time, or 0. A probe is as long as it says; an answer is short, so that it says nothing of the way back.

use std::net::Ipv6Addr;

use crossway_types::packet::UDP;
use crossway_types::packet::write::{IPV6, Ip, UDP_HEADER};

/// UDP port of both ends, behind those of BFD.
pub const PORT: u16 = 3786;
/// Hop limit that probes are sent with, and must arrive with: no router has forwarded them.
const HOP_LIMIT: u8 = 255;
/// Network control, as BFD.
const CLASS: u8 = 0xc0;
/// Raised with each change of the format. Another version is not read.
const VERSION: u8 = 1;
/// Bytes of the payload without padding.
const HEAD: usize = 16;
/// Bytes of an inner packet without padding: of an answer, and of the smallest probe.
pub const SHORTEST: u16 = (IPV6 + UDP_HEADER + HEAD) as u16;

/// Which of the two it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Asks for an answer.
    Probe,
    /// Says that a probe came.
    Answer,
}

/// What a packet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Probe or answer.
    pub kind: Kind,
    /// Bytes of the probe's inner packet.
    pub size: u16,
    /// What the sender's packets are held to; 0 where it does not say.
    pub mtu: u16,
    /// The probe's number.
    pub id: u64,
}

/// The inner addresses of both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Ours.
    pub local: Ipv6Addr,
    /// The far end's.
    pub remote: Ipv6Addr,
}

/// Whether an inner packet is for this port and was not forwarded on its way.
#[inline]
pub fn is_ours(inner: &[u8]) -> bool {
    inner.len() >= usize::from(SHORTEST)
        && inner[0] >> 4 == 6
        && (inner[6], inner[7]) == (UDP, HOP_LIMIT)
        && inner[IPV6 + 2..IPV6 + 4] == PORT.to_be_bytes()
}

impl Message {
    /// Reads a packet for which [`is_ours`] holds, between these ends; `None` for what makes no sense. It is authentic,
    /// so its sums are not looked at.
    pub fn decode(inner: &[u8], ends: &Ends) -> Option<Self> {
        let between = inner.get(8..40)?;
        if between[..16] != ends.remote.octets() || between[16..] != ends.local.octets() {
            return None;
        }
        let head: &[u8; HEAD] = inner.get(IPV6 + UDP_HEADER..)?.first_chunk()?;
        let word = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        let kind = match head[1] {
            1 => Kind::Probe,
            2 => Kind::Answer,
            _ => return None,
        };
        let message = Self {
            kind,
            size: word(2),
            mtu: word(4),
            id: u64::from_be_bytes(*head[8..].first_chunk()?),
        };
        let stated = usize::from(u16::from_be_bytes([inner[4], inner[5]])) + IPV6;
        // WireGuard's padding was cut off by the length that the header states.
        let whole =
            kind == Kind::Answer || (usize::from(message.size) == stated && inner.len() == stated);
        (head[0] == VERSION && message.size >= SHORTEST && whole).then_some(message)
    }

    /// The inner packet: a probe is as long as it says.
    pub fn encode(&self, ends: &Ends) -> Vec<u8> {
        let length = match self.kind {
            Kind::Probe => self.size.max(SHORTEST),
            Kind::Answer => SHORTEST,
        };
        let mut payload = vec![0; usize::from(length) - IPV6 - UDP_HEADER];
        payload[0] = VERSION;
        payload[1] = match self.kind {
            Kind::Probe => 1,
            Kind::Answer => 2,
        };
        payload[2..4].copy_from_slice(&self.size.to_be_bytes());
        payload[4..6].copy_from_slice(&self.mtu.to_be_bytes());
        payload[8..HEAD].copy_from_slice(&self.id.to_be_bytes());
        let ip = Ip {
            source: ends.local.into(),
            destination: ends.remote.into(),
            class: CLASS,
            dont_fragment: true,
            ttl: HOP_LIMIT,
            protocol: UDP,
        };
        let mut inner = vec![0; length.into()];
        ip.write_udp((PORT, PORT), &payload, &mut inner);
        inner
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossway_types::checksum;
    use crossway_types::packet;

    fn ends() -> (Ends, Ends) {
        let (a, b) = ("fe80::1".parse().unwrap(), "fe80::2".parse().unwrap());
        let ends = |local, remote| Ends { local, remote };
        (ends(a, b), ends(b, a))
    }

    fn message(kind: Kind, size: u16) -> Message {
        Message {
            kind,
            size,
            mtu: 1420,
            id: 0x0102_0304_0506_0708,
        }
    }

    #[test]
    fn a_message_survives_the_wire_and_a_probe_is_as_long_as_it_says() {
        let (here, there) = ends();
        for (kind, size, length) in [
            (Kind::Probe, SHORTEST, SHORTEST),
            (Kind::Probe, 1280, 1280),
            (Kind::Probe, 65_455, 65_455),
            (Kind::Answer, 8920, SHORTEST),
        ] {
            let message = message(kind, size);
            let inner = message.encode(&here);
            assert_eq!(inner.len(), usize::from(length));
            assert!(is_ours(&inner));
            assert_eq!(packet::stated_length(&inner), Some(inner.len()));
            assert_eq!(Message::decode(&inner, &there), Some(message));
            assert_eq!(Message::decode(&inner, &here), None, "sent by ourselves");
            let pseudo = checksum::pseudo_header(&inner[8..40], UDP, inner.len() - IPV6);
            assert_eq!(checksum::finish(pseudo, &inner[IPV6..]), 0);
        }
    }

    #[test]
    fn what_was_cut_forwarded_or_changed_is_none() {
        let (here, there) = ends();
        let good = message(Kind::Probe, 200).encode(&here);
        for cut in 0..good.len() {
            let inner = &good[..cut];
            assert!(!is_ours(inner) || Message::decode(inner, &there).is_none());
        }
        // Hop limit, port, addresses; version, kind, size.
        for at in [7, 42, 43, 8, 39, 48, 49, 51] {
            let mut inner = good.clone();
            inner[at] ^= 0x10;
            let taken = is_ours(&inner) && Message::decode(&inner, &there).is_some();
            assert!(!taken, "byte {at}");
        }
    }
}
