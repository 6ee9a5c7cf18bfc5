//! The host's routes lead the tunnel's own packets into the tunnel while it runs.
//!
//! ```text
//!  host a ── [gateway a: under test] ── router ─┬─ [gateway b] ── host b     site b: 10.2.0.0/24, 0/1, 128/1
//!              routes to b and c by the router  └─ [gateway c] ── host c     (or ::/1 and 8000::/1)
//! ```

use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use vm_tests::config::LivenessMode;
use vm_tests::crossway::{self, Crossway};
use vm_tests::pair::Pair;
use vm_tests::plan::{self, GatewayPlan, Shape};
use vm_tests::topology::{Builder, Family, Site, Topology};
use vm_tests::traffic::{self, SteadyPing};
use vm_tests::vitals::Vitals;
use vm_tests::wait;

const UP: Duration = Duration::from_secs(10);
/// Control looks once a second; an endpoint is warned of for twelve.
const WARNED: Duration = Duration::from_secs(5);
const FORGIVEN: Duration = Duration::from_secs(20);
/// How long the agent's processor time is watched; a loop takes all of a core.
const WATCHED: Duration = Duration::from_secs(4);

#[test]
fn a_route_to_an_endpoint_that_is_lost_costs_its_own_site_alone_and_is_warned_of() {
    for (outer, fast_path) in [(Family::V4, true), (Family::V4, false), (Family::V6, true)] {
        let (topology, plans) = full_tunnel_to_b(outer, fast_path);
        let [site_a, site_b, site_c] = &topology.sites[..] else {
            panic!("three sites");
        };
        let gateways = crossway::start_all(&topology, &plans).unwrap();
        let a = &gateways[0];
        for site in [site_b, site_c] {
            let to = site.host_address(Family::V4);
            traffic::wait_for_ping(&site_a.host, to, UP).unwrap();
        }
        assert_eq!(swallowed(a), Vec::<String>::new());
        let directory = topology.directory();
        let start = |site: &Site| {
            SteadyPing::start(&site_a.host, site.host_address(Family::V4), directory).unwrap()
        };
        let to_c = start(site_c);
        // What would go round.
        let to_b = start(site_b);
        let far = site_b.wan_address(outer);
        let route = route_to(site_b, outer);
        site_a.gateway.ip(&format!("route delete {route}")).unwrap();
        assert_contained(a, "site b: ", far);
        site_a.gateway.ip(&format!("route add {route}")).unwrap();
        to_b.goes_on(FORGIVEN).unwrap();
        assert_eq!(to_c.finish(UP).unwrap().lost(), 0, "{outer:?}, {fast_path}");
        wait::until("the warning to go", FORGIVEN, || {
            swallowed(a).is_empty().then_some(())
        })
        .unwrap();
    }
}

#[test]
fn a_far_gateway_that_moves_into_its_own_site_is_not_followed_round_and_round() {
    let pair = Pair::start(|plans| {
        plans[1].peers[0].keepalive = Some(1);
        for plan in plans {
            plan.watch_by_wireguard();
        }
    })
    .unwrap();
    let ping = pair.steady_ping(Family::V4).unwrap();
    let gateway = &pair.site_b().gateway;
    let inside = "10.2.0.200";
    for change in [
        format!("address add {inside}/32 dev wan0"),
        "address delete 203.0.113.2/24 dev wan0".to_owned(),
        format!("route add 203.0.113.0/24 dev wan0 src {inside}"),
    ] {
        gateway.ip(&change).unwrap();
    }
    assert_contained(&pair.a, "site b: ", inside.parse().unwrap());
    for change in [
        format!("address delete {inside}/32 dev wan0"),
        "address add 203.0.113.2/24 dev wan0".to_owned(),
    ] {
        gateway.ip(&change).unwrap();
    }
    ping.goes_on(3 * FORGIVEN).unwrap();
}

/// Own datagrams are dropped by name, warned of with the mend, and cost next to nothing.
fn assert_contained(agent: &Crossway, whose: &str, endpoint: IpAddr) {
    let mend = format!("ip route add {endpoint}/");
    let about = || {
        let all = agent.status().unwrap().warnings.into_iter();
        all.filter(|warning| warning.contains(&mend))
            .collect::<Vec<_>>()
    };
    let warning = wait::until("the warning", WARNED, || about().pop()).unwrap();
    assert!(warning.starts_with(whose), "{warning}");
    let dropped = || {
        let dropped = agent.dropped().unwrap();
        let own = dropped.iter().find(|(reason, _)| reason == "own-datagram");
        own.map_or(0, |(_, packets)| *packets)
    };
    let before = (Vitals::of(agent.pid().unwrap()).unwrap().busy, dropped());
    thread::sleep(WATCHED);
    let after = (Vitals::of(agent.pid().unwrap()).unwrap().busy, dropped());
    let (busy, packets) = (after.0.saturating_sub(before.0), after.1 - before.1);
    assert!(after.1 > 0, "none was dropped");
    // The guard knows it, and so does the lane.
    assert_eq!(about().len(), 1, "{:?}", about());
    // Pings, keepalives and handshakes: some ten in a second.
    assert!(packets < 1000, "{packets} datagrams in {WATCHED:?}");
    assert!(busy < WATCHED / 4, "busy for {busy:?} of {WATCHED:?}");
}

/// The warnings of `status` about own datagrams.
fn swallowed(agent: &Crossway) -> Vec<String> {
    let warnings = agent.status().unwrap().warnings.into_iter();
    warnings
        .filter(|warning| {
            warning.contains("own-datagram") || warning.contains("would swallow the endpoint")
        })
        .collect()
}

/// Site b takes everything that has no better route; the endpoints of b and c have one.
fn full_tunnel_to_b(outer: Family, fast_path: bool) -> (Topology, Vec<GatewayPlan>) {
    let topology = Builder::new(&["a", "b", "c"]).build().unwrap();
    let mut plans = plan::plan(&topology, Shape::FullMesh, outer).unwrap();
    let halves = match outer {
        Family::V4 => ["0.0.0.0/1", "128.0.0.0/1"],
        Family::V6 => ["::/1", "8000::/1"],
    };
    plans[0].peers[0].routes.extend(halves.map(str::to_owned));
    plans[0].configure(move |config| {
        config.gateway.fast_path = fast_path;
        // Watched by BFD, the link would soon be down, and its routes with it.
        config.sites[0].gateways[0].links[0].liveness.mode = LivenessMode::WireGuard;
    });
    for site in &topology.sites[1..] {
        let route = route_to(site, outer);
        topology.sites[0]
            .gateway
            .ip(&format!("route add {route}"))
            .unwrap();
    }
    (topology, plans)
}

/// The route of gateway a to the endpoint of another.
fn route_to(site: &Site, family: Family) -> String {
    let far = site.wan_address(family);
    match family {
        Family::V4 => format!("{far}/32 via 203.0.113.6 dev wan0"),
        Family::V6 => format!("{far}/128 via fd00:113:0:1::2 dev wan0"),
    }
}
