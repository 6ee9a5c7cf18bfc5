//! Routes of a site that would lead the tunnel's own packets into the tunnel, by what happens while it runs.
//!
//! ```text
//!  host a ── [gateway a: under test] 203.0.113.5 ──┬── (router .6) ── 203.0.113.9 [gateway b] ── host b
//!            128.0.0.0/1 is behind b               └──────────────── 203.0.113.13 [gateway c] ── host c
//! ```

use std::fs;
use std::time::Duration;

use vm_tests::api::{Link, LinkState};
use vm_tests::crossway::Crossway;
use vm_tests::netns::Netns;
use vm_tests::plan::{self, GatewayPlan, Shape};
use vm_tests::topology::{Builder, Family, LISTEN_PORT, Topology};
use vm_tests::traffic::{self, SteadyPing};
use vm_tests::wait;

const UP: Duration = Duration::from_secs(15);
/// A change of the host is gathered for a tenth of a second.
const SOON: Duration = Duration::from_secs(3);
/// Until the host's change is followed, what loops keeps the lane busy.
const DISTURBED: Duration = Duration::from_secs(1);
const TO_B: &str = "203.0.113.9/32 via 203.0.113.6 dev wan0";
const TO_C: &str = "203.0.113.13/32 via 203.0.113.6 dev wan0";

#[test]
fn a_link_whose_host_route_has_gone_is_down_with_a_reason_and_no_other_site_is_disturbed() {
    let lab = Lab::start(|_| ());
    let (host, b, c) = (lab.host(), lab.far(1), lab.far(2));
    traffic::wait_for_ping(host, b, UP).unwrap();
    traffic::wait_for_ping(host, c, UP).unwrap();
    let to_c = SteadyPing::start(host, c, lab.topology.directory()).unwrap();
    assert_eq!(lab.a.status().unwrap().warnings, [""; 0]);

    lab.gateway().ip(&format!("route del {TO_B}")).unwrap();
    let link = lab.link_becomes(LinkState::Down, SOON);
    let why = "packets to 203.0.113.9 would go into the tunnel, by route 128.0.0.0/1 of site b";
    assert_eq!(link.why, why);
    let warnings = lab.a.status().unwrap().warnings;
    let mend = "(ip route add 203.0.113.9/32 via 203.0.113.6)";
    assert!(
        warnings.iter().any(|warning| warning.contains(mend)),
        "{warnings:?}"
    );

    lab.gateway().ip(&format!("route add {TO_B}")).unwrap();
    lab.link_becomes(LinkState::Up, UP);
    traffic::wait_for_ping(host, b, UP).unwrap();
    // What was dropped is told for a while.
    wait::until("no warning", UP * 5, || {
        lab.a.status().unwrap().warnings.is_empty().then_some(())
    })
    .unwrap();
    let replies = to_c.finish(UP).unwrap();
    assert!(
        replies.longest_gap() < DISTURBED,
        "{:?}",
        replies.longest_gap()
    );
}

#[test]
fn a_far_gateway_that_moves_into_its_own_route_is_told_of() {
    let lab = Lab::start(|_| ());
    traffic::wait_for_ping(lab.host(), lab.far(1), UP).unwrap();
    // A translator on the way gives it another address, which no host route leads to.
    let router = lab.topology.router.as_ref().unwrap();
    for command in [
        "add table ip moves",
        "add chain ip moves way { type filter hook forward priority 0 ; }",
        "add rule ip moves way ip saddr 203.0.113.9 ip saddr set 203.0.113.77",
    ] {
        router.run(&format!("nft {command}")).unwrap();
    }
    let told = || {
        let warnings = lab.a.status().unwrap().warnings;
        warnings
            .iter()
            .any(|warning| warning.contains("203.0.113.77"))
            .then_some(())
    };
    wait::until("a warning", UP, told).unwrap();
    traffic::wait_for_ping(lab.host(), lab.far(2), UP).unwrap();
}

#[test]
fn a_name_that_leads_into_the_route_of_a_site_is_dialled_elsewhere_and_told_of() {
    let mut lab = Lab::prepare(|plan| {
        plan.peers[0].endpoint = None;
        plan.dial_by_name("far.example", LISTEN_PORT);
    });
    let file = |name: &str, text: &str| {
        let file = lab.topology.directory().join(name);
        fs::write(&file, text).unwrap();
        file
    };
    let hosts = file(
        "hosts",
        "198.51.100.7 far.example\n203.0.113.9 far.example\n",
    );
    let resolv_conf = file("resolv.conf", "nameserver 198.51.100.53\n");
    lab.a.set_hosts(&hosts);
    lab.a.set_resolv_conf(&resolv_conf);
    lab.a.start_again().unwrap();
    traffic::wait_for_ping(lab.host(), lab.far(1), UP).unwrap();
    let link = lab.link_becomes(LinkState::Up, SOON);
    assert_eq!(link.endpoint, Some(format!("203.0.113.9:{LISTEN_PORT}")));
    let warnings = lab.a.status().unwrap().warnings;
    for expected in [
        "would swallow the endpoint 198.51.100.7 of its own gateway",
        "leads the questions to the name server 198.51.100.53 into the tunnel",
        "(ip route add 198.51.100.53/32 via 203.0.113.6)",
    ] {
        assert!(
            warnings.iter().any(|warning| warning.contains(expected)),
            "{expected}: {warnings:?}"
        );
    }
    lab.gateway()
        .ip("route add 198.51.100.0/24 via 203.0.113.6")
        .unwrap();
    wait::until("no warning", SOON, || {
        lab.a.status().unwrap().warnings.is_empty().then_some(())
    })
    .unwrap();
}

/// Three gateways; half of the Internet is behind the second.
struct Lab {
    a: Crossway,
    _far: Vec<Crossway>,
    topology: Topology,
}

impl Lab {
    fn start(adjust: impl FnOnce(&mut GatewayPlan)) -> Self {
        let mut lab = Self::prepare(adjust);
        lab.a.start_again().unwrap();
        lab
    }

    fn prepare(adjust: impl FnOnce(&mut GatewayPlan)) -> Self {
        let topology = Builder::new(&["a", "b", "c"]).build().unwrap();
        let mut plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
        for far in &mut plans[1..] {
            far.peers[0].endpoint = None;
        }
        plans[0].peers[0].routes.push("128.0.0.0/1".to_owned());
        adjust(&mut plans[0]);
        let gateway = &topology.sites[0].gateway;
        for route in [TO_B, TO_C] {
            gateway.ip(&format!("route add {route}")).unwrap();
        }
        let far = plans[1..].iter();
        let far = far.map(|plan| Crossway::start(&topology, plan).unwrap());
        Self {
            _far: far.collect(),
            a: Crossway::prepare(&topology, &plans[0]).unwrap(),
            topology,
        }
    }

    fn host(&self) -> &Netns {
        &self.topology.sites[0].host
    }

    fn gateway(&self) -> &Netns {
        &self.topology.sites[0].gateway
    }

    fn far(&self, site: usize) -> std::net::IpAddr {
        self.topology.sites[site].host_address(Family::V4)
    }

    /// The link to site b, once it is in this state.
    fn link_becomes(&self, state: LinkState, limit: Duration) -> Link {
        wait::until(&format!("the link {state:?}"), limit, || {
            let links = self.a.links().unwrap();
            let link = links.into_iter().find(|link| link.site == "b")?;
            (link.state == state).then_some(link)
        })
        .unwrap()
    }
}
