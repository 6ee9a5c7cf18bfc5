//! The kernel's WireGuard as the far gateway. For guests: not every kernel has it.
//!
//! ```text
//!  host a ── [gateway a: crossway] wan0 ───────────────── wan0 [gateway b: kernel] ── host b
//!  10.1.0.10           203.0.113.1                 203.0.113.2                     10.2.0.10
//!  2001:db8:1::10      fd00:113::1                 fd00:113::2                2001:db8:2::10
//! ```

#[path = "guest_kernel_wireguard/sizes.rs"]
mod sizes;

use std::time::Duration;

use serde_json::Value;
use vm_tests::crossway::Crossway;
use vm_tests::netns::Netns;
use vm_tests::peers::{Implementation, StockGateway};
use vm_tests::plan::{self, GatewayPlan, Shape};
use vm_tests::process;
use vm_tests::topology::{Builder, Family, LISTEN_PORT, Site, Topology};
use vm_tests::traffic::{self, Capture, SteadyPing};
use vm_tests::wait;

/// A handshake, or data without an answer (15 s) and then one.
const UP: Duration = Duration::from_secs(20);
/// REKEY_AFTER_TIME of the whitepaper (6.1), with the time until somebody sends.
const RENEWED: std::ops::RangeInclusive<u64> = 115..=135;
const BYTES: u64 = 1 << 20;
/// Of an initiation on an Ethernet: 148 bytes, UDP 8, IP, 14.
const INITIATION: [(Family, u32); 2] = [(Family::V4, 190), (Family::V6, 210)];

/// Who has the other's endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dials {
    Crossway,
    Kernel,
}

#[test]
fn either_side_begins_over_either_family_and_all_nestings_pass() {
    let mut joined = Joined::start(Family::V4, Dials::Crossway);
    joined.talks();
    // A peer that is set anew knows no session: every round has a handshake of its own.
    for (outer, length) in INITIATION {
        for dials in [Dials::Kernel, Dials::Crossway] {
            let filter = format!("udp and len = {length}");
            let (_, b) = joined.sites();
            let initiations =
                Capture::start(&joined.topology, &b.gateway, "wan0", &filter).unwrap();
            joined.begin_anew(outer, dials);
            joined.talks();
            let lines = initiations.finish().unwrap();
            let (a, b) = joined.sites();
            let from = if dials == Dials::Crossway { a } else { b };
            let from = format!(" {}.{LISTEN_PORT} > ", from.wan_address(outer));
            assert!(
                lines.iter().all(|line| line.contains(&from)) && !lines.is_empty(),
                "{outer:?}, begun by {dials:?}: {lines:?}"
            );
        }
    }
    assert_eq!(joined.agent.dropped().unwrap(), []);
}

#[test]
fn keys_are_renewed_on_time_whoever_began_and_every_size_passes_meanwhile() {
    let pairs = [
        Joined::start(Family::V4, Dials::Crossway),
        Joined::start(Family::V6, Dials::Kernel),
    ];
    let pings = pairs.each_ref().map(|joined| {
        let (a, b) = joined.sites();
        joined.first_packet();
        let directory = joined.topology.directory();
        SteadyPing::start(&a.host, b.host_address(Family::V4), directory).unwrap()
    });
    let first = pairs
        .each_ref()
        .map(|joined| joined.kernel.handshake().unwrap());
    for joined in &pairs {
        let (a, b) = joined.sites();
        for family in Family::ALL {
            for (from, to) in [(a, b), (b, a)] {
                sizes::all_pass(&joined.topology, from, to, family);
            }
        }
    }
    let limit = Duration::from_secs(RENEWED.end() + 5);
    for (joined, first) in pairs.iter().zip(first) {
        let renewed = wait::try_until("new keys", limit, || {
            let last = joined.kernel.handshake()?;
            Ok((last != first).then_some(last))
        });
        let after = renewed.unwrap() - first;
        assert!(RENEWED.contains(&after), "renewed after {after} s");
    }
    for (ping, joined) in pings.into_iter().zip(&pairs) {
        let replies = ping.finish(UP).unwrap();
        assert_eq!(replies.lost(), 0);
        assert_eq!(joined.agent.dropped().unwrap(), []);
    }
}

#[test]
fn either_side_moves_and_keepalives_tell_of_it() {
    let joined = Joined::start_adjusted(Family::V4, Dials::Crossway, |plans| {
        for plan in &mut *plans {
            plan.peers[0].keepalive = Some(1);
        }
        // BFD's packets would do instead of keepalives.
        plans[0].peers[0].lines = vec!["liveness = \"wireguard\"".to_owned()];
    });
    joined.first_packet();
    let (a, b) = joined.sites();
    let directory = joined.topology.directory();
    let ping = SteadyPing::start(&a.host, b.host_address(Family::V6), directory).unwrap();
    // The kernel's port, then its address.
    joined.kernel.set("listen-port 51999").unwrap();
    joined.agent_sends_to("203.0.113.2:51999");
    ping.goes_on(UP).unwrap();
    moves(&b.gateway, "203.0.113.2", "203.0.113.77");
    joined.agent_sends_to("203.0.113.77:51999");
    ping.goes_on(UP).unwrap();
    // Our address, then our port, by a NAT that was not there before.
    moves(&a.gateway, "203.0.113.1", "203.0.113.88");
    joined.kernel_sends_to(&format!("203.0.113.88:{LISTEN_PORT}"));
    ping.goes_on(UP).unwrap();
    let nat = "table ip nat { chain out { type nat hook postrouting priority 100; udp sport 51820 masquerade to :61000; }; }";
    process::run(a.gateway.command("nft").arg(nat)).unwrap();
    joined.kernel_sends_to("203.0.113.88:61000");
    ping.goes_on(UP).unwrap();
    drop(ping);
    // Without traffic each says every second that it is there: 16 bytes of header, 16 of tag and nothing between.
    for from in ["203.0.113.77", "203.0.113.88"] {
        let filter = format!("udp and src {from} and udp[4:2] = 40");
        let capture = Capture::start(&joined.topology, &b.gateway, "wan0", &filter).unwrap();
        capture.wait_for(2, UP).unwrap();
    }
    assert_eq!(joined.agent.dropped().unwrap(), []);
}

/// Gives a gateway a new address on the WAN, and takes the old one away.
fn moves(gateway: &Netns, from: &str, to: &str) {
    // Else the kernel deletes the second address of a network together with the first.
    let promote = "net/ipv4/conf/wan0/promote_secondaries";
    gateway.set_sysctl(promote, "1").unwrap();
    for change in [format!("add {to}"), format!("delete {from}")] {
        gateway
            .ip(&format!("address {change}/24 dev wan0"))
            .unwrap();
    }
}

/// Crossway on one side, the kernel on the other.
struct Joined {
    agent: Crossway,
    kernel: StockGateway,
    plans: Vec<GatewayPlan>,
    topology: Topology,
}

impl Joined {
    fn start(outer: Family, dials: Dials) -> Self {
        Self::start_adjusted(outer, dials, |_| ())
    }

    fn start_adjusted(
        outer: Family,
        dials: Dials,
        adjust: impl FnOnce(&mut [GatewayPlan]),
    ) -> Self {
        let topology = Builder::new(&["a", "b"]).build().unwrap();
        let mut plans = plan::plan(&topology, Shape::FullMesh, outer).unwrap();
        let dialled = usize::from(dials == Dials::Crossway);
        plans[dialled].peers[0].endpoint = None;
        adjust(&mut plans);
        let kernel = StockGateway::start(Implementation::Kernel, &topology, &plans[1]).unwrap();
        let agent = Crossway::start(&topology, &plans[0]).unwrap();
        Self {
            agent,
            kernel,
            plans,
            topology,
        }
    }

    fn sites(&self) -> (&Site, &Site) {
        (&self.topology.sites[0], &self.topology.sites[1])
    }

    /// Both forget what they know of each other; one of them learns where the other is.
    fn begin_anew(&mut self, outer: Family, dials: Dials) {
        let crossway_dials = dials == Dials::Crossway;
        let (a, b) = (&self.topology.sites[0], &self.topology.sites[1]);
        self.plans[0].peers[0].endpoint = crossway_dials.then(|| b.endpoint(outer));
        let key = &self.plans[0].keys.public;
        let routes = self.plans[1].peers[0].routes.join(",");
        self.kernel.set(&format!("peer {key} remove")).unwrap();
        let endpoint = if crossway_dials {
            String::new()
        } else {
            format!("endpoint {}", a.endpoint(outer))
        };
        let anew = format!("peer {key} allowed-ips {routes} {endpoint}");
        self.kernel.set(&anew).unwrap();
        self.agent.write_config(&self.plans[0]).unwrap();
        self.agent.command(&["reload"]).unwrap();
    }

    /// The side that dials opens the way.
    fn first_packet(&self) {
        let (a, b) = self.sites();
        let crossway_dials = self.plans[0].peers[0].endpoint.is_some();
        let (from, to) = if crossway_dials { (a, b) } else { (b, a) };
        traffic::wait_for_ping(&from.host, to.host_address(Family::V4), UP).unwrap();
    }

    /// Ping and TCP in both families and both directions.
    fn talks(&self) {
        self.first_packet();
        let (a, b) = self.sites();
        for family in Family::ALL {
            for (from, to) in [(a, b), (b, a)] {
                traffic::exchange(from, to, family, BYTES).unwrap();
            }
        }
        assert_eq!(self.link()["state"], "Up");
    }

    fn link(&self) -> Value {
        self.agent.query(&["links"]).unwrap()["links"][0].take()
    }

    fn agent_sends_to(&self, endpoint: &str) {
        wait::until(&format!("the agent to send to {endpoint}"), UP, || {
            (self.link()["endpoint"] == endpoint).then_some(())
        })
        .unwrap();
    }

    fn kernel_sends_to(&self, endpoint: &str) {
        wait::until(&format!("the kernel to send to {endpoint}"), UP, || {
            let said = self.kernel.show("endpoints").ok()?;
            said.trim_end().ends_with(endpoint).then_some(())
        })
        .unwrap();
    }
}
