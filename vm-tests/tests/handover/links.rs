//! A take-over of a gateway with several links to the same far end.

use std::time::Duration;

use vm_tests::api::LinkState;
use vm_tests::crossway::Crossway;
use vm_tests::failover::{Gateways, Settings};
use vm_tests::topology::{Near, Redundant};
use vm_tests::traffic::Probes;
use vm_tests::wait;

use super::UP;

/// ```text
///                          ┌──────── path 1 ────────┐
///  host a ── [gateway a1] ─┤                        ├─ [gateway b1] ── host b
///                          └──────── path 2 ────────┘
/// ```
#[test]
fn the_far_end_of_several_links_notices_nothing_and_orders_stay() {
    let net = Redundant::with_paths(None, 2).unwrap();
    let mut gateways = Gateways::start(&net, &Settings::default()).unwrap();
    let spare = format!("b/{}/path-2", gateways.far().name());
    gateways.replica(0).command(&["prefer", &spare]).unwrap();
    wait::until("the preferred path to carry the flows", UP, || {
        (carrier(gateways.replica(0)) == "path-2").then_some(())
    })
    .unwrap();
    let [to_a, to_b] = [Near::A, Near::B].map(|side| net.host_address(side));
    let probes = Probes::start((&net.host_a, to_a), (&net.host_b, to_b)).unwrap();
    probes.steady(Duration::from_millis(200), UP).unwrap();
    let begun = wait::now();
    let since = link_ages(gateways.far());
    let log = gateways.far().log().len();

    for _ in 0..2 {
        gateways.replica(0).take_over().unwrap();
        assert_eq!(carrier(gateways.replica(0)), "path-2");
        let gap = *gateways.replica(0).gaps().last().unwrap();
        assert_eq!((gap.sessions, gap.handshakes), (2, 0));
    }
    // Long enough for a detection time to pass at the far end.
    probes.steady(Duration::from_secs(1), UP).unwrap();
    for way in probes.since(begun) {
        assert_eq!(way.lost, 0, "{way:?}");
    }
    let now = link_ages(gateways.far());
    assert!(now.iter().zip(&since).all(|(now, since)| now >= since));
    let far = gateways.far().log();
    assert!(!far[log..].contains("to=\"Down\""), "{}", &far[log..]);
    let links = gateways.replica(0).links().unwrap();
    assert!(
        links.iter().all(|link| link.state == LinkState::Up),
        "{links:?}"
    );
}

fn carrier(agent: &Crossway) -> String {
    let links = agent.links().unwrap();
    let carrier = links.into_iter().find(|link| link.carries_flows);
    carrier.and_then(|link| link.link).unwrap_or_default()
}

/// Seconds since the last handshake of each link.
fn link_ages(agent: &Crossway) -> Vec<u64> {
    let links = agent.links().unwrap();
    let links = links.iter();
    links
        .map(|link| link.last_handshake_seconds.unwrap())
        .collect()
}
