//! Start, stop, kill and start again: what is left of a gateway, and what goes on without it.
//!
//! ```text
//!  host a ── lan0 [gateway a: under test] wan0 ──────── wan0 [gateway b: never restarted] lan0 ── host b
//!            10.1.0.1        203.0.113.1                203.0.113.2
//!            2001:db8:1::1   fd00:113::1                fd00:113::2
//! ```

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use vm_tests::config::XdpChoice;
use vm_tests::crossway::Crossway;
use vm_tests::host_state::{HostState, files_of};
use vm_tests::netns::Netns;
use vm_tests::pair::Pair;
use vm_tests::plan::{self, GatewayPlan, Shape};
use vm_tests::topology::{Builder, Family};
use vm_tests::traffic::SteadyPing;
use vm_tests::{process, traffic};

const UP: Duration = Duration::from_secs(10);
/// "Resumes within seconds": a start takes one, a handshake that met nobody is repeated after five.
const SECONDS: Duration = Duration::from_secs(8);

#[test]
fn a_clean_stop_leaves_the_host_as_it_was() {
    let topology = Builder::new(&["a", "b"]).build().unwrap();
    let mut plans = plan::plan(&topology, Shape::FullMesh, Family::V6).unwrap();
    everything_on(&mut plans);
    let gateway = &topology.sites[0].gateway;
    let before = (HostState::settled(gateway).unwrap(), offloads(gateway));
    let mut b = Crossway::start(&topology, &plans[1]).unwrap();
    let mut a = Crossway::start(&topology, &plans[0]).unwrap();
    for round in ["SIGTERM", "SIGINT"] {
        for family in Family::ALL {
            let far = topology.sites[1].host_address(family);
            traffic::wait_for_ping(&topology.sites[0].host, far, UP).unwrap();
        }
        let status = a.status().unwrap();
        assert!(status.fast_path, "{status:?}");
        let mut hooks = status.attachments.iter();
        assert!(hooks.any(|hook| hook.mode == "xdp-native"), "{status:?}");
        let during = before.0.difference(&HostState::of(gateway).unwrap());
        assert!(during.contains("10.2.0.0/24 dev cw-"), "{during}");
        assert!(!files_of(a.name()).is_empty());

        let ended = if round == "SIGTERM" {
            a.stop().unwrap()
        } else {
            a.interrupt().unwrap()
        };
        assert!(ended.success(), "{round}: {ended}\n{}", a.log());
        let after = HostState::of(gateway).unwrap();
        assert_eq!(before.0.difference(&after), "", "{round}");
        assert_eq!(before.1, offloads(gateway), "{round}");
        assert_eq!(files_of(a.name()), Vec::<PathBuf>::new(), "{round}");
        if round == "SIGTERM" {
            a.start_again().unwrap();
        }
    }
    let ended = b.stop().unwrap();
    assert!(ended.success(), "{ended}");
}

#[test]
fn a_killed_agent_leaves_its_routes_and_the_next_takes_everything_over() {
    let topology = Builder::new(&["a", "b"]).build().unwrap();
    let gateway = &topology.sites[0].gateway;
    let original = HostState::settled(gateway).unwrap();
    let mut plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
    everything_on(&mut plans);
    let mut pair = Pair {
        a: Crossway::start(&topology, &plans[0]).unwrap(),
        b: Crossway::start(&topology, &plans[1]).unwrap(),
        plans,
        topology,
    };
    pair.wait_until_up().unwrap();
    let ping = pair.steady_ping(Family::V4).unwrap();
    let tcp = pair.steady_tcp(Family::V6).unwrap();
    let monitor = RouteMonitor::start(&pair);
    let tun = tun_name(&pair.a);
    let before = (pinned(&pair.a), tun_index(&pair, &tun));

    pair.a.kill().unwrap();
    let routes = pair.site_a().gateway.ip("route show proto 199").unwrap();
    assert!(routes.contains("10.2.0.0/24"), "{routes}");
    assert_eq!(pinned(&pair.a), before.0, "pins stay after a kill");
    pair.a.start_again().unwrap();
    ping.goes_on(SECONDS).unwrap();
    tcp.goes_on(SECONDS).unwrap();

    assert_eq!(tun_index(&pair, &tun), before.1, "the TUN is the same");
    assert_eq!(pinned(&pair.a), before.0, "maps and links are the same");
    let status = pair.a.status().unwrap();
    assert!(status.fast_path, "{status:?}");
    let deleted = monitor.deleted();
    assert_eq!(
        deleted,
        Vec::<String>::new(),
        "no route went away meanwhile"
    );
    let replies = ping.finish(SECONDS).unwrap();
    eprintln!("kill -9 and start: longest gap {:?}", replies.longest_gap());
    tcp.finish().unwrap();

    assert!(pair.a.stop().unwrap().success());
    let after = HostState::of(&pair.site_a().gateway).unwrap();
    assert_eq!(original.difference(&after), "");
    assert_eq!(files_of(pair.a.name()), Vec::<PathBuf>::new());
}

#[test]
fn traffic_resumes_after_a_stop_and_a_start() {
    let mut pair = Pair::start(|_| ()).unwrap();
    let ping = pair.steady_ping(Family::V6).unwrap();
    let tcp = pair.steady_tcp(Family::V4).unwrap();
    assert!(pair.a.stop().unwrap().success());
    pair.a.start_again().unwrap();
    ping.goes_on(SECONDS).unwrap();
    tcp.goes_on(SECONDS).unwrap();
    let replies = ping.finish(SECONDS).unwrap();
    eprintln!("stop and start: longest gap {:?}", replies.longest_gap());
    assert!(replies.longest_gap() < SECONDS);
    tcp.finish().unwrap();
}

/// WireGuard's own time: the far side misses answers for 15 s (KEEPALIVE_TIMEOUT and REKEY_TIMEOUT,
/// whitepaper 6.5) before it begins a new handshake, and the agent that starts has nowhere to dial.
#[test]
fn an_agent_that_cannot_dial_is_found_again_by_the_far_side() {
    let mut pair = Pair::start(|plans| plans[0].peers[0].endpoint = None).unwrap();
    let (to, from) = (pair.site_a().host_address(Family::V4), &pair.site_b().host);
    let ping = SteadyPing::start(from, to, pair.topology.directory()).unwrap();
    assert!(pair.a.stop().unwrap().success());
    pair.a.start_again().unwrap();
    ping.goes_on(Duration::from_secs(25)).unwrap();
    let replies = ping.finish(SECONDS).unwrap();
    eprintln!(
        "start without an endpoint: longest gap {:?}",
        replies.longest_gap()
    );
}

#[test]
fn a_killed_agent_whose_tunnel_was_deleted_starts_afresh() {
    let mut pair = Pair::start(|_| ()).unwrap();
    let tun = tun_name(&pair.a);
    pair.a.kill().unwrap();
    pair.site_a()
        .gateway
        .ip(&format!("link delete {tun}"))
        .unwrap();
    pair.a.start_again().unwrap();
    pair.wait_until_up().unwrap();
    assert!(pair.a.stop().unwrap().success());
    let left = pair.site_a().gateway.ip("-o link").unwrap();
    assert!(!left.contains(&tun), "{left}");
}

/// A configuration that changes as much on the host as one can.
fn everything_on(plans: &mut [GatewayPlan]) {
    for (plan, number) in plans.iter_mut().zip(1..) {
        plan.tunnel_addresses = vec![
            format!("10.255.0.{number}/32"),
            format!("2001:db8:255::{number}/128"),
        ];
    }
    // Only here: on veth it changes the largest MTU that the other end may have.
    plans[0].configure(|config| config.gateway.wan[0].xdp = XdpChoice::Native);
}

/// What attaching an XDP program may switch.
fn offloads(gateway: &Netns) -> [String; 2] {
    ["lan0", "wan0"].map(|interface| gateway.run(&format!("ethtool -k {interface}")).unwrap())
}

fn tun_name(agent: &Crossway) -> String {
    let status = agent.status().unwrap();
    status.tun.name
}

fn tun_index(pair: &Pair, tun: &str) -> String {
    let link = pair.site_a().gateway.ip(&format!("-o link show {tun}"));
    link.unwrap().split(':').next().unwrap().to_owned()
}

/// Every pinned map by name and kernel id, and every pinned link by name and id.
fn pinned(agent: &Crossway) -> Vec<String> {
    let folder = Path::new("/sys/fs/bpf/crossway").join(agent.name());
    let mut found = Vec::new();
    for (folder, kind) in [(folder.clone(), "map"), (folder.join("links"), "link")] {
        for entry in fs::read_dir(&folder).unwrap().flatten() {
            if entry.metadata().unwrap().is_dir() {
                continue;
            }
            found.push(format!(
                "{kind} {} inode {}",
                entry.path().display(),
                entry.metadata().unwrap().ino()
            ));
        }
    }
    found.sort();
    found
}

/// `ip monitor route` in the namespace of gateway `a`.
struct RouteMonitor(process::ProcessGuard);

impl RouteMonitor {
    fn start(pair: &Pair) -> Self {
        let log = pair.topology.directory().join("routes.txt");
        let gateway = &pair.site_a().gateway;
        let args = ["monitor", "route"];
        let mut monitor = gateway.spawn("ip monitor", "ip", &args, &log).unwrap();
        // It listens as soon as it reports a change.
        let mut metric = 1000;
        monitor
            .wait_until("listen", UP, || {
                metric += 1;
                let dummy = format!("198.51.100.0/24 dev lan0 metric {metric}");
                gateway.ip(&format!("route add {dummy}")).ok()?;
                fs::read_to_string(&log)
                    .ok()?
                    .contains("198.51.100.0")
                    .then_some(())
            })
            .unwrap();
        for used in 1001..=metric {
            let dummy = format!("198.51.100.0/24 dev lan0 metric {used}");
            gateway.ip(&format!("route delete {dummy}")).unwrap();
        }
        Self(monitor)
    }

    /// Routes to site `b` that were deleted.
    fn deleted(&self) -> Vec<String> {
        let output = self.0.output();
        let lines = output.lines().filter(|line| {
            line.starts_with("Deleted")
                && (line.contains("10.2.0.0/24") || line.contains("2001:db8:2::/48"))
        });
        lines.map(str::to_owned).collect()
    }
}
