//! Many peers, many routes, and the memory that they take.
//!
//! ```text
//!  host b ── [gateway b] ──┐
//!                          ├── wan (router) ── [gateway a: hub, 50 peers and 48 of them dead] ── host a
//!  host c ── [gateway c] ──┤
//!  host d ── [gateway d] ──┘ dials the hub, which does not know it
//! ```

use std::time::Duration;

use vm_tests::api::{Link, LinkState, RouteKind, SiteState};
use vm_tests::crossway::Crossway;
use vm_tests::keys::KeyPair;
use vm_tests::pair::Pair;
use vm_tests::plan::{self, PeerPlan, Shape};
use vm_tests::topology::{Builder, Family, Wan};
use vm_tests::traffic;
use vm_tests::vitals::Vitals;
use vm_tests::wait;

const UP: Duration = Duration::from_secs(10);
const DEAD_PEERS: u8 = 48;
const MIB: u64 = 1 << 20;
/// What an idle agent may take.
const IDLE_LIMIT: u64 = 40 * MIB;
const ROUTES: u32 = 100_000;
const SITES: u16 = 2000;

#[test]
fn a_hub_of_fifty_peers_starts_quickly_and_passes_traffic() {
    let topology = Builder::new(&["a", "b", "c", "d"]).build().unwrap();
    let mut plans = plan::plan(&topology, Shape::Hub, Family::V4).unwrap();
    // Gateway d is a stranger to the hub.
    plans[0].peers.pop();
    for number in 0..DEAD_PEERS {
        plans[0].peers.push(dead_peer(number));
    }
    let start = wait::now();
    let hub = Crossway::start(&topology, &plans[0]).unwrap();
    let started = start.elapsed();
    assert!(started < Duration::from_secs(5), "{started:?}");
    let spokes: Vec<_> = plans[1..]
        .iter()
        .map(|plan| Crossway::start(&topology, plan).unwrap())
        .collect();
    let [_, b, c, d] = &topology.sites[..] else {
        unreachable!("four sites were built")
    };
    for family in Family::ALL {
        let target = c.host_address(family);
        traffic::wait_for_ping(&b.host, target, UP).unwrap();
        let tcp = traffic::tcp_transfer(&b.host, &c.host, target, 8 << 20).unwrap();
        assert_eq!(tcp.source_seen, b.host_address(family));
    }
    wait::until("the stranger to be counted", UP, || {
        let drops = hub.drops().unwrap();
        let mut drops = drops.drops.iter();
        let unknown = drops.find(|drop| drop.reason == "unknown-peer")?;
        (unknown.packets > 0).then_some(())
    })
    .unwrap();
    let to_hub = topology.sites[0].host_address(Family::V4);
    assert_eq!(traffic::ping(&d.host, to_hub, 1).unwrap().received, 0);
    assert_ne!(spokes[2].links().unwrap()[0].state, LinkState::Up);
    let sites = hub.sites().unwrap();
    let states = sites.iter();
    let active = states
        .filter(|site| site.state == SiteState::Active)
        .count();
    assert_eq!(active, 2, "{sites:?}");
    eprintln!(
        "hub of 50 peers: started in {started:?}, {} MiB",
        rss(&hub) / MIB
    );
}

#[test]
fn two_thousand_sites_start_quickly_and_the_one_that_answers_is_served() {
    let topology = Builder::new(&["a", "b"]).wan(Wan::Router).build().unwrap();
    let router = topology.router.as_ref().unwrap();
    router.ip("route add blackhole 198.18.0.0/15").unwrap();
    let mut plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
    plans[0].peers.extend((1..SITES).map(silent_site));
    let _far = Crossway::start(&topology, &plans[1]).unwrap();
    let start = wait::now();
    let mut near = Crossway::start(&topology, &plans[0]).unwrap();
    let started = start.elapsed();
    assert!(started < Duration::from_secs(5), "{started:?}");
    eprintln!(
        "{SITES} sites: started in {started:?}, {} MiB",
        rss(&near) / MIB
    );

    let (a, b) = (&topology.sites[0], &topology.sites[1]);
    for family in Family::ALL {
        let target = b.host_address(family);
        traffic::wait_for_ping(&a.host, target, UP).unwrap();
        let tcp = traffic::tcp_transfer(&a.host, &b.host, target, 8 << 20).unwrap();
        assert_eq!(tcp.source_seen, a.host_address(family));
    }
    let sites = near.sites().unwrap();
    assert_eq!(sites.len(), usize::from(SITES));
    let served = sites.iter().filter(|site| site.state == SiteState::Active);
    assert_eq!(served.count(), 1);

    // The first of them goes; what the others are called by stays.
    let links = |near: &Crossway| near.links().unwrap();
    let index_of_last = |links: &[Link]| links.last().unwrap().receiver_index;
    let before = index_of_last(&links(&near));
    let mut near_plan = plans[0].clone();
    near_plan.peers.remove(1);
    near.write_config(&near_plan).unwrap();
    let said = near.command(&["reload"]).unwrap();
    assert!(said.contains("site silent-1 removed"), "{said}");
    let after = links(&near);
    assert_eq!(after.len(), usize::from(SITES) - 1);
    assert_eq!(index_of_last(&after), before);
}

#[test]
fn an_idle_agent_is_small() {
    let topology = Builder::new(&["a", "b"]).build().unwrap();
    let plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
    let agents: Vec<_> = plans
        .iter()
        .map(|plan| Crossway::start(&topology, plan).unwrap())
        .collect();
    let far = topology.sites[1].host_address(Family::V4);
    traffic::wait_for_ping(&topology.sites[0].host, far, UP).unwrap();
    for agent in &agents {
        let memory = rss(agent);
        eprintln!("idle agent: {:.1} MiB", memory as f64 / MIB as f64);
        assert!(memory < IDLE_LIMIT, "{memory}");
        let status = agent.status().unwrap();
        let said = status.memory_rss_bytes;
        assert!(said.abs_diff(memory) < 4 * MIB, "{said} and {memory}");
    }
}

#[test]
fn a_hundred_thousand_routes_are_put_in_force_and_taken_away() {
    let topology = Builder::new(&["a", "b"]).build().unwrap();
    let mut plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
    let route = |number: u32| route(11, number);
    plans[0].peers[0].routes.extend((0..ROUTES).map(route));
    let start = wait::now();
    let mut agent = Crossway::start(&topology, &plans[0]).unwrap();
    let started = start.elapsed();
    let _far = Crossway::start(&topology, &plans[1]).unwrap();
    let memory = rss(&agent) / MIB;
    eprintln!("{ROUTES} routes: started in {started:?}, {memory} MiB");
    let far = topology.sites[1].host_address(Family::V4);
    traffic::wait_for_ping(&topology.sites[0].host, far, UP).unwrap();
    let last = route(ROUTES - 1);
    let address = last.replace(".0/25", ".1").replace(".128/25", ".129");
    let answer = agent.route(&address).unwrap();
    assert_eq!(answer.prefix.as_ref(), Some(&last), "{answer:?}");
    let kernel = topology.sites[0]
        .gateway
        .ip(&format!("route get {address}"));
    assert!(kernel.unwrap().contains("dev cw-"));

    // Now it follows the host's changes with as many routes.
    topology.sites[0]
        .gateway
        .ip("route add blackhole 11.0.0.5")
        .unwrap();
    wait::until("the foreign route to be followed", UP, || {
        let answer = agent.route("11.0.0.5").ok()?;
        (answer.kind == Some(RouteKind::Kernel)).then_some(())
    })
    .unwrap();
    let start = wait::now();
    assert!(agent.stop().unwrap().success());
    eprintln!("{ROUTES} routes: stopped in {:?}", start.elapsed());
}

#[test]
fn a_flow_that_is_there_before_and_after_loses_nothing_while_all_other_routes_are_replaced() {
    let mut before = Vec::new();
    let mut pair = Pair::start(|plans| {
        let own = &mut plans[0].peers[0].routes;
        before.clone_from(own);
        own.extend((0..ROUTES).map(|number| route(11, number)));
    })
    .unwrap();
    let ping = pair.steady_ping(Family::V4).unwrap();
    let ping6 = pair.steady_ping(Family::V6).unwrap();
    let tcp = pair.steady_tcp(Family::V4).unwrap();

    for network in [12, 13] {
        let mut plan = pair.plans[0].clone();
        plan.peers[0].routes.clone_from(&before);
        let others = (0..ROUTES).map(|number| route(network, number));
        // In front, so that the routes that stay have another number.
        plan.peers[0].routes.splice(0..0, others);
        pair.a.write_config(&plan).unwrap();
        let start = wait::now();
        let said = pair.a.command(&["reload"]).unwrap();
        eprintln!("{ROUTES} routes: replaced in {:?}", start.elapsed());
        assert!(said.contains("in force"), "{said}");

        let get = |address: String| pair.a.route(&address).unwrap();
        assert_eq!(get(format!("{network}.0.0.1")).site.as_deref(), Some("b"));
        assert_eq!(get(format!("{}.0.0.1", network - 1)).kind, None);
        let gateway = &pair.site_a().gateway;
        let kernel = gateway.ip("route show proto 199").unwrap();
        assert_eq!(kernel.lines().count(), ROUTES as usize + 1);
        let gone = format!("{}.", network - 1);
        assert!(!kernel.lines().any(|route| route.starts_with(&gone)));
    }

    tcp.goes_on(UP).unwrap();
    tcp.finish().unwrap();
    for ping in [ping, ping6] {
        let replies = ping.finish(UP).unwrap();
        assert_eq!(replies.lost(), 0, "of {}", replies.replies.len());
    }
}

/// A /25 prefix of `network`.0.0.0/8.
fn route(network: u8, number: u32) -> String {
    let [_, b, c, d] = (number << 7).to_be_bytes();
    format!("{network}.{b}.{c}.{d}/25")
}

/// A peer that never answers; every second one is dialled.
fn dead_peer(number: u8) -> PeerPlan {
    PeerPlan {
        site: format!("dead-{number}"),
        gateway: format!("dead-{number}-1"),
        public_key: KeyPair::generate().unwrap().public,
        endpoint: number
            .is_multiple_of(2)
            .then(|| format!("198.51.100.{number}:51820").parse().unwrap()),
        routes: vec![
            format!("10.100.{number}.0/24"),
            format!("2001:db8:100:{number}::/64"),
        ],
        keepalive: None,
    }
}

/// One of thousands that never answer; every second one is dialled.
fn silent_site(number: u16) -> PeerPlan {
    let [high, low] = number.to_be_bytes();
    PeerPlan {
        site: format!("silent-{number}"),
        gateway: format!("silent-{number}-1"),
        // Any 32 bytes are a key; making two thousand real ones takes longer than the test.
        public_key: format!("{number:042}A="),
        endpoint: number
            .is_multiple_of(2)
            .then(|| format!("198.18.{high}.{low}:51820").parse().unwrap()),
        routes: vec![format!("100.{}.{low}.0/24", 64 + high)],
        keepalive: None,
    }
}

/// Resident memory, bytes.
fn rss(agent: &Crossway) -> u64 {
    Vitals::of(agent.pid().unwrap()).unwrap().memory
}
