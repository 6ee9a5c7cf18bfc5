//! Whether the LAN behind a gateway is alive: its carrier, and the targets that the gateway probes.
//!
//! ```text
//!  host a: answers echoes and connections, or not ── lan0 [gateway a: probes it] wan0 ── [gateway b]
//!  10.1.0.10  2001:db8:1::10
//! ```

use std::net::TcpListener;
use std::time::Duration;

use vm_tests::api::{Health, SiteState};
use vm_tests::config::{HealthKind, HealthTarget};
use vm_tests::crossway::Crossway;
use vm_tests::pair::Pair;
use vm_tests::plan::{self, GatewayPlan, Shape};
use vm_tests::topology::{Builder, Family, Topology};
use vm_tests::wait;

const SOON: Duration = Duration::from_secs(10);
/// Host a.
const A4: &str = "10.1.0.10";
const A6: &str = "2001:db8:1::10";

#[test]
fn the_lan_dies_with_its_last_target_and_comes_back_with_the_first() {
    for ping_group in ["1 0", "0 2147483647"] {
        // Raw sockets, then ping sockets.
        let lan = Lan::start(
            ping_group,
            vec![
                HealthTarget {
                    successes: 3,
                    ..probed(A4)
                },
                probed(A6),
            ],
        );
        lan.wait_for_targets(["up", "up"]);
        assert!(lan.is_alive());
        lan.answer_echoes(Family::V4, false);
        lan.wait_for_targets(["down", "up"]);
        assert!(lan.is_alive(), "the other answers");
        lan.answer_echoes(Family::V6, false);
        lan.wait_for_targets(["down", "down"]);
        assert!(!lan.is_alive());
        lan.answer_echoes(Family::V4, true);
        lan.wait_for_targets(["up", "down"]);
        assert!(lan.is_alive());
        let events = lan.agent.command(&["events"]).unwrap();
        for change in [
            "icmp 10.1.0.10 by lan0  up -> down: no answer within 100 ms",
            "LAN                 alive -> dead: every health target is down: ",
            "LAN                 dead -> alive: 1 of 2 health targets down",
        ] {
            assert!(events.contains(change), "{change} in\n{events}");
        }
    }
}

#[test]
fn a_port_that_nobody_listens_on_is_down() {
    let lan = Lan::start(
        "1 0",
        vec![HealthTarget {
            kind: HealthKind::Tcp(8443),
            ..probed(A4)
        }],
    );
    lan.wait_for_targets(["down"]);
    assert!(!lan.is_alive());
    let why = &lan.health().targets[0].why;
    assert!(why.contains("refused"), "{why}");
    let host = &lan.topology.sites[0].host;
    let bound = host.enter(|| TcpListener::bind("10.1.0.10:8443")).unwrap();
    let listener = bound.unwrap();
    lan.wait_for_targets(["up"]);
    assert!(lan.is_alive());
    drop(listener);
    lan.wait_for_targets(["down"]);
}

#[test]
fn a_lan_that_loses_its_carrier_is_dead_until_it_is_back() {
    let lan = Lan::start("1 0", Vec::new());
    assert!(lan.is_alive());
    let host = &lan.topology.sites[0].host;
    for _ in 0..2 {
        host.ip("link set eth0 down").unwrap();
        wait::until("the LAN to die", SOON, || (!lan.is_alive()).then_some(())).unwrap();
        assert_eq!(lan.health().why, "lan0: no carrier");
        host.ip("link set eth0 up").unwrap();
        wait::until("the LAN to live", SOON, || lan.is_alive().then_some(())).unwrap();
    }
}

#[test]
fn a_reload_takes_targets_and_gives_them_up() {
    let mut lan = Lan::start("1 0", vec![probed("10.1.0.99")]);
    lan.wait_for_targets(["down"]);
    let mut plan = lan.plan.clone();
    plan.configure(|config| config.gateway.health = vec![probed(A4)]);
    lan.agent.write_config(&plan).unwrap();
    lan.agent.command(&["reload"]).unwrap();
    assert!(lan.is_alive(), "the new one has not failed");
    lan.wait_for_targets(["up"]);
    plan.configure_nothing();
    lan.agent.write_config(&plan).unwrap();
    lan.agent.command(&["reload"]).unwrap();
    assert_eq!(lan.health().targets, []);
}

#[test]
fn a_far_gateway_hears_that_the_lan_is_dead() {
    let pair = Pair::start(|_| ()).unwrap();
    let state_at_b = || {
        let sites = pair.b.sites().unwrap();
        sites[0].clone()
    };
    wait::until("BFD to come up", SOON, || {
        (state_at_b().links[0].why == "BFD is up").then_some(())
    })
    .unwrap();
    let host = &pair.site_a().host;
    host.ip("link set eth0 down").unwrap();
    wait::until("the far side to know", SOON, || {
        let site = state_at_b();
        let why = &site.why;
        (site.state == SiteState::Down && why.contains("does not reach its LAN")).then_some(())
    })
    .unwrap();
    host.ip("link set eth0 up").unwrap();
    wait::until("the far side to know", SOON, || {
        (state_at_b().state == SiteState::Active).then_some(())
    })
    .unwrap();
}

/// Gateway a with its host.
struct Lan {
    agent: Crossway,
    plan: GatewayPlan,
    topology: Topology,
}

impl Lan {
    fn start(ping_group: &str, targets: Vec<HealthTarget>) -> Self {
        let topology = Builder::new(&["a", "b"]).build().unwrap();
        let mut plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
        let mut plan = plans.swap_remove(0);
        plan.configure(move |config| config.gateway.health.clone_from(&targets));
        let gateway = &topology.sites[0].gateway;
        gateway
            .set_sysctl("net/ipv4/ping_group_range", ping_group)
            .unwrap();
        Self {
            agent: Crossway::start(&topology, &plan).unwrap(),
            plan,
            topology,
        }
    }

    fn health(&self) -> Health {
        self.agent.status().unwrap().health
    }

    fn is_alive(&self) -> bool {
        self.health().lan_alive
    }

    fn wait_for_targets<const N: usize>(&self, wanted: [&str; N]) {
        wait::until(&format!("targets {wanted:?}"), SOON, || {
            let health = self.health();
            let targets = health.targets;
            let states: Vec<_> = targets.iter().map(|target| &target.state).collect();
            (states == wanted).then_some(())
        })
        .unwrap();
    }

    fn answer_echoes(&self, family: Family, answer: bool) {
        let key = match family {
            Family::V4 => "net/ipv4/icmp_echo_ignore_all",
            Family::V6 => "net/ipv6/icmp/echo_ignore_all",
        };
        let host = &self.topology.sites[0].host;
        host.set_sysctl(key, if answer { "0" } else { "1" })
            .unwrap();
    }
}

/// A target that is probed ten times a second.
fn probed(address: &str) -> HealthTarget {
    let interval = Duration::from_millis(100);
    let address = address.parse().unwrap();
    HealthTarget {
        interval,
        timeout: interval,
        ..HealthTarget::new(address, HealthKind::Icmp, "lan0")
    }
}
