//! Inner packets of a peer that has the keys and means harm, as B gets them: over either of A's links, or from
//! its own replica. What comes out is what the TUN is to be given.

use std::net::IpAddr;
use std::time::Duration;

use datapath_abi::outcome::DropReason;

use super::coalesce::Rejoined;
use super::feed::{Feed, Script};
use super::gateways::{
    A, B, C, FIRST, Node, PROBED, PROBES_FROM, REPLICA, SECOND, endpoint, ipv4, prefixes,
    public_key, source_and_length,
};
use crossway::ids::LinkId;
use crossway::lane::mss;
use crossway::liveness::bfd::encapsulation::{self, Path};
use crossway::liveness::bfd::packet::Packet;
use crossway::tunnel::replica::{LONGEST, PORT};
use crossway::tunnel::{Handled, Sealed};
use crossway_types::checksum;

/// Steps of one input.
const STEPS: usize = 96;
/// What the TUN's MTU is.
const MTU: usize = 1420;

pub(super) fn run(data: &[u8]) {
    let mut feed = Feed::new(data);
    let now = super::beginning();
    let mut scene = Scene {
        nodes: [A, B, C].map(|gateway| Node::resumed(gateway, now)),
        tun: Rejoined::new(feed.u8()),
    };
    for _ in 0..STEPS {
        if feed.is_empty() {
            break;
        }
        scene.step(&mut feed);
    }
    scene.tun.end();
}

struct Scene {
    nodes: [Node; 3],
    tun: Rejoined,
}

impl Scene {
    fn step(&mut self, feed: &mut Feed<'_>) {
        let kind = feed.u8();
        if kind.is_multiple_of(8) {
            return self.pass(feed.span());
        }
        let (link, sender) = feed.of(&[(FIRST, A), (SECOND, A), (REPLICA, C)]);
        let packet = match kind % 8 {
            1 => feed.chunk().to_vec(),
            2 => control_packet(feed),
            3 => echo_reply(feed),
            4 => replica_datagram(feed),
            5 => ipv4_packet(feed),
            6 => ipv6_packet(feed),
            _ => Vec::new(),
        };
        let packet = super::inner::mangled(feed, packet);
        self.send(link, sender, &packet);
    }

    /// Time goes by, and what is due crosses.
    fn pass(&mut self, span: Duration) {
        for node in &mut self.nodes {
            node.pass(span);
        }
        let out = self.nodes.each_mut().map(Node::take);
        for (from, datagrams) in out.into_iter().enumerate() {
            for (to, datagram) in datagrams {
                let to = [A, B, C]
                    .into_iter()
                    .find(|gateway| endpoint(*gateway).remote.ip() == to.remote.ip());
                if let Some(to) = to.filter(|to| *to != from) {
                    self.nodes[to].handle(&datagram, endpoint(from));
                }
            }
        }
    }

    fn send(&mut self, link: LinkId, sender: usize, packet: &[u8]) {
        let node = &mut self.nodes[sender];
        node.take();
        // A session may have ended by time; the handshake for the next is of another target.
        if node.seal(link, packet) != Sealed::Ready {
            return;
        }
        let (_, datagram) = node.take().pop().expect("it was sealed");
        let (handled, landing) = self.nodes[B].handle(&datagram, endpoint(sender));
        check(&handled, sender, packet, &landing);
        if let Handled::Packet(length) = handled {
            let mut packet = landing[..length].to_vec();
            mss::clamp(&mut packet, MTU);
            self.tun.take(&packet);
        }
    }
}

/// What became of a packet is what the rules of the tunnel say.
fn check(handled: &Handled, sender: usize, packet: &[u8], landing: &[u8]) {
    let whole = source_and_length(packet).filter(|(_, length)| *length <= packet.len());
    let allowed = |source: IpAddr| prefixes(A).iter().any(|prefix| prefix.contains(source));
    match handled {
        Handled::Packet(length) => {
            assert_eq!(sender, A, "a replica sends no traffic");
            let (source, stated) = whole.expect("it is whole");
            assert!(allowed(source), "{source}");
            assert_eq!((stated, &packet[..stated]), (*length, &landing[..stated]));
        }
        Handled::FromReplica(link, payload) => {
            assert_eq!((*link, sender), (REPLICA, C));
            assert!(payload.len() <= LONGEST && payload.end <= packet.len());
            assert_eq!(landing[payload.clone()], packet[payload.clone()]);
        }
        Handled::Control => {
            let for_us = packet.is_empty()
                || encapsulation::is_control(packet)
                || sender == A && whole.is_some_and(|(source, _)| source == IpAddr::from(PROBED));
            assert!(for_us, "{packet:02x?}");
        }
        Handled::Dropped(DropReason::InnerMalformed) => assert_eq!(whole, None),
        Handled::Dropped(DropReason::SourceNotInSite) => {
            let (source, _) = whole.expect("it is whole");
            assert!(sender == C || !allowed(source), "{source}");
        }
        Handled::Dropped(DropReason::LivenessInvalid) => {
            assert!(encapsulation::is_control(packet), "{packet:02x?}");
        }
        // The session may be too old for the receiver alone.
        Handled::Dropped(reason) => assert_eq!(*reason, DropReason::NoSession),
    }
}

/// A BFD packet between any two of the addresses that mean something.
fn control_packet(feed: &mut Feed<'_>) -> Vec<u8> {
    let link_local = |gateway: usize| {
        let mut octets = [0; 16];
        octets[..2].copy_from_slice(&[0xfe, 0x80]);
        octets[8..].copy_from_slice(&public_key(gateway)[..8]);
        IpAddr::from(octets)
    };
    let (local, remote) = feed.of(&[
        (link_local(A), link_local(B)),
        (link_local(C), link_local(B)),
        (link_local(B), link_local(A)),
        ([10, 1, 0, 1].into(), [10, 2, 0, 1].into()),
    ]);
    let path = Path {
        local,
        remote,
        source_port: feed.u16(),
    };
    let mut payload = feed.array::<24>();
    if feed.bool() {
        // A head that is taken, with B's discriminator of one of the links.
        let discriminator = 0x00ab_0000 + 16 + u32::from(feed.u8() % 4) + 1;
        payload[0] = 0x20 | payload[0] & 0x1f;
        payload[1] &= 0xf0;
        payload[3] = 24;
        payload[8..12].copy_from_slice(&discriminator.to_be_bytes());
    }
    let blank = Packet::decode(&[
        0x20, 0, 1, 24, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ]);
    let mut bytes = [0; encapsulation::LONGEST];
    let length = encapsulation::write(&blank.expect("it is one"), &path, &mut bytes);
    bytes[length - 24..length].copy_from_slice(&payload);
    bytes[..length].to_vec()
}

fn echo_reply(feed: &mut Feed<'_>) -> Vec<u8> {
    let mut packet = ipv4(PROBED.octets(), PROBES_FROM.octets(), 28);
    packet[9] = 1;
    packet[20] = feed.u8() & 1;
    let identifier = 0x00ab_0000_u32 + 16 + FIRST.0;
    packet[24..26].copy_from_slice(&(identifier as u16).to_be_bytes());
    packet
}

fn replica_datagram(feed: &mut Feed<'_>) -> Vec<u8> {
    let payload = feed.chunk();
    let mut packet = vec![0; 48];
    packet[0] = 0x60;
    let length = (8 + payload.len()) as u16;
    packet[4..6].copy_from_slice(&length.to_be_bytes());
    packet[6..8].copy_from_slice(&[17, 255]);
    for (at, gateway) in [(8, C), (24, B)] {
        packet[at..at + 2].copy_from_slice(&[0xfe, 0x80]);
        packet[at + 8..at + 16].copy_from_slice(&public_key(gateway)[..8]);
    }
    for at in [40, 42] {
        packet[at..at + 2].copy_from_slice(&PORT.to_be_bytes());
    }
    packet[44..46].copy_from_slice(&length.to_be_bytes());
    packet.extend_from_slice(payload);
    packet
}

fn ipv4_packet(feed: &mut Feed<'_>) -> Vec<u8> {
    let source = feed.of(&[
        [10, 1, 0, 1],
        [10, 1, 255, 255],
        [10, 2, 0, 1],
        [10, 9, 0, 1],
    ]);
    let protocol = feed.of(&[1, 6, 17, 112]);
    let payload = feed.chunk();
    let mut packet = ipv4(source, [10, 2, 0, 1], (20 + payload.len()) as u16);
    packet[9] = protocol;
    let sum = checksum::finish(0, &packet[..20]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.truncate(20);
    packet.extend_from_slice(payload);
    packet
}

fn ipv6_packet(feed: &mut Feed<'_>) -> Vec<u8> {
    let third = feed.of(&[1_u8, 2, 9]);
    let protocol = feed.of(&[0, 6, 17, 43, 44, 58]);
    let payload = feed.chunk();
    let mut packet = vec![0; 40];
    packet[0] = 0x60;
    packet[4..6].copy_from_slice(&(payload.len() as u16).to_be_bytes());
    packet[6..8].copy_from_slice(&[protocol, 64]);
    packet[8..14].copy_from_slice(&[0x20, 1, 0x0d, 0xb8, 0, third]);
    packet[24..30].copy_from_slice(&[0x20, 1, 0x0d, 0xb8, 0, 2]);
    packet.extend_from_slice(payload);
    packet
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let plain = |script: Script| script.u8(0);
    let whole = ipv4([10, 1, 0, 1], [10, 2, 0, 1], 120);
    let begin = || Script::default().u8(3);
    let bfd = |script: Script| {
        script
            .u8(2)
            .u8(0)
            .u8(0)
            .u16(0xc001)
            .bytes(&[
                0x20, 0x40, 3, 24, 0, 0xab, 0, 2, 0, 0, 0, 0, 0, 1, 0x86, 0xa0,
            ])
            .bytes(&[0, 1, 0x86, 0xa0, 0, 0, 0, 0])
            .u8(1)
            .u8(1)
    };
    vec![
        plain(begin().u8(1).u8(0).chunk(&whole)).end(),
        plain(begin().u8(1).u8(2).chunk(&whole)).end(),
        plain(begin().u8(5).u8(0).u8(0).u8(1).chunk(&[0x10; 40])).end(),
        plain(begin().u8(5).u8(1).u8(3).u8(2).chunk(&[9; 8])).end(),
        plain(begin().u8(6).u8(0).u8(0).u8(2).chunk(&[0; 8])).end(),
        plain(bfd(begin())).u8(0).u16(1000).end(),
        plain(begin().u8(3).u8(0).u8(0)).u8(0).u16(3000).end(),
        plain(begin().u8(4).u8(2).chunk(b"flows")).end(),
        plain(begin().u8(4).u8(0).chunk(b"flows")).end(),
        plain(begin().u8(7).u8(0)).u8(0).u16(60_000).end(),
    ]
}
