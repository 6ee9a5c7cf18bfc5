//! Inner packets to gateway b, sealed by a far gateway that it knows.

use std::net::Ipv6Addr;

use rand::Rng;
use rand::rngs::StdRng;
use vm_tests::traffic::wire;

use super::super::mutate::{self, any, noise};
use super::{Material, flip_some, foreign, pair, whole};

pub(super) fn source_routed(random: &mut StdRng, _material: &Material) -> Vec<u8> {
    let packet = mutate::whole(random, pair(true, 3, 2));
    mutate::source_routed(random, &packet)
}

pub(super) fn bytes(random: &mut StdRng, _material: &Material) -> Vec<u8> {
    let length = *any(random, &[1, 2, 19, 20, 39, 40, 41, 100, 1400]);
    let mut bytes = noise(random, length);
    // Sources of the site itself have kinds of their own.
    bytes[0] = random.random_range(0..16) << 4 | bytes[0] & 0xf;
    bytes
}

pub(super) fn flipped(random: &mut StdRng, material: &Material) -> Vec<u8> {
    let packet = material.packet(random, 3, 2);
    flip_some(random, packet)
}

pub(super) fn broken(random: &mut StdRng, _material: &Material) -> Vec<u8> {
    let packet = whole(random, 3, 2);
    mutate::broken(random, packet)
}

pub(super) fn spoofed(random: &mut StdRng, _material: &Material) -> Vec<u8> {
    // Of another site, of the attacked one, of nobody.
    match random.random_range(0..3) {
        0 => whole(random, 1, 2),
        1 => whole(random, 2, 2),
        _ => foreign(random, 2),
    }
}

pub(super) fn adorned(random: &mut StdRng, _material: &Material) -> Vec<u8> {
    let packet = whole(random, 3, 2);
    mutate::adorned(random, &packet)
}

pub(super) fn fragment(random: &mut StdRng, _material: &Material) -> Vec<u8> {
    let packet = whole(random, 3, 2);
    mutate::fragment(random, &packet)
}

pub(super) fn icmp(random: &mut StdRng, _material: &Material) -> Vec<u8> {
    let ipv4 = random.random();
    let quoted = if random.random_bool(0.5) {
        whole(random, 2, 3)
    } else {
        noise(random, 64)
    };
    mutate::icmp_error(random, pair(ipv4, 3, 2), &quoted)
}

pub(super) fn shaped(random: &mut StdRng, _material: &Material) -> Vec<u8> {
    let low: u64 = random.random();
    let from = Ipv6Addr::from(0xfe80_u128 << 112 | u128::from(low));
    let to = Ipv6Addr::from(0xfe80_u128 << 112 | u128::from(!low));
    let length = random.random_range(0..60);
    let mut payload = noise(random, length);
    if length > 3 {
        // A control packet of BFD by its first bytes.
        payload[..4].copy_from_slice(&[0x20, 0xc0, 3, 24]);
    }
    let mut packet = match random.random_range(0..3) {
        0 => wire::udp((from, 49_152).into(), (to, 3784).into(), &payload),
        1 => wire::udp((from, 3780).into(), (to, 3780).into(), &payload),
        _ => wire::ip(from.into(), to.into(), 112, &payload),
    };
    packet[7] = 255;
    packet
}

pub(super) fn martian(random: &mut StdRng, _material: &Material) -> Vec<u8> {
    super::martian(random, 3, 2, false)
}
