//! Three sites: any host reaches any other with its own address, over the hub or directly.
//!
//! ```text
//!   full mesh:  a ═══ b      hub:  b ═══ a ═══ c      each letter: host ── gateway ══ router (WAN)
//!                ╲   ╱             spokes b and c peer with the hub a only;
//!                  c               its site routes lead on to the other spoke
//! ```

use vm_tests::crossway::{self, Crossway};
use vm_tests::plan::{self, Shape};
use vm_tests::topology::{Builder, Family, Topology};
use vm_tests::traffic::{self, Probe};

const TRANSFER: u64 = 1 << 20;

#[test]
fn every_host_of_a_full_mesh_reaches_every_other() {
    let (topology, gateways) = three_sites(Shape::FullMesh, Family::V6, true);
    every_host_reaches_every_other(&topology, &gateways);
}

#[test]
fn every_host_around_a_hub_reaches_every_other() {
    let (topology, gateways) = three_sites(Shape::Hub, Family::V4, true);
    every_host_reaches_every_other(&topology, &gateways);
    the_hub_is_on_the_way(&topology);
    // The hub passed on at least the content, and counts it on both legs.
    let (from_b, to_c) = (
        gateways[0].site("b").unwrap(),
        gateways[0].site("c").unwrap(),
    );
    assert!(from_b.from_site_bytes > 2 * 2 * TRANSFER, "{from_b:?}");
    assert!(to_c.to_site_bytes > 2 * 2 * TRANSFER, "{to_c:?}");
}

#[test]
fn every_host_around_a_hub_without_the_fast_path_reaches_every_other() {
    let (topology, gateways) = three_sites(Shape::Hub, Family::V4, false);
    every_host_reaches_every_other(&topology, &gateways);
    the_hub_is_on_the_way(&topology);
}

fn three_sites(shape: Shape, outer: Family, fast_path: bool) -> (Topology, Vec<Crossway>) {
    let topology = Builder::new(&["a", "b", "c"]).build().unwrap();
    let mut plans = plan::plan(&topology, shape, outer).unwrap();
    plan::give_tunnel_addresses(&topology, &mut plans);
    for plan in &mut plans {
        plan.configure(move |config| config.gateway.fast_path = fast_path);
    }
    let gateways = crossway::start_all(&topology, &plans).unwrap();
    (topology, gateways)
}

fn every_host_reaches_every_other(topology: &Topology, gateways: &[Crossway]) {
    let [a, b, c] = [0, 1, 2].map(|at| &topology.sites[at]);
    // The spokes first: nothing between them may depend on traffic with the hub.
    for (one, other) in [(b, c), (a, b), (c, a)] {
        traffic::exchange_both_ways(one, other, TRANSFER).unwrap();
    }
    for gateway in gateways {
        assert_eq!(gateway.dropped().unwrap(), [], "{}", gateway.name());
    }
}

fn the_hub_is_on_the_way(topology: &Topology) {
    let [a, b, c] = [0, 1, 2].map(|at| &topology.sites[at]);
    for family in Family::ALL {
        let target = c.host_address(family);
        let hops = traffic::traceroute(&b.host, target, Probe::Icmp).unwrap();
        let way = [
            b.gateway_address(family),
            a.tunnel_address(family),
            c.tunnel_address(family),
            target,
        ];
        assert_eq!(hops, way);
    }
}
