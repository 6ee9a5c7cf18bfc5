//! Initiations with a right first code from thousands of addresses, many more than public-key work could be done
//! for: peers still connect within 5 s, and what runs goes on.
//!
//! ```text
//!   host a ── gateway a ═══ ┐                           ┌ initiations from everywhere
//!                          WAN router ══════════════════▼═══ gateway b ── host b
//!   host c ── gateway c ═══ ┘
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use vm_tests::crossway::Crossway;
use vm_tests::gateways::{Gateway, GatewayKind};
use vm_tests::packet_socket::{Frames, PacketSocket};
use vm_tests::peers::Implementation;
use vm_tests::plan::{self, GatewayPlan, Shape};
use vm_tests::topology::{Builder, Family, Topology, Wan};
use vm_tests::traffic::handshake::Forger;
use vm_tests::traffic::{self, Flood, SteadyPing, SteadyTcp, wire};
use vm_tests::wait;

const LIMIT: Duration = Duration::from_secs(20);
/// What is promised.
const CONNECTS_WITHIN: Duration = Duration::from_secs(5);
const PER_SECOND: u32 = 20_000;
const SOURCES: u32 = 20_000;

#[test]
fn a_peer_at_an_unknown_address_connects_by_its_badge() {
    for outer in Family::ALL {
        let lab = Lab::new(outer);
        let flood = lab.flood();
        let before = lab.cookies();
        let gateway = lab.connects(GatewayKind::Crossway);
        assert!(lab.cookies() > before, "it was not under load");
        lab.goes_on(flood);
        drop(gateway);
    }
}

/// Fewer initiations than there are cookies, whatever else there is to do.
#[test]
fn a_stock_peer_at_an_unknown_address_connects_by_its_cookie() {
    let lab = Lab::new(Family::V4);
    let flood = lab.flood_of(3000);
    let stock = GatewayKind::Stock(Implementation::WireguardGo);
    // Its second try is the first with a cookie (REKEY_TIMEOUT).
    let gateway = lab.connects_within(stock, 2 * CONNECTS_WITHIN);
    lab.goes_on(flood);
    drop(gateway);
}

#[test]
fn a_stock_peer_that_restarts_at_its_known_address_connects_at_its_first_try() {
    let lab = Lab::new(Family::V4);
    let stock = GatewayKind::Stock(Implementation::WireguardGo);
    drop(lab.connects(stock));
    let flood = lab.flood();
    let gateway = lab.connects(stock);
    lab.goes_on(flood);
    drop(gateway);
}

/// Gateways b and c with traffic between them; a, which b does not dial, is to come.
struct Lab {
    // The gateways go before their namespaces.
    ping: SteadyPing,
    tcp: SteadyTcp,
    b: Crossway,
    _c: Crossway,
    plans: Vec<GatewayPlan>,
    outer: Family,
    topology: Topology,
}

impl Lab {
    fn new(outer: Family) -> Self {
        let topology = Builder::new(&["a", "b", "c"])
            .wan(Wan::Router)
            .build()
            .unwrap();
        // Where nobody is, cookies vanish as they do on the Internet.
        let router = topology.router.as_ref().unwrap();
        router.ip("route add blackhole default").unwrap();
        router.ip("-6 route add blackhole default").unwrap();
        let mut plans = plan::plan(&topology, Shape::FullMesh, outer).unwrap();
        plans[1].peers[0].endpoint = None;
        let [b, c] = [1, 2].map(|site| Crossway::start(&topology, &plans[site]).unwrap());
        let [near, far] = [&topology.sites[2], &topology.sites[1]];
        let to = far.host_address(Family::V4);
        traffic::wait_for_ping(&near.host, to, LIMIT).unwrap();
        Self {
            ping: SteadyPing::start(&near.host, to, topology.directory()).unwrap(),
            tcp: SteadyTcp::start(&near.host, &far.host, to).unwrap(),
            b,
            _c: c,
            plans,
            outer,
            topology,
        }
    }

    /// Floods gateway b, and waits until it feels it.
    fn flood(&self) -> Flood {
        self.flood_of(PER_SECOND)
    }

    fn flood_of(&self, per_second: u32) -> Flood {
        let router = self.topology.router.as_ref().unwrap();
        let socket = PacketSocket::sender(router, "wan2").unwrap();
        let flood = Flood::start(socket, &self.initiations(), per_second);
        let before = self.cookies();
        wait::until("cookies", LIMIT, || {
            (self.cookies() > before + 1000).then_some(())
        })
        .unwrap();
        flood
    }

    fn initiations(&self) -> Frames {
        let router = self.topology.router.as_ref().unwrap();
        let b = &self.topology.sites[1];
        let from = wire::mac_of(router, "wan2").unwrap();
        let to = wire::mac_of(&b.gateway, "wan0").unwrap();
        let forger = Forger::new(&self.plans[1].keys.public).unwrap();
        let mut frames = Frames::default();
        for number in 0..SOURCES {
            let source = SocketAddr::new(stranger(self.outer, number), 4500);
            let packet = wire::udp(source, b.endpoint(self.outer), &forger.initiation(number));
            frames.push(&wire::frame(from, to, &packet));
        }
        frames
    }

    fn cookies(&self) -> u64 {
        let dropped = self.b.dropped().unwrap();
        let cookies = dropped.iter().find(|(name, _)| name == "cookie-demanded");
        cookies.map_or(0, |(_, packets)| *packets)
    }

    /// Starts gateway a, which must reach b in time.
    fn connects(&self, kind: GatewayKind) -> Gateway {
        self.connects_within(kind, CONNECTS_WITHIN)
    }

    fn connects_within(&self, kind: GatewayKind, limit: Duration) -> Gateway {
        let gateway = Gateway::start(kind, &self.topology, &self.plans[0]).unwrap();
        let [a, b] = [&self.topology.sites[0], &self.topology.sites[1]];
        let to = b.host_address(Family::V4);
        traffic::wait_for_ping(&a.host, to, limit).unwrap();
        gateway
    }

    /// The traffic between b and c went on, and does so when the flood has ended; nothing else was lost.
    fn goes_on(self, flood: Flood) {
        let start = wait::now();
        self.tcp.goes_on(CONNECTS_WITHIN).unwrap();
        assert!(wait::pace(Duration::from_secs(2)));
        let progress = self.tcp.since(start);
        assert!(progress.stall < Duration::from_secs(1), "{progress:?}");
        let sent = flood.finish().unwrap();
        assert!(sent > 1000, "{sent}");
        let replies = self.ping.finish(LIMIT).unwrap();
        assert!(replies.lost() * 50 < replies.replies.len(), "{replies:?}");
        assert!(self.tcp.finish().unwrap() > 0);
        let dropped = self.b.dropped().unwrap();
        let named = [
            "cookie-demanded",
            "handshake-invalid",
            "handshake-rate-limited",
        ];
        let other = dropped
            .iter()
            .filter(|(name, _)| !named.contains(&name.as_str()));
        assert_eq!(other.count(), 0, "{dropped:?}");
        let dropped: u64 = dropped.iter().map(|(_, packets)| packets).sum();
        assert!(dropped <= sent + 1, "{dropped} of {sent}");
    }
}

fn stranger(family: Family, number: u32) -> IpAddr {
    // 198.18.0.0/15 and 2001:2::/48 are for measurements (RFC 2544, RFC 5180).
    match family {
        Family::V4 => Ipv4Addr::from(0xc612_0000 + number * 6).into(),
        Family::V6 => Ipv6Addr::from(0x2001_0002_0000 << 80 | u128::from(number) << 64 | 1).into(),
    }
}
