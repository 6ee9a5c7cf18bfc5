//! `crossway explain` says what then really happens, and asking changes nothing.
//!
//! ```text
//!   host a ── lan0 [gateway a] wan0 ═══ WAN ═══ wan0 [gateway b] lan0 ── host b
//!      │              ├ ext0 192.0.2.0/24             │
//!      └ frames ─►    └ cw-… : observed               └ observed at host b, and the answers at host a
//! ```

mod explain {
    pub(crate) mod ask;
    pub(crate) mod lab;
    pub(crate) mod packets;
    pub(crate) mod property;
    pub(crate) mod watch;
}

use std::time::Duration;

use explain::ask::{self, Question};
use explain::lab::Lab;
use explain::property;
use vm_tests::api::{End, FastPath};
use vm_tests::config;
use vm_tests::crossway::{self, Crossway};
use vm_tests::plan::{self, GatewayPlan, Shape};
use vm_tests::shared_lan::{FAR, SharedLan, VIRTUAL};
use vm_tests::topology::{Builder, Family};
use vm_tests::traffic;
use vm_tests::wait;

const UP: Duration = Duration::from_secs(20);
/// Packets of the gate; `CROSSWAY_EXPLAIN_COUNT=10000` asks for more, and `CROSSWAY_EXPLAIN_SEED` for others.
const COUNT: u64 = 400;

fn number(variable: &str, usual: u64) -> u64 {
    let text = std::env::var(variable).ok();
    text.map_or(usual, |text| text.parse().expect("a number"))
}

#[test]
fn random_packets_go_the_way_that_was_explained() {
    let seed = number("CROSSWAY_EXPLAIN_SEED", 1);
    property::check(
        &Lab::start(true),
        number("CROSSWAY_EXPLAIN_COUNT", COUNT),
        seed,
    );
}

#[test]
fn without_the_fast_path_they_do_as_well() {
    let seed = number("CROSSWAY_EXPLAIN_SEED", 2);
    let count = number("CROSSWAY_EXPLAIN_COUNT", COUNT) / 2;
    property::check(&Lab::start(false), count, seed);
}

/// Pings pass everywhere. Of the rest gateway a denies some on their way out, and gateway b some that come in.
const RULES: [&str; 2] = [
    "
[[allow]]
from = [\"any\"]
to = [\"any\"]
ports = [\"icmp\"]
[[allow]]
name = \"hosts\"
from = [\"10.1.0.0/24\", \"2001:db8:1::/64\"]
to = [\"b\"]
ports = [\"udp\", \"tcp/1-32767\"]
",
    "
[[allow]]
from = [\"any\"]
to = [\"any\"]
ports = [\"icmp\", \"tcp\"]
",
];

#[test]
fn under_a_policy_random_packets_go_the_way_that_was_explained() {
    let count = number("CROSSWAY_EXPLAIN_COUNT", COUNT) / 2;
    for (fast_path, seed) in [(true, 3), (false, 4)] {
        let lab = Lab::start(fast_path);
        lab.close(RULES);
        property::check(&lab, count, number("CROSSWAY_EXPLAIN_SEED", seed));
    }
}

#[test]
fn a_question_moves_no_counter_and_leaves_no_flow() {
    let lab = Lab::start(true);
    let a = &lab.gateways[0];
    let [own, far] = lab.hosts(Family::V4);
    // Programs, maps and neighbours have settled.
    let before = wait::until("maps that stay as they are", UP, || {
        let maps = ask::maps_of(a.name());
        std::thread::sleep(Duration::from_millis(300));
        (maps == ask::maps_of(a.name())).then_some(maps)
    });
    let before = before.unwrap();
    assert_eq!(before.len(), 19, "{:?}", before.keys());
    for source in [own, far, "192.0.2.99".parse().unwrap()] {
        for destination in [far, own, "198.51.100.7".parse().unwrap()] {
            for from in ["lan", "tunnel", "host", "ext0"] {
                for ttl in [1, 64] {
                    let question = Question::udp(source, destination).from(from).ttl(ttl);
                    question.ask(a.name()).unwrap();
                }
            }
        }
    }
    let after = ask::maps_of(a.name());
    for (name, content) in &before {
        assert!(after[name] == *content, "{name} has changed");
    }
}

#[test]
fn the_way_is_told_with_site_link_lane_endpoint_and_size() {
    let lab = Lab::start(true);
    let a = &lab.gateways[0];
    let [own, far] = lab.hosts(Family::V4);
    let way = Question::udp(own, far).ask(a.name()).unwrap();
    assert_eq!((way.fast_path, way.end), (FastPath::Carries, End::ToSite));
    assert_eq!(way.from, "lan");
    assert_eq!(way.input.as_deref(), Some("lan0"));
    assert_eq!(way.site.as_deref(), Some("b"));
    assert_eq!(way.prefix.as_deref(), Some("10.2.0.0/24"));
    assert_eq!(way.link.as_deref(), Some(lab.gateways[1].name()));
    assert_eq!(way.link_state.as_deref(), Some("Up"));
    assert_eq!((way.lane, way.mtu_bytes), (Some(0), Some(1420)));
    let endpoint = lab.topology.sites[1].endpoint(Family::V4).to_string();
    assert!(
        way.endpoint
            .unwrap()
            .contains(&endpoint.replace(":51820", ""))
    );
    assert_eq!(way.source_network.as_deref(), Some("10.1.0.0/24"));
    // What the other gateway does with it.
    let there = Question::udp(own, far).ask(lab.gateways[1].name()).unwrap();
    assert_eq!((there.from.as_str(), there.end), ("tunnel", End::ToLan));
    assert_eq!(there.next_hop, Some(far));
    assert!(there.neighbour.is_some());
    // As a super-packet, and with as large segments as do not fit.
    let joined = Question::tcp(own, far).segment(1380).ask(a.name()).unwrap();
    assert_eq!(
        (joined.fast_path, joined.end),
        (FastPath::Carries, End::ToSite)
    );
    let joined = Question::tcp(own, far)
        .segment(1400)
        .df()
        .ask(a.name())
        .unwrap();
    assert_eq!(joined.reason.as_deref(), Some("too-big"));
    assert_eq!(joined.answer.as_deref(), Some("fragmentation-needed"));
    let text = a.command(&["explain", &own.to_string(), &far.to_string(), "tcp"]);
    let text = text.unwrap();
    for part in [
        "lan0 lan_ingress",
        "10.2.0.0/24 to site b",
        "goes to site b by link",
        "far side",
    ] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

#[test]
fn what_is_odd_is_told_with_its_reason() {
    let lab = Lab::start(true);
    let a = &lab.gateways[0];
    let [own, far] = lab.hosts(Family::V4);
    // The gateway's own packet, and its own address out of the LAN.
    let gateway = lab.topology.sites[0].gateway_address(Family::V4);
    let way = Question::udp(gateway, far).ask(a.name()).unwrap();
    assert_eq!((way.from.as_str(), way.end), ("host", End::ToSite));
    assert_eq!(way.fast_path, FastPath::None);
    let way = Question::udp(gateway, far)
        .from("lan")
        .ask(a.name())
        .unwrap();
    assert_eq!(way.reason.as_deref(), Some("wrong-source"));
    assert_eq!(way.end, End::Dropped);
    // A source from outside: the far gateway has no route for it.
    let outside = "192.0.2.50".parse().unwrap();
    let way = Question::udp(outside, far)
        .from("ext0")
        .ask(a.name())
        .unwrap();
    assert_eq!((way.end, way.fast_path), (End::Dropped, FastPath::None));
    assert!(
        ask::says(&way, "net.ipv4.conf.ext0.forwarding is 0"),
        "{way:?}"
    );
    let gateway = &lab.topology.sites[0].gateway;
    gateway
        .set_sysctl("net/ipv4/conf/ext0/forwarding", "1")
        .unwrap();
    let way = Question::udp(outside, far)
        .from("ext0")
        .ask(a.name())
        .unwrap();
    assert_eq!((way.end, way.source_network.clone()), (End::ToSite, None));
    assert!(ask::says(&way, "source-not-in-site"), "{way:?}");
    let there = Question::udp(outside, far)
        .from("tunnel")
        .ask(lab.gateways[1].name());
    let there = there.unwrap();
    assert_eq!(there.reason.as_deref(), Some("source-not-in-site"));
    // Interfaces that are not there, one of them a LAN.
    let (code, said) = a
        .failing_command(&[
            "explain",
            &own.to_string(),
            &far.to_string(),
            "--from",
            "eth9",
        ])
        .unwrap();
    assert_eq!(code, 2);
    assert!(said.contains("there is no interface eth9"), "{said}");
    lab.topology.sites[0]
        .gateway
        .ip("link delete lan0")
        .unwrap();
    wait::until("the LAN to be gone", UP, || {
        let refused = Question::udp(own, far).from("lan0").ask(a.name()).err()?;
        refused
            .contains("LAN interface lan0 does not exist now")
            .then_some(())
    })
    .unwrap();
    // A packet that cannot be.
    let (code, said) = a
        .failing_command(&["explain", &own.to_string(), "2001:db8::1"])
        .unwrap();
    assert_eq!(code, 2);
    assert!(said.contains("two families"), "{said}");
}

/// A frame with a tag comes by the LAN and is for the VLAN interface on it, be that a LAN or not.
#[test]
fn a_packet_of_a_vlan_is_followed_through_the_interface_below() {
    let topology = Builder::new(&["a", "b"]).build().unwrap();
    let near = &topology.sites[0].gateway;
    for (name, id) in [("vlan7", 7), ("vlan8", 8)] {
        let added = near.ip(&format!("link add link lan0 name {name} type vlan id {id}"));
        if added.is_err() {
            println!("note: this kernel has no VLAN interfaces");
            return;
        }
        near.ip(&format!("link set {name} up")).unwrap();
        near.ip(&format!("address add 10.1.{id}.1/24 dev {name}"))
            .unwrap();
    }
    let mut plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
    plans[0].configure(|config| {
        let lan = config.gateway.lan[0].clone();
        config.gateway.lan.push(config::Lan {
            interface: "vlan7".to_owned(),
            ..lan
        });
    });
    let gateways = crossway::start_all(&topology, &plans).unwrap();
    let far = topology.sites[1].host_address(Family::V4);
    traffic::wait_for_ping(&topology.sites[0].host, far, UP).unwrap();
    let ask = |source: &str, from: &str| {
        let question = Question::udp(source.parse().unwrap(), far).from(from);
        question.ask(gateways[0].name()).unwrap()
    };
    let below =
        |id: u8| format!("left to the kernel (vlan-tagged): VLAN {id}, which is for vlan{id}");
    let of_lan = ask("10.1.7.9", "vlan7");
    assert!(ask::says(&of_lan, &below(7)), "{of_lan:?}");
    assert_eq!(
        (of_lan.fast_path, of_lan.end, of_lan.reason.as_deref()),
        (FastPath::Carries, End::ToSite, None)
    );
    let of_none = ask("10.1.8.9", "vlan8");
    assert!(ask::says(&of_none, &below(8)), "{of_none:?}");
    assert_eq!(of_none.fast_path, FastPath::Declines);
    assert_eq!(of_none.reason.as_deref(), Some("vlan-tagged"));
    assert!(!ask::says(&ask("10.1.0.9", "lan0"), "VLAN"));
}

#[test]
fn the_chain_that_drops_what_the_kernel_forwards_is_named() {
    let lab = Lab::start(true);
    let gateway = &lab.topology.sites[0].gateway;
    let [own, far] = lab.hosts(Family::V4);
    gateway
        .run("nft add table ip filter")
        .and_then(|_| {
            gateway.run(
                "nft add chain ip filter forward { type filter hook forward priority 0 ; policy drop ; }",
            )
        })
        .unwrap();
    let name = lab.gateways[0].name();
    let way = Question::udp(own, far).options().ask(name).unwrap();
    assert_eq!(way.chains, ["ip filter forward"]);
    assert!(ask::says(&way, "ip filter forward drops"), "{way:?}");
    // The fast path passes it by.
    let way = Question::udp(own, far).ask(name).unwrap();
    assert_eq!((way.end, way.chains.len()), (End::ToSite, 0));
}

#[test]
fn a_hub_tells_both_legs_and_a_loop() {
    let topology = Builder::new(&["a", "b", "c"]).build().unwrap();
    let plans = plan::plan(&topology, Shape::Hub, Family::V4).unwrap();
    let gateways = crossway::start_all(&topology, &plans).unwrap();
    let [b, c] = [1, 2].map(|site| topology.sites[site].host_address(Family::V4));
    traffic::wait_for_ping(&topology.sites[1].host, c, UP).unwrap();
    let way = Question::udp(b, c).ask(gateways[0].name()).unwrap();
    assert_eq!((way.from.as_str(), way.end), ("tunnel", End::ToSite));
    assert_eq!(way.site.as_deref(), Some("c"));
    assert!(ask::says(&way, "hub"), "{way:?}");
    // Back to where it came from.
    let nobody = "10.2.0.77".parse().unwrap();
    let way = Question::udp(b, nobody).ask(gateways[0].name()).unwrap();
    assert_eq!((way.fast_path, way.end), (FastPath::Drops, End::Answered));
    assert_eq!(way.reason.as_deref(), Some("turned-back"));
}

#[test]
fn the_standby_of_a_virtual_router_says_where_hosts_send() {
    let lan = SharedLan::build().unwrap();
    let plans = lan_plans(&lan);
    let far = Crossway::start(&lan.topology, &plans[2]).unwrap();
    let [a, c] = [0, 1].map(|near| Crossway::start(&lan.topology, &plans[near]).unwrap());
    let host = lan.topology.site("a").host_address(Family::V4);
    let ask = |gateway: &Crossway| {
        Question::udp(host, FAR[0].parse().unwrap())
            .from("lan")
            .ask(gateway.name())
    };
    wait::until("the standby to know its master", UP, || {
        let way = ask(&c).ok()?;
        ask::says(&way, "is backup here, the master is").then_some(())
    })
    .unwrap();
    let way = ask(&a).unwrap();
    assert!(!ask::says(&way, "virtual router"), "{way:?}");
    drop((a, c, far));
}

/// Gateways a, c, b and d; a is the master.
fn lan_plans(lan: &SharedLan) -> Vec<GatewayPlan> {
    let mut plans = lan.plans().unwrap();
    for (plan, priority) in plans.iter_mut().zip([150, 50]) {
        let addresses = VIRTUAL.map(|address| address.parse().unwrap());
        let interval = Duration::from_millis(200);
        let routers = config::virtual_routers(51, priority, interval, &addresses);
        plan.configure(move |config| config.gateway.vrrp.clone_from(&routers));
    }
    plans
}
