//! Gateways a and c are one virtual router to the hosts of their LAN (VRRPv3, RFC 5798): see
//! [`vm_tests::shared_lan`] for the drawing. What counts is what the host sees: whether its pings to the far
//! network come back, and which MAC it has for its router.

#[path = "vrrp/directions.rs"]
mod directions;
#[path = "vrrp/keepalived.rs"]
mod keepalived;
#[path = "vrrp/lifecycle.rs"]
mod lifecycle;
#[path = "vrrp/split.rs"]
mod split;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use vm_tests::api::VirtualRouter;
use vm_tests::config;
use vm_tests::crossway::Crossway;
use vm_tests::netns::Netns;
use vm_tests::plan::GatewayPlan;
use vm_tests::shared_lan::{FAR, SharedLan, VIRTUAL};
use vm_tests::traffic::{self, SteadyPing};
use vm_tests::{sys, wait};

/// A handshake takes milliseconds; a lost one is repeated after five seconds.
const UP: Duration = Duration::from_secs(10);
/// Three advertisements at 200 ms and the skew of priority 50 (161 ms) are 761 ms; the rest is for a
/// busy machine.
const TAKE_OVER: Duration = Duration::from_millis(1500);
/// Pings, one each 10 ms, that may be lost where one gateway hands over to the other. None is, on a machine
/// that does nothing else.
const FEW: usize = 5;
/// The virtual MACs of router 51 (RFC 5798, 7.3).
const MACS: [&str; 2] = ["00:00:5e:00:01:33", "00:00:5e:00:02:33"];

/// A pair of agents on the LAN, and what is behind them. Dropped in this order.
struct Pair {
    a: Crossway,
    c: Crossway,
    _far: [Crossway; 2],
    plans: Vec<GatewayPlan>,
    lan: SharedLan,
}

impl Pair {
    /// Gateway a with the higher priority is master when this returns.
    fn start() -> Self {
        let lan = SharedLan::build().unwrap();
        let plans = plans(&lan, [Some(150), Some(50)]).unwrap();
        let far = [2, 3].map(|far| Crossway::start(&lan.topology, &plans[far]).unwrap());
        let c = Crossway::start(&lan.topology, &plans[1]).unwrap();
        let a = Crossway::start(&lan.topology, &plans[0]).unwrap();
        let pair = Self {
            a,
            c,
            _far: far,
            plans,
            lan,
        };
        wait_for_state(&pair.a, "master");
        wait_for_state(&pair.c, "backup");
        for far in FAR {
            traffic::wait_for_ping(pair.lan.host(), address(far), UP).unwrap();
        }
        // The path by the backup is there too.
        for gateway in [&pair.a, &pair.c] {
            wait_for_priority(gateway);
        }
        pair
    }

    fn pings(&self) -> [SteadyPing; 2] {
        let directory = self.lan.topology.directory();
        FAR.map(|far| SteadyPing::start(self.lan.host(), address(far), directory).unwrap())
    }
}

#[test]
fn the_host_goes_on_by_the_backup_when_its_master_is_cut_off() {
    let pair = Pair::start();
    assert_eq!(neighbours(pair.lan.host()), MACS);
    let pings = pair.pings();
    pair.lan.cut("port1").unwrap();
    wait_for_state(&pair.c, "master");
    for ping in pings {
        let replies = ping.finish(UP).unwrap();
        let gap = replies.longest_gap();
        eprintln!(
            "master cut off: longest gap {gap:?}, {} lost",
            replies.lost()
        );
        assert!(gap < TAKE_OVER, "{gap:?}");
    }
    assert_eq!(neighbours(pair.lan.host()), MACS, "the router is the same");
    let why = &routers(&pair.c)[0].why;
    assert!(why.contains("10.1.0.1"), "{why}");
}

/// Its kernel goes on: it answers ARP and takes packets to the virtual MAC, which lead nowhere. But the
/// switch hears the new master.
#[test]
fn the_host_goes_on_when_the_agent_of_its_master_is_frozen() {
    let pair = Pair::start();
    let pings = pair.pings();
    sys::freeze(pair.a.pid().unwrap()).unwrap();
    wait_for_state(&pair.c, "master");
    for ping in &pings {
        ping.goes_on(UP).unwrap();
    }
    wait::until("the warning that its host is there", UP, || {
        let warnings = pair.c.status().unwrap().warnings.join("\n");
        warnings
            .contains("10.1.0.1 answers on the LAN")
            .then_some(())
    })
    .unwrap();
    sys::thaw(pair.a.pid().unwrap()).unwrap();
    wait_for_state(&pair.a, "master");
    wait_for_state(&pair.c, "backup");
    for ping in pings {
        let replies = ping.finish(UP).unwrap();
        let gap = replies.longest_gap();
        eprintln!("agent frozen: longest gap {gap:?}, {} lost", replies.lost());
        assert!(gap < TAKE_OVER, "{gap:?}");
    }
}

/// At the shortest interval a mate waits 380 ms. Whoever computes without an end on every core does not
/// keep the master from its advertisements.
#[test]
fn a_busy_machine_keeps_its_master() {
    let lan = SharedLan::build().unwrap();
    let mut plans = lan.plans().unwrap();
    for (plan, priority) in plans.iter_mut().zip([150, 50]) {
        be_router(plan, priority, Duration::from_millis(100));
    }
    let _far = [2, 3].map(|far| Crossway::start(&lan.topology, &plans[far]).unwrap());
    let c = Crossway::start(&lan.topology, &plans[1]).unwrap();
    let a = Crossway::start(&lan.topology, &plans[0]).unwrap();
    wait_for_state(&a, "master");
    wait_for_priority(&a);
    wait_for_state(&c, "backup");
    let changes = |gateway: &Crossway| gateway.log().matches("virtual router").count();
    let before = [changes(&a), changes(&c)];
    let cores = std::thread::available_parallelism().unwrap().get();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..=cores {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        wait::pace(Duration::from_secs(5));
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!([changes(&a), changes(&c)], before, "{}", c.log());
}

#[test]
fn a_clean_stop_hands_the_hosts_over_without_waiting_for_silence() {
    let mut pair = Pair::start();
    let pings = pair.pings();
    assert!(pair.a.stop().unwrap().success());
    wait_for_state(&pair.c, "master");
    for ping in pings {
        let replies = ping.finish(UP).unwrap();
        let gap = replies.longest_gap();
        eprintln!("clean stop: longest gap {gap:?}, {} lost", replies.lost());
        // Silence would cost 761 ms of them.
        assert!(replies.lost() <= FEW, "{}", replies.lost());
    }
    let why = &routers(&pair.c)[0].why;
    assert!(why.contains("stopped and released"), "{why}");

    let pings = pair.pings();
    pair.a.start_again().unwrap();
    wait_for_state(&pair.a, "master");
    for ping in pings {
        let replies = ping.finish(UP).unwrap();
        let gap = replies.longest_gap();
        eprintln!("preempted: longest gap {gap:?}, {} lost", replies.lost());
        assert!(replies.lost() <= FEW, "{}", replies.lost());
    }
}

/// With forwarding off on the device of the virtual MAC, the kernel would drop what comes in there: what
/// arrives went through `lan_ingress`.
#[test]
fn packets_to_the_virtual_mac_take_the_fast_path() {
    let pair = Pair::start();
    let gateway = &pair.lan.topology.site("a").gateway;
    for (device, hook) in devices(gateway).iter().zip(["ipv4", "ipv6"]) {
        gateway
            .set_sysctl(&format!("net/{hook}/conf/{device}/forwarding"), "0")
            .unwrap();
        let attached = pair.a.status().unwrap().attachments;
        let attached = format!("{attached:?}");
        assert!(attached.contains(device), "{attached}");
    }
    gateway
        .set_sysctl(
            &format!("net/ipv6/conf/{}/force_forwarding", devices(gateway)[1]),
            "0",
        )
        .unwrap();
    for far in FAR {
        let count = |gateway: &Crossway| {
            let flows = gateway.flows(&["--address", far]).unwrap();
            let counters = flows.iter().map(|(_, counters)| counters);
            counters
                .map(|counters| counters.to_site_packets)
                .sum::<u64>()
        };
        let before = count(&pair.a);
        let report = traffic::ping(pair.lan.host(), address(far), 50).unwrap();
        assert_eq!((report.sent, report.received), (50, 50), "{far}");
        assert_eq!(count(&pair.a) - before, 50, "{far}");
        assert_eq!(count(&pair.c), 0, "{far}");
    }
}

const INTERVAL: Duration = Duration::from_millis(200);

/// Plans for gateways a, c, b and d, where a and c are virtual routers of these priorities.
fn plans(lan: &SharedLan, priorities: [Option<u8>; 2]) -> anyhow::Result<Vec<GatewayPlan>> {
    let mut plans = lan.plans()?;
    for (plan, priority) in plans.iter_mut().zip(priorities) {
        if let Some(priority) = priority {
            be_router(plan, priority, INTERVAL);
        }
    }
    Ok(plans)
}

/// In both families.
fn be_router(plan: &mut GatewayPlan, priority: u8, interval: Duration) {
    let addresses = VIRTUAL.map(|address| address.parse().unwrap());
    let routers = config::virtual_routers(51, priority, interval, &addresses);
    plan.configure(move |config| config.gateway.vrrp.clone_from(&routers));
}

/// The MACs that the host has for its router in both families, after it has asked anew.
fn neighbours(host: &Netns) -> [String; 2] {
    host.ip("neigh flush dev eth0").unwrap();
    [VIRTUAL[0], VIRTUAL[1]].map(|router| {
        wait::until(&format!("an answer for {router:?}"), UP, || {
            let to = router.replace("fe80::254", "fe80::254%eth0");
            // It may be lost; what counts is the answer to the question for the MAC.
            let _ = host.run(&format!("ping -n -c 1 -W 1 {to}"));
            let all: Value = serde_json::from_str(&host.ip("-j neigh").unwrap()).unwrap();
            let mut all = all.as_array()?.iter();
            let entry = all.find(|entry| entry["dst"] == router)?;
            Some(entry["lladdr"].as_str()?.to_owned())
        })
        .unwrap()
    })
}

/// The devices with the virtual MACs, IPv4 first.
fn devices(netns: &Netns) -> Vec<String> {
    let links: Value = serde_json::from_str(&netns.ip("-j link").unwrap()).unwrap();
    let names = links.as_array().unwrap().iter();
    let names = names.filter_map(|link| link["ifname"].as_str());
    let mut names: Vec<String> = names
        .filter(|name| name.starts_with("vr"))
        .map(str::to_owned)
        .collect();
    names.sort();
    names
}

fn routers(gateway: &Crossway) -> Vec<VirtualRouter> {
    gateway.status().unwrap().virtual_routers
}

fn states(gateway: &Crossway) -> Vec<String> {
    let routers = routers(gateway).into_iter();
    routers.map(|router| router.state).collect()
}

/// In both families.
fn wait_for_state(gateway: &Crossway, state: &str) {
    wait::until(&format!("{} to be {state}", gateway.name()), UP, || {
        (states(gateway) == [state, state]).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {:#?}\n{}", routers(gateway), gateway.log()));
}

/// Until its sites are up, and the priority is the configured one.
fn wait_for_priority(gateway: &Crossway) {
    wait::until("the full priority", UP, || {
        let mut routers = routers(gateway).into_iter();
        routers
            .all(|router| router.priority == router.configured_priority)
            .then_some(())
    })
    .unwrap();
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}
