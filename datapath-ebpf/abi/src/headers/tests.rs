extern crate std;

use std::vec;
use std::vec::Vec;

use super::*;

const IPV6: usize = 40;

/// A packet of IPv6 with these bytes behind its header, of which the first is of this kind.
fn v6(first: u8, rest: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; IPV6];
    packet[0] = 0x60;
    packet[4..6].copy_from_slice(&(rest.len() as u16).to_be_bytes());
    packet[6] = first;
    packet[7] = 64;
    packet[8..40].fill(0x20);
    packet.extend_from_slice(rest);
    packet
}

fn read(packet: &[u8]) -> Result<Headers, StackReason> {
    Headers::read_bare(packet, packet.len() as u32)
}

const DATAGRAM: [u8; 8] = [0x12, 0x34, 0, 53, 0, 8, 0, 0];

#[test]
fn a_datagram_is_found_behind_extension_headers() {
    let plain = read(&v6(UDP, &DATAGRAM)).unwrap();
    assert_eq!(
        (plain.ports.source(), plain.ports.destination()),
        (0x1234, 53)
    );
    assert_eq!((plain.header_length, plain.ip_length), (48, 48));

    let options = [[UDP, 1].as_slice(), &[0; 14], &DATAGRAM].concat();
    let behind = read(&v6(DESTINATION_OPTIONS, &options)).unwrap();
    assert_eq!((behind.protocol, behind.ports), (UDP, plain.ports));
    assert_eq!(behind.header_length, 40 + 16 + 8);
    assert_eq!(behind.stack_only, None);
    let routed = read(&v6(ROUTING, &options)).unwrap();
    assert_eq!(routed.stack_only, Some(StackReason::ExtensionHeader));
}

#[test]
fn a_later_fragment_has_no_ports_and_the_first_has() {
    let piece = |offset: u16| {
        let field = ((offset << 3) | 1).to_be_bytes();
        let header = [UDP, 0, field[0], field[1], 0, 0, 0, 9];
        read(&v6(FRAGMENT, &[header, DATAGRAM].concat())).unwrap()
    };
    assert_eq!(piece(0).ports.destination(), 53);
    assert_eq!(piece(4).ports, Ports::NONE);
    assert_eq!(piece(4).header_length, 48);
}

#[test]
fn more_extension_headers_than_are_walked_are_for_the_stack() {
    let mut chain = Vec::new();
    for _ in 0..MAX_EXTENSION_HEADERS {
        chain.extend([DESTINATION_OPTIONS, 0, 0, 0, 0, 0, 0, 0]);
    }
    chain.extend([UDP, 0, 0, 0, 0, 0, 0, 0]);
    chain.extend(DATAGRAM);
    let unknown = read(&v6(DESTINATION_OPTIONS, &chain)).unwrap_err();
    assert_eq!(unknown, StackReason::ExtensionHeader);
    assert_eq!(
        Upper::of_word(Upper::to_word(Err(unknown))).unwrap_err(),
        unknown
    );
}

#[test]
fn a_packet_that_ends_early_is_malformed_wherever_it_ends() {
    let options = [[UDP, 0].as_slice(), &[0; 6], &DATAGRAM].concat();
    let whole = v6(DESTINATION_OPTIONS, &options);
    assert!(read(&whole).is_ok());
    for length in 1..whole.len() {
        assert_eq!(read(&whole[..length]).err(), Some(StackReason::Malformed));
    }
}

#[test]
fn whatever_the_bytes_say_the_headers_lie_within_the_packet() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let kinds = [
        TCP,
        UDP,
        ICMP,
        ICMPV6,
        HOP_BY_HOP,
        FRAGMENT,
        DESTINATION_OPTIONS,
    ];
    let mut whole = 0;
    for _ in 0..50_000 {
        let rest: Vec<u8> = (0..random() % 80)
            .map(|_| match random() % 4 {
                0 => kinds[random() as usize % kinds.len()],
                1 => 0,
                _ => random() as u8,
            })
            .collect();
        let mut packet = v6(kinds[random() as usize % kinds.len()], &rest);
        if random().is_multiple_of(8) {
            packet.truncate(random() as usize % (packet.len() + 1));
        }
        if let Ok(headers) = read(&packet) {
            whole += 1;
            assert!(headers.header_length <= headers.ip_length);
            assert!(headers.ip_length as usize <= packet.len());
        }
    }
    assert!(whole > 5_000, "{whole} were whole");
}
