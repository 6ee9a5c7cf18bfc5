//! Frames to gateway a, as its host sends them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rand::Rng;
use rand::rngs::StdRng;
use vm_tests::topology::LISTEN_PORT;
use vm_tests::traffic::wire::{self, Mac};

use super::super::mutate::{self, Pair, noise};
use super::{Material, flip_some, foreign, nobody, pair, whole};

pub(super) fn any(random: &mut StdRng, material: &Material) -> Vec<u8> {
    let packet = whole(random, 1, 2);
    material.lan_frame(&packet)
}

pub(super) fn flipped(random: &mut StdRng, material: &Material) -> Vec<u8> {
    let packet = material.packet(random, 1, 2);
    let ipv4 = packet[0] >> 4 == 4;
    let packet = flip_some(random, packet);
    let mut frame = material.lan_frame(&packet);
    frame[12..14].copy_from_slice(if ipv4 { &[0x08, 0x00] } else { &[0x86, 0xdd] });
    frame
}

pub(super) fn broken(random: &mut StdRng, material: &Material) -> Vec<u8> {
    let packet = whole(random, 1, 2);
    let ipv4 = packet[0] >> 4 == 4;
    let packet = mutate::broken(random, packet);
    let mut frame = material.lan_frame(&packet);
    frame[12..14].copy_from_slice(if ipv4 { &[0x08, 0x00] } else { &[0x86, 0xdd] });
    frame
}

pub(super) fn spoofed(random: &mut StdRng, material: &Material) -> Vec<u8> {
    let packet = foreign(random, 2);
    material.lan_frame(&packet)
}

pub(super) fn adorned(random: &mut StdRng, material: &Material) -> Vec<u8> {
    let packet = whole(random, 1, 2);
    let packet = mutate::adorned(random, &packet);
    material.lan_frame(&packet)
}

pub(super) fn fragment(random: &mut StdRng, material: &Material) -> Vec<u8> {
    let packet = whole(random, 1, 2);
    let packet = mutate::fragment(random, &packet);
    material.lan_frame(&packet)
}

pub(super) fn icmp(random: &mut StdRng, material: &Material) -> Vec<u8> {
    let ipv4 = random.random();
    let quoted = if random.random_bool(0.5) {
        whole(random, 2, 1)
    } else {
        noise(random, 64)
    };
    let packet = mutate::icmp_error(random, pair(ipv4, 1, 2), &quoted);
    material.lan_frame(&packet)
}

pub(super) fn expiring(random: &mut StdRng, material: &Material) -> Vec<u8> {
    let mut packet = whole(random, 1, 2);
    let at = if packet[0] >> 4 == 4 { 8 } else { 7 };
    // Two end at the second gateway.
    packet[at] = random.random_range(0..=2);
    wire::fix_header_checksum(&mut packet);
    material.lan_frame(&packet)
}

pub(super) fn oversized(random: &mut StdRng, material: &Material) -> Vec<u8> {
    let ipv4 = random.random();
    let Pair { from, to } = pair(ipv4, 1, 2);
    let length = random.random_range(1421..=1460);
    let payload = noise(random, length);
    let mut packet = wire::ip(from, to, 253, &payload);
    if ipv4 {
        // Not to be fragmented.
        packet[6] = 0x40;
        wire::fix_header_checksum(&mut packet);
    }
    material.lan_frame(&packet)
}

pub(super) fn to_gateway(random: &mut StdRng, material: &Material) -> Vec<u8> {
    let ipv4 = random.random();
    let from = nobody(ipv4, 1);
    let to = if ipv4 {
        Ipv4Addr::new(10, 1, 0, 1).into()
    } else {
        Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1).into()
    };
    let packet = if random.random_bool(0.5) {
        let message = material.message(random);
        wire::udp((from, 9).into(), (to, LISTEN_PORT).into(), &message)
    } else {
        let quoted = noise(random, 64);
        mutate::icmp_error(random, Pair { from, to }, &quoted)
    };
    material.lan_frame(&packet)
}

pub(super) fn arp(random: &mut StdRng, material: &Material) -> Vec<u8> {
    super::arp(random, material.lan)
}

pub(super) fn multicast(random: &mut StdRng, material: &Material) -> Vec<u8> {
    let ipv4 = random.random();
    let length = random.random_range(0..64);
    let mut payload = noise(random, length);
    if length > 0 {
        // Version 3, advertisement.
        payload[0] = 0x31;
    }
    let from = nobody(ipv4, 1);
    let (to, mac): (IpAddr, Mac) = if ipv4 {
        (Ipv4Addr::new(224, 0, 0, 18).into(), [1, 0, 0x5e, 0, 0, 18])
    } else {
        let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
        (group.into(), [0x33, 0x33, 0, 0, 0, 0x12])
    };
    let mut packet = wire::ip(from, to, 112, &payload);
    packet[if ipv4 { 8 } else { 7 }] = 255;
    wire::fix_header_checksum(&mut packet);
    wire::frame(material.lan.0, mac, &packet)
}

pub(super) fn martian(random: &mut StdRng, material: &Material) -> Vec<u8> {
    let packet = super::martian(random, 1, 2, true);
    material.lan_frame(&packet)
}

pub(super) fn source_routed(random: &mut StdRng, material: &Material) -> Vec<u8> {
    let packet = mutate::whole(random, pair(true, 1, 2));
    let packet = mutate::source_routed(random, &packet);
    material.lan_frame(&packet)
}
