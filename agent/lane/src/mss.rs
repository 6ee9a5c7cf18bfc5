//! TCP's maximum segment size held to what the tunnel carries (RFC 9293 3.7.1), in both directions,
//! so that a transfer does not depend on ICMP that somebody filters.

use crossway_types::checksum;
use crossway_types::packet;
use crossway_types::packet::tcp_flags::SYN;

const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;
const MAXIMUM_SEGMENT_SIZE: u8 = 2;

/// Lowers the MSS option of a SYN to what fits `mtu`, checksum included. Other packets, and
/// segments whose option is small enough or missing, are left as they are.
pub fn clamp(packet: &mut [u8], mtu: usize) {
    let Some((start, packet::TCP)) = packet::transport(packet) else {
        return;
    };
    let fixed = if packet[0] >> 4 == 4 { 40 } else { 60 };
    let Some(tcp) = packet.get_mut(start..) else {
        return;
    };
    if tcp.len() < 20 || tcp[13] & SYN == 0 {
        return;
    }
    let Some(largest) = mtu
        .checked_sub(fixed)
        .and_then(|size| u16::try_from(size).ok())
    else {
        return;
    };
    let Some((at, 4)) = find_option(tcp, MAXIMUM_SEGMENT_SIZE) else {
        return;
    };
    let at = at + 2;
    let offered = u16::from_be_bytes([tcp[at], tcp[at + 1]]);
    if offered <= largest {
        return;
    }
    let sum = u16::from_be_bytes([tcp[16], tcp[17]]);
    tcp[at..at + 2].copy_from_slice(&largest.to_be_bytes());
    let sum = if at.is_multiple_of(2) {
        checksum::replace(sum, offered, largest)
    } else {
        // On an odd offset the option's bytes sit swapped in the words that are summed.
        checksum::replace(sum, offered.swap_bytes(), largest.swap_bytes())
    };
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());
}

/// Whether a TCP segment has an option of this kind.
pub fn has_option(tcp: &[u8], kind: u8) -> bool {
    find_option(tcp, kind).is_some()
}

/// Offset and length of an option in a TCP segment.
fn find_option(tcp: &[u8], wanted: u8) -> Option<(usize, usize)> {
    let end = (usize::from(tcp[12] >> 4) * 4).min(tcp.len());
    let mut at = 20;
    while at < end {
        match tcp[at] {
            END_OF_OPTIONS => return None,
            NO_OPERATION => at += 1,
            kind => {
                let length = usize::from(*tcp.get(at + 1)?);
                if length < 2 || at + length > end {
                    return None;
                }
                if kind == wanted {
                    return Some((at, length));
                }
                at += length;
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossway_types::checksum::{finish, pseudo_header};

    fn syn(options: &[u8]) -> Vec<u8> {
        let length = 20 + options.len();
        let mut packet = vec![0; 20 + length];
        packet[0] = 0x45;
        packet[9] = packet::TCP;
        packet[12..20].copy_from_slice(&[10, 1, 0, 1, 10, 2, 0, 1]);
        packet[32] = ((length / 4) as u8) << 4;
        packet[33] = SYN;
        packet[40..].copy_from_slice(options);
        let sum = finish(pseudo_header(&packet[12..20], 6, length), &packet[20..]);
        packet[36..38].copy_from_slice(&sum.to_be_bytes());
        packet
    }

    fn checksum_is_right(packet: &[u8]) -> bool {
        finish(
            pseudo_header(&packet[12..20], 6, packet.len() - 20),
            &packet[20..],
        ) == 0
    }

    #[test]
    fn a_large_offer_is_lowered_and_the_checksum_follows() {
        for options in [&[2, 4, 0x05, 0xb4][..], &[1, 2, 4, 0x05, 0xb4, 1, 1, 0][..]] {
            let mut packet = syn(options);
            clamp(&mut packet, 1420);
            let at = 42 + usize::from(options[0] == 1);
            assert_eq!(u16::from_be_bytes([packet[at], packet[at + 1]]), 1380);
            assert!(checksum_is_right(&packet));
        }
    }

    #[test]
    fn small_offers_other_segments_and_broken_options_are_left_alone() {
        let mut without_syn = syn(&[2, 4, 0x05, 0xb4]);
        without_syn[33] = 0x10;
        for packet in [
            syn(&[2, 4, 0x02, 0x00]),
            syn(&[2, 0, 0x05, 0xb4]),
            syn(&[2, 9, 0x05, 0xb4]),
            syn(&[0, 2, 4, 0xff]),
            without_syn,
        ] {
            let mut clamped = packet.clone();
            clamp(&mut clamped, 1420);
            assert_eq!(clamped, packet);
        }
        let packet = syn(&[2, 4, 0x05, 0xb4]);
        for length in 0..packet.len() {
            clamp(&mut packet[..length].to_vec(), 1420);
        }
    }
}
