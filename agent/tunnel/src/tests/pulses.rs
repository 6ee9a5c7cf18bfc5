//! Two gateways with two links between them: 192.0.2.1 to 192.0.2.2, and 198.51.100.1 to 198.51.100.2.

use super::super::link_bfd::LanRole;
use super::*;
use crossway_liveness::bfd::encapsulation;
use crossway_liveness::bfd::packet::{Diagnostic, Packet, State};

const ADDRESSES: [[&str; 2]; 2] = [
    ["192.0.2.1:51820", "198.51.100.1:51820"],
    ["192.0.2.2:51820", "198.51.100.2:51820"],
];
/// Each gateway is a site behind 10.1.0.0/16 or 10.2.0.0/16.
const SITES: [u32; 2] = [2, 1];

/// The far site, as that node numbers it.
pub(super) fn far_site(node: usize) -> SiteId {
    SiteId(SITES[node])
}

pub(super) struct Net {
    pub(super) nodes: [Node; 2],
    /// Links on which nothing arrives.
    pub(super) cut: [bool; 2],
    /// Longest datagram that a link takes.
    pub(super) takes: [usize; 2],
    pub(super) changes: [Vec<LinkChange>; 2],
    pub(super) now: Instant,
}

impl Net {
    /// About to shake hands.
    fn begin() -> Self {
        let mut nodes = [1, 2].map(|key: u8| Node::new(key, ADDRESSES[usize::from(key) - 1][0]));
        let now = nodes[0].now;
        let keys = [0, 1].map(|node: usize| nodes[node].public_key());
        for node in 0..2 {
            for (link, far) in ADDRESSES[1 - node].iter().enumerate() {
                let far = far.parse().unwrap();
                let spec = PeerSpec {
                    link: LinkId(link as u32),
                    site: Some(far_site(node)),
                    engine: Engine::Crossway,
                    receiver_index: 0x1000 * (node as u32 + 1) + link as u32,
                    public_key: keys[1 - node],
                    preshared_key: None,
                    keepalive: Some(25),
                    endpoint: Some(Endpoint::new(far)),
                    interface: None,
                    liveness: Liveness::default(),
                    probe_source: None,
                };
                let node = &mut nodes[node];
                node.tunnel.add_peer(spec, now, &mut node.out);
            }
            let route = format!("10.{}.0.0/16", SITES[node]).parse().unwrap();
            let routes = RouteTable::new([(route, far_site(node))]);
            nodes[node].tunnel.set_routes(Arc::new(routes));
            let ranks = [vec![LinkId(0)], vec![LinkId(1)]];
            nodes[node].tunnel.set_ranks(far_site(node), &ranks);
        }
        Self {
            nodes,
            cut: [false; 2],
            takes: [usize::MAX; 2],
            changes: [Vec::new(), Vec::new()],
            now,
        }
    }

    /// With both links up.
    pub(super) fn new() -> Self {
        let mut net = Self::begin();
        net.run(Duration::from_secs(3));
        for node in 0..2 {
            for link in 0..2 {
                assert_eq!(net.bfd(node, link).state, State::Up);
            }
            net.changes[node].clear();
        }
        net
    }

    pub(super) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            self.now += Duration::from_millis(5);
            for node in 0..2 {
                self.turn(node);
            }
        }
    }

    fn turn(&mut self, at: usize) {
        let (node, changes) = (&mut self.nodes[at], &mut self.changes[at]);
        node.now = self.now;
        let (now, out) = (self.now, &mut node.out);
        let tunnel = &mut node.tunnel;
        tunnel.handle_timeout(now, Duration::ZERO, out, |_| panic!("there is room"));
        if now >= tunnel.next_pulse() {
            let changed = |change| changes.push(change);
            tunnel.handle_pulses((now, now), out, |_| panic!("there is room"), changed);
        }
        for (to, datagram) in node.out.take_datagrams() {
            let to = to.remote.to_string();
            let link = ADDRESSES[1 - at].iter().position(|other| *other == to);
            let link = link.expect("an address of the far gateway");
            if !self.cut[link] && datagram.len() <= self.takes[link] {
                let from = Endpoint::new(ADDRESSES[at][link].parse().unwrap());
                self.nodes[1 - at].handle(&datagram, from);
            }
        }
    }

    pub(super) fn bfd(&self, node: usize, link: u32) -> link_bfd::Bfd {
        let peers = self.nodes[node].snapshot();
        let peer = peers.iter().find(|peer| peer.link == LinkId(link)).unwrap();
        peer.pulse.bfd.unwrap()
    }

    /// The link that carries flows to the far site.
    pub(super) fn carrier(&mut self, node: usize) -> LinkId {
        let inner = inner([10, 0, 0, 1], [10, SITES[node] as u8, 0, 1], 100);
        let (_, destination) = packet::addresses(&inner).unwrap();
        let tunnel = &mut self.nodes[node].tunnel;
        let slot = tunnel.peer_for(destination, &inner).unwrap();
        tunnel.peers[slot.0].as_ref().unwrap().link()
    }
}

#[test]
fn bfd_comes_up_with_the_handshake() {
    let mut net = Net::begin();
    net.run(Duration::from_millis(40));
    for node in 0..2 {
        assert_eq!([0, 1].map(|link| net.bfd(node, link).state), [State::Up; 2]);
    }
}

#[test]
fn every_link_has_a_session_of_its_own_though_the_keys_are_the_same() {
    let net = Net::new();
    for node in 0..2 {
        let peers = net.nodes[node].snapshot();
        for (link, peer) in peers.iter().enumerate() {
            let remote = peer.endpoint.unwrap().remote.to_string();
            assert_eq!(remote, ADDRESSES[1 - node][link]);
            assert!(peer.handshake_age.is_some());
        }
    }
}

#[test]
fn a_dead_link_is_left_within_its_detection_time_and_not_taken_up_before_control_says_so() {
    let mut net = Net::new();
    assert_eq!(net.carrier(0), LinkId(0));
    net.cut[0] = true;
    net.run(Duration::from_millis(190));
    assert_eq!([0, 1].map(|node| net.carrier(node)), [LinkId(0); 2]);
    net.run(Duration::from_millis(120));
    assert_eq!([0, 1].map(|node| net.carrier(node)), [LinkId(1); 2]);
    let told = net.changes[0].last().unwrap();
    assert_eq!(told.link, LinkId(0));
    let bfd = told.pulse.bfd.unwrap();
    assert_eq!(
        (bfd.state, bfd.diagnostic),
        (State::Down, Diagnostic::DetectionTimeExpired)
    );
    net.cut[0] = false;
    net.run(Duration::from_secs(3));
    assert_eq!(net.bfd(0, 0).state, State::Up);
    assert_eq!(net.carrier(0), LinkId(1), "until control says so");
    let ranks = [vec![LinkId(0)], vec![LinkId(1)]];
    net.nodes[0].tunnel.set_ranks(far_site(0), &ranks);
    assert_eq!(net.carrier(0), LinkId(0));
}

#[test]
fn a_lost_carrier_reaches_the_far_end_over_the_other_link() {
    let mut net = Net::new();
    net.cut[0] = true;
    let (node, now) = (&mut net.nodes[0], net.now);
    node.tunnel.on_path_down(LinkId(0), now, &mut node.out);
    net.run(Duration::from_millis(15));
    assert_eq!([0, 1].map(|node| net.carrier(node)), [LinkId(1); 2]);
    let [own, far] = [0, 1].map(|node| net.bfd(node, 0).diagnostic);
    assert_eq!(
        (own, far),
        (Diagnostic::PathDown, Diagnostic::NeighborSignaledDown)
    );
    assert_eq!(net.bfd(1, 1).state, State::Up);
}

#[test]
fn the_far_end_is_told_how_the_lan_is_served() {
    let mut net = Net::new();
    let say = |net: &mut Net, service| {
        let now = net.now;
        net.nodes[0].tunnel.set_lan_role(LinkId(0), service, now);
        net.run(Duration::from_millis(50));
        net.bfd(1, 0)
    };
    let bfd = say(&mut net, LanRole::Standby);
    assert_eq!(bfd.remote, (State::Up, Diagnostic::ConcatenatedPathDown));
    assert_eq!(bfd.state, State::Up);
    assert_eq!(net.carrier(1), LinkId(0), "control ranks it, not the lane");
    let bfd = say(&mut net, LanRole::LanDown);
    assert_eq!(
        bfd.remote,
        (State::AdminDown, Diagnostic::ConcatenatedPathDown)
    );
    assert_eq!(net.carrier(1), LinkId(1));
    let bfd = say(&mut net, LanRole::Drained);
    assert_eq!(
        bfd.remote,
        (State::AdminDown, Diagnostic::AdministrativelyDown)
    );
    net.nodes[0]
        .tunnel
        .set_lan_role(LinkId(0), LanRole::Active, net.now);
    net.run(Duration::from_secs(2));
    assert_eq!([0, 1].map(|node| net.bfd(node, 0).state), [State::Up; 2]);
}

#[test]
fn data_puts_off_the_detection_by_no_more_than_its_own_age() {
    let mut net = Net::new();
    net.run(Duration::from_millis(60));
    // Data of every moment until the cut.
    for _ in 0..40 {
        let (node, now) = (&mut net.nodes[0], net.now);
        let slot = node.tunnel.by_link[&LinkId(0)];
        let packet = inner([10, 1, 0, 1], [10, 2, 0, 1], 100);
        let mut sealer = node.tunnel.sealer(slot, now).unwrap();
        sealer.seal(&packet, &mut node.out);
        net.run(Duration::from_millis(5));
    }
    net.cut[0] = true;
    net.run(Duration::from_millis(290));
    assert_eq!(net.carrier(1), LinkId(0));
    net.run(Duration::from_millis(20));
    assert_eq!(net.carrier(1), LinkId(1));
}

#[test]
fn data_stands_in_for_missing_control_packets_for_a_while_only() {
    let mut net = Net::new();
    // What sends the control packets of node 0 is dead; its data goes on.
    let mut alive_for = Duration::ZERO;
    while net.bfd(1, 0).state == State::Up && alive_for < Duration::from_secs(5) {
        let (node, now) = (&mut net.nodes[0], net.now);
        let slot = node.tunnel.by_link[&LinkId(0)];
        let mut sealer = node.tunnel.sealer(slot, now).unwrap();
        let packet = inner([10, 1, 0, 1], [10, 2, 0, 1], 100);
        sealer.seal(&packet, &mut node.out);
        let datagrams = node.out.take_datagrams();
        let from = Endpoint::new(ADDRESSES[0][0].parse().unwrap());
        net.now += Duration::from_millis(20);
        for (_, datagram) in datagrams {
            net.nodes[1].now = net.now;
            let (handled, _) = net.nodes[1].handle(&datagram, from);
            assert_eq!(handled, Handled::Packet(100));
        }
        net.cut = [true; 2];
        net.turn(1);
        alive_for += Duration::from_millis(20);
    }
    let detection = Duration::from_millis(300);
    assert!(
        (detection * 3..detection * 5).contains(&alive_for),
        "{alive_for:?}"
    );
}

#[test]
fn control_packets_that_make_no_sense_or_are_for_nobody_are_counted_and_are_no_sign_of_life() {
    let mut net = Net::new();
    let own_key = net.nodes[0].public_key();
    let far_key = net.nodes[1].public_key();
    let path = encapsulation::Path {
        local: link_bfd::link_local(&far_key).into(),
        remote: link_bfd::link_local(&own_key).into(),
        source_port: 50_000,
    };
    let stray = Packet {
        state: State::Up,
        diagnostic: Diagnostic::None,
        poll: false,
        is_final: false,
        multiplier: 3,
        my_discriminator: 7,
        your_discriminator: 0x00ff_ffff,
        desired_min_tx: Duration::from_millis(100),
        required_min_rx: Duration::from_millis(100),
    };
    let mut inner = [0; encapsulation::LONGEST];
    let length = encapsulation::write(&stray, &path, &mut inner);
    let mut no_version = inner;
    no_version[48] = 0;
    for inner in [inner, no_version] {
        let far = &mut net.nodes[1];
        let peer = far.tunnel.peer_of(LinkId(0)).unwrap();
        assert!(peer.send_control(&inner[..length], &mut far.out));
        let (_, datagram) = far.out.take_datagrams().remove(0);
        let from = Endpoint::new(ADDRESSES[1][0].parse().unwrap());
        assert_eq!(
            net.nodes[0].handle(&datagram, from).0,
            Handled::Dropped(DropReason::LivenessInvalid)
        );
    }
    assert_eq!(net.bfd(0, 0).state, State::Up);
}

/// It may name the session of any of its own links, and of no other gateway's.
#[test]
fn a_gateway_cannot_speak_for_the_link_of_another() {
    let mut net = Net::new();
    let near = &mut net.nodes[0];
    let mut third = Node::new(3, "203.0.113.3:51820");
    third.now = net.now;
    let spec = PeerSpec {
        link: LinkId(9),
        site: Some(SiteId(9)),
        receiver_index: 0x3000,
        public_key: third.public_key(),
        endpoint: None,
        ..near.tunnel.peers[0].as_ref().unwrap().spec().clone()
    };
    near.tunnel.add_peer(spec, near.now, &mut near.out);
    third.add(near, 1, true);
    exchange(&mut third, near);
    let path = encapsulation::Path {
        local: link_bfd::link_local(&third.public_key()).into(),
        remote: link_bfd::link_local(&near.public_key()).into(),
        source_port: 50_000,
    };
    let mut inner = [0; encapsulation::LONGEST];
    let length = encapsulation::write(&flapping(State::Down), &path, &mut inner);
    let peer = third.tunnel.peer_of(LinkId(1)).unwrap();
    assert!(peer.send_control(&inner[..length], &mut third.out));
    let (_, datagram) = third.out.take_datagrams().remove(0);
    let (handled, _) = near.handle(&datagram, third.address);
    assert_eq!(handled, Handled::Dropped(DropReason::LivenessInvalid));
    assert_eq!(net.bfd(0, 0).state, State::Up);
}

/// A far end that is authentic, and changes its state as fast as it can: its packets for link 0, from its node.
fn flapping(state: State) -> Packet {
    Packet {
        state,
        diagnostic: Diagnostic::None,
        poll: true,
        is_final: false,
        multiplier: 3,
        my_discriminator: 0x2001,
        your_discriminator: 0x1001,
        desired_min_tx: Duration::from_millis(100),
        required_min_rx: Duration::from_millis(100),
    }
}

#[test]
fn a_far_end_that_flaps_as_fast_as_it_can_costs_a_bounded_number_of_looks_answers_and_told_changes()
{
    let mut net = Net::new();
    let path = encapsulation::Path {
        local: link_bfd::link_local(&net.nodes[1].public_key()).into(),
        remote: link_bfd::link_local(&net.nodes[0].public_key()).into(),
        source_port: 50_000,
    };
    let from = Endpoint::new(ADDRESSES[1][0].parse().unwrap());
    let (mut looks, mut answers, mut flaps) = (0, 0, 0);
    let seconds = 4;
    // Not in step with the looks, which see it in both states.
    for number in 0..seconds * 3334 {
        net.now += Duration::from_micros(300);
        let now = net.now;
        let state = [State::Down, State::Init][number % 2];
        let mut inner = [0; encapsulation::LONGEST];
        let length = encapsulation::write(&flapping(state), &path, &mut inner);
        let [near, far] = &mut net.nodes;
        let peer = far.tunnel.peer_of(LinkId(0)).unwrap();
        assert!(peer.send_control(&inner[..length], &mut far.out));
        let (_, datagram) = far.out.take_datagrams().remove(0);
        near.now = now;
        assert_eq!(near.handle(&datagram, from).0, Handled::Control);
        let (tunnel, out, changes) = (&mut near.tunnel, &mut near.out, &mut net.changes[0]);
        if now >= tunnel.next_pulse() {
            looks += 1;
            tunnel.handle_pulses((now, now), out, |_| (), |change| changes.push(change));
        }
        answers += out.take_datagrams().len();
        flaps += usize::from(
            tunnel
                .peer_of(LinkId(0))
                .unwrap()
                .pulse()
                .bfd
                .unwrap()
                .state
                == State::Up,
        );
    }
    assert!(flaps > seconds * 1600, "it does flap: {flaps}");
    assert!(looks <= seconds * 500 + 1, "{looks} looks at all links");
    assert!(answers <= 2 * looks, "{answers} packets sent");
    let told = net.changes[0].len();
    assert!(
        (seconds * 5..=seconds * 5 + 10 + 10).contains(&told),
        "{told} changes told"
    );
    // It calms down: the last state is told, and the link can be used again.
    net.changes[0].clear();
    net.run(Duration::from_secs(5));
    assert_eq!(net.bfd(0, 0).state, State::Up);
    let last = net.changes[0]
        .iter()
        .rfind(|change| change.link == LinkId(0));
    assert_eq!(last.unwrap().pulse.bfd.unwrap().state, State::Up);
}

#[test]
fn what_strangers_send_makes_nobody_look_at_all_links() {
    let mut net = Net::new();
    let (node, now) = (&mut net.nodes[0], net.now);
    node.now = now;
    node.tunnel
        .handle_pulses((now, now), &mut node.out, |_| (), |_| ());
    let due = node.tunnel.next_pulse();
    let stranger = Endpoint::new("203.0.113.9:4500".parse().unwrap());
    let mut cookie = vec![0x5a; 64];
    cookie[..4].copy_from_slice(&[3, 0, 0, 0]);
    for number in 0..300_u32 {
        // For a link of ours and for nobody.
        let receiver = if number % 2 == 0 {
            0x1000 << 8 | number
        } else {
            number
        };
        cookie[4..8].copy_from_slice(&receiver.to_le_bytes());
        assert_eq!(
            node.handle(&cookie, stranger).0,
            Handled::Dropped(DropReason::HandshakeInvalid)
        );
        let mut initiation = vec![0x5a; 148];
        message::write_initiation(&mut initiation, number);
        macs::Stamper::new(&node.public_key()).stamp(&mut initiation, now);
        node.handle(&initiation, stranger);
        assert_eq!(node.tunnel.next_pulse(), due);
    }
}
