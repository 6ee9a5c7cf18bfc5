use super::*;
use crossway_types::packet::{self, TCP, UDP};

const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
const FIN: u8 = 0x01;

fn ip(ipv4: bool, protocol: u8) -> Ip {
    let (source, destination) = if ipv4 {
        ("10.1.0.10", "10.2.0.10")
    } else {
        ("2001:db8:1::10", "2001:db8:2::10")
    };
    Ip {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
        class: 0,
        dont_fragment: true,
        ttl: 63,
        protocol,
    }
}

fn tcp(ipv4: bool, flags: u8, payload: usize) -> Vec<u8> {
    let mut segment = vec![0; 24 + payload];
    segment[..4].copy_from_slice(&[0x30, 0x39, 1, 187]);
    segment[4..8].copy_from_slice(&0xffff_fffe_u32.to_be_bytes());
    segment[8..12].copy_from_slice(&77_u32.to_be_bytes());
    segment[12] = 6 << 4;
    segment[13] = flags;
    written(ipv4, TCP, &segment)
}

fn written(ipv4: bool, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let ip = ip(ipv4, protocol);
    let mut packet = vec![0; ip.header_len() + payload.len()];
    ip.write(payload, &mut packet);
    packet
}

/// Sequence number, acknowledged number and flags of a reset with a good sum.
fn reset_of(packet: &[u8]) -> Option<(u32, u32, u8)> {
    let answer = Answer::to(packet)?;
    let receiver = answer.receiver();
    let reset = answer.into_packet(None)?;
    let (source, destination) = packet::addresses(packet)?;
    assert_eq!(packet::addresses(&reset), Some((destination, source)));
    assert_eq!(receiver, source);
    let (at, TCP) = packet::transport(&reset)? else {
        panic!("{reset:02x?}");
    };
    let addresses = if source.is_ipv4() { 12..20 } else { 8..40 };
    assert_eq!(sum_of_tcp(&reset[addresses], &reset[at..]), 0);
    assert_eq!(reset[at..at + 4], [1, 187, 0x30, 0x39]);
    let word = |at: usize| u32::from_be_bytes(reset[at..at + 4].try_into().unwrap());
    Some((word(at + 4), word(at + 8), reset[at + 13]))
}

#[test]
fn a_reset_is_one_that_its_receiver_believes() {
    for ipv4 in [true, false] {
        // What was not acknowledged by its sender is: SYN and FIN count as a byte.
        let reset = |flags, payload| reset_of(&tcp(ipv4, flags, payload));
        assert_eq!(reset(SYN, 0), Some((0, 0xffff_ffff, RST | ACK)));
        assert_eq!(reset(SYN, 100), Some((0, 99, RST | ACK)));
        assert_eq!(reset(FIN, 1), Some((0, 0, RST | ACK)));
        assert_eq!(reset(ACK, 100), Some((77, 0, RST)));
        assert_eq!(reset(SYN | ACK, 0), Some((77, 0, RST)));
        assert_eq!(reset(RST, 0), None);
        assert_eq!(reset(RST | ACK, 0), None);
        // The head of a long segment is enough.
        let long = tcp(ipv4, SYN, 1000);
        assert_eq!(reset_of(&long[..128]), Some((0, 999, RST | ACK)));
        let short = &tcp(ipv4, SYN, 0)[..if ipv4 { 39 } else { 59 }];
        assert_eq!(Answer::to(short), None);
    }
}

#[test]
fn others_are_told_that_it_is_prohibited() {
    for (ipv4, kind) in [(true, [3, 13]), (false, [1, 1])] {
        let packet = written(ipv4, UDP, &[7; 100]);
        let answer = Answer::to(&packet).unwrap();
        let Answer::Prohibited { message, .. } = &answer else {
            panic!("{answer:?}");
        };
        assert_eq!(message[..2], kind);
        assert_eq!(message[8..], packet);
        if ipv4 {
            assert_eq!(checksum::finish(0, message), 0);
        }
        let own: IpAddr = if ipv4 { "10.255.0.1" } else { "2001:db8::1" }
            .parse()
            .unwrap();
        assert_eq!(answer.clone().into_packet(None), None);
        let whole = answer.into_packet(Some(own)).unwrap();
        let (sender, _) = packet::addresses(&packet).unwrap();
        assert_eq!(packet::addresses(&whole), Some((own, sender)));
        assert_eq!(packet::stated_length(&whole), Some(whole.len()));
        let (at, protocol) = packet::transport(&whole).unwrap();
        let pseudo = if ipv4 {
            0
        } else {
            checksum::pseudo_header(&whole[8..40], protocol, whole.len() - at)
        };
        assert_eq!(checksum::finish(pseudo, &whole[at..]), 0);
    }
}

#[test]
fn nobody_is_answered_about_errors_later_fragments_and_groups() {
    let udp = written(true, UDP, &[7; 100]);
    assert!(Answer::to(&udp).is_some());
    let changed = |at: usize, to: &[u8]| {
        let mut packet = udp.clone();
        packet[at..at + to.len()].copy_from_slice(to);
        packet
    };
    let refused = [
        changed(6, &[0, 9]),
        changed(12, &[224, 0, 0, 1]),
        changed(16, &[239, 0, 0, 1]),
        changed(16, &[255, 255, 255, 255]),
        written(true, ICMP, &[3, 1, 0, 0, 0, 0, 0, 0]),
        written(false, ICMPV6, &[3, 0, 0, 0, 0, 0, 0, 0]),
        // A fragment of IPv6 behind the first.
        written(
            false,
            44,
            &[UDP, 0, 0, 0x18, 0, 0, 0, 1, 9, 9, 9, 9, 9, 9, 9, 9],
        ),
        udp[..19].to_vec(),
    ];
    for packet in refused {
        assert_eq!(Answer::to(&packet), None, "{packet:02x?}");
    }
    let echo = written(true, ICMP, &[8, 0, 0, 0, 0, 0, 0, 0]);
    assert!(Answer::to(&echo).is_some());
}

#[test]
fn there_are_only_so_many_answers_in_a_second() {
    let now = crossway_sys::clock::now();
    let mut refuser = Refuser::open(now);
    let udp = written(true, UDP, &[7; 100]);
    let answers = (0..1000).filter(|_| refuser.answer(&udp, now).is_some());
    assert_eq!(answers.count() as u32, ANSWERS_PER_SECOND);
}
