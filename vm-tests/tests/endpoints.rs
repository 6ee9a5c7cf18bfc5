//! Where a far gateway is, and how that is learned: roaming, forgeries, several addresses, names.
//!
//! ```text
//!  host a ── [gateway a: under test] wan0 ─────────────────── wan0 [gateway b] ── host b
//!                         203.0.113.1                         203.0.113.2, .22, .77
//!                         fd00:113::1                         fd00:113::2, ::22
//! ```

use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use vm_tests::crossway::Crossway;
use vm_tests::netns::Netns;
use vm_tests::pair::Pair;
use vm_tests::peers::{Implementation, StockGateway};
use vm_tests::plan::{self, Shape};
use vm_tests::topology::{Builder, Family, LISTEN_PORT};
use vm_tests::traffic::{self, Capture};
use vm_tests::wait;

const UP: Duration = Duration::from_secs(10);
/// A name is resolved again ten seconds after it led nowhere.
const RESOLVED_AGAIN: Duration = Duration::from_secs(20);
const MOVED: &str = "203.0.113.77";

#[test]
fn a_far_crossway_that_moves_is_followed() {
    let pair = Pair::start(|plans| plans[1].peers[0].keepalive = Some(1)).unwrap();
    let ping = pair.steady_ping(Family::V4).unwrap();
    let tcp = pair.steady_tcp(Family::V4).unwrap();
    moves(&pair.site_b().gateway);
    ping.goes_on(UP).unwrap();
    tcp.goes_on(UP).unwrap();
    endpoint_becomes(&pair.a, &format!("{MOVED}:{LISTEN_PORT}"));
    tcp.finish().unwrap();
    let replies = ping.finish(UP).unwrap();
    eprintln!("roaming: longest gap {:?}", replies.longest_gap());
}

#[test]
fn a_far_wireguard_go_that_moves_is_followed() {
    let topology = Builder::new(&["a", "b"]).build().unwrap();
    let plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
    let a = Crossway::start(&topology, &plans[0]).unwrap();
    let b = StockGateway::start(Implementation::WireguardGo, &topology, &plans[1]).unwrap();
    let (host_a, site_b) = (&topology.sites[0].host, &topology.sites[1]);
    let to_a = topology.sites[0].host_address(Family::V4);
    let to_b = site_b.host_address(Family::V4);
    traffic::wait_for_ping(host_a, to_b, UP).unwrap();
    moves(&site_b.gateway);
    // It holds on to the source address that it first sent from, until it is told an endpoint again.
    let (key, interface) = (&plans[0].keys.public, b.interface());
    let endpoint = topology.sites[0].endpoint(Family::V4);
    let line = format!("wg set {interface} peer {key} endpoint {endpoint}");
    site_b.gateway.run(&line).unwrap();
    // Only it knows that it has moved: it speaks first.
    traffic::wait_for_ping(&site_b.host, to_a, UP).unwrap();
    endpoint_becomes(&a, &format!("{MOVED}:{LISTEN_PORT}"));
    traffic::wait_for_ping(host_a, to_b, UP).unwrap();
}

#[test]
fn forged_and_replayed_datagrams_do_not_move_the_endpoint() {
    let pair = Pair::start(|_| ()).unwrap();
    let ping = pair.steady_ping(Family::V4).unwrap();
    let gateway = &pair.site_b().gateway;
    gateway.ip("address add 203.0.113.99/24 dev wan0").unwrap();
    let elsewhere = gateway.enter(|| UdpSocket::bind("203.0.113.99:0"));
    let elsewhere = elsewhere.unwrap().unwrap();
    let before = endpoint(&pair.a);
    assert_eq!(before, format!("203.0.113.2:{LISTEN_PORT}"));
    let genuine = captured_datagram(&pair);
    let mut forged = genuine.clone();
    // The counter of a later message over the same ciphertext: no replay, and not authentic.
    forged[8] = forged[8].wrapping_add(100);
    for _ in 0..10 {
        for datagram in [&genuine, &forged] {
            elsewhere.send_to(datagram, "203.0.113.1:51820").unwrap();
        }
    }
    let dropped = |reason: &str| {
        let drops = pair.a.drops().unwrap();
        let mut drops = drops.drops.iter();
        let found = drops.find(|drop| drop.reason == reason).unwrap();
        found.packets
    };
    wait::until("both kinds to be refused", UP, || {
        (dropped("replayed") >= 10 && dropped("authentication-failed") >= 10).then_some(())
    })
    .unwrap();
    assert_eq!(endpoint(&pair.a), before);
    assert_eq!(ping.finish(UP).unwrap().lost(), 0);
}

#[test]
fn replies_leave_from_the_address_that_was_dialled() {
    for (family, dialled) in [(Family::V4, "203.0.113.22"), (Family::V6, "fd00:113::22")] {
        let topology = Builder::new(&["a", "b"]).build().unwrap();
        let mut plans = plan::plan(&topology, Shape::FullMesh, family).unwrap();
        let dialled: IpAddr = dialled.parse().unwrap();
        let endpoint_of_b = SocketAddr::new(dialled, LISTEN_PORT);
        plans[0].peers[0].endpoint = Some(endpoint_of_b);
        plans[1].peers[0].endpoint = None;
        let (site_a, site_b) = (&topology.sites[0], &topology.sites[1]);
        let length = if family == Family::V4 {
            "24"
        } else {
            "64 nodad"
        };
        let second = format!("address add {dialled}/{length} dev wan0");
        site_b.gateway.ip(&second).unwrap();
        let b = Crossway::start(&topology, &plans[1]).unwrap();
        let capture = Capture::start(&topology, &site_a.gateway, "wan0", "udp").unwrap();
        let a = Crossway::start(&topology, &plans[0]).unwrap();
        for (from, to) in [(site_a, site_b), (site_b, site_a)] {
            let target = to.host_address(Family::V4);
            traffic::wait_for_ping(&from.host, target, UP).unwrap();
        }
        let address = site_a.host_address(Family::V4);
        traffic::tcp_transfer(&site_b.host, &site_a.host, address, 1 << 20).unwrap();
        let lines = capture.finish().unwrap();
        let own = site_a.wan_address(family);
        let from_a = format!(" {own}.{LISTEN_PORT} >");
        let from_b: Vec<_> = lines
            .iter()
            .filter(|line| !line.contains(&from_a))
            .collect();
        assert!(from_b.len() > 4, "{lines:?}");
        for line in from_b {
            assert!(
                line.contains(&format!(" {dialled}.{LISTEN_PORT} >")),
                "{line}"
            );
        }
        assert_eq!(endpoint(&a), endpoint_of_b.to_string());
        let links = b.links().unwrap();
        assert_eq!(links[0].local_address, Some(dialled));
    }
}

#[test]
fn a_name_is_resolved_and_again_when_nobody_answers_there() {
    let topology = Builder::new(&["a", "b"]).build().unwrap();
    let mut plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
    plans[0].peers[0].endpoint = None;
    plans[0].dial_by_name("far.example", LISTEN_PORT);
    plans[1].peers[0].endpoint = None;
    let hosts = topology.directory().join("hosts");
    fs::write(&hosts, "203.0.113.50 far.example\n").unwrap();
    let _b = Crossway::start(&topology, &plans[1]).unwrap();
    let mut a = Crossway::prepare(&topology, &plans[0]).unwrap();
    a.set_hosts(&hosts);
    a.start_again().unwrap();
    endpoint_becomes(&a, &format!("203.0.113.50:{LISTEN_PORT}"));
    // In place: the agent sees this very file.
    fs::write(&hosts, "203.0.113.2 far.example\n").unwrap();
    let far = topology.sites[1].host_address(Family::V4);
    traffic::wait_for_ping(&topology.sites[0].host, far, RESOLVED_AGAIN).unwrap();
    endpoint_becomes(&a, &format!("203.0.113.2:{LISTEN_PORT}"));
    assert!(a.stop().unwrap().success());
    a.start_again().unwrap();
    traffic::wait_for_ping(&topology.sites[0].host, far, UP).unwrap();
}

#[test]
fn a_name_that_leads_elsewhere_is_followed_once_the_link_is_dead() {
    let topology = Builder::new(&["a", "b"]).build().unwrap();
    let mut plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
    plans[0].peers[0].endpoint = None;
    plans[0].dial_by_name("far.example", LISTEN_PORT);
    plans[1].peers[0].endpoint = None;
    let hosts = topology.directory().join("hosts");
    fs::write(&hosts, "203.0.113.2 far.example\n").unwrap();
    let mut b = Crossway::start(&topology, &plans[1]).unwrap();
    let mut a = Crossway::prepare(&topology, &plans[0]).unwrap();
    a.set_hosts(&hosts);
    a.start_again().unwrap();
    let far = topology.sites[1].host_address(Family::V4);
    traffic::wait_for_ping(&topology.sites[0].host, far, UP).unwrap();
    // The far gateway is replaced by one at another address, which knows nothing of this one's.
    b.kill().unwrap();
    moves(&topology.sites[1].gateway);
    fs::write(&hosts, format!("{MOVED} far.example\n")).unwrap();
    b.start_again().unwrap();
    endpoint_becomes(&a, &format!("{MOVED}:{LISTEN_PORT}"));
    traffic::wait_for_ping(&topology.sites[0].host, far, RESOLVED_AGAIN).unwrap();
}

/// Gateway b gets a new address, and loses the one it was dialled at.
fn moves(gateway: &Netns) {
    // Else the kernel deletes the second address of a network together with the first.
    let promote = "net/ipv4/conf/wan0/promote_secondaries";
    gateway.set_sysctl(promote, "1").unwrap();
    let new = format!("address add {MOVED}/24 dev wan0");
    for change in [new.as_str(), "address delete 203.0.113.2/24 dev wan0"] {
        gateway.ip(change).unwrap();
    }
}

fn endpoint(agent: &Crossway) -> String {
    let links = agent.links().unwrap();
    links[0].endpoint.clone().unwrap_or_default()
}

fn endpoint_becomes(agent: &Crossway, expected: &str) {
    wait::until(&format!("the endpoint {expected}"), UP, || {
        (endpoint(agent) == expected).then_some(())
    })
    .unwrap();
}

/// The UDP payload of a data message from gateway b, as it is on the wire.
fn captured_datagram(pair: &Pair) -> Vec<u8> {
    let filter = "udp and src host 203.0.113.2 and udp[8] = 4 and udp[4:2] > 40";
    let line = format!("timeout 5 tcpdump -n -t -x -c 1 -i wan0 {filter}");
    let text = pair.site_a().gateway.run(&line).unwrap();
    let digits: String = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("0x")?.split_once(':'))
        .flat_map(|(_, hex)| hex.chars().filter(char::is_ascii_hexdigit))
        .collect();
    let packet: Vec<u8> = (0..digits.len() / 2)
        .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap())
        .collect();
    // IPv4 and UDP headers.
    packet[28..].to_vec()
}
