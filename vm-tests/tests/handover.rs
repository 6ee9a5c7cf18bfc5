//! One agent takes over from another while traffic passes, and what becomes of that when something goes wrong.
//!
//! ```text
//!  host a ── lan0 [gateway a: agent after agent] wan0 ──────── wan0 [gateway b: never restarted] lan0 ── host b
//!            10.1.0.1        203.0.113.1                203.0.113.2
//! ```

#[path = "handover/links.rs"]
mod links;
#[path = "handover/load.rs"]
mod load;
#[path = "handover/midway.rs"]
mod midway;

use std::path::PathBuf;
use std::time::Duration;

use vm_tests::api::LinkState;
use vm_tests::crossway::{Counters, Crossway};
use vm_tests::host_state::{HostState, files_of};
use vm_tests::pair::Pair;
use vm_tests::plan::{self, PeerPlan, Shape};
use vm_tests::topology::{Builder, Family};
use vm_tests::traffic::{self, UdpEcho};

const UP: Duration = Duration::from_secs(10);
/// Much more than a hand-over takes, and less than a handshake that is repeated.
const SHORT: Duration = Duration::from_millis(500);

#[test]
fn a_take_over_loses_no_packet_and_keeps_sessions_counters_and_flows() {
    let mut pair = Pair::start(|_| ()).unwrap();
    let original = tun_index(&pair);
    let echo = UdpEcho::start(&pair.site_b().host, pair.far(Family::V4)).unwrap();
    let ping = pair.steady_ping(Family::V4).unwrap();
    let ping6 = pair.steady_ping(Family::V6).unwrap();
    let tcp = pair.steady_tcp(Family::V4).unwrap();
    let tcp6 = pair.steady_tcp(Family::V6).unwrap();
    let first_seen = seconds_seen(&pair.a);
    let mut before = told(&pair.a);
    let dropped = pair.a.dropped().unwrap();

    let (a, host) = (&mut pair.a, &pair.topology.sites[0].host);
    let echoed = std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            traffic::udp_echo(host, echo.address(), 4000, 200, Duration::from_millis(1)).unwrap()
        });
        for round in 1..=3 {
            let ended = a.take_over().unwrap();
            assert!(ended.success(), "{ended}\n{}", a.log());
            let gap = *a.gaps().last().unwrap();
            eprintln!("take-over {round}: {gap:?}");
            assert_eq!((gap.sessions, gap.handshakes), (1, 0), "{round}");
            let now = told(a);
            assert!(now.counters.to_site_packets >= before.counters.to_site_packets);
            assert!(now.counters.from_site_packets >= before.counters.from_site_packets);
            assert!(now.link_packets >= before.link_packets, "{round}");
            assert!(now.handshake_seconds >= before.handshake_seconds);
            assert!(now.uptime_seconds >= before.uptime_seconds);
            assert_eq!(now.receiver_index, before.receiver_index);
            before = now;
            tcp.goes_on(UP).unwrap();
            tcp6.goes_on(UP).unwrap();
        }
        load.join().unwrap()
    });
    assert_eq!(echoed.received, echoed.sent, "of a datagram a millisecond");
    for replies in [ping.finish(UP).unwrap(), ping6.finish(UP).unwrap()] {
        assert_eq!(replies.lost(), 0, "of {}", replies.replies.len());
        assert!(replies.longest_gap() < SHORT, "{:?}", replies.longest_gap());
    }
    tcp.finish().unwrap();
    tcp6.finish().unwrap();
    assert!(seconds_seen(&pair.a) >= first_seen, "flows were seen anew");
    assert_eq!(pair.a.dropped().unwrap(), dropped);
    assert_eq!(pair.b.dropped().unwrap(), Vec::new());
    assert_eq!(tun_index(&pair), original);
}

#[test]
fn the_last_of_several_agents_puts_the_host_back_as_the_first_found_it() {
    let topology = Builder::new(&["a", "b"]).build().unwrap();
    let plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
    let gateway = &topology.sites[0].gateway;
    let original = HostState::settled(gateway).unwrap();
    let mut agent = Crossway::start(&topology, &plans[0]).unwrap();
    agent.take_over().unwrap();
    agent.take_over().unwrap();
    assert!(agent.stop().unwrap().success(), "{}", agent.log());
    let after = HostState::of(gateway).unwrap();
    assert_eq!(original.difference(&after), "");
    assert_eq!(files_of(agent.name()), Vec::<PathBuf>::new());
}

#[test]
fn a_take_over_may_come_with_another_configuration() {
    let mut pair = Pair::start(|_| ()).unwrap();
    let ping = pair.steady_ping(Family::V4).unwrap();
    let tcp = pair.steady_tcp(Family::V4).unwrap();
    let before = told(&pair.a);
    let mut plan = pair.plans[0].clone();
    // In front, so that it would have the numbers of the site that stays.
    plan.peers.insert(0, silent_site());
    pair.a.write_config(&plan).unwrap();
    pair.a.take_over().unwrap();
    assert_eq!(site_names(&pair.a), ["silent", "b"]);
    let gap = *pair.a.gaps().last().unwrap();
    assert_eq!((gap.sessions, gap.handshakes), (1, 1));
    let now = told(&pair.a);
    assert_eq!(now.receiver_index, before.receiver_index);
    assert!(now.counters.to_site_packets >= before.counters.to_site_packets);
    let routes = pair.site_a().gateway.ip("route show proto 199").unwrap();
    assert!(routes.contains("10.77.0.0/24"), "{routes}");

    plan.peers.remove(0);
    pair.a.write_config(&plan).unwrap();
    pair.a.take_over().unwrap();
    assert_eq!(site_names(&pair.a), ["b"]);
    let routes = pair.site_a().gateway.ip("route show proto 199").unwrap();
    assert!(!routes.contains("10.77.0.0/24"), "{routes}");
    assert_eq!(ping.finish(UP).unwrap().lost(), 0);
    tcp.goes_on(UP).unwrap();
    tcp.finish().unwrap();
}

#[test]
fn another_private_key_or_port_begins_anew_and_traffic_resumes() {
    let mut pair = Pair::start(|_| ()).unwrap();
    let mut plan = pair.plans[0].clone();
    plan.listen_port += 7;
    pair.a.write_config(&plan).unwrap();
    let ping = pair.steady_ping(Family::V4).unwrap();
    pair.a.take_over().unwrap();
    ping.goes_on(UP).unwrap();
    assert_eq!(
        ping.finish(UP).unwrap().lost(),
        0,
        "the far end follows our address"
    );

    let keys = vm_tests::keys::KeyPair::generate().unwrap();
    keys.write_private(&pair.a.key_file()).unwrap();
    let mut far = pair.plans[1].clone();
    far.peers[0].public_key = keys.public.clone();
    far.peers[0]
        .endpoint
        .as_mut()
        .unwrap()
        .set_port(plan.listen_port);
    pair.b.write_config(&far).unwrap();
    pair.b.command(&["reload"]).unwrap();
    pair.a.take_over().unwrap();
    let gap = *pair.a.gaps().last().unwrap();
    assert_eq!((gap.sessions, gap.handshakes), (0, 1));
    pair.wait_until_up().unwrap();
}

#[test]
fn a_signal_has_the_agent_start_its_own_successor() {
    let mut pair = Pair::start(|_| ()).unwrap();
    let ping = pair.steady_ping(Family::V4).unwrap();
    let next = pair.a.upgrade().unwrap();
    ping.goes_on(UP).unwrap();
    // It can do the same again, and be taken over by any other.
    assert_ne!(next, 0);
    pair.a.take_back().unwrap();
    assert_eq!(ping.finish(UP).unwrap().lost(), 0);
    assert_eq!(pair.a.gaps().len(), 2);
    assert!(pair.a.stop().unwrap().success());
}

#[test]
fn a_killed_agent_is_back_soon_when_a_supervisor_restarts_it() {
    let mut pair = Pair::start(|_| ()).unwrap();
    let ping = pair.steady_ping(Family::V4).unwrap();
    let tcp = pair.steady_tcp(Family::V6).unwrap();
    for _ in 0..3 {
        pair.a.kill_and_restart(Duration::from_millis(100)).unwrap();
        ping.goes_on(UP).unwrap();
    }
    tcp.goes_on(UP).unwrap();
    tcp.finish().unwrap();
    let replies = ping.finish(UP).unwrap();
    eprintln!(
        "kill -9, 100 ms, start: longest gap {:?}",
        replies.longest_gap()
    );
    assert!(replies.longest_gap() < Duration::from_secs(3));
}

#[test]
fn without_an_agent_to_take_over_from_it_is_a_start_like_any_other() {
    let mut pair = Pair::start(|_| ()).unwrap();
    assert!(pair.a.stop().unwrap().success());
    pair.a.take_back().unwrap();
    pair.wait_until_up().unwrap();
    let (code, said) = pair.a.refused().unwrap();
    assert_eq!(code, 1);
    assert!(said.contains("--take-over"), "{said}");
}

/// What must not go back.
struct Told {
    counters: Counters,
    link_packets: u64,
    handshake_seconds: u64,
    uptime_seconds: u64,
    receiver_index: Option<u32>,
}

fn told(agent: &Crossway) -> Told {
    let status = agent.status().unwrap();
    let links = agent.links().unwrap();
    let link = links.iter().find(|link| link.site == "b").unwrap();
    assert_eq!(link.state, LinkState::Up, "{link:?}");
    Told {
        counters: agent.site("b").unwrap(),
        link_packets: link.tx_packets,
        handshake_seconds: link.last_handshake_seconds.unwrap(),
        uptime_seconds: status.uptime_seconds,
        receiver_index: link.receiver_index,
    }
}

/// How long ago the flow that is oldest began.
fn seconds_seen(agent: &Crossway) -> f64 {
    let flows = agent.flows(&[]).unwrap();
    let ages = flows.iter().map(|(flow, _)| flow.age_seconds as f64);
    ages.fold(0.0, f64::max)
}

fn site_names(agent: &Crossway) -> Vec<String> {
    let sites = agent.sites().unwrap();
    let sites = sites.iter();
    sites.map(|site| site.name.clone()).collect()
}

fn tun_index(pair: &Pair) -> String {
    let status = pair.a.status().unwrap();
    let tun = status.tun.name;
    let link = pair.site_a().gateway.ip(&format!("-o link show {tun}"));
    link.unwrap().split(':').next().unwrap().to_owned()
}

fn silent_site() -> PeerPlan {
    PeerPlan {
        site: "silent".to_owned(),
        gateway: "silent-1".to_owned(),
        public_key: vm_tests::keys::KeyPair::generate().unwrap().public,
        endpoint: Some("203.0.113.250:51820".parse().unwrap()),
        routes: vec!["10.77.0.0/24".to_owned()],
        keepalive: None,
    }
}
