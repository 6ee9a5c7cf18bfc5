//! One agent takes over from another while traffic passes, and what becomes of that when something goes wrong.
//!
//! ```text
//!  host a ── lan0 [gateway a: agent after agent] wan0 ──────── wan0 [gateway b: never restarted] lan0 ── host b
//!            10.1.0.1        203.0.113.1                203.0.113.2
//! ```

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use vm_tests::api::LinkState;
use vm_tests::crossway::{Counters, Crossway};
use vm_tests::failover::{Gateways, Settings};
use vm_tests::host_state::{HostState, files_of};
use vm_tests::pair::Pair;
use vm_tests::plan::{self, PeerPlan, Shape};
use vm_tests::sys;
use vm_tests::topology::{Builder, Family, Near, Redundant, Site, Wan};
use vm_tests::traffic::{self, Iperf3, Probes, UdpEcho};
use vm_tests::wait;

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
fn a_file_that_is_wrong_or_a_port_that_is_taken_leaves_the_running_agent_unharmed() {
    let mut pair = Pair::start(|_| ()).unwrap();
    let ping = pair.steady_ping(Family::V4).unwrap();
    let pid = pair.a.pid().unwrap();
    let good = fs::read_to_string(pair.a.config()).unwrap();
    fs::write(pair.a.config(), good.replace("10.2.0.0/24", "10.2.0.1/24")).unwrap();
    let (code, said) = pair.a.take_over_refused().unwrap();
    assert_eq!(code, 2, "{said}");

    // Found out only when the lanes have stopped already.
    let gateway = &pair.site_a().gateway;
    let address = ("::".parse::<std::net::IpAddr>().unwrap(), 51_900);
    let _taken = gateway
        .enter(|| std::net::UdpSocket::bind(address))
        .unwrap()
        .unwrap();
    let mut plan = pair.plans[0].clone();
    plan.listen_port = address.1;
    pair.a.write_config(&plan).unwrap();
    let (code, said) = pair.a.take_over_refused().unwrap();
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("is another WireGuard"), "{said}");
    wait::until("the running agent to say so", UP, || {
        pair.a
            .log()
            .contains("not handed over, this agent goes on")
            .then_some(())
    })
    .unwrap();
    assert_eq!(pair.a.status().unwrap().pid, pid);
    ping.goes_on(UP).unwrap();
    let replies = ping.finish(UP).unwrap();
    assert_eq!(replies.lost(), 0);

    fs::write(pair.a.config(), good).unwrap();
    pair.a.take_over().unwrap();
    assert_eq!(pair.a.gaps().last().unwrap().sessions, 1);
}

#[test]
fn an_agent_that_hangs_is_not_taken_over_and_goes_on_when_it_can() {
    let mut pair = Pair::start(|_| ()).unwrap();
    let pid = pair.a.pid().unwrap();
    sys::freeze(pid).unwrap();
    let refused = pair.a.take_over_refused();
    sys::thaw(pid).unwrap();
    let (code, said) = refused.unwrap();
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("the running agent does not answer"), "{said}");
    pair.wait_until_up().unwrap();
    assert_eq!(pair.a.status().unwrap().pid, pid);
    pair.a.take_over().unwrap();
    pair.wait_until_up().unwrap();
}

/// The successor is killed at every point of its start in turn: either the running agent goes on, or the next
/// start heals what is left.
#[test]
fn a_successor_that_dies_midway_leaves_an_agent_that_goes_on_or_a_start_that_heals() {
    // With BFD the far end would see a link that flaps, and hold it down.
    let mut pair = Pair::start(|plans| {
        for plan in plans {
            plan.watch_by_wireguard();
        }
    })
    .unwrap();
    let ping = pair.steady_ping(Family::V4).unwrap();
    let (mut went_on, mut healed) = (0, 0);
    for milliseconds in (20..=300).step_by(20) {
        let mut next = pair.a.begin_take_over().unwrap();
        wait::pace(Duration::from_millis(milliseconds));
        next.kill().unwrap();
        let alive = wait::until("one of the agents to be there or gone", UP, || {
            match pair.a.status() {
                Ok(_) => Some(true),
                Err(_) => (!pair.a.is_running()).then_some(false),
            }
        });
        if alive.unwrap() {
            went_on += 1;
        } else {
            healed += 1;
            pair.a.forget().unwrap();
            pair.a.start_again().unwrap();
        }
        ping.goes_on(UP).unwrap();
    }
    eprintln!("the running agent went on {went_on} times, the next start healed {healed} times");
    assert!(went_on > 0);
    pair.wait_until_up().unwrap();
    assert_eq!(pair.b.dropped().unwrap_or_default(), Vec::new());
}

/// It is held before it answers, and killed when the successor has begun.
#[test]
fn a_successor_whose_predecessor_is_killed_meanwhile_starts_in_its_place() {
    let mut pair = Pair::start(|_| ()).unwrap();
    let before = pair.a.pid().unwrap();
    sys::freeze(before).unwrap();
    let next = pair.a.begin_take_over().unwrap();
    let descriptors = PathBuf::from(format!("/proc/{}/fd", next.pid()));
    wait::until("the successor to have its programs", UP, || {
        let descriptors = fs::read_dir(&descriptors).ok()?;
        let mut links = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        links
            .any(|link| link.ends_with("anon_inode:bpf-prog"))
            .then_some(())
    })
    .unwrap();
    sys::kill(before).unwrap();
    assert!(!pair.a.succeed(next).unwrap().success());
    pair.wait_until_up().unwrap();
    assert!(pair.a.log().contains("this one starts in its place"));
    assert!(pair.a.stop().unwrap().success());
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

#[test]
fn under_full_load_both_ways_probes_and_connections_go_on() {
    let mut pair = Pair::start(|_| ()).unwrap();
    take_over_under_load(&mut pair);
}

#[test]
fn several_lanes_are_taken_over_with_their_flows() {
    let mut pair = Pair::start(|plans| {
        for plan in plans {
            plan.run_lanes(2, 2);
        }
    })
    .unwrap();
    take_over_under_load(&mut pair);
    let gap = *pair.a.gaps().last().unwrap();
    assert_eq!((gap.sessions, gap.handshakes), (2, 0));
}

fn take_over_under_load(pair: &mut Pair) {
    let (one, other) = (&pair.topology.sites[0], &pair.topology.sites[1]);
    let address = |site: &Site| site.host_address(Family::V4);
    let probes = Probes::start((&one.host, address(one)), (&other.host, address(other))).unwrap();
    let load = Iperf3 {
        streams: 4,
        seconds: 6,
    };
    let agent = &mut pair.a;
    std::thread::scope(|scope| {
        let loaded = scope.spawn(|| {
            load.run_both_ways(&pair.topology, one, other, address(other))
                .unwrap()
        });
        wait::pace(Duration::from_secs(1));
        let dropped = agent.dropped().unwrap();
        for round in 1..=4 {
            let begun = wait::now();
            assert!(agent.take_over().unwrap().success(), "{}", agent.log());
            let ways = probes.since(begun);
            let gap = *agent.gaps().last().unwrap();
            eprintln!("under load, take-over {round}: {gap:?}, probes {ways:?}");
            assert_eq!(gap.handshakes, 0);
            assert!(ways.iter().all(|way| way.gap < SHORT), "{ways:?}");
        }
        assert_eq!(agent.dropped().unwrap(), dropped);
        let reports = loaded.join().unwrap();
        eprintln!("load: {reports:?}");
        assert!(reports.iter().all(|way| way.bytes > 0.0));
    });
}

/// ```text
///                          ┌──────── path 1 ────────┐
///  host a ── [gateway a1] ─┤                        ├─ [gateway b1] ── host b
///                          └──────── path 2 ────────┘
/// ```
#[test]
fn the_far_end_of_several_links_notices_nothing_and_orders_stay() {
    let net = Redundant::with_paths(None, 2).unwrap();
    let mut gateways = Gateways::start(&net, &Settings::default()).unwrap();
    let spare = format!("b/{}/path-2", gateways.far().name());
    gateways.replica(0).command(&["prefer", &spare]).unwrap();
    wait::until("the preferred path to carry the flows", UP, || {
        (carrier(gateways.replica(0)) == "path-2").then_some(())
    })
    .unwrap();
    let [to_a, to_b] = [Near::A, Near::B].map(|side| net.host_address(side));
    let probes = Probes::start((&net.host_a, to_a), (&net.host_b, to_b)).unwrap();
    probes.steady(Duration::from_millis(200), UP).unwrap();
    let begun = wait::now();
    let since = link_ages(gateways.far());
    let log = gateways.far().log().len();

    for _ in 0..2 {
        gateways.replica(0).take_over().unwrap();
        assert_eq!(carrier(gateways.replica(0)), "path-2");
        let gap = *gateways.replica(0).gaps().last().unwrap();
        assert_eq!((gap.sessions, gap.handshakes), (2, 0));
    }
    // Long enough for a detection time to pass at the far end.
    probes.steady(Duration::from_secs(1), UP).unwrap();
    for way in probes.since(begun) {
        assert_eq!(way.lost, 0, "{way:?}");
    }
    let now = link_ages(gateways.far());
    assert!(now.iter().zip(&since).all(|(now, since)| now >= since));
    let far = gateways.far().log();
    assert!(!far[log..].contains("to=\"Down\""), "{}", &far[log..]);
    let links = gateways.replica(0).links().unwrap();
    assert!(
        links.iter().all(|link| link.state == LinkState::Up),
        "{links:?}"
    );
}

fn carrier(agent: &Crossway) -> String {
    let links = agent.links().unwrap();
    let carrier = links.into_iter().find(|link| link.carries_flows);
    carrier.and_then(|link| link.link).unwrap_or_default()
}

/// Seconds since the last handshake of each link.
fn link_ages(agent: &Crossway) -> Vec<u64> {
    let links = agent.links().unwrap();
    let links = links.iter();
    links
        .map(|link| link.last_handshake_seconds.unwrap())
        .collect()
}

/// What a supervisor makes of a kill, with one site and with two hundred of which one answers.
#[test]
fn a_gateway_of_two_hundred_sites_is_back_soon_after_a_kill_and_taken_over_without_a_gap() {
    let topology = Builder::new(&["a", "b"]).wan(Wan::Router).build().unwrap();
    let router = topology.router.as_ref().unwrap();
    router.ip("route add blackhole 198.18.0.0/15").unwrap();
    let mut plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
    // The one that answers is the last: its handshake waits for those of all others.
    let others = (1..200).map(|number| PeerPlan {
        site: format!("silent-{number}"),
        gateway: format!("silent-{number}"),
        endpoint: Some(format!("198.18.{}.1:51820", number % 256).parse().unwrap()),
        routes: vec![format!("10.77.{number}.0/24")],
        ..silent_site()
    });
    plans[0].peers.splice(0..0, others);
    let b = Crossway::start(&topology, &plans[1]).unwrap();
    let mut pair = Pair {
        a: Crossway::start(&topology, &plans[0]).unwrap(),
        b,
        plans,
        topology,
    };
    pair.wait_until_up().unwrap();
    let (one, other) = (&pair.topology.sites[0], &pair.topology.sites[1]);
    let address = |site: &Site| site.host_address(Family::V4);
    let probes = Probes::start((&one.host, address(one)), (&other.host, address(other))).unwrap();
    for round in 1..=3 {
        let begun = wait::now();
        pair.a.kill_and_restart(Duration::ZERO).unwrap();
        probes.steady_from(begun, SHORT, UP).unwrap();
        let ways = probes.since(begun);
        eprintln!("200 sites, kill -9 and start {round}: {ways:?}");
        assert!(
            ways.iter().all(|way| way.gap < Duration::from_secs(3)),
            "{ways:?}"
        );

        let begun = wait::now();
        pair.a.take_over().unwrap();
        let ways = probes.since(begun);
        let gap = *pair.a.gaps().last().unwrap();
        eprintln!("200 sites, take-over {round}: {gap:?}, {ways:?}");
        assert!(ways.iter().all(|way| way.lost == 0), "{ways:?}");
    }
}
