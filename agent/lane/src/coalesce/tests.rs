use super::*;
use crate::io::split;
use crossway_types::checksum::finish;
use crossway_types::packet::tcp_flags::ACK;

const ALL: Joins = Joins {
    tcp: true,
    udp: true,
};

/// One TCP segment with right checksums.
fn segment(ipv6: bool, sequence: u32, payload: &[u8], flags: u8) -> Vec<u8> {
    let ip = if ipv6 { 40 } else { 20 };
    let mut packet = vec![0; ip + 32 + payload.len()];
    let length = packet.len();
    if ipv6 {
        packet[0] = 0x60;
        packet[4..6].copy_from_slice(&((length - 40) as u16).to_be_bytes());
        packet[6] = packet::TCP;
        packet[7] = 63;
        packet[8..40].fill(0x20);
    } else {
        packet[0] = 0x45;
        packet[2..4].copy_from_slice(&(length as u16).to_be_bytes());
        packet[6] = 0x40;
        packet[8] = 63;
        packet[9] = packet::TCP;
        packet[12..20].copy_from_slice(&[10, 1, 0, 1, 10, 2, 0, 1]);
        let sum = finish(0, &packet[..20]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    let tcp = &mut packet[ip..];
    tcp[..4].copy_from_slice(&[0x80, 1, 0, 80]);
    tcp[4..8].copy_from_slice(&sequence.to_be_bytes());
    tcp[12] = 8 << 4;
    tcp[13] = flags;
    tcp[20..32].fill(1);
    tcp[32..].copy_from_slice(payload);
    let addresses = if ipv6 { 8..40 } else { 12..20 };
    let pseudo = checksum::pseudo_header(&packet[addresses], packet::TCP, length - ip);
    let sum = finish(pseudo, &packet[ip..]);
    packet[ip + 16..ip + 18].copy_from_slice(&sum.to_be_bytes());
    packet
}

fn datagram(payload: usize, byte: u8) -> Vec<u8> {
    let mut packet = vec![byte; 48 + payload];
    packet[..8].copy_from_slice(&[0x60, 0, 0, 0, 0, 0, packet::UDP, 63]);
    packet[4..6].copy_from_slice(&((8 + payload) as u16).to_be_bytes());
    packet[8..40].fill(0x20);
    packet[40..44].copy_from_slice(&[1, 2, 3, 4]);
    packet[44..46].copy_from_slice(&((8 + payload) as u16).to_be_bytes());
    packet[46..48].fill(0);
    let pseudo = checksum::pseudo_header(&packet[8..40], packet::UDP, 8 + payload);
    let sum = finish(pseudo, &packet[40..]);
    packet[46..48].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// Runs packets through a coalescer; what was written.
fn join(packets: &[Vec<u8>], joins: Joins) -> Vec<Vec<u8>> {
    let mut coalescer = Coalescer::new();
    let mut written = Vec::new();
    for packet in packets {
        assert!(coalescer.has_room(packet.len() + 16));
        let landing = coalescer.landing();
        landing[..packet.len()].copy_from_slice(packet);
        landing[packet.len()..packet.len() + 16].fill(0xee);
        coalescer.take(packet.len(), joins, |bytes| written.push(bytes.to_vec()));
    }
    coalescer.flush(|bytes| written.push(bytes.to_vec()));
    written
}

/// Cuts what was written into wire packets again, as the kernel would.
fn cut(written: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    for bytes in written {
        let header = Header::decode(bytes[..10].try_into().unwrap()).unwrap();
        let mut packet = bytes[10..].to_vec();
        split::for_each_packet(&header, &mut packet, |packet| packets.push(packet.to_vec()))
            .unwrap();
    }
    packets
}

fn without_id(mut packet: Vec<u8>) -> Vec<u8> {
    if packet[0] == 0x45 {
        packet[4..6].fill(0);
        packet[10..12].fill(0);
    }
    packet
}

#[test]
fn a_run_of_segments_becomes_one_packet_and_comes_apart_the_same() {
    for ipv6 in [false, true] {
        for size in [1348, 1347, 200] {
            let payload: Vec<u8> = (0..size * 20 + 77).map(|i| (i * 31 / 7) as u8).collect();
            let packets: Vec<_> = payload
                .chunks(size)
                .enumerate()
                .map(|(i, chunk)| {
                    let last = chunk.len() < size;
                    let sequence = 0xffff_f000u32.wrapping_add((i * size) as u32);
                    segment(ipv6, sequence, chunk, if last { ACK | PSH } else { ACK })
                })
                .collect();
            let written = join(&packets, ALL);
            assert_eq!(written.len(), 1, "{size}");
            assert_eq!(
                cut(&written)
                    .into_iter()
                    .map(without_id)
                    .collect::<Vec<_>>(),
                packets.into_iter().map(without_id).collect::<Vec<_>>()
            );
        }
    }
}

#[test]
fn datagrams_of_one_size_become_one_packet() {
    let mut packets: Vec<_> = (0..30).map(|byte| datagram(100, byte)).collect();
    packets.push(datagram(60, 9));
    packets.push(datagram(100, 9));
    let written = join(&packets, ALL);
    assert_eq!(written.len(), 2, "the short one ends the first");
    assert_eq!(cut(&written), packets);
    assert_eq!(
        join(
            &packets,
            Joins {
                tcp: true,
                udp: false
            }
        )
        .len(),
        packets.len()
    );
}

#[test]
fn what_does_not_follow_is_written_apart_and_in_order() {
    let bytes = [7; 500];
    let mut other_flow = segment(false, 1500, &bytes, ACK);
    other_flow[20] = 9;
    let mut wrong_sum = segment(false, 1000, &bytes, ACK);
    wrong_sum[100] ^= 1;
    let mut odd_ttl = segment(false, 1000, &bytes, ACK);
    odd_ttl[8] = 9;
    for second in [
        segment(false, 1001, &bytes, ACK),
        segment(false, 1000, &[7; 501], ACK),
        segment(false, 1000, &[], ACK),
        segment(false, 1000, &bytes, ACK | 1),
        segment(true, 1000, &bytes, ACK),
        other_flow,
        wrong_sum,
        odd_ttl,
    ] {
        let packets = [
            segment(false, 500, &bytes, ACK),
            second,
            segment(false, 1500, &bytes, ACK),
        ];
        let written = join(&packets, ALL);
        assert_eq!(written.len(), 3);
        assert_eq!(cut(&written), packets);
    }
}

#[test]
fn a_wrong_checksum_of_the_first_packet_is_not_made_right() {
    let bytes = [7; 501];
    let mut first = segment(false, 500, &bytes, ACK);
    first[60] ^= 1;
    let packets = [first, segment(false, 1001, &bytes, ACK)];
    assert_eq!(cut(&join(&packets, ALL)), packets);
}

#[test]
fn a_wrong_checksum_of_an_ip_header_is_not_made_right() {
    let right: Vec<_> = (0..3)
        .map(|at| segment(false, at * 1000, &[7; 1000], ACK))
        .collect();
    assert_eq!(join(&right, ALL).len(), 1);
    for wrong in 0..3 {
        let mut packets = right.clone();
        packets[wrong][11] ^= 1;
        let sums = cut(&join(&packets, ALL));
        let sums = sums.iter().map(|packet| finish(0, &packet[..20]) == 0);
        let sums: Vec<bool> = sums.collect();
        let expected: Vec<bool> = (0..3).map(|at| at != wrong).collect();
        assert_eq!(sums, expected, "packet {wrong}");
    }
}

#[test]
fn a_datagram_that_lies_about_its_length_is_not_joined() {
    for wrong in 0..2 {
        let mut packets = vec![datagram(600, 1), datagram(600, 2)];
        // With a checksum that is right all the same.
        packets[wrong][45] -= 8;
        let sum = u16::from_be_bytes([packets[wrong][46], packets[wrong][47]]);
        let length = u16::from_be_bytes([packets[wrong][44], packets[wrong][45]]);
        let sum = checksum::replace(sum, length + 8, length);
        packets[wrong][46..48].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(cut(&join(&packets, ALL)), packets, "datagram {wrong}");
    }
}

#[test]
fn a_failed_decryption_leaves_the_packet_under_way_whole() {
    let bytes: Vec<u8> = (0..900u32).map(|i| i as u8).collect();
    let packets = [
        segment(true, 0, &bytes, ACK),
        segment(true, 900, &bytes, ACK),
    ];
    let mut coalescer = Coalescer::new();
    let mut written = Vec::new();
    for packet in &packets {
        coalescer.landing()[..300].fill(0xbb);
        coalescer.abandon();
        coalescer.landing()[..packet.len()].copy_from_slice(packet);
        coalescer.take(packet.len(), ALL, |bytes| written.push(bytes.to_vec()));
    }
    coalescer.landing()[..300].fill(0xbb);
    coalescer.abandon();
    coalescer.flush(|bytes| written.push(bytes.to_vec()));
    assert_eq!(written.len(), 1);
    assert_eq!(cut(&written), packets);
}

#[test]
fn whatever_is_joined_comes_apart_as_it_was() {
    let mut random = 0x2545_f491_4f6c_dd1du64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as usize
    };
    for _ in 0..500 {
        let mut sequence = next() as u32;
        let size = 100 + next() % 1300;
        let mut packets = Vec::new();
        for _ in 0..next() % 60 {
            let payload = vec![next() as u8; [size, size, size, 1 + next() % size][next() % 4]];
            let ipv6 = next() % 50 == 0;
            let mut packet = match next() % 40 {
                0 => datagram(size, next() as u8),
                1 => segment(ipv6, sequence, &payload, ACK | PSH),
                _ => segment(ipv6, sequence, &payload, ACK),
            };
            sequence = sequence.wrapping_add(payload.len() as u32);
            if next() % 20 == 0 {
                // Mangled behind the version, but with a length that says how long it is.
                let at = 6 + next() % (packet.len() - 6);
                packet[at] ^= 1 << (next() % 8);
            }
            packets.push(packet);
        }
        let apart = cut(&join(&packets, ALL));
        assert_eq!(
            apart.into_iter().map(without_id).collect::<Vec<_>>(),
            packets.into_iter().map(without_id).collect::<Vec<_>>()
        );
    }
}

#[test]
fn no_header_length_or_short_packet_makes_it_read_past_the_packet() {
    for ipv6 in [false, true] {
        let bytes = [7; 200];
        let ip = if ipv6 { 40 } else { 20 };
        for data_offset in 0..16u8 {
            let mut first = segment(ipv6, 500, &bytes, ACK);
            let mut second = segment(ipv6, 700, &bytes, ACK);
            first[ip + 12] = data_offset << 4;
            second[ip + 12] = data_offset << 4;
            join(&[first, second], ALL);
        }
        let tcp = segment(ipv6, 500, &bytes, ACK);
        let udp = datagram(100, 3);
        for whole in [tcp, udp] {
            for length in 1..whole.len() {
                let short = whole[..length].to_vec();
                assert_eq!(join(&[short.clone(), short], ALL).len(), 2);
            }
        }
    }
}
