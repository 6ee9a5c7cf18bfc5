//! What `crossway check` says about `[[gateway.vrrp]]`: every kind of fault with its exact text, and tables
//! that must be accepted.

use crossway::config::VirtualRouter;
use crossway_types::address::Family;

use crate::parse;

/// A file without fault, in which each case replaces one piece.
const GOOD: &str = r#"[gateway]
name = "berlin-1"
private_key_file = "berlin-1.key"
listen = "0.0.0.0:51820"
tunnel_addresses = ["10.255.0.1/32"]
[[gateway.lan]]
interface = "eth1"
[[gateway.lan]]
interface = "eth2"
[[gateway.wan]]
interface = "eth0"

[[gateway.vrrp]]
interface = "eth1"
id = 51
addresses = ["10.1.0.254", "fe80::254", "2001:db8:1::254"]
priority = 150
advertisement_interval = 200
preempt = true
track = true
track_weight = 60
[[gateway.vrrp]]
interface = "eth2"
id = 51
addresses = ["10.9.0.254"]
[[site]]
name = "paris"
routes = ["10.2.0.0/24"]
[[site.gateway]]
name = "paris-1"
public_key = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="
"#;

/// What is replaced by what, and what is said of it.
const CASES: &[(&str, &str, &str)] = &[
    (
        "interface = \"eth2\"\nid = 51",
        "interface = \"eth9\"\nid = 51",
        "23:13: gateway.vrrp \"eth9\" 51, interface: eth9 is not a LAN of this gateway: write one of eth1, eth2, or add it as [[gateway.lan]]",
    ),
    (
        "id = 51\naddresses = [\"10.9",
        "id = 256\naddresses = [\"10.9",
        "24:6: gateway.vrrp \"eth2\" 256, id: 256 is out of range: write a number from 1 to 255, such as 51",
    ),
    (
        "id = 51\naddresses = [\"10.9",
        "addresses = [\"10.9",
        "22:1: gateway.vrrp #2: id is missing: write id = 51, the same number on each gateway of the virtual router, and on no other router",
    ),
    (
        "interface = \"eth2\"\nid = 51",
        "interface = \"eth1\"\nid = 51",
        "24:6: gateway.vrrp \"eth1\" 51, id: eth1 has the IPv4 virtual router 51 already (line 15): put the addresses into one table, or write another id",
    ),
    (
        "[\"10.9.0.254\"]",
        "[\"10.1.0.254\"]",
        "25:14: gateway.vrrp \"eth2\" 51, addresses: 10.1.0.254 is already a virtual address (line 16): keep one of them",
    ),
    (
        "[\"10.9.0.254\"]",
        "[]",
        "25:13: gateway.vrrp \"eth2\" 51, addresses: the list is empty: write addresses = [\"10.1.0.254\"], or remove the table",
    ),
    (
        "addresses = [\"10.9.0.254\"]",
        "",
        "22:1: gateway.vrrp \"eth2\" 51: addresses is missing: write addresses = [\"10.1.0.254\"]",
    ),
    (
        "\"10.9.0.254\"",
        "\"10.9.0.254/24\"",
        "25:14: gateway.vrrp \"eth2\" 51, addresses: 10.9.0.254/24 has a prefix length, which belongs to the LAN's own address: write \"10.9.0.254\"",
    ),
    (
        "\"10.9.0.254\"",
        "\"router\"",
        "25:14: gateway.vrrp \"eth2\" 51, addresses: router is not an IP address: write it as 10.1.0.254 or fe80::254",
    ),
    (
        "\"10.9.0.254\"",
        "\"224.0.0.18\"",
        "25:14: gateway.vrrp \"eth2\" 51, addresses: 224.0.0.18 cannot be an address of a router: write a free address of the LAN",
    ),
    (
        "\"10.9.0.254\"",
        "\"10.255.0.1\"",
        "25:14: gateway.vrrp \"eth2\" 51, addresses: 10.255.0.1 is one of tunnel_addresses: write a free address of the LAN",
    ),
    (
        "\"fe80::254\", \"2001:db8:1::254\"",
        "\"2001:db8:1::254\"",
        "16:28: gateway.vrrp \"eth1\" 51, addresses: 2001:db8:1::254 is the first IPv6 address and not link-local: write a link-local one before it, such as \"fe80::254\": hosts use it as their router",
    ),
    (
        "priority = 150",
        "priority = 0",
        "17:12: gateway.vrrp \"eth1\" 51, priority: 0 is out of range: write a number from 1 to 255, such as 100",
    ),
    (
        "advertisement_interval = 200",
        "advertisement_interval = 50",
        "18:26: gateway.vrrp \"eth1\" 51, advertisement_interval: 50 is out of range: write a number from 100 to 40950, such as 200",
    ),
    (
        "advertisement_interval = 200",
        "advertisement_interval = 205",
        "18:26: gateway.vrrp \"eth1\" 51, advertisement_interval: 205 ms cannot be encoded in an advertisement, which counts hundredths of a second: write 200 or 210",
    ),
    (
        "track_weight = 60",
        "track_weight = 150",
        "21:16: gateway.vrrp \"eth1\" 51, track_weight: 150 is not less than the priority 150: write at most 149: nothing goes below priority 1",
    ),
    (
        "track = true",
        "track = false",
        "21:16: gateway.vrrp \"eth1\" 51, track_weight: it has no effect: the priority does not follow the sites: remove it, or write track = true",
    ),
    (
        "priority = 150\nadvertisement_interval = 200\npreempt = true\ntrack = true\ntrack_weight = 60",
        "priority = 255\npreempt = false",
        "18:11: gateway.vrrp \"eth1\" 51, preempt: false is not possible with priority 255, which is always master: write a priority from 1 to 254, or remove preempt",
    ),
    (
        "priority = 150\nadvertisement_interval = 200\npreempt = true\ntrack = true\ntrack_weight = 60",
        "priority = 255\ntrack = true",
        "18:9: gateway.vrrp \"eth1\" 51, track: true is not possible with priority 255, which is always master: write a priority from 1 to 254, or remove track",
    ),
    (
        "preempt = true",
        "preemt = true",
        "19:1: gateway.vrrp \"eth1\" 51: unknown key \"preemt\": did you mean \"preempt\"?",
    ),
];

#[test]
fn every_fault_is_told_with_line_value_reason_and_mend() {
    let mut wrong = Vec::new();
    for (replace, with, expected) in CASES {
        assert!(GOOD.contains(replace), "{replace}: nothing to replace");
        let text = GOOD.replacen(replace, with, 1);
        let told = match parse(&text) {
            Ok(_) => "accepted".to_owned(),
            Err(rejected) => rejected.to_string(),
        };
        if told != format!("berlin.toml:{expected}") {
            wrong.push(format!("{with}:\n{told}\n"));
        }
    }
    assert!(wrong.is_empty(), "not as expected:\n{}", wrong.join("\n"));
}

#[test]
fn a_table_is_a_virtual_router_for_each_family() {
    let routers = routers(GOOD);
    let [v4, v6, other] = &routers[..] else {
        panic!("{routers:?}");
    };
    assert_eq!((v4.family, v6.family), (Family::Ipv4, Family::Ipv6));
    assert_eq!((v4.id, v6.id), (51, 51));
    assert_eq!((v4.addresses.len(), v6.addresses.len()), (1, 2));
    assert_eq!((v4.priority, v4.track_weight), (150, Some(60)));
    // What a table without them has.
    assert_eq!((other.priority, other.track_weight), (100, Some(99)));
    assert_eq!(other.advertisement_interval.centiseconds(), 20);
    assert!(other.preempt);
}

#[test]
fn unusual_but_right_tables_are_accepted() {
    let owner = GOOD.replace("priority = 150", "priority = 255");
    let owner = owner.replace("track = true\ntrack_weight = 60\n", "");
    assert_eq!(routers(&owner)[0].track_weight, None);
    let untracked = GOOD.replace("track = true\ntrack_weight = 60\n", "track = false\n");
    assert_eq!(routers(&untracked)[0].track_weight, None);
    // The same link-local address on two LANs, and 10 cs.
    let twice = GOOD.replace("\"10.9.0.254\"", "\"10.9.0.254\", \"fe80::254\"");
    assert_eq!(routers(&twice).len(), 4);
    let fast = GOOD.replace("interval = 200", "interval = 100");
    assert_eq!(routers(&fast)[0].advertisement_interval.centiseconds(), 10);
    let slow = GOOD.replace("interval = 200", "interval = 40950");
    assert_eq!(
        routers(&slow)[0].advertisement_interval.centiseconds(),
        4095
    );
}

fn routers(text: &str) -> Vec<VirtualRouter> {
    let accepted = parse(text);
    accepted.unwrap().config.gateway.vrrp
}
