//! Two gateways with two links between them, each in a lane of its own or both in one, and somebody on the way who
//! records initiations and sends them again.

use super::engines::hand_over;
use super::*;

/// Where the recorded ones are sent from.
const ELSEWHERE: &str = "203.0.113.66:666";
pub(super) const NEAR: [&str; 2] = ["192.0.2.1:51820", "198.51.100.1:51820"];
pub(super) const FAR: [&str; 2] = ["192.0.2.2:51820", "198.51.100.2:51820"];

/// Whose links they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Between {
    Sites,
    Replicas,
}

/// The near gateway dials, the far one answers: each has one or two tunnels, its lanes.
pub(super) struct Pair {
    pub(super) engine: Engine,
    pub(super) between: Between,
    pub(super) near: Vec<Node>,
    pub(super) far: Vec<Node>,
}

impl Pair {
    pub(super) fn new(engine: Engine, between: Between, lanes: usize) -> Self {
        let now = clock::now();
        let make = |key: u8, address: &str| {
            let taken = Arc::<Initiations>::default();
            let nodes = (0..lanes).map(|_| {
                let mut node = Node::at(key, address, now, Duration::from_secs(1_000_000));
                node.tunnel.initiations = Arc::clone(&taken);
                node
            });
            nodes.collect::<Vec<Node>>()
        };
        let (mut near, mut far) = (make(1, NEAR[0]), make(2, FAR[0]));
        let keys = [near[0].public_key(), far[0].public_key()];
        for (link, address) in FAR.into_iter().enumerate() {
            let lane = link % lanes;
            // boringtun's own initiations have the time of this machine: it only answers here.
            for (nodes, engine, key, to) in [
                (&mut near, Engine::Crossway, keys[1], Some(address)),
                (&mut far, engine, keys[0], None),
            ] {
                let endpoint = to.map(|to| Endpoint::new(to.parse().unwrap()));
                let spec = spec(link, between, engine, key, endpoint);
                let node = &mut nodes[lane];
                let (tunnel, out) = (&mut node.tunnel, &mut node.out);
                tunnel.add_peer(spec, now, out);
                let route = ("10.0.0.0/8".parse().unwrap(), SiteId(7));
                tunnel.set_routes(Arc::new(RouteTable::new([route])));
            }
        }
        Self {
            engine,
            between,
            near,
            far,
        }
    }

    /// Every combination, with a session on each link.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let engines = Engine::ALL.into_iter();
        let kinds = engines.flat_map(|engine| {
            [Between::Sites, Between::Replicas].map(|between| (engine, between))
        });
        let kinds =
            kinds.flat_map(|(engine, between)| [1, 2].map(|lanes| (engine, between, lanes)));
        kinds.map(|(engine, between, lanes)| {
            println!("{engine}, {between:?}, {lanes} lanes");
            let mut pair = Self::new(engine, between, lanes);
            pair.carry();
            pair.assert_endpoints_are_near();
            pair
        })
    }

    pub(super) fn lane(&self, link: usize) -> usize {
        link % self.near.len()
    }

    pub(super) fn wait(&mut self, milliseconds: u64) {
        for node in self.near.iter_mut().chain(&mut self.far) {
            node.now += Duration::from_millis(milliseconds);
        }
    }

    /// Carries datagrams both ways, each to the lane of its link.
    pub(super) fn carry(&mut self) {
        for _ in 0..6 {
            for lane in 0..self.near.len() {
                let (near, far) = (&mut self.near[lane], &mut self.far[lane]);
                for (to, datagram) in near.out.take_datagrams() {
                    let from = NEAR[at(&FAR, to)];
                    far.handle(&datagram, Endpoint::new(from.parse().unwrap()));
                }
                for (to, datagram) in far.out.take_datagrams() {
                    let from = FAR[at(&NEAR, to)];
                    near.handle(&datagram, Endpoint::new(from.parse().unwrap()));
                }
            }
        }
    }

    /// The near end begins a session anew on a link, as it does every two minutes.
    pub(super) fn begin(&mut self, link: usize) -> Vec<u8> {
        let lane = self.lane(link);
        let Node {
            tunnel, out, now, ..
        } = &mut self.near[lane];
        let slot = tunnel.by_link[&LinkId(link as u32)];
        let local = &tunnel.local;
        tunnel.peers[slot.0]
            .as_mut()
            .unwrap()
            .dial(local, *now, out);
        let mut sent = out.take_datagrams();
        assert_eq!(sent.len(), 1);
        sent.remove(0).1
    }

    /// Somebody sends a datagram to the lane of a link at the far end, where the address is nobody's.
    pub(super) fn replay(&mut self, link: usize, datagram: &[u8], from: &str) -> (Handled, usize) {
        let lane = self.lane(link);
        let far = &mut self.far[lane];
        let (handled, _) = far.handle(datagram, Endpoint::new(from.parse().unwrap()));
        (handled, far.out.take_datagrams().len())
    }

    fn assert_endpoints_are_near(&self) {
        assert_eq!([0, 1].map(|link| self.far_endpoint(link)), NEAR);
    }

    /// Where the far end sends what goes over a link.
    fn far_endpoint(&self, link: usize) -> String {
        let peers = self.far[self.lane(link)].snapshot();
        let link = LinkId(link as u32);
        let peer = peers.iter().find(|peer| peer.link == link).unwrap();
        peer.endpoint.unwrap().remote.to_string()
    }
}

fn at(addresses: &[&str], endpoint: Endpoint) -> usize {
    let remote = endpoint.remote.to_string();
    let found = addresses.iter().position(|address| *address == remote);
    found.unwrap_or_else(|| panic!("sent to {remote}"))
}

pub(super) fn spec(
    link: usize,
    between: Between,
    engine: Engine,
    key: [u8; 32],
    endpoint: Option<Endpoint>,
) -> PeerSpec {
    PeerSpec {
        link: LinkId(link as u32),
        site: (between == Between::Sites).then_some(SiteId(7)),
        engine,
        receiver_index: 0x1000 + link as u32,
        public_key: key,
        preshared_key: None,
        keepalive: None,
        endpoint,
        interface: None,
        liveness: Liveness {
            mode: LivenessMode::WireGuard,
            ..Liveness::default()
        },
        probe_source: None,
    }
}

const REPLAYED: (Handled, usize) = (Handled::Dropped(DropReason::HandshakeReplayed), 0);

#[test]
fn an_initiation_that_was_taken_on_one_link_is_not_answered_on_another() {
    for mut pair in Pair::all() {
        // Link 1 renews, then link 0 a second later: each was seen on its own link only.
        for link in [1, 0] {
            pair.wait(1000);
            let recorded = pair.begin(link);
            assert_eq!(pair.replay(link, &recorded, NEAR[link]).0, Handled::Control);
            pair.wait(500);
            let other = 1 - link;
            for from in [ELSEWHERE, NEAR[other], NEAR[link]] {
                for to in [other, link] {
                    assert_eq!(pair.replay(to, &recorded, from), REPLAYED);
                }
            }
            assert_eq!(pair.far_endpoint(other), NEAR[other], "its endpoint stays");
        }
    }
}

#[test]
fn a_replay_from_another_link_leaves_a_handshake_under_way_alone() {
    for mut pair in Pair::all() {
        pair.wait(1000);
        let of_link_1 = pair.begin(1);
        assert_eq!(pair.replay(1, &of_link_1, NEAR[1]).0, Handled::Control);
        pair.wait(200);
        let of_link_0 = pair.begin(0);
        let lane = pair.lane(0);
        let near = Endpoint::new(NEAR[0].parse().unwrap());
        assert_eq!(pair.far[lane].handle(&of_link_0, near).0, Handled::Control);
        pair.wait(41);
        let before = pair.far[lane].out.take_datagrams();
        assert_eq!(pair.replay(0, &of_link_1, NEAR[0]), REPLAYED);
        // The response arrives, and the keepalive that confirms it is understood.
        let far = Endpoint::new(FAR[0].parse().unwrap());
        assert_eq!(
            pair.near[lane].handle(&before[0].1, far).0,
            Handled::Control
        );
        let (_, keepalive) = pair.near[lane].out.take_datagrams().remove(0);
        assert_eq!(pair.far[lane].handle(&keepalive, near).0, Handled::Control);
    }
}

#[test]
fn initiations_of_links_that_dial_at_once_are_taken_in_any_order() {
    for engine in Engine::ALL {
        for lanes in [1, 2] {
            let mut pair = Pair::new(engine, Between::Sites, lanes);
            pair.carry();
            pair.wait(1000);
            let first = pair.begin(0);
            pair.wait(900);
            let second = pair.begin(1);
            // The first was on its way for longer.
            assert_eq!(pair.replay(1, &second, NEAR[1]), (Handled::Control, 1));
            assert_eq!(pair.replay(0, &first, NEAR[0]), (Handled::Control, 1));
        }
    }
}

#[test]
fn what_was_held_back_for_longer_than_its_sender_waits_is_refused() {
    for mut pair in Pair::all() {
        pair.wait(1000);
        let held_back = pair.begin(0);
        pair.wait(7000);
        let later = pair.begin(1);
        assert_eq!(pair.replay(1, &later, NEAR[1]).0, Handled::Control);
        assert_eq!(pair.replay(0, &held_back, ELSEWHERE), REPLAYED);
    }
}

#[test]
fn an_initiation_alone_does_not_move_a_link_that_has_a_session() {
    for mut pair in Pair::all() {
        pair.wait(1000);
        // Nobody but its sender has seen it before, and it is sent on from elsewhere.
        let delayed = pair.begin(0);
        let lane = pair.lane(0);
        // The link that the source is nearest to is meant, so both must stay.
        let elsewhere = Endpoint::new(ELSEWHERE.parse().unwrap());
        assert_eq!(
            pair.far[lane].handle(&delayed, elsewhere).0,
            Handled::Control
        );
        let answers = pair.far[lane].out.take_datagrams();
        assert_eq!(answers[0].0, elsewhere, "who asked is answered");
        pair.assert_endpoints_are_near();
        // The genuine far end has the session now, and is where its first message comes from.
        let far = Endpoint::new(FAR[0].parse().unwrap());
        assert_eq!(
            pair.near[lane].handle(&answers[0].1, far).0,
            Handled::Control
        );
        let (_, keepalive) = pair.near[lane].out.take_datagrams().remove(0);
        assert_eq!(
            pair.far[lane].handle(&keepalive, elsewhere).0,
            Handled::Control
        );
        let moved = (0..2).filter(|link| pair.far_endpoint(*link) == ELSEWHERE);
        assert_eq!(moved.count(), 1);
    }
}

#[test]
fn without_a_session_the_endpoint_follows_the_initiation() {
    for engine in Engine::ALL {
        let mut pair = Pair::new(engine, Between::Sites, 1);
        let (to, initiation) = pair.near[0].out.take_datagrams().remove(0);
        assert_eq!(to.remote.to_string(), FAR[0]);
        let elsewhere = Endpoint::new(ELSEWHERE.parse().unwrap());
        assert_eq!(
            pair.far[0].handle(&initiation, elsewhere).0,
            Handled::Control
        );
        assert_eq!(pair.far[0].snapshot()[0].endpoint, Some(elsewhere));
    }
}

#[test]
fn the_next_agent_refuses_what_the_one_before_has_taken_on_any_link() {
    for mut pair in Pair::all() {
        pair.wait(1000);
        let recorded = pair.begin(1);
        assert_eq!(pair.replay(1, &recorded, NEAR[1]).0, Handled::Control);
        let taken = Arc::<Initiations>::default();
        for node in &mut pair.far {
            hand_over(node, &taken);
        }
        pair.wait(100);
        for link in 0..2 {
            assert_eq!(pair.replay(link, &recorded, ELSEWHERE), REPLAYED);
        }
    }
}
