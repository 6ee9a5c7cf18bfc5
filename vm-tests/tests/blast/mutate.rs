//! Packets that are right, and how they are made wrong. Everything comes out of one generator of numbers, so a seed
//! gives the same frames again.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rand::Rng;
use rand::rngs::StdRng;
use vm_tests::traffic::wire;

/// Options of IPv4: loose and strict.
const SOURCE_ROUTES: [u8; 2] = [131, 137];
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Addresses of one family.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair {
    pub(crate) from: IpAddr,
    pub(crate) to: IpAddr,
}

/// Any of several.
pub(crate) fn any<'a, T>(random: &mut StdRng, of: &'a [T]) -> &'a T {
    &of[random.random_range(0..of.len())]
}

/// Bytes of any content.
pub(crate) fn noise(random: &mut StdRng, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    random.fill(&mut bytes[..]);
    bytes
}

/// A whole packet of UDP, TCP, an echo or any protocol, of any content.
pub(crate) fn whole(random: &mut StdRng, pair: Pair) -> Vec<u8> {
    let length = random.random_range(20..600);
    let mut payload = noise(random, length);
    let protocol = match random.random_range(0..4) {
        0 => {
            payload[4..6].copy_from_slice(&(length as u16).to_be_bytes());
            UDP
        }
        1 => {
            // No options, and no SYN: the size of segments that one announces is brought down on the way.
            payload[12] = 0x50;
            payload[13] &= !0x02;
            TCP
        }
        2 => {
            let echo = if pair.from.is_ipv4() { 8 } else { 128 };
            payload[..2].copy_from_slice(&[echo, 0]);
            if pair.from.is_ipv4() { 1 } else { 58 }
        }
        // Experimental (RFC 3692).
        _ => 253,
    };
    let mut packet = wire::ip(pair.from, pair.to, protocol, &payload);
    wire::fix_transport_checksum(&mut packet);
    packet
}

/// Contradicts itself or the frame in its network header.
pub(crate) fn broken(random: &mut StdRng, mut packet: Vec<u8>) -> Vec<u8> {
    if packet[0] >> 4 == 4 {
        match random.random_range(0..7) {
            0 => packet[0] = random.random_range(0..4) << 4 | 5,
            1 => packet[0] = 0x40 | random.random_range(0..5),
            2 => packet.truncate(random.random_range(1..20)),
            3 => {
                // Longer than the frame.
                let stated = (packet.len() + random.random_range(1..5000)) as u16;
                packet[2..4].copy_from_slice(&stated.to_be_bytes());
            }
            4 => {
                let stated: u16 = random.random_range(0..20);
                packet[2..4].copy_from_slice(&stated.to_be_bytes());
            }
            5 => {
                packet[10] ^= random.random_range(1..=255_u8);
                return packet;
            }
            _ => packet.truncate(packet.len() - random.random_range(1..packet.len() - 20)),
        }
        wire::fix_header_checksum(&mut packet);
    } else {
        match random.random_range(0..4) {
            0 => packet[0] = random.random_range(7..16) << 4,
            1 => packet.truncate(random.random_range(1..40)),
            2 => {
                let stated = (packet.len() - 40 + random.random_range(1..5000)) as u16;
                packet[4..6].copy_from_slice(&stated.to_be_bytes());
            }
            _ => packet.truncate(packet.len() - random.random_range(1..packet.len() - 40)),
        }
    }
    packet
}

/// One to eight bits are others, but for those of `kept`.
pub(crate) fn flipped(
    random: &mut StdRng,
    mut packet: Vec<u8>,
    kept: &[std::ops::Range<usize>],
) -> Vec<u8> {
    for _ in 0..random.random_range(1..=8) {
        let at = random.random_range(0..packet.len());
        if !kept.iter().any(|kept| kept.contains(&at)) {
            packet[at] ^= 1 << random.random_range(0..8);
        }
    }
    packet
}

/// Where the addresses of a packet are.
pub(crate) fn addresses_of(packet: &[u8]) -> std::ops::Range<usize> {
    if packet[0] >> 4 == 4 { 12..20 } else { 8..40 }
}

/// With options, or a chain of extension headers, of any content.
pub(crate) fn adorned(random: &mut StdRng, packet: &[u8]) -> Vec<u8> {
    if packet[0] >> 4 == 4 {
        let words: usize = random.random_range(1..=10);
        let mut options = noise(random, words * 4);
        // End, none, record route, time stamp, router alert, and anything.
        options[0] = *any(random, &[0, 1, 7, 68, 148, options[0]]);
        options[1] = *any(random, &[0, 1, 3, 4, (words * 4) as u8, options[1]]);
        // Source routes have a kind of their own.
        for byte in &mut options {
            if SOURCE_ROUTES.contains(byte) {
                *byte = 0;
            }
        }
        let mut adorned = packet[..20].to_vec();
        adorned[0] = 0x40 | (5 + words) as u8;
        adorned.extend(&options);
        adorned.extend(&packet[20..]);
        let length = adorned.len() as u16;
        adorned[2..4].copy_from_slice(&length.to_be_bytes());
        wire::fix_header_checksum(&mut adorned);
        return adorned;
    }
    let mut adorned = packet[..40].to_vec();
    let mut next_at = 6;
    let last = packet[6];
    for _ in 0..random.random_range(1..=8) {
        // Hop by hop, routing, destination options, what is no header; fragments have a kind of their own.
        let kind = *any(random, &[0, 43, 60, 60, 254]);
        let words: usize = random.random_range(0..3);
        let mut header = noise(random, 8 + words * 8);
        // Routing headers of types that the kernel knows and has switched off (3, 4) end uncounted in it.
        header[2] = *any(random, &[0, 1, 2, 5, 77, 254]);
        header[1] = if random.random_ratio(1, 8) {
            header[1]
        } else {
            words as u8
        };
        adorned[next_at] = kind;
        next_at = adorned.len();
        adorned.extend(header);
    }
    adorned[next_at] = last;
    adorned.extend(&packet[40..]);
    let length = (adorned.len() - 40) as u16;
    adorned[4..6].copy_from_slice(&length.to_be_bytes());
    adorned
}

/// With a source route, which no router of today follows.
pub(crate) fn source_routed(random: &mut StdRng, packet: &[u8]) -> Vec<u8> {
    let mut routed = packet[..20].to_vec();
    routed[0] = 0x47;
    routed.extend([*any(random, &SOURCE_ROUTES), 7, 4]);
    routed.extend(noise(random, 4));
    routed.push(0);
    routed.extend(&packet[20..]);
    let length = routed.len() as u16;
    routed[2..4].copy_from_slice(&length.to_be_bytes());
    wire::fix_header_checksum(&mut routed);
    routed
}

/// A fragment whose others never come.
pub(crate) fn fragment(random: &mut StdRng, packet: &[u8]) -> Vec<u8> {
    // Of all 13 bits only what no packet is too long for.
    let offset: u16 = random.random_range(0..0x1f00);
    let more = random.random_bool(0.9) || offset == 0;
    if packet[0] >> 4 == 4 {
        let mut piece = packet.to_vec();
        let identification: u16 = random.random();
        piece[4..6].copy_from_slice(&identification.to_be_bytes());
        piece[6..8].copy_from_slice(&(offset | u16::from(more) << 13).to_be_bytes());
        wire::fix_header_checksum(&mut piece);
        return piece;
    }
    // All but the last are whole words of eight bytes.
    let packet = &packet[..40 + (packet.len() - 40) / 8 * 8];
    let mut piece = packet[..40].to_vec();
    piece.extend([packet[6], 0]);
    piece.extend((offset << 3 | u16::from(more)).to_be_bytes());
    piece.extend(noise(random, 4));
    piece.extend(&packet[40..]);
    piece[6] = 44;
    let length = (piece.len() - 40) as u16;
    piece[4..6].copy_from_slice(&length.to_be_bytes());
    piece
}

/// An ICMP error about `quoted`, of any kind and code, cut anywhere.
pub(crate) fn icmp_error(random: &mut StdRng, pair: Pair, quoted: &[u8]) -> Vec<u8> {
    let (protocol, kinds): (u8, &[u8]) = if pair.from.is_ipv4() {
        (1, &[3, 4, 5, 11, 12])
    } else {
        (58, &[1, 2, 3, 4])
    };
    let code = if random.random_bool(0.5) {
        4
    } else {
        random.random()
    };
    let mut payload = vec![*any(random, kinds), code, 0, 0];
    payload.extend(noise(random, 2));
    payload.extend(any(random, &[0_u16, 68, 552, 1280, 0xffff]).to_be_bytes());
    payload.extend(&quoted[..random.random_range(0..=quoted.len().min(600))]);
    let mut packet = wire::ip(pair.from, pair.to, protocol, &payload);
    wire::fix_transport_checksum(&mut packet);
    packet
}

/// The same packet between other addresses, with another source port, so that no two follow each other in a flow.
pub(crate) fn readdressed(random: &mut StdRng, packet: &[u8], pair: Pair) -> Vec<u8> {
    let mut packet = packet.to_vec();
    match (pair.from, pair.to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            packet[12..16].copy_from_slice(&from.octets());
            packet[16..20].copy_from_slice(&to.octets());
            packet[8] = 64;
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            packet[8..24].copy_from_slice(&from.octets());
            packet[24..40].copy_from_slice(&to.octets());
            packet[7] = 64;
        }
        _ => unreachable!("both of one family"),
    }
    let transport = if packet[0] >> 4 == 4 { 20 } else { 40 };
    let port: u16 = random.random();
    packet[transport..transport + 2].copy_from_slice(&port.to_be_bytes());
    wire::fix_header_checksum(&mut packet);
    wire::fix_transport_checksum(&mut packet);
    packet
}

/// An address that nobody routes to a site, and that a router does not take for a mistake.
pub(crate) fn stranger(random: &mut StdRng, ipv4: bool) -> IpAddr {
    if ipv4 {
        Ipv4Addr::from(0xc612_0000 | random.random_range(1..0x1_ffff)).into()
    } else {
        Ipv6Addr::from(0x2001_0002_0000 << 80 | u128::from(random.random::<u64>())).into()
    }
}
