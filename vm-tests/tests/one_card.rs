//! Gateways with one card, as subnet routers in a cloud have it: hosts and uplink are on the same interface.
//!
//! ```text
//!  host a 10.1.0.10 ─┬─ [gateway a] card0: 10.1.0.1/24    ┌ router ┐   [gateway b] card0: 10.2.0.1/24 ─┬─ host b
//!                    │              198.51.100.2/30       │        │             203.0.113.2/30        │  10.2.0.10
//!                    └─────────── segment a ──────── .1 ──┘        └── .1 ──── segment b ──────────────┘
//! ```
//! The hosts have a route to the other site by their gateway. In IPv6 the numbers are `2001:db8:1::/64` of hosts and
//! `fd00:51::/64` of the uplink, and of the other side `2001:db8:2::/64` and `fd00:113::/64`.

use std::time::Duration;

use vm_tests::config::{Lan, Wan, XdpChoice};
use vm_tests::crossway::Crossway;
use vm_tests::netns::Netns;
use vm_tests::plan::{self, GatewayPlan, Shape};
use vm_tests::topology::{Builder, Family, Site, Topology};
use vm_tests::traffic::{self, Capture};

const UP: Duration = Duration::from_secs(10);
/// The networks between a gateway and the router, without their last number.
const UPLINKS: [&str; 2] = ["198.51.100", "203.0.113"];
const UPLINKS6: [&str; 2] = ["fd00:51:", "fd00:113:"];

#[test]
fn a_gateway_with_one_card_carries_its_site_by_the_fast_path() {
    carries(Family::V4, true, XdpChoice::Auto);
}

#[test]
fn the_guard_of_the_wan_and_the_program_of_the_lan_share_the_card() {
    carries(Family::V4, true, XdpChoice::Generic);
}

#[test]
fn the_kernel_stack_forwards_by_one_card_too() {
    carries(Family::V4, false, XdpChoice::Off);
}

#[test]
fn the_tunnel_over_ipv6_leaves_by_the_card_too() {
    carries(Family::V6, true, XdpChoice::Generic);
}

#[test]
fn the_kernel_stack_forwards_by_one_card_over_ipv6_too() {
    carries(Family::V6, false, XdpChoice::Off);
}

fn carries(outer: Family, fast_path: bool, xdp: XdpChoice) {
    let topology = Builder::new(&["a", "b"]).build().unwrap();
    let segments = Segments::build(&topology);
    let plans = plans(&topology, outer, fast_path, xdp);
    let [a, b] = [0, 1].map(|own| Crossway::start(&topology, &plans[own]).unwrap());
    let [site_a, site_b] = [&topology.sites[0], &topology.sites[1]];
    let directory = topology.directory();
    let of_sites = "(ip and net 10.0.0.0/8) or (ip6 and net 2001:db8::/32 and not ip6 multicast)";
    let clear = Capture::start_in(directory, &segments.router, "any", of_sites).unwrap();
    let redirects = "icmp[0] == 5 or (icmp6 and ip6[40] == 137)";
    let told = Capture::start_in(directory, &site_a.host, "eth0", redirects).unwrap();

    for family in Family::ALL {
        let [to_a, to_b] = [site_a, site_b].map(|site| site.host_address(family));
        traffic::wait_for_ping(&site_a.host, to_b, UP).unwrap();
        traffic::wait_for_ping(&site_b.host, to_a, UP).unwrap();
        let report = traffic::ping(&site_a.host, to_b, 20).unwrap();
        assert_eq!(report.received, 20, "{family:?}");
        traffic::tcp_transfer(&site_a.host, &site_b.host, to_b, 4 << 20).unwrap();
        traffic::tcp_transfer(&site_b.host, &site_a.host, to_a, 4 << 20).unwrap();
    }

    assert_eq!(told.finish().unwrap(), Vec::<String>::new(), "redirects");
    let clear = clear.finish().unwrap();
    assert_eq!(clear, Vec::<String>::new(), "in the clear");
    for agent in [&a, &b] {
        let status = agent.status().unwrap();
        assert_eq!(status.fast_path, fast_path, "{status:?}");
        let on_card = |program: &str| {
            let mut hooks = status.attachments.iter();
            let hook = hooks.find(|it| it.interface == "card0" && it.hook == program);
            hook.is_some_and(|it| it.mode != "off")
        };
        assert_eq!(on_card("lan_ingress"), fast_path, "{status:?}");
        assert_eq!(
            on_card("wan_guard"),
            xdp == XdpChoice::Generic,
            "{status:?}"
        );
        let site = &agent.sites().unwrap()[0];
        if fast_path {
            // TCP both ways in both families, of which the programs count each segment.
            assert!(site.traffic.to_site_packets > 2000, "{site:?}");
            assert!(site.traffic.from_site_packets > 2000, "{site:?}");
        }
    }
}

fn plans(topology: &Topology, outer: Family, fast_path: bool, xdp: XdpChoice) -> Vec<GatewayPlan> {
    let mut plans = plan::plan(topology, Shape::FullMesh, outer).unwrap();
    for (own, plan) in plans.iter_mut().enumerate() {
        let far = match outer {
            Family::V4 => format!("{}.2:51820", UPLINKS[1 - own]),
            Family::V6 => format!("[{}:2]:51820", UPLINKS6[1 - own]),
        };
        plan.peers[0].endpoint = Some(far.parse().unwrap());
        let far = &topology.sites[1 - own];
        plan.peers[0].routes = Family::ALL.map(|family| far.route(family)).to_vec();
        plan.configure(move |config| {
            config.gateway.fast_path = fast_path;
            config.gateway.lan = vec![Lan::new("card0")];
            let mut wan = Wan::new("card0");
            wan.xdp = xdp;
            config.gateway.wan = vec![wan];
        });
    }
    plans
}

/// The segments and the router between them, in place of the topology's cables.
struct Segments {
    router: Netns,
    _segments: [Netns; 2],
}

impl Segments {
    fn build(topology: &Topology) -> Self {
        let create = |name: &str| Netns::create(&format!("{}-{name}", topology.prefix())).unwrap();
        let router = create("router");
        router.set_sysctl("net/ipv4/ip_forward", "1").unwrap();
        router
            .set_sysctl("net/ipv6/conf/all/forwarding", "1")
            .unwrap();
        // One cable between both gateways.
        topology.sites[0].gateway.ip("link delete wan0").unwrap();
        let segments = [0, 1].map(|own| {
            let segment = create(&format!("segment-{own}"));
            join(&topology.sites[own], &segment, &router, own);
            segment
        });
        Self {
            router,
            _segments: segments,
        }
    }
}

fn join(site: &Site, segment: &Netns, router: &Netns, own: usize) {
    segment
        .ip("link add br0 type bridge mcast_snooping 0")
        .unwrap();
    segment.ip("link set br0 up").unwrap();
    site.gateway.ip("link delete lan0").unwrap();
    let (port, uplink, uplink6) = (format!("port{own}"), UPLINKS[own], UPLINKS6[own]);
    let [gateway, gateway6] = Family::ALL.map(|family| site.gateway_address(family));
    let [host, host6] = Family::ALL.map(|family| site.host_address(family));
    for (netns, interface, addresses) in [
        (
            &site.gateway,
            "card0",
            vec![
                format!("{gateway}/24"),
                format!("{uplink}.2/30"),
                format!("{gateway6}/64"),
                format!("{uplink6}:2/64"),
            ],
        ),
        (
            &site.host,
            "eth0",
            vec![format!("{host}/24"), format!("{host6}/64")],
        ),
        (
            router,
            &*port,
            vec![format!("{uplink}.1/30"), format!("{uplink6}:1/64")],
        ),
    ] {
        let far = format!("to-{interface}");
        let name = segment.name();
        for words in [
            format!("link add {interface} type veth peer name {far} netns {name}"),
            format!("link set {interface} up"),
        ] {
            netns.ip(&words).unwrap();
        }
        for address in addresses {
            netns
                .ip(&format!("address add {address} dev {interface} nodad"))
                .unwrap();
        }
        segment.ip(&format!("link set {far} master br0")).unwrap();
        segment.ip(&format!("link set {far} up")).unwrap();
    }
    let far = ["10.2.0.0/24", "10.1.0.0/24"][own];
    let far6 = ["2001:db8:2::/64", "2001:db8:1::/64"][own];
    for (netns, route) in [
        (&site.gateway, format!("route add default via {uplink}.1")),
        (
            &site.gateway,
            format!("-6 route add default via {uplink6}:1"),
        ),
        (&site.host, format!("route add {far} via {gateway}")),
        (&site.host, format!("-6 route add {far6} via {gateway6}")),
    ] {
        netns.ip(&route).unwrap();
    }
}
