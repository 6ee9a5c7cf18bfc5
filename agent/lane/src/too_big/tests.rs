//! Packets of all kinds that are too big, and what becomes of them.

use super::*;
use crate::io::split;
use crossway_types::packet::UDP;
use crossway_types::packet::write::Ip;

fn ip(ipv4: bool, protocol: u8, dont_fragment: bool) -> Ip {
    let (source, destination) = if ipv4 {
        ("10.1.0.10", "10.2.0.10")
    } else {
        ("2001:db8:1::10", "2001:db8:2::10")
    };
    Ip {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
        class: 0,
        dont_fragment,
        ttl: 63,
        protocol,
    }
}

/// A segment with its sum.
fn tcp(ipv4: bool, payload: usize, flags: u8, options: &[u8]) -> Vec<u8> {
    let mut segment = vec![0; 20 + options.len()];
    segment[..4].copy_from_slice(&[0x30, 0x39, 0, 80]);
    segment[4..8].copy_from_slice(&1000_u32.to_be_bytes());
    segment[12] = ((20 + options.len()) / 4 * 16) as u8;
    segment[13] = flags;
    segment[20..].copy_from_slice(options);
    segment.extend((0..payload).map(|at| at as u8));
    let mut packet = vec![0; 40 + segment.len()];
    let length = ip(ipv4, TCP, true).write(&segment, &mut packet);
    packet.truncate(length);
    let at = length - segment.len();
    let addresses = if ipv4 { 12..20 } else { 8..40 };
    let pseudo = checksum::pseudo_header(&packet[addresses], TCP, segment.len());
    let sum = checksum::finish(pseudo, &packet[at..]);
    packet[at + 16..at + 18].copy_from_slice(&sum.to_be_bytes());
    packet
}

fn udp(ipv4: bool, payload: usize, dont_fragment: bool) -> Vec<u8> {
    let mut packet = vec![0; 48 + payload];
    let length = ip(ipv4, UDP, dont_fragment).write_udp((7, 8), &vec![1; payload], &mut packet);
    packet.truncate(length);
    packet
}

/// What goes out, each with a good sum.
fn pieces(header: &Header, mut packet: Vec<u8>) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    split::for_each_packet(header, &mut packet, |piece| pieces.push(piece.to_vec())).unwrap();
    for piece in &pieces {
        let (at, protocol) = packet::transport(piece).unwrap();
        let addresses = if piece[0] >> 4 == 4 { 12..20 } else { 8..40 };
        let pseudo = checksum::pseudo_header(&piece[addresses], protocol, piece.len() - at);
        assert_eq!(checksum::finish(pseudo, &piece[at..]), 0);
    }
    pieces
}

#[test]
fn a_segment_becomes_smaller_ones_with_the_same_bytes() {
    for ipv4 in [true, false] {
        for gso_size in [0, 1380] {
            let payload = if gso_size == 0 { 1380 } else { 30_000 };
            let packet = tcp(ipv4, payload, 0x18, &[1; 12]);
            let at = if ipv4 { 20 } else { 40 };
            let mut header = Header::PLAIN;
            if gso_size > 0 {
                header = Header {
                    flags: NEEDS_CSUM,
                    gso: if ipv4 { GsoType::Tcp4 } else { GsoType::Tcp6 },
                    header_len: 0,
                    gso_size,
                    csum_start: at as u16,
                    csum_offset: 16,
                };
            }
            let whole = at + 32 + 1380;
            assert_eq!(largest(&header, &packet), whole);
            let Remedy::Segments(smaller) = remedy(&header, &packet, 1280) else {
                panic!("{header:?}");
            };
            let pieces = pieces(&smaller, packet.clone());
            assert!(pieces.iter().all(|piece| piece.len() <= 1280));
            assert_eq!(pieces[0].len(), 1280);
            let bytes: Vec<u8> = pieces
                .iter()
                .flat_map(|piece| piece[at + 32..].to_vec())
                .collect();
            assert_eq!(bytes, packet[at + 32..]);
            let pushed: Vec<bool> = pieces.iter().map(|piece| piece[at + 13] & 8 != 0).collect();
            assert_eq!(pushed.iter().filter(|pushed| **pushed).count(), 1);
            assert_eq!(pushed.last(), Some(&true));
        }
    }
}

#[test]
fn what_must_arrive_as_it_is_is_not_cut() {
    let signed = [19, 18, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1];
    let mut damaged = tcp(true, 1380, 0x10, &[]);
    damaged[700] ^= 1;
    let mut cut_short = tcp(true, 1380, 0x10, &[]);
    cut_short.truncate(1300);
    for (packet, mtu) in [
        (tcp(true, 1380, SYN, &[]), 1280),
        (tcp(true, 1380, URG, &[]), 1280),
        (tcp(true, 1340, 0x10, &signed), 1280),
        (damaged, 1280),
        (cut_short, 1280),
        (tcp(true, 1380, 0x10, &[]), 200),
        (udp(true, 1380, true), 1280),
        (udp(false, 1380, true), 1280),
    ] {
        assert_eq!(remedy(&Header::PLAIN, &packet, mtu), Remedy::None);
    }
    let fragmented = remedy(&Header::PLAIN, &udp(true, 1380, false), 1280);
    assert_eq!(fragmented, Remedy::Fragments);
}

#[test]
fn the_sender_is_told_what_fits_and_which_packet_did_not() {
    let packet = tcp(true, 30_000, 0x10, &[]);
    let (sender, message) = message::too_big(&packet, 1420, 1280).unwrap();
    assert_eq!(sender, IpAddr::from([10, 1, 0, 10]));
    assert_eq!(message.len(), 556);
    assert_eq!((message[0], message[1]), (3, 4));
    assert_eq!(message[4..8], [0, 0, 5, 0]);
    assert_eq!(checksum::finish(0, &message), 0);
    let quoted = &message[8..];
    assert_eq!(packet::stated_length(quoted), Some(1420));
    assert_eq!(checksum::finish(0, &quoted[..20]), 0);
    assert_eq!(quoted[20..], packet[20..548]);

    let packet = udp(false, 1380, true);
    let (_, message) = message::too_big(&packet, packet.len(), 1280).unwrap();
    assert_eq!((message[0], message[1]), (2, 0));
    assert_eq!(message[4..8], [0, 0, 5, 0]);
    assert_eq!(message[8..], packet[..1232]);
}

#[test]
fn nobody_is_told_of_errors_fragments_and_groups() {
    let told = |packet: &[u8]| message::too_big(packet, packet.len(), 1280).is_some();
    let good = udp(true, 1380, true);
    assert!(told(&good));
    let changed = |at: usize, to: &[u8]| {
        let mut packet = good.clone();
        packet[at..at + to.len()].copy_from_slice(to);
        packet
    };
    for packet in [
        changed(6, &[0x40, 1]),
        changed(12, &[0, 0, 0, 0]),
        changed(12, &[224, 0, 0, 1]),
        changed(16, &[224, 0, 0, 1]),
        {
            let mut error = changed(9, &[1]);
            error[20] = 3;
            error
        },
        good[..19].to_vec(),
    ] {
        assert!(!told(&packet));
    }
    let mut error = udp(false, 1380, true);
    error[6] = 58;
    error[40] = 1;
    assert!(!told(&error));
    error[40] = 128;
    assert!(told(&error));
}
