//! What is sent: one function for each kind, which makes the next frame, or the next packet for the tunnel.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rand::Rng;
use rand::rngs::StdRng;
use vm_tests::topology::LISTEN_PORT;
use vm_tests::traffic::handshake::{Forger, INITIATION};
use vm_tests::traffic::wire::{self, Mac};

use super::mutate::{self, Pair, any, noise};

/// Where it is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// Frames to gateway b, from its router.
    Wan,
    /// Frames to gateway a, from its host.
    Lan,
    /// Inner packets to gateway b, sealed by a far gateway that it knows.
    Tunnel,
}

/// Where each packet must be found again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Account {
    /// In one counter of the agent, which counts each datagram of what the kernel has joined (GRO).
    Datagrams,
    /// In one counter at which a packet's way ends, or delivered as it was sent. The kernel counts what it has joined
    /// once, so nothing is joined meanwhile.
    Ends,
    /// In the programs' count of this gateway for one of these reasons. The kernel, which gets such packets, has no
    /// counter for them in a namespace of its own.
    LeftToStack(&'static str, &'static [&'static str]),
    /// In what the interface received: ARP, which only the kernel's neighbour table looks at.
    Arrived,
}

/// A kind of attack.
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    pub(crate) door: Door,
    pub(crate) account: Account,
    pub(crate) make: fn(&mut StdRng, &Material) -> Vec<u8>,
}

/// What attacks are made of.
pub(crate) struct Material {
    /// Link-layer addresses from and to.
    pub(crate) wan: (Mac, Mac),
    pub(crate) lan: (Mac, Mac),
    /// WireGuard messages of gateway a to b as they were on the wire.
    pub(crate) messages: Vec<Vec<u8>>,
    /// IP packets of real TCP connections.
    pub(crate) packets: Vec<Vec<u8>>,
    pub(crate) forger: Forger,
    /// Gateways a and b on the WAN.
    pub(crate) a: [SocketAddr; 2],
    pub(crate) b: [SocketAddr; 2],
}

const fn attack(
    name: &'static str,
    door: Door,
    account: Account,
    make: fn(&mut StdRng, &Material) -> Vec<u8>,
) -> Attack {
    Attack {
        name,
        door,
        account,
        make,
    }
}

const TAKEN: Account = Account::Ends;

pub(crate) const ATTACKS: &[Attack] = &[
    attack(
        "messages of every type and length",
        Door::Wan,
        Account::Datagrams,
        every_type,
    ),
    attack(
        "real messages cut short",
        Door::Wan,
        Account::Datagrams,
        cut_message,
    ),
    attack(
        "real messages with flipped bits",
        Door::Wan,
        Account::Datagrams,
        flipped_message,
    ),
    attack(
        "real messages replayed",
        Door::Wan,
        Account::Datagrams,
        replayed_message,
    ),
    attack(
        "handshakes with a right first code",
        Door::Wan,
        Account::Datagrams,
        forged_handshake,
    ),
    attack("broken UDP", Door::Wan, TAKEN, broken_udp),
    attack("broken IP", Door::Wan, TAKEN, broken_outer),
    attack(
        "fragments without the rest",
        Door::Wan,
        TAKEN,
        outer_fragment,
    ),
    attack(
        "options and extension headers",
        Door::Wan,
        TAKEN,
        adorned_message,
    ),
    attack("ICMP errors about nonsense", Door::Wan, TAKEN, outer_icmp),
    attack("other protocols", Door::Wan, TAKEN, other_protocol),
    attack(
        "frames for others, of no protocol",
        Door::Wan,
        TAKEN,
        odd_frame,
    ),
    attack("ARP of any content", Door::Wan, Account::Arrived, wan_arp),
    attack("plain packets to the hosts", Door::Wan, TAKEN, plain_to_lan),
    attack("packets of any protocol", Door::Lan, TAKEN, lan_any),
    attack(
        "real packets with flipped bits",
        Door::Lan,
        TAKEN,
        lan_flipped,
    ),
    attack("broken IP", Door::Lan, TAKEN, lan_broken),
    attack("foreign sources", Door::Lan, TAKEN, lan_spoofed),
    attack(
        "options and extension headers",
        Door::Lan,
        TAKEN,
        lan_adorned,
    ),
    attack("fragments without the rest", Door::Lan, TAKEN, lan_fragment),
    attack("ICMP errors about nonsense", Door::Lan, TAKEN, lan_icmp),
    attack("hops that run out", Door::Lan, TAKEN, lan_expiring),
    attack(
        "longer than the tunnel takes",
        Door::Lan,
        TAKEN,
        lan_oversized,
    ),
    attack("to the gateway itself", Door::Lan, TAKEN, lan_to_gateway),
    attack(
        "ARP of any content",
        Door::Lan,
        Account::LeftToStack("a", &["not-ip"]),
        lan_arp,
    ),
    attack(
        "VRRP and other multicast",
        Door::Lan,
        Account::LeftToStack("a", &["not-for-us"]),
        lan_multicast,
    ),
    attack(
        "addresses that are never routed",
        Door::Lan,
        Account::LeftToStack("a", &["not-routable"]),
        lan_martian,
    ),
    attack(
        "source routes",
        Door::Lan,
        Account::LeftToStack("a", &["ip-options"]),
        lan_source_routed,
    ),
    attack(
        "source routes",
        Door::Tunnel,
        Account::LeftToStack("b", &["ip-options"]),
        sealed_source_routed,
    ),
    attack("any bytes", Door::Tunnel, TAKEN, sealed_bytes),
    attack(
        "real packets with flipped bits",
        Door::Tunnel,
        TAKEN,
        sealed_flipped,
    ),
    attack("broken IP", Door::Tunnel, TAKEN, sealed_broken),
    attack("foreign sources", Door::Tunnel, TAKEN, sealed_spoofed),
    attack(
        "options and extension headers",
        Door::Tunnel,
        TAKEN,
        sealed_adorned,
    ),
    attack(
        "fragments without the rest",
        Door::Tunnel,
        TAKEN,
        sealed_fragment,
    ),
    attack(
        "ICMP errors about nonsense",
        Door::Tunnel,
        TAKEN,
        sealed_icmp,
    ),
    attack(
        "shaped as BFD, VRRP and replicas'",
        Door::Tunnel,
        TAKEN,
        sealed_shaped,
    ),
    attack(
        "addresses that are never routed",
        Door::Tunnel,
        Account::LeftToStack("b", &["not-routable"]),
        sealed_martian,
    ),
];

impl Material {
    fn wan_frame(&self, packet: &[u8]) -> Vec<u8> {
        wire::frame(self.wan.0, self.wan.1, packet)
    }

    fn lan_frame(&self, packet: &[u8]) -> Vec<u8> {
        wire::frame(self.lan.0, self.lan.1, packet)
    }

    /// A message to gateway b, from gateway a's own address or anybody's.
    fn datagram(&self, random: &mut StdRng, message: &[u8]) -> Vec<u8> {
        let family = random.random_range(0..2);
        let from = if random.random_bool(0.3) {
            self.a[family]
        } else {
            let port = random.random_range(1024..=u16::MAX);
            SocketAddr::new(mutate::stranger(random, family == 0), port)
        };
        wire::udp(from, self.b[family], message)
    }

    fn message(&self, random: &mut StdRng) -> Vec<u8> {
        any(random, &self.messages).clone()
    }

    /// A real packet from one host that is not there to another.
    fn packet(&self, random: &mut StdRng, from: u8, to: u8) -> Vec<u8> {
        let packet = any(random, &self.packets);
        let pair = pair(packet[0] >> 4 == 4, from, to);
        mutate::readdressed(random, packet, pair)
    }
}

/// A host that is not there, of a site.
pub(crate) fn nobody(ipv4: bool, site: u8) -> IpAddr {
    if ipv4 {
        Ipv4Addr::new(10, site, 0, 66).into()
    } else {
        Ipv6Addr::new(0x2001, 0xdb8, site.into(), 0, 0, 0, 0, 0x66).into()
    }
}

fn pair(ipv4: bool, from: u8, to: u8) -> Pair {
    Pair {
        from: nobody(ipv4, from),
        to: nobody(ipv4, to),
    }
}

fn whole(random: &mut StdRng, from: u8, to: u8) -> Vec<u8> {
    let ipv4 = random.random();
    mutate::whole(random, pair(ipv4, from, to))
}

fn every_type(random: &mut StdRng, material: &Material) -> Vec<u8> {
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

fn cut_message(random: &mut StdRng, material: &Material) -> Vec<u8> {
    let mut message = material.message(random);
    message.truncate(random.random_range(0..message.len()));
    let packet = material.datagram(random, &message);
    material.wan_frame(&packet)
}

fn flipped_message(random: &mut StdRng, material: &Material) -> Vec<u8> {
    let message = material.message(random);
    let message = mutate::flipped(random, message, &[]);
    let packet = material.datagram(random, &message);
    material.wan_frame(&packet)
}

fn replayed_message(random: &mut StdRng, material: &Material) -> Vec<u8> {
    let message = material.message(random);
    let packet = material.datagram(random, &message);
    material.wan_frame(&packet)
}

fn forged_handshake(random: &mut StdRng, material: &Material) -> Vec<u8> {
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

fn broken_udp(random: &mut StdRng, material: &Material) -> Vec<u8> {
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

fn broken_outer(random: &mut StdRng, material: &Material) -> Vec<u8> {
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

fn outer_fragment(random: &mut StdRng, material: &Material) -> Vec<u8> {
    let message = material.message(random);
    let packet = material.datagram(random, &message);
    let packet = mutate::fragment(random, &packet);
    material.wan_frame(&packet)
}

fn adorned_message(random: &mut StdRng, material: &Material) -> Vec<u8> {
    let mut message = material.message(random);
    message.truncate(600);
    let packet = material.datagram(random, &message);
    let packet = mutate::adorned(random, &packet);
    material.wan_frame(&packet)
}

fn outer_icmp(random: &mut StdRng, material: &Material) -> Vec<u8> {
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

fn other_protocol(random: &mut StdRng, material: &Material) -> Vec<u8> {
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

fn odd_frame(random: &mut StdRng, material: &Material) -> Vec<u8> {
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

fn arp(random: &mut StdRng, (from, to): (Mac, Mac)) -> Vec<u8> {
    let length = random.random_range(0..60);
    let mut frame = [&to[..], &from, &[0x08, 0x06]].concat();
    let mut content = noise(random, length);
    if length >= 8 {
        // No hardware of ours, so that no neighbour is learned.
        content[..8].copy_from_slice(&[0, 77, 8, 0, 6, 4, 0, random.random_range(0..4)]);
    }
    frame.extend(content);
    frame
}

fn wan_arp(random: &mut StdRng, material: &Material) -> Vec<u8> {
    arp(random, material.wan)
}

fn plain_to_lan(random: &mut StdRng, material: &Material) -> Vec<u8> {
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

fn lan_any(random: &mut StdRng, material: &Material) -> Vec<u8> {
    let packet = whole(random, 1, 2);
    material.lan_frame(&packet)
}

fn lan_flipped(random: &mut StdRng, material: &Material) -> Vec<u8> {
    let packet = material.packet(random, 1, 2);
    let ipv4 = packet[0] >> 4 == 4;
    let packet = flip_some(random, packet);
    let mut frame = material.lan_frame(&packet);
    frame[12..14].copy_from_slice(if ipv4 { &[0x08, 0x00] } else { &[0x86, 0xdd] });
    frame
}

/// Bits of a real packet but for its addresses. An IPv4 header sums up as often as not.
fn flip_some(random: &mut StdRng, packet: Vec<u8>) -> Vec<u8> {
    let addresses = mutate::addresses_of(&packet);
    let mut packet = mutate::flipped(random, packet, &[addresses]);
    if random.random_bool(0.5) {
        wire::fix_header_checksum(&mut packet);
    }
    packet
}

fn lan_broken(random: &mut StdRng, material: &Material) -> Vec<u8> {
    let packet = whole(random, 1, 2);
    let ipv4 = packet[0] >> 4 == 4;
    let packet = mutate::broken(random, packet);
    let mut frame = material.lan_frame(&packet);
    frame[12..14].copy_from_slice(if ipv4 { &[0x08, 0x00] } else { &[0x86, 0xdd] });
    frame
}

/// A source that is neither of this site nor one that a router takes for a mistake.
fn foreign(random: &mut StdRng, to: u8) -> Vec<u8> {
    let ipv4 = random.random();
    let from = if random.random_bool(0.5) {
        nobody(ipv4, 9)
    } else {
        mutate::stranger(random, ipv4)
    };
    let to = nobody(ipv4, to);
    mutate::whole(random, Pair { from, to })
}

fn lan_spoofed(random: &mut StdRng, material: &Material) -> Vec<u8> {
    let packet = foreign(random, 2);
    material.lan_frame(&packet)
}

fn lan_adorned(random: &mut StdRng, material: &Material) -> Vec<u8> {
    let packet = whole(random, 1, 2);
    let packet = mutate::adorned(random, &packet);
    material.lan_frame(&packet)
}

fn lan_fragment(random: &mut StdRng, material: &Material) -> Vec<u8> {
    let packet = whole(random, 1, 2);
    let packet = mutate::fragment(random, &packet);
    material.lan_frame(&packet)
}

fn lan_icmp(random: &mut StdRng, material: &Material) -> Vec<u8> {
    let ipv4 = random.random();
    let quoted = if random.random_bool(0.5) {
        whole(random, 2, 1)
    } else {
        noise(random, 64)
    };
    let packet = mutate::icmp_error(random, pair(ipv4, 1, 2), &quoted);
    material.lan_frame(&packet)
}

fn lan_expiring(random: &mut StdRng, material: &Material) -> Vec<u8> {
    let mut packet = whole(random, 1, 2);
    let at = if packet[0] >> 4 == 4 { 8 } else { 7 };
    // Two end at the second gateway.
    packet[at] = random.random_range(0..=2);
    wire::fix_header_checksum(&mut packet);
    material.lan_frame(&packet)
}

fn lan_oversized(random: &mut StdRng, material: &Material) -> Vec<u8> {
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

fn lan_to_gateway(random: &mut StdRng, material: &Material) -> Vec<u8> {
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

fn lan_arp(random: &mut StdRng, material: &Material) -> Vec<u8> {
    arp(random, material.lan)
}

fn lan_multicast(random: &mut StdRng, material: &Material) -> Vec<u8> {
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

/// From or to an address that no router forwards.
fn martian(random: &mut StdRng, from: u8, to: u8, may_be_source: bool) -> Vec<u8> {
    let ipv4: bool = random.random();
    let mut pair = pair(ipv4, from, to);
    let odd: IpAddr = if ipv4 {
        let low: u32 = random.random_range(1..0xffff);
        Ipv4Addr::from(any(random, &[0x7f00_0000_u32, 0xa9fe_0000, 0xf000_0000]) | low).into()
    } else {
        let low: u64 = random.random();
        Ipv6Addr::from(any(random, &[0_u128, 0xfe80 << 112]) | u128::from(low)).into()
    };
    if may_be_source && random.random() {
        pair.from = odd;
    } else {
        pair.to = odd;
    }
    mutate::whole(random, pair)
}

fn lan_martian(random: &mut StdRng, material: &Material) -> Vec<u8> {
    let packet = martian(random, 1, 2, true);
    material.lan_frame(&packet)
}

fn lan_source_routed(random: &mut StdRng, material: &Material) -> Vec<u8> {
    let packet = mutate::whole(random, pair(true, 1, 2));
    let packet = mutate::source_routed(random, &packet);
    material.lan_frame(&packet)
}

fn sealed_source_routed(random: &mut StdRng, _material: &Material) -> Vec<u8> {
    let packet = mutate::whole(random, pair(true, 3, 2));
    mutate::source_routed(random, &packet)
}

fn sealed_bytes(random: &mut StdRng, _material: &Material) -> Vec<u8> {
    let length = *any(random, &[1, 2, 19, 20, 39, 40, 41, 100, 1400]);
    let mut bytes = noise(random, length);
    // Sources of the site itself have kinds of their own.
    bytes[0] = random.random_range(0..16) << 4 | bytes[0] & 0xf;
    bytes
}

fn sealed_flipped(random: &mut StdRng, material: &Material) -> Vec<u8> {
    let packet = material.packet(random, 3, 2);
    flip_some(random, packet)
}

fn sealed_broken(random: &mut StdRng, _material: &Material) -> Vec<u8> {
    let packet = whole(random, 3, 2);
    mutate::broken(random, packet)
}

fn sealed_spoofed(random: &mut StdRng, _material: &Material) -> Vec<u8> {
    // Of another site, of the attacked one, of nobody.
    match random.random_range(0..3) {
        0 => whole(random, 1, 2),
        1 => whole(random, 2, 2),
        _ => foreign(random, 2),
    }
}

fn sealed_adorned(random: &mut StdRng, _material: &Material) -> Vec<u8> {
    let packet = whole(random, 3, 2);
    mutate::adorned(random, &packet)
}

fn sealed_fragment(random: &mut StdRng, _material: &Material) -> Vec<u8> {
    let packet = whole(random, 3, 2);
    mutate::fragment(random, &packet)
}

fn sealed_icmp(random: &mut StdRng, _material: &Material) -> Vec<u8> {
    let ipv4 = random.random();
    let quoted = if random.random_bool(0.5) {
        whole(random, 2, 3)
    } else {
        noise(random, 64)
    };
    mutate::icmp_error(random, pair(ipv4, 3, 2), &quoted)
}

fn sealed_shaped(random: &mut StdRng, _material: &Material) -> Vec<u8> {
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

fn sealed_martian(random: &mut StdRng, _material: &Material) -> Vec<u8> {
    martian(random, 3, 2, false)
}
