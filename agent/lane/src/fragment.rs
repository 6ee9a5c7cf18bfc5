//! IPv4 packets that are larger than their link takes and may be fragmented (RFC 791, 2.3).

use crossway_types::checksum;
use crossway_types::packet::write::IPV4;

/// In the third word of the header, behind the identification.
const MORE_FRAGMENTS: u16 = 0x2000;
const DONT_FRAGMENT: u16 = 0x4000;
const OFFSET: u16 = 0x1fff;

/// Payload of a fragment in a packet of `mtu` bytes: in units of 8.
pub fn payload_of(mtu: usize) -> usize {
    (mtu.saturating_sub(IPV4) & !7).max(8)
}

/// Whether a packet of IPv4 may be fragmented, by its sender's word and ours: one with options is not, for they are
/// not the same in all fragments.
pub fn is_allowed(packet: &[u8]) -> bool {
    packet.len() > IPV4 && packet[0] == 0x45 && word(packet, 6) & DONT_FRAGMENT == 0
}

/// Calls `emit` with each fragment of a packet for which [`is_allowed`] holds; it may be a fragment itself.
pub fn for_each_fragment(packet: &[u8], mtu: usize, emit: &mut impl FnMut(&[u8])) {
    let Some((header, payload)) = packet.split_at_checked(IPV4) else {
        return;
    };
    let flags = word(header, 6);
    let size = payload_of(mtu);
    let mut fragment = Vec::with_capacity(IPV4 + size);
    for (number, part) in payload.chunks(size).enumerate() {
        let last = (number + 1) * size >= payload.len();
        let offset = (flags & OFFSET) + (number * size / 8) as u16;
        let more = if last {
            flags & MORE_FRAGMENTS
        } else {
            MORE_FRAGMENTS
        };
        fragment.clear();
        fragment.extend_from_slice(header);
        fragment.extend_from_slice(part);
        let length = fragment.len() as u16;
        fragment[2..4].copy_from_slice(&length.to_be_bytes());
        fragment[6..8].copy_from_slice(&((offset & OFFSET) | more).to_be_bytes());
        fragment[10..12].fill(0);
        let sum = checksum::finish(0, &fragment[..IPV4]);
        fragment[10..12].copy_from_slice(&sum.to_be_bytes());
        emit(&fragment);
    }
}

fn word(packet: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([packet[at], packet[at + 1]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(payload: usize, flags: u16) -> Vec<u8> {
        let mut packet = vec![0; IPV4];
        packet[0] = 0x45;
        packet[2..4].copy_from_slice(&((IPV4 + payload) as u16).to_be_bytes());
        packet[4..6].copy_from_slice(&[0x12, 0x34]);
        packet[6..8].copy_from_slice(&flags.to_be_bytes());
        packet[8..10].copy_from_slice(&[63, 17]);
        packet.extend((0..payload).map(|at| at as u8));
        packet
    }

    #[test]
    fn fragments_fit_and_make_up_the_packet() {
        for (payload, mtu, flags) in [
            (1400, 1280, 0),
            (1400, 576, 0),
            (8000, 1300, 0),
            (1288, 576, MORE_FRAGMENTS + 100),
            (1285, 576, 200),
        ] {
            let whole = packet(payload, flags);
            assert!(is_allowed(&whole));
            let mut next = (flags & OFFSET) as usize * 8;
            let mut all = Vec::new();
            let mut more = true;
            for_each_fragment(&whole, mtu, &mut |fragment: &[u8]| {
                assert!(fragment.len() <= mtu);
                assert!(more, "it was the last");
                assert_eq!(checksum::finish(0, &fragment[..IPV4]), 0);
                assert_eq!(usize::from(word(fragment, 2)), fragment.len());
                assert_eq!(usize::from(word(fragment, 6) & OFFSET) * 8, next);
                assert_eq!(
                    (fragment[4..6].to_vec(), fragment[9]),
                    (vec![0x12, 0x34], 17)
                );
                more = word(fragment, 6) & MORE_FRAGMENTS != 0;
                next += fragment.len() - IPV4;
                all.extend_from_slice(&fragment[IPV4..]);
            });
            assert_eq!(all, whole[IPV4..]);
            assert_eq!(more, flags & MORE_FRAGMENTS != 0);
        }
    }

    #[test]
    fn what_may_not_be_fragmented_is_not() {
        assert!(!is_allowed(&packet(100, DONT_FRAGMENT)));
        let mut with_options = packet(100, 0);
        with_options[0] = 0x46;
        assert!(!is_allowed(&with_options));
        assert!(!is_allowed(&packet(0, 0)));
        assert!(!is_allowed(&[0x60; 100]));
    }
}
