//! Two sites over each outer family, dialled by one side only, so that the other must learn where its
//! peer is; both inner families through each: all four nestings.
//!
//! ```text
//!   host a ── gateway a ═══ WAN, outer IPv4 or IPv6 ═══ gateway b ── host b
//!   10.1.0.10, 2001:db8:1::10                    10.2.0.10, 2001:db8:2::10
//! ```

use vm_tests::api::LinkState;
use vm_tests::crossway;
use vm_tests::engine::Engine;
use vm_tests::plan::{self, Shape};
use vm_tests::topology::{Builder, Family};
use vm_tests::{traffic, with_either_engine};

/// Enough for thousands of packets and many super-packets.
const TRANSFER: u64 = 8 << 20;

with_either_engine!(
    both_families_pass_over_ipv4_dialled_by_a,
    both_families_pass_over_ipv4_dialled_by_b,
    both_families_pass_over_ipv6_dialled_by_a,
    both_families_pass_over_ipv6_dialled_by_b,
);

fn both_families_pass_over_ipv4_dialled_by_a(engine: Engine) {
    all_traffic_passes(engine, Family::V4, "a");
}

fn both_families_pass_over_ipv4_dialled_by_b(engine: Engine) {
    all_traffic_passes(engine, Family::V4, "b");
}

fn both_families_pass_over_ipv6_dialled_by_a(engine: Engine) {
    all_traffic_passes(engine, Family::V6, "a");
}

fn both_families_pass_over_ipv6_dialled_by_b(engine: Engine) {
    all_traffic_passes(engine, Family::V6, "b");
}

fn all_traffic_passes(engine: Engine, outer: Family, dialler: &str) {
    let topology = Builder::new(&["a", "b"]).build().unwrap();
    let mut plans = plan::plan(&topology, Shape::FullMesh, outer).unwrap();
    // One end is ours: so either engine meets ours, each as the one that dials and the one that is dialled.
    plans[0].set_engine(engine);
    for plan in plans.iter_mut().filter(|plan| plan.site != dialler) {
        plan.peers[0].endpoint = None;
    }
    let gateways = crossway::start_all(&topology, &plans).unwrap();
    let (a, b) = (&topology.sites[0], &topology.sites[1]);
    traffic::exchange_both_ways(a, b, TRANSFER).unwrap();
    for (gateway, far) in gateways.iter().zip([b, a]) {
        let links = gateway.links().unwrap();
        let link = &links[0];
        assert_eq!(
            link.endpoint,
            Some(far.endpoint(outer).to_string()),
            "{link:?}"
        );
        assert_eq!(link.state, LinkState::Up, "{link:?}");
    }
}
