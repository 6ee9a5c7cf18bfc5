//! Gateways that targets let talk to each other: what crosses between them is for the target to change.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use crossway::config::{Liveness, LivenessMode};
use crossway::engine::Engine;
use crossway::ids::{LinkId, SiteId};
use crossway::prefix::Prefix;
use crossway::routes::RouteTable;
use crossway::tunnel::noise::Identity;
use crossway::tunnel::tai64n::Calendar;
use crossway::tunnel::transmit::{Endpoint, Transmits};
use crossway::tunnel::{Handled, LinkChange, PeerSnapshot, PeerSpec, Sealed, Tunnel};
use crossway_types::codec::{Reader, Writer};

/// A datagram between gateways: where it goes, and its bytes.
pub(super) type Datagram = (Endpoint, Vec<u8>);

/// Since the Unix epoch when everything begins.
const SINCE_EPOCH: Duration = Duration::from_hours(500_000);

/// The gateways: A has two links to B, C is a replica of B, D is unknown to all.
pub(super) const A: usize = 0;
pub(super) const B: usize = 1;
pub(super) const C: usize = 2;
pub(super) const D: usize = 3;

/// A's first and second link, and C's, as B numbers them.
pub(super) const FIRST: LinkId = LinkId(1);
pub(super) const SECOND: LinkId = LinkId(2);
pub(super) const REPLICA: LinkId = LinkId(3);

/// The site behind A, as B numbers it, and the one behind B, as A does.
pub(super) const SITE: SiteId = SiteId(1);

/// Who B asks for an echo over A's first link, and from where.
pub(super) const PROBED: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 9);
pub(super) const PROBES_FROM: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 1);

static IDENTITIES: LazyLock<[Identity; 4]> =
    LazyLock::new(|| [1, 2, 3, 4].map(|key| Identity::new([key; 32])));

/// Key pair of a gateway.
pub(super) fn identity(gateway: usize) -> Identity {
    IDENTITIES[gateway].clone()
}

/// Public key of a gateway.
pub(super) fn public_key(gateway: usize) -> [u8; 32] {
    static KEYS: LazyLock<[[u8; 32]; 4]> =
        LazyLock::new(|| IDENTITIES.each_ref().map(Identity::public_key));
    KEYS[gateway]
}

/// Where a gateway is on the WAN.
pub(super) fn endpoint(gateway: usize) -> Endpoint {
    let address = Ipv4Addr::new(192, 0, 2, gateway as u8 + 1);
    Endpoint::new((address, 51820).into())
}

/// Prefixes of the site behind a gateway.
pub(super) fn prefixes(gateway: usize) -> [Prefix; 2] {
    let number = gateway as u8 + 1;
    let v6 = Ipv6Addr::new(0x2001, 0xdb8, number.into(), 0, 0, 0, 0, 0);
    [
        Prefix::containing(Ipv4Addr::new(10, number, 0, 0).into(), 16),
        Prefix::containing(v6.into(), 48),
    ]
}

/// A gateway with its tunnel.
pub(super) struct Node {
    pub(super) tunnel: Tunnel,
    pub(super) out: Transmits,
    pub(super) now: Instant,
}

impl Node {
    /// Without peers, its calendar `ahead` of the others'.
    pub(super) fn new(gateway: usize, now: Instant, ahead: Duration) -> Self {
        let calendar = Calendar::new(now, SINCE_EPOCH + ahead);
        Self {
            tunnel: Tunnel::new(identity(gateway), calendar, Arc::default(), now),
            out: Transmits::new(),
            now,
        }
    }

    /// With the peers that the gateway has, of which it dials the first if it `dials`.
    pub(super) fn with_peers(gateway: usize, now: Instant, dials: bool) -> Self {
        let mut node = Self::new(gateway, now, Duration::ZERO);
        for (index, spec) in specs(gateway).into_iter().enumerate() {
            let endpoint = spec.endpoint.filter(|_| dials && index == 0);
            let spec = PeerSpec { endpoint, ..spec };
            node.tunnel.add_peer(spec, now, &mut node.out);
        }
        node.set_routes(gateway);
        node
    }

    /// With the sessions that were exported by `all`.
    pub(super) fn resumed(gateway: usize, now: Instant) -> Self {
        let mut node = Self::new(gateway, now, Duration::ZERO);
        let state = &STATES[gateway];
        let imported = node
            .tunnel
            .import(&mut Reader::new(state, now), &specs(gateway), now)
            .expect("it was exported");
        assert_eq!(imported.anew, 0);
        node.set_routes(gateway);
        node
    }

    pub(super) fn set_routes(&mut self, gateway: usize) {
        let far = if gateway == B { A } else { B };
        let routes = prefixes(far).map(|prefix| (prefix, SITE));
        self.tunnel.set_routes(Arc::new(RouteTable::new(routes)));
    }

    /// Takes a datagram; what it was, and the landing place.
    pub(super) fn handle(&mut self, datagram: &[u8], from: Endpoint) -> (Handled, Vec<u8>) {
        let mut landing = vec![0xa5; datagram.len()];
        let handled =
            self.tunnel
                .handle_datagram(datagram, from, self.now, &mut landing, &mut self.out);
        (handled, landing)
    }

    /// Seals a packet for a link, whatever is in it.
    pub(super) fn seal(&mut self, link: LinkId, packet: &[u8]) -> Sealed {
        let slot = self.tunnel.slot_of_link(link).expect("the link stays");
        let mut sealer = self.tunnel.sealer(slot, self.now).expect("the peer stays");
        sealer.seal(packet, &mut self.out)
    }

    /// What it wants to send.
    pub(super) fn take(&mut self) -> Vec<Datagram> {
        self.out.take_datagrams()
    }

    /// So much time passes, and all that is due is done.
    pub(super) fn pass(&mut self, span: Duration) -> Vec<LinkChange> {
        self.now += span;
        let (now, out) = (self.now, &mut self.out);
        let mut sent = Vec::new();
        self.tunnel.handle_timeout(now, Duration::ZERO, out, |out| {
            sent.extend(out.take_datagrams());
        });
        let mut changes = Vec::new();
        let flush = |out: &mut Transmits| sent.extend(out.take_datagrams());
        self.tunnel
            .handle_pulses((now, now), out, flush, |change| changes.push(change));
        changes
    }

    pub(super) fn snapshot(&self) -> Vec<PeerSnapshot> {
        self.tunnel.snapshot(self.now)
    }
}

/// The peers of a gateway.
pub(super) fn specs(gateway: usize) -> Vec<PeerSpec> {
    let watched = Liveness {
        mode: LivenessMode::Auto,
        ..Liveness::default()
    };
    let spec = |link: LinkId, far: usize| PeerSpec {
        link,
        site: Some(SITE),
        engine: Engine::Crossway,
        receiver_index: 0x00ab_0000 + (gateway as u32) * 16 + link.0,
        public_key: public_key(far),
        preshared_key: None,
        keepalive: None,
        endpoint: Some(endpoint(far)),
        interface: None,
        liveness: watched.clone(),
        probe_source: None,
    };
    match gateway {
        A => vec![spec(FIRST, B), spec(SECOND, B)],
        B => {
            let probed = Liveness {
                probe: Some(PROBED.into()),
                ..watched.clone()
            };
            let first = PeerSpec {
                liveness: probed,
                probe_source: Some(PROBES_FROM.into()),
                ..spec(FIRST, A)
            };
            let replica = PeerSpec {
                site: None,
                ..spec(REPLICA, C)
            };
            vec![first, spec(SECOND, A), replica]
        }
        C => vec![PeerSpec {
            site: None,
            ..spec(REPLICA, B)
        }],
        _ => vec![spec(FIRST, B)],
    }
}

/// State of A, B and C after their handshakes, each exported as of the moment at which inputs begin.
static STATES: LazyLock<[Vec<u8>; 3]> = LazyLock::new(|| {
    let now = super::beginning();
    let mut nodes = [A, B, C].map(|gateway| Node::with_peers(gateway, now, false));
    // One after the other, so that B's links and A's are paired in their order.
    for (gateway, link) in [(A, 0), (A, 1), (C, 0)] {
        let link = specs(gateway)[link].link;
        let port = 51820 + link.0 as u16;
        let mut from = endpoint(gateway);
        from.remote.set_port(port);
        let node = &mut nodes[B];
        node.tunnel.set_endpoint(link, from, now, &mut node.out);
        for (_, initiation) in nodes[B].take() {
            // The far end tells its links apart by where B dials from.
            let mut of_b = endpoint(B);
            of_b.remote.set_port(port);
            let far = &mut nodes[gateway];
            far.tunnel.set_endpoint(link, of_b, now, &mut far.out);
            far.take();
            far.handle(&initiation, of_b);
            for (_, response) in nodes[gateway].take() {
                nodes[B].handle(&response, from);
            }
            for (_, keepalive) in nodes[B].take() {
                nodes[gateway].handle(&keepalive, of_b);
            }
            nodes[gateway].take();
        }
    }
    nodes.map(|node| {
        let young = |peer: &PeerSnapshot| peer.handshake_age == Some(Duration::ZERO);
        assert!(node.snapshot().iter().all(young), "each link has a session");
        let mut state = Writer::new(now);
        node.tunnel.export(now, &mut state);
        state.finish().to_vec()
    })
});

/// The state of B with its sessions, as it is handed over.
pub(super) fn state(gateway: usize) -> &'static [u8] {
    &STATES[gateway]
}

/// An IPv4 packet of `length` bytes without a checksum.
pub(super) fn ipv4(source: [u8; 4], destination: [u8; 4], length: u16) -> Vec<u8> {
    let mut packet = vec![0x5a; usize::from(length).max(20)];
    packet[..12].copy_from_slice(&[0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 17, 0, 0]);
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    packet[12..16].copy_from_slice(&source);
    packet[16..20].copy_from_slice(&destination);
    packet
}

/// Source address and length of an IP packet, by the books (RFC 791, RFC 8200) and not by our parser.
pub(super) fn source_and_length(packet: &[u8]) -> Option<(IpAddr, usize)> {
    let word = |at: usize| usize::from(packet[at]) << 8 | usize::from(packet[at + 1]);
    match packet.first()? >> 4 {
        4 if packet.len() >= 20 && word(2) >= 20 => {
            let source = [packet[12], packet[13], packet[14], packet[15]];
            Some((IpAddr::from(source), word(2)))
        }
        6 if packet.len() >= 40 => {
            let source = <[u8; 16]>::try_from(&packet[8..24]).ok()?;
            Some((IpAddr::from(source), 40 + word(4)))
        }
        _ => None,
    }
}
