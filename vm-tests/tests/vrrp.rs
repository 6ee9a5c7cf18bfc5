//! Gateways a and c are one virtual router to the hosts of their LAN (VRRPv3, RFC 5798): see
//! [`vm_tests::shared_lan`] for the drawing. What counts is what the host sees: whether its pings to the far
//! network come back, and which MAC it has for its router.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;
use vm_tests::api::VirtualRouter;
use vm_tests::config;
use vm_tests::crossway::Crossway;
use vm_tests::host_state::{HostState, files_of};
use vm_tests::netns::Netns;
use vm_tests::plan::GatewayPlan;
use vm_tests::process::ProcessGuard;
use vm_tests::shared_lan::{FAR, SharedLan, VIRTUAL};
use vm_tests::traffic::{self, SteadyPing, SteadyTcp};
use vm_tests::{stateful_firewall, sys, wait};

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
fn a_split_shows_two_masters_and_heals_to_the_one_of_higher_priority() {
    let pair = Pair::start();
    // The switch loses the cable between the two: each hears nobody.
    pair.lan.cut("port1").unwrap();
    wait_for_state(&pair.c, "master");
    assert_eq!(states(&pair.a), ["master", "master"]);
    pair.lan.heal("port1").unwrap();
    wait_for_state(&pair.c, "backup");
    assert_eq!(states(&pair.a), ["master", "master"]);
    let log = pair.c.log();
    assert!(log.contains("with priority 150 takes precedence"), "{log}");
    for far in FAR {
        traffic::wait_for_ping(pair.lan.host(), address(far), UP).unwrap();
    }
    assert_eq!(neighbours(pair.lan.host()), MACS);
}

/// Gateway c hears nobody, gateway a hears both.
#[test]
fn a_firewall_that_drops_advertisements_shows_as_a_split_at_both_ends() {
    let pair = Pair::start();
    let c = &pair.lan.topology.site("c").gateway;
    for line in [
        "nft add table inet deaf",
        "nft add chain inet deaf input { type filter hook input priority 0 ; }",
        "nft add rule inet deaf input meta l4proto 112 drop",
    ] {
        c.run(line).unwrap();
    }
    wait_for_state(&pair.c, "master");
    assert_eq!(states(&pair.a), ["master", "master"]);
    let warns = |gateway: &Crossway, words: &str| {
        wait::until(words, UP, || {
            let warnings = gateway.status().unwrap().warnings.join("\n");
            (warnings.matches(words).count() == 2).then_some(())
        })
        .unwrap_or_else(|error| panic!("{error}: {}", gateway.log()));
    };
    warns(&pair.a, "split brain: ");
    warns(
        &pair.c,
        "answers on the LAN, but its advertisements do not arrive",
    );
    c.run("nft delete table inet deaf").unwrap();
    wait_for_state(&pair.c, "backup");
    assert_eq!(states(&pair.a), ["master", "master"]);
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

#[test]
fn a_gateway_that_reaches_no_site_leaves_the_lan_to_one_that_does() {
    let lan = SharedLan::build().unwrap();
    let plans = plans(&lan, [Some(150), Some(50)]).unwrap();
    let _d = Crossway::start(&lan.topology, &plans[3]).unwrap();
    let c = Crossway::start(&lan.topology, &plans[1]).unwrap();
    let a = Crossway::start(&lan.topology, &plans[0]).unwrap();
    wait_for_state(&c, "master");
    wait_for_state(&a, "backup");
    let router = &routers(&a)[0];
    assert_eq!(router.priority, 1, "{router:?}");
    assert_eq!(router.configured_priority, 150, "{router:?}");
    let shown = a.command(&["status"]).unwrap();
    assert!(shown.contains("1 of 150"), "{shown}");

    let _b = Crossway::start(&lan.topology, &plans[2]).unwrap();
    wait::until("gateway a to preempt", Duration::from_secs(20), || {
        (states(&a) == ["master", "master"]).then_some(())
    })
    .unwrap();
    wait_for_state(&c, "backup");
}

#[test]
fn a_clean_stop_leaves_the_host_as_it_was_also_after_a_kill() {
    let lan = SharedLan::build().unwrap();
    let plans = plans(&lan, [Some(150), Some(50)]).unwrap();
    let gateway = &lan.topology.site("a").gateway;
    let before = HostState::settled(gateway).unwrap();
    let mut a = Crossway::start(&lan.topology, &plans[0]).unwrap();
    for round in ["clean", "killed"] {
        wait_for_state(&a, "master");
        for virtual_address in VIRTUAL {
            let scope = if virtual_address.starts_with("fe80") {
                format!("{virtual_address}%eth0")
            } else {
                virtual_address.to_owned()
            };
            let pinged = lan.host().run(&format!("ping -n -c 1 -W 2 {scope}"));
            assert!(pinged.is_ok(), "{round}: {pinged:?}");
        }
        if round == "killed" {
            a.kill().unwrap();
            a.start_again().unwrap();
            wait_for_state(&a, "master");
        }
        assert!(a.stop().unwrap().success(), "{}", a.log());
        let after = HostState::of(gateway).unwrap();
        assert_eq!(before.difference(&after), "", "{round}");
        assert_eq!(files_of(a.name()), Vec::<PathBuf>::new(), "{round}");
        if round == "clean" {
            a.start_again().unwrap();
        }
    }
}

#[test]
fn a_reload_adds_changes_and_removes_virtual_routers() {
    let mut pair = Pair::start();
    let mut plan = pair.plans[0].clone();
    plan.configure_nothing();
    be_router(&mut plan, 40, INTERVAL);
    pair.a.write_config(&plan).unwrap();
    pair.a.command(&["reload"]).unwrap();
    wait_for_state(&pair.a, "backup");
    wait_for_state(&pair.c, "master");
    plan.configure_nothing();
    pair.a.write_config(&plan).unwrap();
    pair.a.command(&["reload"]).unwrap();
    assert_eq!(states(&pair.a), Vec::<String>::new());
    let gateway = &pair.lan.topology.site("a").gateway;
    assert_eq!(devices(gateway), Vec::<String>::new());
    pair.a.write_config(&pair.plans[0]).unwrap();
    pair.a.command(&["reload"]).unwrap();
    wait_for_state(&pair.a, "master");
    wait_for_state(&pair.c, "backup");
}

#[test]
fn keepalived_is_the_mate_of_either_role() {
    let lan = SharedLan::build().unwrap();
    let plans = plans(&lan, [Some(100), None]).unwrap();
    let _b = Crossway::start(&lan.topology, &plans[2]).unwrap();
    let mut a = Crossway::start(&lan.topology, &plans[0]).unwrap();
    wait_for_state(&a, "master");
    wait_for_priority(&a);
    let mate = &lan.topology.site("c").gateway;

    // As the backup of a lower priority it leaves us the LAN, and takes it at once when we stop.
    let mut backup = Keepalived::start(&lan, 50);
    backup.waits_for("Entering BACKUP STATE", 2);
    wait::pace(Duration::from_secs(1));
    assert_eq!(states(&a), ["master", "master"], "{}", backup.log());
    assert!(!has_virtual_address(mate));
    assert_eq!(neighbours(lan.host()), MACS);
    assert!(a.stop().unwrap().success());
    backup.waits_for("Entering MASTER STATE", 2);
    assert!(has_virtual_address(mate));
    assert_eq!(neighbours(lan.host()), MACS, "{}", backup.log());

    // We come back with the higher priority, and it gives way.
    a.start_again().unwrap();
    wait_for_state(&a, "master");
    backup.waits_for("Entering BACKUP STATE", 4);
    assert_eq!(neighbours(lan.host()), MACS);
    backup.stop();

    // As a master of higher priority it is obeyed; when it stops, we take over.
    let mut master = Keepalived::start(&lan, 200);
    master.waits_for("Entering MASTER STATE", 2);
    wait_for_state(&a, "backup");
    let router = &routers(&a)[0];
    assert_eq!(
        router.master_address,
        Some("10.1.0.2".parse().unwrap()),
        "{router:?}"
    );
    assert_eq!(router.master_priority, Some(200), "{router:?}");
    assert_eq!(router.warnings.len(), 0, "{router:?}");
    assert_eq!(neighbours(lan.host()), MACS, "{}", master.log());
    master.stop();
    wait_for_state(&a, "master");
    let why = &routers(&a)[0].why;
    assert!(why.contains("stopped and released"), "{why}");
    for far in FAR {
        traffic::wait_for_ping(lan.host(), address(far), UP).unwrap();
    }
}

#[test]
fn a_mate_with_version_2_or_other_addresses_is_named_by_status() {
    let lan = SharedLan::build().unwrap();
    let plans = plans(&lan, [Some(100), None]).unwrap();
    let a = Crossway::start(&lan.topology, &plans[0]).unwrap();
    wait_for_state(&a, "master");
    let config = KEEPALIVED
        .replace("vrrp_version 3", "vrrp_version 2")
        .replace("advert_int 0.2", "advert_int 1")
        .replace("PRIORITY", "200")
        .replace(VIRTUAL[2], "2001:db8:1::253");
    let mate = Keepalived::start_with(&lan, &config);
    wait::until("the warnings", UP, || {
        let warnings = a.status().unwrap().warnings.join("\n");
        let version = warnings.contains("VRRP version 2: set the other router to version 3");
        let addresses = warnings.contains("advertises other addresses");
        (version && addresses).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {}\n{}", a.log(), mate.log()));
}

/// The far gateway learns by BFD which of the two serves the LAN. The one that takes over has seen none of the
/// connections begin, and a firewall of its host must not be asked about them.
#[test]
fn both_directions_move_together_and_connections_go_on() {
    let lan = SharedLan::build().unwrap();
    let firewalls = ["a", "c"].map(|site| &lan.topology.site(site).gateway);
    for gateway in firewalls {
        stateful_firewall::lay(gateway).unwrap();
    }
    let mut plans = lan.replica_plans().unwrap();
    for (plan, priority) in plans.iter_mut().zip([150, 50]) {
        be_router(plan, priority, INTERVAL);
    }
    let b = Crossway::start(&lan.topology, &plans[2]).unwrap();
    let c = Crossway::start(&lan.topology, &plans[1]).unwrap();
    let mut a = Crossway::start(&lan.topology, &plans[0]).unwrap();
    wait_for_state(&a, "master");
    wait_for_state(&c, "backup");
    for far in FAR {
        traffic::wait_for_ping(lan.host(), address(far), UP).unwrap();
    }
    wait_for_priority(&a);
    wait_for_priority(&c);
    wait_until_standby(&b, c.name());
    let far_host = &lan.topology.site("b").host;
    let start = || {
        let directory = lan.topology.directory();
        let pings = FAR.map(|far| SteadyPing::start(lan.host(), address(far), directory).unwrap());
        let tcp = SteadyTcp::start(lan.host(), far_host, address(FAR[0])).unwrap();
        let back = SteadyTcp::start(far_host, lan.host(), address("2001:db8:1::10")).unwrap();
        (pings, [tcp, back])
    };
    let finish = |what: &str, (pings, connections): ([SteadyPing; 2], [SteadyTcp; 2])| {
        let gaps = pings.map(|ping| {
            let replies = ping.finish(UP).unwrap();
            let gap = replies.longest_gap();
            eprintln!("{what}: longest gap {gap:?}, {} lost", replies.lost());
            gap
        });
        for connection in connections {
            connection.goes_on(UP).unwrap();
            connection.finish().unwrap();
        }
        gaps.into_iter().max().unwrap()
    };

    let traffic = start();
    assert!(a.stop().unwrap().success());
    wait_for_state(&c, "master");
    assert!(finish("clean stop", traffic) < TAKE_OVER);

    let traffic = start();
    a.start_again().unwrap();
    wait_for_state(&a, "master");
    wait_until_standby(&b, c.name());
    assert!(finish("preempted", traffic) < TAKE_OVER);

    let traffic = start();
    a.kill().unwrap();
    wait_for_state(&c, "master");
    assert!(finish("killed", traffic) < TAKE_OVER);
    assert_eq!(stateful_firewall::dropped(firewalls[1]).unwrap(), 0);
}

/// Until a far gateway knows that `replica` is not the one that serves its LAN.
fn wait_until_standby(far: &Crossway, replica: &str) {
    wait::until(&format!("{replica} to be the standby"), UP, || {
        let reply = far.links().unwrap();
        let mut links = reply.iter();
        let link = links.find(|link| link.gateway == replica)?;
        link.why.contains("standby").then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {}", far.command(&["links"]).unwrap()));
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

/// Both families with virtual MACs, as a hand-made gateway would have them.
const KEEPALIVED: &str = "
global_defs {
    vrrp_version 3
}
vrrp_instance v4 {
    state BACKUP
    interface lan0
    use_vmac ka4
    virtual_router_id 51
    priority PRIORITY
    advert_int 0.2
    virtual_ipaddress {
        10.1.0.254
    }
}
vrrp_instance v6 {
    state BACKUP
    interface lan0
    use_vmac ka6
    virtual_router_id 51
    priority PRIORITY
    advert_int 0.2
    virtual_ipaddress {
        fe80::254/64
        2001:db8:1::254
    }
}
";

/// keepalived on gateway c.
struct Keepalived(ProcessGuard);

impl Keepalived {
    fn start(lan: &SharedLan, priority: u8) -> Self {
        Self::start_with(lan, &KEEPALIVED.replace("PRIORITY", &priority.to_string()))
    }

    fn start_with(lan: &SharedLan, config: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let file = |kind: &str| {
            let directory = lan.topology.directory();
            directory.join(format!("keepalived-{number}.{kind}"))
        };
        std::fs::write(file("conf"), config).unwrap();
        let words = |kind| file(kind).display().to_string();
        let (config, pid, child) = (words("conf"), words("pid"), words("child"));
        let arguments = [
            "-n", "-l", "-D", "-P", "-f", &config, "-p", &pid, "-r", &child,
        ];
        let gateway = &lan.topology.site("c").gateway;
        // Its notes on use_vmac leave it to the user: else all its interfaces answer for what is on the
        // virtual MAC, and ask for hosts in its name.
        for (setting, value) in [("arp_ignore", "1"), ("arp_announce", "2")] {
            let key = format!("net/ipv4/conf/all/{setting}");
            gateway.set_sysctl(&key, value).unwrap();
        }
        let log = file("log");
        let process = gateway.spawn("keepalived", "keepalived", &arguments, &log);
        Self(process.unwrap())
    }

    /// Until so many lines of its log hold `words`.
    fn waits_for(&mut self, words: &str, times: usize) {
        let log = self.0.output();
        let result = wait::until(words, UP, || {
            let log = self.0.output();
            (log.matches(words).count() >= times).then_some(())
        });
        result.unwrap_or_else(|error| panic!("{error}: {log}\nnow: {}", self.log()));
    }

    fn log(&self) -> String {
        self.0.output()
    }

    fn stop(mut self) {
        self.0.terminate(UP).unwrap();
    }
}

fn has_virtual_address(netns: &Netns) -> bool {
    netns.ip("address").unwrap().contains("inet 10.1.0.254/")
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
