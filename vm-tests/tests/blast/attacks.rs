//! What is sent: one function for each kind, which makes the next frame, or the next packet for the tunnel.

mod lan;
mod tunnel;
mod wan;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rand::Rng;
use rand::rngs::StdRng;
use vm_tests::traffic::handshake::Forger;
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
        wan::every_type,
    ),
    attack(
        "real messages cut short",
        Door::Wan,
        Account::Datagrams,
        wan::cut_message,
    ),
    attack(
        "real messages with flipped bits",
        Door::Wan,
        Account::Datagrams,
        wan::flipped_message,
    ),
    attack(
        "real messages replayed",
        Door::Wan,
        Account::Datagrams,
        wan::replayed_message,
    ),
    attack(
        "handshakes with a right first code",
        Door::Wan,
        Account::Datagrams,
        wan::forged_handshake,
    ),
    attack("broken UDP", Door::Wan, TAKEN, wan::broken_udp),
    attack("broken IP", Door::Wan, TAKEN, wan::broken_outer),
    attack(
        "fragments without the rest",
        Door::Wan,
        TAKEN,
        wan::outer_fragment,
    ),
    attack(
        "options and extension headers",
        Door::Wan,
        TAKEN,
        wan::adorned_message,
    ),
    attack(
        "ICMP errors about nonsense",
        Door::Wan,
        TAKEN,
        wan::outer_icmp,
    ),
    attack("other protocols", Door::Wan, TAKEN, wan::other_protocol),
    attack(
        "frames for others, of no protocol",
        Door::Wan,
        TAKEN,
        wan::odd_frame,
    ),
    attack("ARP of any content", Door::Wan, Account::Arrived, wan::arp),
    attack(
        "plain packets to the hosts",
        Door::Wan,
        TAKEN,
        wan::plain_to_lan,
    ),
    attack("packets of any protocol", Door::Lan, TAKEN, lan::any),
    attack(
        "real packets with flipped bits",
        Door::Lan,
        TAKEN,
        lan::flipped,
    ),
    attack("broken IP", Door::Lan, TAKEN, lan::broken),
    attack("foreign sources", Door::Lan, TAKEN, lan::spoofed),
    attack(
        "options and extension headers",
        Door::Lan,
        TAKEN,
        lan::adorned,
    ),
    attack(
        "fragments without the rest",
        Door::Lan,
        TAKEN,
        lan::fragment,
    ),
    attack("ICMP errors about nonsense", Door::Lan, TAKEN, lan::icmp),
    attack("hops that run out", Door::Lan, TAKEN, lan::expiring),
    attack(
        "longer than the tunnel takes",
        Door::Lan,
        TAKEN,
        lan::oversized,
    ),
    attack("to the gateway itself", Door::Lan, TAKEN, lan::to_gateway),
    attack(
        "ARP of any content",
        Door::Lan,
        Account::LeftToStack("a", &["not-ip"]),
        lan::arp,
    ),
    attack(
        "VRRP and other multicast",
        Door::Lan,
        Account::LeftToStack("a", &["not-for-us"]),
        lan::multicast,
    ),
    attack(
        "addresses that are never routed",
        Door::Lan,
        Account::LeftToStack("a", &["not-routable"]),
        lan::martian,
    ),
    attack(
        "source routes",
        Door::Lan,
        Account::LeftToStack("a", &["ip-options"]),
        lan::source_routed,
    ),
    attack(
        "source routes",
        Door::Tunnel,
        Account::LeftToStack("b", &["ip-options"]),
        tunnel::source_routed,
    ),
    attack("any bytes", Door::Tunnel, TAKEN, tunnel::bytes),
    attack(
        "real packets with flipped bits",
        Door::Tunnel,
        TAKEN,
        tunnel::flipped,
    ),
    attack("broken IP", Door::Tunnel, TAKEN, tunnel::broken),
    attack("foreign sources", Door::Tunnel, TAKEN, tunnel::spoofed),
    attack(
        "options and extension headers",
        Door::Tunnel,
        TAKEN,
        tunnel::adorned,
    ),
    attack(
        "fragments without the rest",
        Door::Tunnel,
        TAKEN,
        tunnel::fragment,
    ),
    attack(
        "ICMP errors about nonsense",
        Door::Tunnel,
        TAKEN,
        tunnel::icmp,
    ),
    attack(
        "shaped as BFD, VRRP and replicas'",
        Door::Tunnel,
        TAKEN,
        tunnel::shaped,
    ),
    attack(
        "addresses that are never routed",
        Door::Tunnel,
        Account::LeftToStack("b", &["not-routable"]),
        tunnel::martian,
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

/// Bits of a real packet but for its addresses. An IPv4 header sums up as often as not.
fn flip_some(random: &mut StdRng, packet: Vec<u8>) -> Vec<u8> {
    let addresses = mutate::addresses_of(&packet);
    let mut packet = mutate::flipped(random, packet, &[addresses]);
    if random.random_bool(0.5) {
        wire::fix_header_checksum(&mut packet);
    }
    packet
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
