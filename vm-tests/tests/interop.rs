//! Stock WireGuard as the far gateway: nobody there knows of Crossway.
//!
//! ```text
//!  host a ── [gateway a: crossway] ───────────── [gateway b: wireguard-go or boringtun-cli] ── host b
//!  10.1.0.10          203.0.113.1   203.0.113.2                                       10.2.0.10
//!  2001:db8:1::10     fd00:113::1   fd00:113::2                                       2001:db8:2::10
//! ```

use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;
use std::time::Duration;

use vm_tests::crossway::Crossway;
use vm_tests::engine::Engine;
use vm_tests::peers::{Implementation, StockGateway};
use vm_tests::plan::{self, GatewayPlan, Shape};
use vm_tests::process;
use vm_tests::topology::{Builder, Family, LISTEN_PORT, Site, Topology};
use vm_tests::traffic::{self, Capture, SteadyPing, SteadyTcp};
use vm_tests::{wait, with_either_engine};

use Implementation::{BoringtunCli, WireguardGo};

const UP: Duration = Duration::from_secs(10);
const BYTES: u64 = 8 << 20;
/// 15 s without an answer to what was sent and 12 s without one to a handshake; and a retry's jitter, the ends' timers
/// and control's look at the links, for a machine that does more than this.
const ONE_WAY_DOWN: Duration = Duration::from_secs(31);

with_either_engine!(
    crossway_dials_wireguard_go_over_ipv4,
    crossway_dials_wireguard_go_over_ipv6,
    wireguard_go_dials_crossway_over_ipv4,
    wireguard_go_dials_crossway_over_ipv6,
    crossway_dials_boringtun,
    boringtun_dials_crossway,
    keepalives_open_the_way_and_keep_it_open,
    a_preshared_key_must_be_the_same_on_both_sides,
    traffic_goes_on_when_the_far_side_loses_its_session,
    handshakes_that_cross_do_not_stop_traffic,
    a_far_side_that_does_not_hear_us_is_down_though_all_that_it_sends_arrives,
);

fn crossway_dials_wireguard_go_over_ipv4(engine: Engine) {
    Interop::start(engine, WireguardGo, Family::V4, Dials::Crossway, |_| ()).talks(&Family::ALL);
}

fn crossway_dials_wireguard_go_over_ipv6(engine: Engine) {
    Interop::start(engine, WireguardGo, Family::V6, Dials::Crossway, |_| ()).talks(&Family::ALL);
}

fn wireguard_go_dials_crossway_over_ipv4(engine: Engine) {
    Interop::start(engine, WireguardGo, Family::V4, Dials::Far, |_| ()).talks(&Family::ALL);
}

fn wireguard_go_dials_crossway_over_ipv6(engine: Engine) {
    Interop::start(engine, WireguardGo, Family::V6, Dials::Far, |_| ()).talks(&Family::ALL);
}

fn crossway_dials_boringtun(engine: Engine) {
    Interop::start(engine, BoringtunCli, Family::V4, Dials::Crossway, |_| ()).talks(&[Family::V4]);
}

fn boringtun_dials_crossway(engine: Engine) {
    Interop::start(engine, BoringtunCli, Family::V4, Dials::Far, |_| ()).talks(&[Family::V4]);
}

/// With a persistent keepalive the side that dials needs no traffic to open the way, and says it is there.
fn keepalives_open_the_way_and_keep_it_open(engine: Engine) {
    for dials in [Dials::Crossway, Dials::Far] {
        let interop = Interop::start(engine, WireguardGo, Family::V4, dials, |plans| {
            plans[usize::from(dials == Dials::Far)].peers[0].keepalive = Some(1);
            // A BFD packet, from either side, does instead of a keepalive.
            plans[0].watch_by_wireguard();
        });
        interop.wait_for_state("Up");
        let (a, b) = interop.sites();
        let from = if dials == Dials::Crossway { a } else { b };
        // 16 bytes of header and 16 of tag, nothing in between; once a second.
        let filter = format!(
            "udp and src {} and udp[4:2] = 40",
            from.wan_address(Family::V4)
        );
        let capture = Capture::start(&interop.topology, &b.gateway, "wan0", &filter).unwrap();
        capture.wait_for(2, UP).unwrap();
    }
}

fn a_preshared_key_must_be_the_same_on_both_sides(engine: Engine) {
    let topology = topology();
    let mut plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
    let file = topology.directory().join("b.psk");
    let psk = process::run(Command::new("wg").arg("genpsk")).unwrap();
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut psk_file = options.open(&file).unwrap();
    psk_file.write_all(psk.as_bytes()).unwrap();
    plans[0].share_key(&file);
    plans[0].set_engine(engine);
    plans[1].peers[0].endpoint = None;
    let far = StockGateway::start(WireguardGo, &topology, &plans[1]).unwrap();
    let agent = Crossway::start(&topology, &plans[0]).unwrap();
    let interop = Interop {
        agent,
        far,
        plans,
        topology,
    };
    let (a, b) = interop.sites();
    let host_b = b.host_address(Family::V4);
    // The far side does not know of it yet.
    assert_eq!(traffic::ping(&a.host, host_b, 3).unwrap().received, 0);
    assert_ne!(interop.state(), "Up");
    interop.wg(&format!("preshared-key {}", file.display()));
    traffic::wait_for_ping(&a.host, host_b, UP).unwrap();
    interop.talks(&[Family::V4]);
}

/// Our datagrams are lost in front of the far side, and its own arrive: its keepalives, its data if it has any, its
/// handshakes if it needs one.
fn a_far_side_that_does_not_hear_us_is_down_though_all_that_it_sends_arrives(engine: Engine) {
    for it_has_data in [true, false] {
        let interop = Interop::start(engine, WireguardGo, Family::V4, Dials::Both, |plans| {
            plans[0].watch_by_wireguard();
        });
        interop.wg("persistent-keepalive 5");
        interop.talks(&[Family::V4]);
        let (a, b) = interop.sites();
        let directory = interop.topology.directory();
        let (to_a, to_b) = (a.host_address(Family::V4), b.host_address(Family::V4));
        let from_a = SteadyPing::start(&a.host, to_b, directory).unwrap();
        let from_b = it_has_data.then(|| SteadyPing::start(&b.host, to_a, directory).unwrap());
        from_a.goes_on(UP).unwrap();
        let ours = a.wan_address(Family::V4);
        for line in [
            "nft add table ip oneway",
            "nft add chain ip oneway input { type filter hook input priority 0 ; }",
            &format!("nft add rule ip oneway input ip saddr {ours} udp dport {LISTEN_PORT} drop"),
        ] {
            b.gateway.run(line).unwrap();
        }
        interop.wait_for_state_within(ONE_WAY_DOWN, "Down");
        b.gateway.run("nft delete table ip oneway").unwrap();
        interop.wait_for_state("Up");
        from_a.goes_on(UP).unwrap();
        if let Some(from_b) = from_b {
            from_b.goes_on(UP).unwrap();
        }
    }
}

/// WireGuard rekeys after 120 s; a far side that forgets its session forces the same way at once: it
/// knows no session for what it gets, and answers nothing until a new handshake.
fn traffic_goes_on_when_the_far_side_loses_its_session(engine: Engine) {
    let interop = Interop::start(engine, WireguardGo, Family::V4, Dials::Both, |_| ());
    interop.talks(&[Family::V4]);
    let (a, b) = interop.sites();
    let directory = interop.topology.directory();
    let host_b = b.host_address(Family::V4);
    let tcp = SteadyTcp::start(&a.host, &b.host, host_b).unwrap();
    let ping = SteadyPing::start(&b.host, a.host_address(Family::V4), directory).unwrap();
    // A response is 92 bytes and a header of 8.
    let answers = Capture::start(&interop.topology, &b.gateway, "wan0", "udp[4:2] = 100").unwrap();
    for round in 1..=3 {
        let peer = &interop.plans[1].peers[0];
        interop.wg("remove");
        interop.wg(&format!(
            "allowed-ips {} endpoint {}",
            peer.routes.join(","),
            peer.endpoint.unwrap()
        ));
        ping.goes_on(UP).unwrap();
        tcp.goes_on(UP).unwrap();
        answers.wait_for(round, UP).unwrap();
    }
    let replies = ping.finish(UP).unwrap();
    eprintln!("a lost session: longest gap {:?}", replies.longest_gap());
    tcp.finish().unwrap();
}

/// Both sides have an endpoint and begin at the same moment, again and again.
fn handshakes_that_cross_do_not_stop_traffic(engine: Engine) {
    let interop = Interop::start(engine, WireguardGo, Family::V4, Dials::Both, |plans| {
        plans[0].peers[0].keepalive = Some(1);
    });
    interop.wait_for_state("Up");
    interop.talks(&[Family::V4]);
}

/// Who has the other's endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dials {
    Crossway,
    Far,
    Both,
}

struct Interop {
    agent: Crossway,
    far: StockGateway,
    plans: Vec<GatewayPlan>,
    topology: Topology,
}

impl Interop {
    /// Starts both; `adjust` changes the plans, Crossway's first.
    fn start(
        engine: Engine,
        implementation: Implementation,
        outer: Family,
        dials: Dials,
        adjust: impl FnOnce(&mut [GatewayPlan]),
    ) -> Self {
        let topology = topology();
        let mut plans = plan::plan(&topology, Shape::FullMesh, outer).unwrap();
        match dials {
            Dials::Crossway => plans[1].peers[0].endpoint = None,
            Dials::Far => plans[0].peers[0].endpoint = None,
            Dials::Both => {}
        }
        plans[0].set_engine(engine);
        adjust(&mut plans);
        // Who is dialled is there first.
        let start = |plan| Crossway::start(&topology, plan).unwrap();
        let agent = (dials == Dials::Far).then(|| start(&plans[0]));
        let far = StockGateway::start(implementation, &topology, &plans[1]).unwrap();
        let agent = agent.unwrap_or_else(|| start(&plans[0]));
        Self {
            agent,
            far,
            plans,
            topology,
        }
    }

    fn sites(&self) -> (&Site, &Site) {
        (&self.topology.sites[0], &self.topology.sites[1])
    }

    /// The side that dials sends first; then ping and TCP go both ways.
    fn talks(&self, families: &[Family]) {
        let (a, b) = self.sites();
        let first_from_a = self.plans[0].peers[0].endpoint.is_some();
        let (first, second) = if first_from_a { (a, b) } else { (b, a) };
        for &family in families {
            for (from, to) in [(first, second), (second, first)] {
                let (source, target) = (from.host_address(family), to.host_address(family));
                traffic::wait_for_ping(&from.host, target, UP).unwrap();
                self.reaches(from, to, source, target);
            }
        }
        assert_eq!(self.state(), "Up");
    }

    fn reaches(&self, from: &Site, to: &Site, source: IpAddr, target: IpAddr) {
        let report = traffic::ping(&from.host, target, 5).unwrap();
        let drops = || self.agent.command(&["drops"]).unwrap();
        let answered = (report.sent, report.received);
        assert_eq!(answered, (5, 5), "{source} to {target}: {}", drops());
        let tcp = traffic::tcp_transfer(&from.host, &to.host, target, BYTES).unwrap();
        assert_eq!(tcp.source_seen, source);
    }

    fn state(&self) -> String {
        self.agent.links().unwrap()[0].state.as_str().to_owned()
    }

    fn wait_for_state(&self, state: &str) {
        self.wait_for_state_within(UP, state);
    }

    fn wait_for_state_within(&self, limit: Duration, state: &str) {
        wait::until(&format!("the link to be {state}"), limit, || {
            (self.state() == state).then_some(())
        })
        .unwrap();
    }

    /// `wg set` on the far side's only peer.
    fn wg(&self, words: &str) {
        let key = &self.plans[0].keys.public;
        let interface = self.far.interface();
        let line = format!("wg set {interface} peer {key} {words}");
        self.sites().1.gateway.run(&line).unwrap();
    }
}

fn topology() -> Topology {
    Builder::new(&["a", "b"]).build().unwrap()
}
