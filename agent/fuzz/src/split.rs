//! Super-packets from the TUN with any header in front: what is emitted adds up to what went in.

use super::feed::{Feed, Script};
use super::gateways::ipv4;
use super::inner::{sum_by_the_book, transport_sum_is_right};
use crossway::io::split;
use crossway::io::tun::MAX_READ;
use crossway::io::virtio::{GsoType, HEADER_LEN, Header, NEEDS_CSUM};

const FIN_AND_PSH: u8 = 0x09;
const CWR: u8 = 0x80;

pub(super) fn run(data: &[u8]) {
    let mut feed = Feed::new(data);
    let bytes: [u8; HEADER_LEN] = feed.array();
    let Some(header) = Header::decode(bytes) else {
        return;
    };
    assert_eq!(Header::decode(header.encode()), Some(header));
    // So that short inputs stand for long packets, too.
    let repeat = usize::from(feed.u8()).pow(2);
    let mut packet = feed.rest().to_vec();
    if let Some(last) = packet.last().copied() {
        packet.extend(std::iter::repeat_n(last, repeat));
    }
    packet.truncate(MAX_READ - HEADER_LEN);
    let mut emitted = Vec::new();
    let mut scratch = packet.clone();
    let result = split::for_each_packet(&header, &mut scratch, |packet| {
        emitted.push(packet.to_vec());
    });
    if result.is_err() {
        assert_eq!(emitted, Vec::<Vec<u8>>::new(), "nothing came out of it");
    } else if header.gso == GsoType::None {
        check_single(&header, &packet, &emitted);
    } else {
        check_segments(&header, &packet, &emitted);
    }
}

fn check_single(header: &Header, packet: &[u8], emitted: &[Vec<u8>]) {
    let [only] = emitted else {
        panic!("one packet is one packet")
    };
    if header.flags & NEEDS_CSUM == 0 {
        assert_eq!(only, packet);
        return;
    }
    let (start, offset) = (
        usize::from(header.csum_start),
        usize::from(header.csum_offset),
    );
    let at = start + offset;
    assert_eq!(only[..at], packet[..at]);
    assert_eq!(only[at + 2..], packet[at + 2..]);
    if offset % 2 == 0 {
        // The sum of the pseudo header, which was in the field, makes the rest of it.
        let before = sum_by_the_book(&packet[start..]);
        let sum = u16::from_be_bytes([only[at], only[at + 1]]);
        assert!(sum == !before || (sum, before) == (0xffff, 0xffff));
    }
}

fn check_segments(header: &Header, packet: &[u8], emitted: &[Vec<u8>]) {
    let start = usize::from(header.csum_start);
    let tcp = header.gso != GsoType::UdpL4;
    let headers = start
        + if tcp {
            usize::from(packet[start + 12] >> 4) * 4
        } else {
            8
        };
    let size = usize::from(header.gso_size);
    let payload: Vec<u8> = emitted
        .iter()
        .flat_map(|segment| segment[headers..].to_vec())
        .collect();
    assert_eq!(
        payload,
        packet[headers..],
        "the payload is all there, in order"
    );
    for (index, segment) in emitted.iter().enumerate() {
        let last = index + 1 == emitted.len();
        let length = segment.len() - headers;
        assert!(length == size || last && length <= size);
        check_network(packet, segment, index);
        let protocol = if tcp { 6 } else { 17 };
        // A sum over an IPv4 header that reaches into TCP's is not TCP's.
        assert!(transport_sum_is_right(segment, start, protocol));
        if tcp {
            check_tcp(&packet[start..], &segment[start..], index * size, last);
        } else {
            let told = u16::from_be_bytes([segment[start + 4], segment[start + 5]]);
            assert_eq!(usize::from(told), segment.len() - start);
        }
    }
}

fn check_network(packet: &[u8], segment: &[u8], index: usize) {
    let word = |bytes: &[u8], at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    if packet[0] >> 4 == 4 {
        assert_eq!(usize::from(word(segment, 2)), segment.len());
        assert_eq!(word(segment, 4), word(packet, 4).wrapping_add(index as u16));
        assert_eq!(segment[6..10], packet[6..10]);
        assert_eq!(segment[12..20], packet[12..20]);
        if packet[0] == 0x45 {
            assert_eq!(sum_by_the_book(&segment[..20]), 0xffff);
        }
    } else {
        assert_eq!(usize::from(word(segment, 4)), segment.len() - 40);
        assert_eq!(segment[6..40], packet[6..40]);
    }
}

fn check_tcp(packet: &[u8], segment: &[u8], offset: usize, last: bool) {
    let sequence = |bytes: &[u8]| u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
    assert_eq!(
        sequence(segment),
        sequence(packet).wrapping_add(offset as u32)
    );
    let gone = packet[13] & !segment[13];
    let may_go = if last { 0 } else { FIN_AND_PSH } | if offset == 0 { 0 } else { CWR };
    assert_eq!(gone, packet[13] & may_go);
    assert_eq!(segment[13] & !packet[13], 0);
    assert_eq!(
        (&segment[8..13], &segment[14..16]),
        (&packet[8..13], &packet[14..16])
    );
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let header = |gso, start, offset, size| Header {
        flags: NEEDS_CSUM,
        gso,
        header_len: start + 20,
        gso_size: size,
        csum_start: start,
        csum_offset: offset,
    };
    let seed = |header: Header, packet: &[u8]| {
        Script::default()
            .bytes(&header.encode())
            .u8(60)
            .bytes(packet)
            .end()
    };
    let mut tcp = ipv4([10, 1, 0, 1], [10, 2, 0, 1], 100);
    tcp[9] = 6;
    tcp[32..34].copy_from_slice(&[0x50, 0x98]);
    let mut v6 = vec![0; 40];
    v6[..8].copy_from_slice(&[0x60, 0, 0, 0, 0, 60, 17, 64]);
    v6.extend_from_slice(&tcp[20..]);
    vec![
        seed(header(GsoType::Tcp4, 20, 16, 900), &tcp),
        seed(header(GsoType::Tcp4, 20, 16, 9), &tcp),
        seed(header(GsoType::Tcp6, 40, 16, 1000), &v6),
        seed(header(GsoType::UdpL4, 40, 6, 500), &v6),
        seed(header(GsoType::UdpL4, 20, 6, 500), &tcp),
        seed(header(GsoType::None, 20, 16, 0), &tcp),
        seed(Header::PLAIN, &tcp),
    ]
}
