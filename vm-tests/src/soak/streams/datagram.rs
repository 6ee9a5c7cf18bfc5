//! What a packet of a stream holds: whose and which it is, and bytes that follow from both.

use crate::topology::Family;

const MAGIC: [u8; 4] = *b"soak";
/// Identifier of the first stream's echoes.
pub(super) const ECHO_ID: u16 = 0x5300;
/// Magic, stream, number.
const HEADER: usize = 16;
const ICMP_HEADER: usize = 8;

/// What a stream is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Datagrams to the far host.
    Udp,
    /// Requests whose answers come back to the sender.
    Echo,
}

/// The numbers that have come.
#[derive(Debug, Default)]
pub(super) struct Seen(Vec<u64>);

impl Seen {
    /// Notes a number; false if it has come before.
    pub(super) fn insert(&mut self, number: u64) -> bool {
        let (word, bit) = ((number / 64) as usize, 1 << (number % 64));
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        new
    }
}

/// A payload of `size` bytes, at least 16.
pub(super) fn make(stream: usize, number: u64, size: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..size.max(HEADER)).map(|at| filler(number, at)).collect();
    bytes[..4].copy_from_slice(&MAGIC);
    bytes[4..8].copy_from_slice(&(stream as u32).to_be_bytes());
    bytes[8..HEADER].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// The number of a payload that came as it was sent.
pub(super) fn read(stream: usize, size: usize, bytes: &[u8]) -> Option<u64> {
    let number = bytes.get(8..HEADER)?.try_into().ok()?;
    let number = u64::from_be_bytes(number);
    // What is not ours may name a number that would need all memory to be noted.
    (number < 1 << 32 && bytes == make(stream, number, size)).then_some(number)
}

fn filler(number: u64, at: usize) -> u8 {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    (mixed as usize).wrapping_add(at) as u8
}

/// An ICMP echo request of a stream. The kernel fills in the checksum of ICMPv6 (RFC 3542, 3.1).
pub(super) fn echo_request(family: Family, stream: usize, payload: &[u8]) -> Vec<u8> {
    let kind = if family == Family::V4 { 8 } else { 128 };
    let mut packet = vec![kind, 0, 0, 0];
    packet.extend((ECHO_ID + stream as u16).to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(payload);
    if family == Family::V4 {
        let sum = checksum(&packet);
        packet[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    packet
}

/// The payload of an echo reply with this identifier. Raw sockets show the IPv4 header, but not that of IPv6.
pub(super) fn echo_reply(family: Family, identifier: u16, bytes: &[u8]) -> Option<&[u8]> {
    let (start, kind) = match family {
        Family::V4 => (usize::from(*bytes.first()? & 0xf) * 4, 0),
        Family::V6 => (0, 129),
    };
    let icmp = bytes.get(start..)?;
    let ours = icmp.get(4..6)? == identifier.to_be_bytes();
    (icmp[0] == kind && ours).then(|| icmp.get(ICMP_HEADER..))?
}

/// Of the Internet (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| {
        let low = pair.get(1).copied().unwrap_or(0);
        u32::from(u16::from_be_bytes([pair[0], low]))
    });
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_tells_its_number_unless_it_was_changed() {
        let bytes = make(3, 70_000, 64);
        assert_eq!(read(3, 64, &bytes), Some(70_000));
        assert_eq!(read(4, 64, &bytes), None);
        assert_eq!(read(3, 64, &bytes[..63]), None);
        for at in 0..64 {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            assert_eq!(read(3, 64, &bytes), None, "byte {at}");
        }
    }

    #[test]
    fn a_number_is_new_once() {
        let mut seen = Seen::default();
        assert!(seen.insert(5) && seen.insert(64) && seen.insert(63));
        assert!(!seen.insert(5) && !seen.insert(64));
    }

    #[test]
    fn a_reply_is_told_from_the_request_it_answers_and_from_others() {
        let request = echo_request(Family::V6, 2, b"payload");
        assert_eq!(echo_reply(Family::V6, ECHO_ID + 2, &request), None);
        let mut reply = request;
        reply[0] = 129;
        let payload = echo_reply(Family::V6, ECHO_ID + 2, &reply);
        assert_eq!(payload, Some(&b"payload"[..]));
        assert_eq!(echo_reply(Family::V6, ECHO_ID + 1, &reply), None);
    }

    #[test]
    fn an_echo_request_sums_to_nothing() {
        let request = echo_request(Family::V4, 1, b"odd");
        assert_eq!(checksum(&request), 0);
    }
}
