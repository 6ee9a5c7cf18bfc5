//! Frames to gateway b, as its router sends them.

use rand::Rng;
use rand::rngs::StdRng;
use vm_tests::topology::LISTEN_PORT;
use vm_tests::traffic::handshake::INITIATION;
use vm_tests::traffic::wire;

use super::super::mutate::{self, Pair, any, noise};
use super::{Material, nobody};

pub(super) fn every_type(random: &mut StdRng, material: &Material) -> Vec<u8> {
    let length = *any(
        random,
        &[
            0, 1, 3, 4, 15, 16, 31, 32, 33, 63, 64, 65, 92, 148, 149, 1400,
        ],
    );
    let mut message = noise(random, length);
    if length >= 4 {
        if random.random_bool(0.7) {
            message[0] = random.random_range(0..6);
        }
        if random.random_bool(0.8) {
            message[1..4].fill(0);
        }
    }
    let packet = material.datagram(random, &message);
    material.wan_frame(&packet)
}

pub(super) fn cut_message(random: &mut StdRng, material: &Material) -> Vec<u8> {
    let mut message = material.message(random);
    message.truncate(random.random_range(0..message.len()));
    let packet = material.datagram(random, &message);
    material.wan_frame(&packet)
}

pub(super) fn flipped_message(random: &mut StdRng, material: &Material) -> Vec<u8> {
    let message = material.message(random);
    let message = mutate::flipped(random, message, &[]);
    let packet = material.datagram(random, &message);
    material.wan_frame(&packet)
}

pub(super) fn replayed_message(random: &mut StdRng, material: &Material) -> Vec<u8> {
    let message = material.message(random);
    let packet = material.datagram(random, &message);
    material.wan_frame(&packet)
}

pub(super) fn forged_handshake(random: &mut StdRng, material: &Material) -> Vec<u8> {
    let mut message = [0; INITIATION];
    random.fill(&mut message[..]);
    message[..4].copy_from_slice(&[1, 0, 0, 0]);
    material.forger.stamp(&mut message);
    if random.random_bool(0.2) {
        // Something that looks like a cookie's code.
        random.fill(&mut message[132..]);
    }
    let packet = material.datagram(random, &message);
    material.wan_frame(&packet)
}

pub(super) fn broken_udp(random: &mut StdRng, material: &Material) -> Vec<u8> {
    let message = material.message(random);
    let mut packet = material.datagram(random, &message);
    let udp = if packet[0] >> 4 == 4 { 20 } else { 40 };
    match random.random_range(0..3) {
        0 => {
            let length: u16 = random.random_range(0..8);
            packet[udp + 4..udp + 6].copy_from_slice(&length.to_be_bytes());
        }
        1 => packet[udp + 4] |= 0x80,
        // Another checksum that is none of "right" and "there is none".
        _ => {
            let sum = u16::from_be_bytes([packet[udp + 6], packet[udp + 7]]);
            let wrong = if sum == 0x1234 { 0x4321_u16 } else { 0x1234 };
            packet[udp + 6..udp + 8].copy_from_slice(&wrong.to_be_bytes());
        }
    }
    material.wan_frame(&packet)
}

pub(super) fn broken_outer(random: &mut StdRng, material: &Material) -> Vec<u8> {
    let message = material.message(random);
    let packet = material.datagram(random, &message);
    let kind = [packet[0] >> 4];
    let packet = mutate::broken(random, packet);
    let mut frame = material.wan_frame(&packet);
    frame[12..14].copy_from_slice(if kind == [4] {
        &[0x08, 0x00]
    } else {
        &[0x86, 0xdd]
    });
    frame
}

pub(super) fn outer_fragment(random: &mut StdRng, material: &Material) -> Vec<u8> {
    let message = material.message(random);
    let packet = material.datagram(random, &message);
    let packet = mutate::fragment(random, &packet);
    material.wan_frame(&packet)
}

pub(super) fn adorned_message(random: &mut StdRng, material: &Material) -> Vec<u8> {
    let mut message = material.message(random);
    message.truncate(600);
    let packet = material.datagram(random, &message);
    let packet = mutate::adorned(random, &packet);
    material.wan_frame(&packet)
}

pub(super) fn outer_icmp(random: &mut StdRng, material: &Material) -> Vec<u8> {
    let family = random.random_range(0..2);
    let from = if random.random_bool(0.3) {
        material.a[family].ip()
    } else {
        mutate::stranger(random, family == 0)
    };
    let message = material.message(random);
    // Half of them are about what gateway b may really have sent.
    let quoted = if random.random_bool(0.5) {
        wire::udp(material.b[family], material.a[family], &message)
    } else {
        noise(random, 64)
    };
    let to = material.b[family].ip();
    let packet = mutate::icmp_error(random, Pair { from, to }, &quoted);
    material.wan_frame(&packet)
}

pub(super) fn other_protocol(random: &mut StdRng, material: &Material) -> Vec<u8> {
    let family = random.random_range(0..2);
    let from = mutate::stranger(random, family == 0);
    let to = material.b[family].ip();
    let packet = match random.random_range(0..3) {
        // Not one of the ports of a lane.
        0 => {
            let port = random.random_range(1..LISTEN_PORT);
            let length = random.random_range(0..300);
            let payload = noise(random, length);
            wire::udp((from, 4500).into(), (to, port).into(), &payload)
        }
        1 => {
            let mut segment = noise(random, 20);
            segment[12] = 0x50;
            let mut packet = wire::ip(from, to, 6, &segment);
            wire::fix_transport_checksum(&mut packet);
            packet
        }
        // VRRP to one address, and what has no number yet.
        _ => {
            let payload = noise(random, 20);
            let protocol = *any(random, &[112, 200, 253, 254]);
            wire::ip(from, to, protocol, &payload)
        }
    };
    material.wan_frame(&packet)
}

pub(super) fn odd_frame(random: &mut StdRng, material: &Material) -> Vec<u8> {
    let message = material.message(random);
    let packet = material.datagram(random, &message);
    let mut frame = material.wan_frame(&packet);
    match random.random_range(0..2) {
        0 => {
            // Local and for one, but not for us.
            frame[0] = 0x02;
            frame[5] ^= 0xff;
        }
        // Local experimental ethertypes (IEEE 802).
        _ => frame[12..14].copy_from_slice(&[0x88, *any(random, &[0xb5, 0xb6])]),
    }
    frame
}

pub(super) fn arp(random: &mut StdRng, material: &Material) -> Vec<u8> {
    super::arp(random, material.wan)
}

pub(super) fn plain_to_lan(random: &mut StdRng, material: &Material) -> Vec<u8> {
    let ipv4 = random.random();
    let from = if random.random_bool(0.5) {
        nobody(ipv4, 1)
    } else {
        mutate::stranger(random, ipv4)
    };
    let to = nobody(ipv4, 2);
    let packet = mutate::whole(random, Pair { from, to });
    material.wan_frame(&packet)
}
