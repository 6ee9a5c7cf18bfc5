use super::*;
use crossway_types::checksum::{finish, pseudo_header};

fn tcp4(payload: usize) -> Vec<u8> {
    let mut packet = vec![0; 40 + payload];
    packet[0] = 0x45;
    let length = packet.len() as u16;
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    packet[4..6].copy_from_slice(&7u16.to_be_bytes());
    packet[8] = 64;
    packet[9] = 6;
    packet[12..20].copy_from_slice(&[10, 1, 0, 1, 10, 2, 0, 1]);
    packet[24..28].copy_from_slice(&0xffff_ff00u32.to_be_bytes());
    packet[32] = 5 << 4;
    packet[33] = 0x10 | TCP_PSH | TCP_FIN | TCP_CWR;
    for (index, byte) in packet[40..].iter_mut().enumerate() {
        *byte = index as u8;
    }
    packet
}

fn gso(kind: GsoType, start: u16, offset: u16, size: u16) -> Header {
    Header {
        flags: NEEDS_CSUM,
        gso: kind,
        header_len: start + 20,
        gso_size: size,
        csum_start: start,
        csum_offset: offset,
    }
}

fn cut(header: &Header, packet: &[u8]) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    for_each_packet(header, &mut packet.to_vec(), |packet| {
        packets.push(packet.to_vec());
    })
    .unwrap();
    packets
}

#[test]
fn a_tcp_super_packet_becomes_its_segments() {
    let packet = tcp4(2500);
    let segments = cut(&gso(GsoType::Tcp4, 20, 16, 1000), &packet);
    assert_eq!(
        segments.iter().map(Vec::len).collect::<Vec<_>>(),
        [1040, 1040, 540]
    );
    let mut payload = Vec::new();
    for (index, segment) in segments.iter().enumerate() {
        assert_eq!(finish(0, &segment[..20]), 0, "IPv4 checksum");
        let pseudo = pseudo_header(&segment[12..20], 6, segment.len() - 20);
        assert_eq!(finish(pseudo, &segment[20..]), 0, "TCP checksum");
        assert_eq!(
            u16::from_be_bytes([segment[4], segment[5]]),
            7 + index as u16
        );
        let sequence = u32::from_be_bytes(segment[24..28].try_into().unwrap());
        assert_eq!(sequence, 0xffff_ff00u32.wrapping_add(index as u32 * 1000));
        assert_eq!(
            segment[33] & (TCP_PSH | TCP_FIN) != 0,
            index == 2,
            "only the last pushes"
        );
        assert_eq!(
            segment[33] & TCP_CWR != 0,
            index == 0,
            "only the first reduces the window"
        );
        payload.extend_from_slice(&segment[40..]);
    }
    assert_eq!(payload, packet[40..]);
}

#[test]
fn a_udp_super_packet_becomes_datagrams_of_one_size() {
    let mut packet = vec![0; 48 + 250];
    packet[0] = 0x60;
    packet[6] = 17;
    packet[8..40].fill(0x20);
    let segments = cut(&gso(GsoType::UdpL4, 40, 6, 100), &packet);
    assert_eq!(
        segments.iter().map(Vec::len).collect::<Vec<_>>(),
        [148, 148, 98]
    );
    for segment in &segments {
        let length = segment.len() - 40;
        assert_eq!(
            usize::from(u16::from_be_bytes([segment[4], segment[5]])),
            length
        );
        assert_eq!(
            usize::from(u16::from_be_bytes([segment[44], segment[45]])),
            length
        );
        assert_eq!(
            finish(pseudo_header(&segment[8..40], 17, length), &segment[40..]),
            0
        );
    }
}

#[test]
fn a_partial_checksum_is_finished() {
    let mut packet = tcp4(33);
    let partial = checksum::fold(pseudo_header(&packet[12..20], 6, 53));
    packet[36..38].copy_from_slice(&partial.to_be_bytes());
    let header = Header {
        gso: GsoType::None,
        ..gso(GsoType::Tcp4, 20, 16, 0)
    };
    let packet = cut(&header, &packet).remove(0);
    assert_eq!(
        finish(pseudo_header(&packet[12..20], 6, 53), &packet[20..]),
        0
    );
}

#[test]
fn no_offload_header_makes_it_read_past_the_packet() {
    let packet = tcp4(100);
    for start in 0..200u16 {
        for length in 0..packet.len() {
            for kind in [GsoType::Tcp4, GsoType::Tcp6, GsoType::UdpL4, GsoType::None] {
                let mut bytes = packet[..length].to_vec();
                let header = gso(kind, start, 16, 50);
                let _ = for_each_packet(&header, &mut bytes, |packet| {
                    assert!(!packet.is_empty() || length == 0);
                });
            }
        }
    }
    let header = gso(GsoType::Tcp4, 20, 16, 0);
    assert_eq!(
        for_each_packet(&header, &mut packet.clone(), |_| ()),
        Err(Malformed),
        "segments of nothing"
    );
}
