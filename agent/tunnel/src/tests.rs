//! Gateways that talk through a network of vectors: what is asserted is what crossed it.

mod engines;
mod floods;
mod handed_over;
mod links;
mod mapping;
mod paths;
mod pulses;
mod replays;
mod replicas;

use super::*;
use crate::transmit::Endpoint;
use crossway_liveness::settings::{Liveness, LivenessMode};
use crossway_sys::clock;
use crossway_types::engine::Engine;
use crossway_types::ids::SiteId;

/// A gateway with a tunnel, seen from the wire.
struct Node {
    tunnel: Tunnel,
    out: Transmits,
    address: Endpoint,
    /// What runs the sessions of the peers that are added.
    engine: Engine,
    keepalive: Option<u16>,
    now: Instant,
}

impl Node {
    fn new(key: u8, address: &str) -> Self {
        Self::at(key, address, clock::now(), clock::since_epoch())
    }

    fn at(key: u8, address: &str, now: Instant, since_epoch: Duration) -> Self {
        let calendar = Calendar::new(now, since_epoch);
        Self {
            tunnel: Tunnel::new(Identity::new([key; 32]), calendar, Arc::default(), now),
            out: Transmits::new(),
            address: Endpoint::new(address.parse().unwrap()),
            engine: Engine::Crossway,
            keepalive: None,
            now,
        }
    }

    fn public_key(&self) -> [u8; 32] {
        self.tunnel.local.identity.public_key()
    }

    /// Adds `peer` as site `site` behind 10.`site`.0.0/16.
    fn add(&mut self, peer: &Node, site: u32, dials: bool) {
        let spec = PeerSpec {
            link: LinkId(site),
            site: Some(SiteId(site)),
            engine: self.engine,
            receiver_index: 0x00ab_0000 + site,
            public_key: peer.public_key(),
            preshared_key: None,
            keepalive: self.keepalive,
            endpoint: dials.then_some(peer.address),
            interface: None,
            liveness: Liveness {
                mode: LivenessMode::WireGuard,
                ..Liveness::default()
            },
            probe_source: None,
        };
        self.tunnel.add_peer(spec, self.now, &mut self.out);
        let route = (format!("10.{site}.0.0/16").parse().unwrap(), SiteId(site));
        self.tunnel.set_routes(Arc::new(RouteTable::new([route])));
    }

    fn seal(&mut self, packet: &[u8]) -> Sealed {
        let (_, destination) = packet::addresses(packet).unwrap();
        let slot = self.tunnel.peer_for(destination, packet).unwrap();
        let mut sealer = self.tunnel.sealer(slot, self.now).unwrap();
        sealer.seal(packet, &mut self.out)
    }

    fn handle(&mut self, datagram: &[u8], from: Endpoint) -> (Handled, Vec<u8>) {
        let mut landing = vec![0; datagram.len()];
        let handled =
            self.tunnel
                .handle_datagram(datagram, from, self.now, &mut landing, &mut self.out);
        if let Handled::Packet(length) = handled {
            landing.truncate(length);
        }
        (handled, landing)
    }

    /// The timers run at `seconds` after now; packets that were given up.
    fn tick(&mut self, seconds: u64) -> u64 {
        self.now += Duration::from_secs(seconds);
        let (now, out) = (self.now, &mut self.out);
        let given_up = self
            .tunnel
            .handle_timeout(now, Duration::ZERO, out, |_| panic!("there is room"));
        given_up.packets
    }

    fn snapshot(&self) -> Vec<PeerSnapshot> {
        self.tunnel.snapshot(self.now)
    }
}

/// Carries datagrams both ways until the wire is quiet; the inner packets that arrived at each end.
fn exchange(a: &mut Node, b: &mut Node) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let (mut at_a, mut at_b) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        for (_, datagram) in a.out.take_datagrams() {
            if let (Handled::Packet(_), packet) = b.handle(&datagram, a.address) {
                at_b.push(packet);
            }
        }
        for (_, datagram) in b.out.take_datagrams() {
            if let (Handled::Packet(_), packet) = a.handle(&datagram, b.address) {
                at_a.push(packet);
            }
        }
    }
    (at_a, at_b)
}

fn inner(source: [u8; 4], destination: [u8; 4], length: u16) -> Vec<u8> {
    let mut packet = vec![0x5a; usize::from(length)];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    packet[12..16].copy_from_slice(&source);
    packet[16..20].copy_from_slice(&destination);
    packet
}

/// A (site 1) dials B (site 2), which does not know A's endpoint.
fn pair() -> (Node, Node) {
    pair_of(Engine::Crossway, Engine::Crossway)
}

/// The same, whose sessions these engines run.
fn pair_of(engine_a: Engine, engine_b: Engine) -> (Node, Node) {
    pair_apart(engine_a, engine_b, Duration::ZERO)
}

/// The same, and A's clock is `ahead`.
fn pair_apart(engine_a: Engine, engine_b: Engine, ahead: Duration) -> (Node, Node) {
    let (now, since_epoch) = (clock::now(), clock::since_epoch());
    let mut a = Node::at(1, "192.0.2.1:51820", now, since_epoch + ahead);
    let mut b = Node::new(2, "192.0.2.2:51820");
    (a.engine, b.engine) = (engine_a, engine_b);
    a.add(&b, 2, true);
    b.add(&a, 1, false);
    (a, b)
}

/// A pair of each engine with each. Of a test that fails, the last line says which.
fn pairs() -> impl Iterator<Item = (Node, Node)> {
    pairs_apart(Duration::ZERO)
}

fn pairs_apart(ahead: Duration) -> impl Iterator<Item = (Node, Node)> {
    let all = Engine::ALL.into_iter();
    let both = all.flat_map(|a| Engine::ALL.map(|b| (a, b)));
    both.map(move |(a, b)| {
        println!("{a} dials {b}");
        pair_apart(a, b, ahead)
    })
}

#[test]
fn packets_cross_both_ways_once_one_side_has_dialled() {
    for (mut a, mut b) in pairs() {
        let out = inner([10, 1, 0, 1], [10, 2, 0, 1], 300);
        let back = inner([10, 2, 0, 1], [10, 1, 0, 1], 1400);
        assert_eq!(b.seal(&back), Sealed::Dropped(DropReason::NoEndpoint));
        assert_eq!(a.seal(&out), Sealed::Queued);
        let (_, at_b) = exchange(&mut a, &mut b);
        assert_eq!(
            at_b,
            std::slice::from_ref(&out),
            "what waited for the handshake is sent"
        );
        assert_eq!(b.seal(&back), Sealed::Ready);
        assert_eq!(a.seal(&out), Sealed::Ready);
        let (at_a, at_b) = exchange(&mut a, &mut b);
        assert_eq!((at_a, at_b), (vec![back], vec![out]));
        let peer = &a.snapshot()[0];
        assert_eq!(
            (
                peer.sent_packets,
                peer.received_packets,
                peer.received_bytes
            ),
            (2, 1, 1400)
        );
    }
}

#[test]
fn a_source_outside_the_senders_site_is_refused_by_name() {
    for (mut a, mut b) in pairs() {
        exchange(&mut a, &mut b);
        assert_eq!(
            a.seal(&inner([10, 9, 0, 1], [10, 2, 0, 1], 100)),
            Sealed::Ready
        );
        let (_, datagram) = a.out.take_datagrams().remove(0);
        let (handled, _) = b.handle(&datagram, a.address);
        assert_eq!(handled, Handled::Dropped(DropReason::SourceNotInSite));
    }
}

#[test]
fn a_replayed_or_altered_message_is_refused_by_name() {
    for (mut a, mut b) in pairs() {
        exchange(&mut a, &mut b);
        a.seal(&inner([10, 1, 0, 1], [10, 2, 0, 1], 100));
        let (_, datagram) = a.out.take_datagrams().remove(0);
        let mut altered = datagram.clone();
        altered[40] ^= 1;
        assert_eq!(
            b.handle(&altered, a.address).0,
            Handled::Dropped(DropReason::AuthenticationFailed)
        );
        assert!(matches!(
            b.handle(&datagram, a.address).0,
            Handled::Packet(100)
        ));
        assert_eq!(
            b.handle(&datagram, a.address).0,
            Handled::Dropped(DropReason::Replayed)
        );
    }
}

#[test]
fn only_an_authentic_message_moves_the_endpoint() {
    for (mut a, mut b) in pairs() {
        exchange(&mut a, &mut b);
        let elsewhere = Endpoint {
            remote: "198.51.100.9:4000".parse().unwrap(),
            local: Some("192.0.2.2".parse().unwrap()),
            interface: None,
        };
        a.seal(&inner([10, 1, 0, 1], [10, 2, 0, 1], 100));
        let (_, datagram) = a.out.take_datagrams().remove(0);
        let mut forged = datagram.clone();
        forged[30] ^= 1;
        b.handle(&forged, elsewhere);
        assert_eq!(b.snapshot()[0].endpoint, Some(a.address));
        b.handle(&datagram, elsewhere);
        assert_eq!(b.snapshot()[0].endpoint, Some(elsewhere));
        b.seal(&inner([10, 2, 0, 1], [10, 1, 0, 1], 100));
        assert_eq!(
            b.out.take_datagrams()[0].0,
            elsewhere,
            "and the reply leaves from what was dialled"
        );
    }
}

#[test]
fn a_refused_handshake_message_does_not_move_the_endpoint() {
    let elsewhere = Endpoint::new("198.51.100.9:4000".parse().unwrap());
    for (mut a, mut b) in pairs() {
        // Initiations that follow each other too fast; there is no session yet, so the first moves it.
        let (_, first) = a.out.take_datagrams().remove(0);
        let later = a.now + Duration::from_secs(1);
        let mut again = Node::at(1, "192.0.2.1:51820", later, Duration::from_secs(1 << 40));
        again.add(&b, 2, true);
        let (_, second) = again.out.take_datagrams().remove(0);
        assert_eq!(b.handle(&first, a.address).0, Handled::Control);
        let (handled, _) = b.handle(&second, elsewhere);
        assert_eq!(handled, Handled::Dropped(DropReason::HandshakeRateLimited));
        assert_eq!(b.snapshot()[0].endpoint, Some(a.address));

        // A response that is right but for its contents.
        let (_, response) = b.out.take_datagrams().remove(0);
        let mut forged = response.clone();
        forged[50] ^= 1;
        macs::Stamper::new(&a.public_key()).stamp(&mut forged, a.now);
        let (handled, _) = a.handle(&forged, elsewhere);
        assert_eq!(handled, Handled::Dropped(DropReason::HandshakeInvalid));
        assert_eq!(a.snapshot()[0].endpoint, Some(b.address));
        assert_eq!(a.handle(&response, elsewhere).0, Handled::Control);
        assert_eq!(
            a.snapshot()[0].endpoint,
            Some(elsewhere),
            "the true one does"
        );
    }
}

#[test]
fn strangers_and_noise_are_named() {
    for (mut a, mut b) in pairs() {
        let mut stranger = Node::new(3, "203.0.113.3:51820");
        stranger.add(&b, 2, true);
        let (_, initiation) = stranger.out.take_datagrams().remove(0);
        assert_eq!(
            b.handle(&initiation, stranger.address).0,
            Handled::Dropped(DropReason::UnknownPeer)
        );
        let (_, mut initiation) = a.out.take_datagrams().remove(0);
        initiation[120] ^= 1;
        assert_eq!(
            b.handle(&initiation, a.address).0,
            Handled::Dropped(DropReason::BadMac)
        );
        for noise in [&[][..], &[4], &[0; 148], &[1, 0, 0, 1], &[9; 1000]] {
            assert_eq!(
                b.handle(noise, a.address).0,
                Handled::Dropped(DropReason::NotWireGuard)
            );
        }
        let mut data = [0; 64];
        data[0] = 4;
        assert_eq!(
            b.handle(&data, a.address).0,
            Handled::Dropped(DropReason::NoSession)
        );
        assert!(b.out.is_empty(), "nobody was answered");
    }
}

#[test]
fn the_queue_before_a_handshake_is_bounded_and_counted() {
    let (mut a, _) = pair();
    let packet = inner([10, 1, 0, 1], [10, 2, 0, 1], 100);
    let results: Vec<_> = (0..300).map(|_| a.seal(&packet)).collect();
    assert_eq!(results[255], Sealed::Queued);
    assert_eq!(
        results[256],
        Sealed::Dropped(DropReason::HandshakeQueueFull)
    );
    let given_up: u64 = (0..20).map(|_| a.tick(5)).sum();
    assert_eq!(given_up, 256, "what waited in vain is counted too");
    assert_eq!(a.seal(&packet), Sealed::Queued, "and there is room again");
}

#[test]
fn a_session_ends_when_nothing_renews_it() {
    let (mut a, mut b) = pair();
    exchange(&mut a, &mut b);
    a.tick(0);
    a.tick(179);
    assert_eq!(
        a.snapshot()[0].handshake_age,
        Some(Duration::from_secs(179))
    );
    a.tick(1);
    assert_eq!(a.snapshot()[0].handshake_age, None);
    assert!(a.out.is_empty(), "nobody asked for another");
}

#[test]
fn a_removed_peer_is_forgotten() {
    for (mut a, mut b) in pairs() {
        exchange(&mut a, &mut b);
        a.seal(&inner([10, 1, 0, 1], [10, 2, 0, 1], 100));
        let (_, datagram) = a.out.take_datagrams().remove(0);
        b.tunnel.remove_peer(LinkId(1));
        assert_eq!(
            b.handle(&datagram, a.address).0,
            Handled::Dropped(DropReason::NoSession)
        );
        assert!(b.snapshot().is_empty());
    }
}

#[test]
fn packets_that_wait_for_a_peer_that_is_taken_away_or_replaced_are_counted() {
    for (mut a, b) in pairs() {
        let packet = inner([10, 1, 0, 1], [10, 2, 0, 1], 100);
        for _ in 0..2 {
            for _ in 0..7 {
                assert_eq!(a.seal(&packet), Sealed::Queued);
            }
            let spec = a.tunnel.peers[0].as_ref().unwrap().spec().clone();
            let waited = a.tunnel.add_peer(spec, a.now, &mut a.out);
            assert_eq!((waited.packets, waited.bytes), (7, 700));
        }
        assert_eq!(a.tunnel.remove_peer(LinkId(2)).packets, 0);
        a.add(&b, 2, true);
        a.seal(&packet);
        assert_eq!(a.tunnel.remove_peer(LinkId(2)).packets, 1);
    }
}

#[test]
fn mangled_messages_are_refused_and_never_panic() {
    for (mut a, mut b) in pairs() {
        let mut messages: Vec<Vec<u8>> = Vec::new();
        for (_, datagram) in a.out.take_datagrams() {
            b.handle(&datagram, a.address);
            messages.push(datagram);
        }
        for (_, datagram) in b.out.take_datagrams() {
            a.handle(&datagram, b.address);
            messages.push(datagram);
        }
        a.seal(&inner([10, 1, 0, 1], [10, 2, 0, 1], 600));
        messages.extend(
            a.out
                .take_datagrams()
                .into_iter()
                .map(|(_, datagram)| datagram),
        );
        let mut random = 0x9e37_79b9_7f4a_7c15u64;
        let mut next = move || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random as usize
        };
        for _ in 0..20_000 {
            let mut message = messages[next() % messages.len()].clone();
            for _ in 0..=next() % 3 {
                let at = next() % message.len();
                message[at] ^= 1 << (next() % 8);
            }
            message.truncate(message.len() - [0, 0, next() % message.len()][next() % 3]);
            if messages.contains(&message) {
                continue;
            }
            let (handled, _) = b.handle(&message, a.address);
            assert!(!matches!(handled, Handled::Packet(_)), "{message:02x?}");
            b.out.take_datagrams();
        }
    }
}
