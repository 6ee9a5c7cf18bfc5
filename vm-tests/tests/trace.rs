//! Who is on the way: traceroute and mtr name gateway a, gateway b and the host, with and without eBPF.
//!
//! ```text
//!   host a ─────── gateway a ═══════ WAN ═══════ gateway b ─────── host b
//!                  lan0: 10.1.0.1                tunnel: 10.255.0.2      10.2.0.10
//!                        2001:db8:1::1                   2001:db8:2:ffff::1    2001:db8:2::10
//! ```
//! The tunnel address of a gateway is contained in the routes to its site.

use std::net::IpAddr;
use std::time::Duration;

use vm_tests::crossway;
use vm_tests::plan::{self, Shape};
use vm_tests::topology::{Builder, Family, Site};
use vm_tests::traffic::{self, Probe};

const UP: Duration = Duration::from_secs(10);

#[test]
fn traceroute_and_mtr_list_both_gateways() {
    every_router_is_listed(true);
}

#[test]
fn traceroute_and_mtr_list_both_gateways_without_the_fast_path() {
    every_router_is_listed(false);
}

fn every_router_is_listed(fast_path: bool) {
    let topology = Builder::new(&["a", "b"]).build().unwrap();
    let mut plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
    plan::give_tunnel_addresses(&topology, &mut plans);
    for plan in &mut plans {
        plan.configure(move |config| config.gateway.fast_path = fast_path);
    }
    let gateways = crossway::start_all(&topology, &plans).unwrap();
    let [a, b] = [&topology.sites[0], &topology.sites[1]];
    for family in Family::ALL {
        for (from, to) in [(a, b), (b, a)] {
            let target = to.host_address(family);
            traffic::wait_for_ping(&from.host, target, UP).unwrap();
            let way = way(from, to, family);
            for probe in [Probe::Udp, Probe::Icmp] {
                let hops = traffic::traceroute(&from.host, target, probe).unwrap();
                assert_eq!(hops, way, "{probe:?}");
            }
            assert_eq!(traffic::mtr(&from.host, target).unwrap(), way);
            gateways_answer(from, to, family);
        }
    }
    for gateway in gateways {
        assert_eq!(gateway.dropped().unwrap(), []);
    }
}

fn way(from: &Site, to: &Site, family: Family) -> [IpAddr; 3] {
    [
        from.gateway_address(family),
        to.tunnel_address(family),
        to.host_address(family),
    ]
}

/// A host can also ping the far gateway, at its tunnel address and at its LAN address.
fn gateways_answer(from: &Site, to: &Site, family: Family) {
    for address in [to.tunnel_address(family), to.gateway_address(family)] {
        let report = traffic::ping(&from.host, address, 2).unwrap();
        assert_eq!(report.received, 2, "{address}");
    }
}
