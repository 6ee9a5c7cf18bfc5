//! What the other tests stand on: topologies without a tunnel, and stock WireGuard between its own kind.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use vm_tests::gateways::{self, GatewayKind};
use vm_tests::host_state::HostState;
use vm_tests::netns::{self, Netns};
use vm_tests::peers::Implementation;
use vm_tests::plan::{self, Shape};
use vm_tests::topology::{Builder, Family, Topology, Wan};
use vm_tests::traffic::{self, Capture, LinkCounters, UdpEcho};

const UP: Duration = Duration::from_secs(10);

#[test]
fn two_sites_with_plain_routes_pass_traffic_until_the_routes_go() {
    let topology = Builder::new(&["a", "b"]).build().unwrap();
    let (a, b) = (&topology.sites[0], &topology.sites[1]);
    let plain = topology.forward_plainly().unwrap();
    every_pair_talks(&topology);
    drop(plain);
    let report = traffic::ping(&a.host, b.host_address(Family::V4), 2).unwrap();
    assert_eq!(report.received, 0);
}

#[test]
fn three_sites_behind_a_router_pass_traffic() {
    let topology = Builder::new(&["a", "b", "c"]).build().unwrap();
    assert!(topology.router.is_some());
    let _plain = topology.forward_plainly().unwrap();
    every_pair_talks(&topology);
}

#[test]
fn a_gateway_behind_a_router_must_discover_a_smaller_mtu() {
    let topology = Builder::new(&["a", "b"])
        .wan(Wan::Router)
        .wan_mtu(1400)
        .host_checksums()
        .build()
        .unwrap();
    let (a, b) = (&topology.sites[0], &topology.sites[1]);
    let _plain = topology.forward_plainly().unwrap();
    let far = b.host_address(Family::V4);
    traffic::wait_for_ping(&a.host, far, UP).unwrap();
    let too_big = a.host.run(&format!("ping -c 1 -W 2 -M do -s 1400 {far}"));
    assert!(too_big.is_err());
    let learned = a.host.ip(&format!("route get {far}")).unwrap();
    assert!(learned.contains("mtu 1400"), "{learned}");
}

#[test]
fn a_capture_and_the_counters_see_the_same_pings() {
    let topology = Builder::new(&["a", "b"]).build().unwrap();
    let (a, b) = (&topology.sites[0], &topology.sites[1]);
    let _plain = topology.forward_plainly().unwrap();
    let far = b.host_address(Family::V4);
    traffic::wait_for_ping(&a.host, far, UP).unwrap();
    let before = LinkCounters::of(&b.host, "eth0").unwrap();
    let capture = Capture::start(&topology, &b.host, "eth0", "icmp").unwrap();
    traffic::ping(&a.host, far, 4).unwrap();
    let lines = capture.wait_for(8, UP).unwrap();
    assert!(
        lines[0].contains("10.1.0.10 > 10.2.0.10: ICMP echo request"),
        "{lines:?}"
    );
    assert_eq!(capture.finish().unwrap().len(), 8);
    let after = LinkCounters::of(&b.host, "eth0").unwrap();
    // On veth the received bytes lack the Ethernet header; ARP and neighbour discovery may join in.
    assert!(after.rx_packets - before.rx_packets >= 4);
    assert!(after.rx_bytes - before.rx_bytes >= 4 * 84);
}

#[test]
fn plain_forwarding_leaves_the_gateways_as_they_were() {
    let topology = Builder::new(&["a", "b"]).build().unwrap();
    let gateway = &topology.sites[0].gateway;
    let before = HostState::of(gateway).unwrap();
    let plain = topology.forward_plainly().unwrap();
    let during = HostState::of(gateway).unwrap();
    assert!(
        before
            .difference(&during)
            .contains("+10.2.0.0/24 via 203.0.113.2")
    );
    drop(plain);
    assert_eq!(before.difference(&HostState::of(gateway).unwrap()), "");
}

#[test]
fn datagrams_to_nowhere_are_lost_and_counted() {
    let topology = Builder::new(&["a", "b"]).build().unwrap();
    let (a, b) = (&topology.sites[0], &topology.sites[1]);
    let echo = UdpEcho::start(&b.host, b.host_address(Family::V4)).unwrap();
    let gap = Duration::from_millis(5);
    let report = traffic::udp_echo(&a.host, echo.address(), 3, 100, gap).unwrap();
    assert_eq!((report.sent, report.received), (3, 0));
    assert_eq!(echo.sources_seen(), Vec::<IpAddr>::new());
}

#[test]
fn wireguard_go_joins_two_sites_over_ipv6() {
    stock(
        Implementation::WireguardGo,
        &["a", "b"],
        Shape::FullMesh,
        Family::V6,
    );
}

#[test]
fn boringtun_joins_two_sites_over_ipv4() {
    stock(
        Implementation::BoringtunCli,
        &["a", "b"],
        Shape::FullMesh,
        Family::V4,
    );
}

#[test]
fn a_hub_of_wireguard_go_joins_three_sites() {
    stock(
        Implementation::WireguardGo,
        &["a", "b", "c"],
        Shape::Hub,
        Family::V4,
    );
}

#[test]
fn nothing_is_left_of_a_topology_and_the_processes_in_it() {
    let prefix = netns::unique_prefix();
    let topology = Builder::new(&["a", "b"]).prefix(&prefix).build().unwrap();
    let directory = topology.directory().to_owned();
    let host = &topology.sites[0].host;
    let log = directory.join("sleep.log");
    let mut sleeper = host.spawn("sleep", "sleep", &["600"], &log).unwrap();
    assert_eq!(netns::processes_in(host.name()), [sleeper.pid()]);
    drop(topology);
    let status = sleeper.wait(UP).unwrap();
    assert!(
        !status.success(),
        "ended by the namespace's guard, not by itself"
    );
    assert!(
        !netns::list()
            .iter()
            .any(|name| name.starts_with(&format!("{prefix}-")))
    );
    assert!(!Path::new(&directory).exists());
}

#[test]
fn sysctls_of_a_namespace_are_its_own() {
    let netns = Netns::create(&netns::unique_prefix()).unwrap();
    let other = Netns::create(&netns::unique_prefix()).unwrap();
    let outside = || fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
    let before = outside();
    netns.set_sysctl("net/ipv4/ip_forward", "1").unwrap();
    assert_eq!(netns.sysctl("net/ipv4/ip_forward").unwrap(), "1");
    assert_eq!(other.sysctl("net/ipv4/ip_forward").unwrap(), "0");
    assert_eq!(outside(), before);
}

fn stock(implementation: Implementation, sites: &[&str], shape: Shape, outer: Family) {
    let topology = Builder::new(sites).build().unwrap();
    let plans = plan::plan(&topology, shape, outer).unwrap();
    let kind = GatewayKind::Stock(implementation);
    let _gateways = gateways::start_all(kind, &topology, &plans).unwrap();
    every_pair_talks(&topology);
}

/// Ping, TCP and UDP from every host to every other, both families; the far host sees the true source.
fn every_pair_talks(topology: &Topology) {
    for from in &topology.sites {
        for to in topology.sites.iter().filter(|to| to.name != from.name) {
            for family in Family::ALL {
                let (source, target) = (from.host_address(family), to.host_address(family));
                traffic::wait_for_ping(&from.host, target, UP).unwrap();
                let report = traffic::ping(&from.host, target, 3).unwrap();
                assert_eq!((report.sent, report.received), (3, 3));
                let tcp = traffic::tcp_transfer(&from.host, &to.host, target, 1 << 20).unwrap();
                assert_eq!(tcp.source_seen, source);
                let echo = UdpEcho::start(&to.host, target).unwrap();
                let gap = Duration::from_millis(2);
                let udp = traffic::udp_echo(&from.host, echo.address(), 5, 1200, gap).unwrap();
                assert_eq!(udp.received, 5);
                assert_eq!(echo.sources_seen(), [source]);
            }
        }
    }
}
