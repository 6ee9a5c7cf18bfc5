//! Two gateways on one LAN that keep their flows in step: a flow's counters and its first packet survive the
//! gateway that carried it.
//!
//! ```text
//!             ┌─ [gateway a1] ─┐
//!  host a ────┤       ║        ├──── path ──── [gateway b1] ── host b
//!             └─ [gateway a2] ─┘
//! ```

#[path = "flow_table/enter.rs"]
mod enter;

use std::time::Duration;

use enter::enter_flows;
use vm_tests::api::{Flow, FlowsReply, ReplicaFlows};
use vm_tests::crossway::{Counters, Crossway};
use vm_tests::failover::{Gateways, Settings};
use vm_tests::topology::{Near, Redundant};
use vm_tests::traffic::{SteadyTcp, ping};
use vm_tests::wait;

const SOON: Duration = Duration::from_secs(20);
/// A flow is told a second after it was seen, and may be told so late that it is one more.
const STEP: u64 = 2;

struct Scene {
    // The agents first: they are stopped before the ground goes.
    gateways: Gateways,
    net: Redundant,
}

impl Scene {
    /// The hosts use the first gateway by its own address.
    fn start() -> Self {
        let scene = Self::with(Settings::default());
        scene.hosts_send_to(0);
        scene
    }

    fn with(settings: Settings) -> Self {
        let net = Redundant::with_pair(None).unwrap();
        let settings = Settings {
            in_step: true,
            ..settings
        };
        let gateways = Gateways::start(&net, &settings).unwrap();
        Self { gateways, net }
    }

    /// The LAN's hosts use this gateway from now on, as after a virtual router has moved there.
    fn hosts_send_to(&self, gateway: usize) {
        let own = self.net.replicas[gateway].lan;
        let host = &self.net.host_a;
        host.ip(&format!("route replace default via {own}"))
            .unwrap();
    }

    fn gateway(&self, index: usize) -> &Crossway {
        self.gateways.all().nth(index).unwrap()
    }

    fn tcp(&self) -> SteadyTcp {
        let address = self.net.host_address(Near::B);
        SteadyTcp::start(&self.net.host_a, &self.net.host_b, address).unwrap()
    }
}

/// The one TCP flow of a gateway, with its counters; `None` if it knows none.
fn tcp_flow(gateway: &Crossway) -> Option<(Flow, Counters)> {
    let mut flows = gateway.flows(&["--protocol", "tcp"]).unwrap();
    assert!(flows.len() <= 1, "{flows:?}");
    flows.pop()
}

fn wait_for_flow(
    what: &str,
    gateway: &Crossway,
    is_there: impl Fn(&Flow, &Counters) -> bool,
) -> (Flow, Counters) {
    wait::until(what, SOON, || {
        tcp_flow(gateway).filter(|(flow, counters)| is_there(flow, counters))
    })
    .unwrap()
}

fn age(flow: &Flow) -> u64 {
    flow.age_seconds
}

/// A count of what a gateway and its replica told each other.
fn told(gateway: &Crossway) -> ReplicaFlows {
    let links = gateway.links().unwrap();
    let link = links.iter().find_map(|link| link.replica);
    link.expect("a link to the replica")
}

#[test]
fn a_flow_keeps_its_counters_and_its_age_when_its_gateway_dies() {
    let mut scene = Scene::start();
    let tcp = scene.tcp();
    let (first, counted) = wait_for_flow(
        "a1 to carry the flow for a while",
        scene.gateway(0),
        |flow, _| age(flow) >= 4,
    );
    assert!(counted.to_site_packets > 100, "{counted:?}");

    let (known, copied) = wait_for_flow("a2 to know the flow", scene.gateway(1), |_, copied| {
        copied.to_site_packets >= counted.to_site_packets
            && copied.from_site_bytes >= counted.from_site_bytes
    });
    assert_eq!(known.local_port, first.local_port);
    assert_eq!(
        (&known.site, &known.tcp_flags),
        (&first.site, &first.tcp_flags)
    );
    assert!(age(&known) >= age(&first), "{known:?} {first:?}");
    assert!(!known.seen_here && first.seen_here);
    assert_eq!(
        scene.gateway(1).site("b").unwrap(),
        Counters::default(),
        "a2 carried nothing"
    );
    // All it had when it met a1; from then on what it knows from a1 alone is not told back.
    let told_back = told(scene.gateway(1)).flows_sent;
    let told_by_a1 = told(scene.gateway(0)).flows_sent;
    wait::until("a1 to tell of the flow again and again", SOON, || {
        (told(scene.gateway(0)).flows_sent >= told_by_a1 + 3).then_some(())
    })
    .unwrap();
    assert_eq!(told(scene.gateway(1)).flows_sent, told_back, "no echo");

    let before = wait::now();
    scene.gateways.replica(0).kill().unwrap();
    scene.hosts_send_to(1);
    tcp.goes_on(SOON).unwrap();
    let (_, last) = tcp_flow(scene.gateway(1)).unwrap();
    let (moved, summed) = wait_for_flow("a2 to count on", scene.gateway(1), |_, now| {
        now.to_site_packets > last.to_site_packets + 100
    });
    assert!(moved.seen_here);
    let lasted = before.elapsed().as_secs();
    assert!(
        age(&moved) + STEP >= age(&known) + lasted,
        "{moved:?} {known:?} {lasted}"
    );
    let carried = scene.gateway(1).site("b").unwrap();
    assert!(
        summed.to_site_packets >= copied.to_site_packets
            && carried.to_site_packets < summed.to_site_packets + 1000,
        "{copied:?} {carried:?} {summed:?}"
    );

    // The one that comes back learns what it has missed.
    scene.gateways.replica(0).start_again().unwrap();
    scene.gateways.wait_until_up().unwrap();
    let (returned, _) = wait_for_flow(
        "a1 to know what a2 has counted",
        scene.gateway(0),
        |_, now| now.to_site_packets >= summed.to_site_packets,
    );
    assert!(age(&returned) >= age(&moved), "{returned:?} {moved:?}");
    assert!(tcp.is_alive());
    tcp.finish().unwrap();
    for gateway in [0, 1] {
        let dropped = scene.gateway(gateway).dropped().unwrap();
        let of_replicas = dropped
            .iter()
            .filter(|(word, _)| word.starts_with("replica-"));
        // A gateway that was killed is told flows until BFD has noticed.
        let of_replicas: Vec<_> = of_replicas
            .filter(|(word, _)| word != "replica-unreachable")
            .collect();
        assert!(of_replicas.is_empty(), "{of_replicas:?}");
    }
}

#[test]
fn a_virtual_router_that_moves_and_returns_takes_the_counters_along() {
    let scene = Scene::with(Settings {
        virtual_router: true,
        ..Settings::default()
    });
    let (a1, a2) = (scene.gateway(0), scene.gateway(1));
    let tcp = scene.tcp();
    let carried = |flow: &Flow, _: &Counters| flow.seen_here && age(flow) >= 3;
    let (first, counted) = wait_for_flow("a1 to carry the flow for a while", a1, carried);
    wait_for_flow("a2 to know the flow", a2, |_, copied| {
        copied.to_site_packets >= counted.to_site_packets
    });
    assert_eq!(
        a2.site("b").unwrap(),
        Counters::default(),
        "a2 is the standby"
    );

    scene.net.cut_off(&scene.net.replicas[0]).unwrap();
    tcp.goes_on(SOON).unwrap();
    let (moved, summed) = wait_for_flow("a2 to count on", a2, |flow, now| {
        flow.seen_here && now.to_site_packets > counted.to_site_packets + 8_000
    });
    assert!(age(&moved) >= age(&first), "{moved:?} {first:?}");

    // Preferred, it is the router again; what a2 carried in between is counted there, too.
    scene.net.reconnect(&scene.net.replicas[0]).unwrap();
    let before = a1.site("b").unwrap();
    wait::until("a1 to carry again", SOON, || {
        let now = a1.site("b").unwrap();
        (now.to_site_packets > before.to_site_packets + 100).then_some(())
    })
    .unwrap();
    tcp.goes_on(SOON).unwrap();
    let (returned, whole) = wait_for_flow("a1 to hear what it has missed", a1, |_, whole| {
        // What a1 has carried itself, asked later.
        whole.to_site_packets > a1.site("b").unwrap().to_site_packets
    });
    assert!(returned.seen_here);
    assert!(
        age(&returned) + STEP >= age(&moved),
        "{returned:?} {moved:?}"
    );
    assert!(
        whole.to_site_packets > summed.to_site_packets,
        "{whole:?} {summed:?}"
    );
    assert!(tcp.is_alive());
    tcp.finish().unwrap();
}

#[test]
fn a_replica_is_shown_and_carries_no_traffic() {
    let scene = Scene::start();
    let to = scene.net.host_address(Near::B);
    let report = ping(&scene.net.host_a, to, 3).unwrap();
    assert_eq!(report.received, 3, "{report:?}");
    let name = scene.gateway(1).name().to_owned();
    let status = scene.gateway(0).command(&["status"]).unwrap();
    let row = status.lines().find(|line| line.starts_with(&name));
    assert!(
        row.is_some_and(|row| row.contains("BFD is up")),
        "{status:?}"
    );
    let links = scene.gateway(0).command(&["links"]).unwrap();
    let row = links.lines().find(|line| line.starts_with("(replica)"));
    assert!(row.is_some_and(|row| row.contains("in step")), "{links:?}");
    let (code, words) = scene.gateway(0).failing_command(&["drain", &name]).unwrap();
    assert!(
        code != 0 && words.contains("is no link of this gateway"),
        "{code} {words}"
    );
    let site = scene.gateway(0).sites().unwrap();
    let links = &site[0].links;
    assert_eq!(links.len(), 1, "the site's own link alone");
}

/// Seconds of CPU time that an agent has used.
fn cpu_seconds(gateway: &Crossway) -> f64 {
    let pid = gateway.pid().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, behind_name) = stat.rsplit_once(") ").unwrap();
    let mut ticks = behind_name.split(' ').skip(11).take(2);
    let ticks: u64 = ticks
        .by_ref()
        .map(|ticks| ticks.parse::<u64>().unwrap())
        .sum();
    // USER_HZ is 100 on all architectures that this runs on.
    ticks as f64 / 100.0
}

#[test]
fn a_hundred_thousand_flows_are_told_and_none_is_lost_on_the_way() {
    const FLOWS: u64 = 100_000;
    let scene = Scene::start();
    let (a1, a2) = (scene.gateway(0), scene.gateway(1));
    enter_flows(a1, FLOWS as u32);
    let (start, before) = (wait::now(), (cpu_seconds(a1), cpu_seconds(a2)));
    wait::until(
        "a2 to have heard of every flow",
        Duration::from_mins(1),
        || (told(a2).flows_entered >= FLOWS).then_some(()),
    )
    .unwrap();
    println!(
        "{FLOWS} flows in {:.1} s: a1 took {:.2} s of CPU, a2 {:.2} s",
        start.elapsed().as_secs_f64(),
        cpu_seconds(a1) - before.0,
        cpu_seconds(a2) - before.1,
    );
    let (_, all) = a2.flows(&["--top", "1"]).unwrap().remove(0);
    assert!(all.to_site_packets <= FLOWS);
    for gateway in [a1, a2] {
        let dropped = gateway.dropped().unwrap();
        assert!(
            !dropped.iter().any(|(word, _)| word.starts_with("replica-")),
            "{dropped:?}"
        );
    }
    let reply: FlowsReply = a2.ask(&["flows", "--top", "0"]).unwrap();
    let FlowsReply {
        present,
        evicted,
        evicted_packets,
        ..
    } = reply;
    assert!(
        present >= FLOWS,
        "{present} are there, {evicted} were evicted"
    );
    assert_eq!((evicted, evicted_packets), (0, 0));
}
