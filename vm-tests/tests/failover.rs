//! Several paths between two gateways: which one carries the flows, and how fast they move.
//!
//! ```text
//!                          ┌──────── path 1 ────────┐
//!  host a ── [gateway a1] ─┤                        ├─ [gateway b1] ── host b
//!                          └──────── path 2 ────────┘
//! ```

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use vm_tests::failover::{Gateways, Settings};
use vm_tests::topology::{Near, Redundant};
use vm_tests::traffic::Probes;
use vm_tests::wait;

const UP: Duration = Duration::from_secs(20);
/// Generous: the bench has the figures.
const MOVED: Duration = Duration::from_secs(2);

struct Scene {
    // The agents first: they are stopped before the ground goes.
    gateways: Gateways,
    net: Redundant,
}

impl Scene {
    fn start(hold_down_ms: u32) -> Self {
        let net = Redundant::with_paths(None, 2).unwrap();
        let settings = Settings {
            hold_down_ms,
            ..Settings::default()
        };
        let gateways = Gateways::start(&net, &settings).unwrap();
        let scene = Self { gateways, net };
        scene.carries("path-1");
        scene
    }

    /// Probes both ways, and when they began to pass.
    fn probes(&self) -> (Probes, Instant) {
        let (a, b) = (&self.net.host_a, &self.net.host_b);
        let [to_a, to_b] = [Near::A, Near::B].map(|side| self.net.host_address(side));
        let probes = Probes::start((a, to_a), (b, to_b)).unwrap();
        probes.steady(Duration::from_millis(200), UP).unwrap();
        (probes, wait::now())
    }

    /// Waits until both gateways carry the flows over this path.
    fn carries(&self, path: &str) {
        for gateway in self.gateways.all() {
            wait::until(&format!("{path} to carry the flows"), UP, || {
                let links = gateway.links().ok()?;
                let carrier = links.iter().find(|link| link.carries_flows)?;
                (carrier.link.as_deref() == Some(path)).then_some(())
            })
            .unwrap();
        }
    }

    /// State and reason of a link, as gateway b sees it.
    fn link(&self, path: &str) -> (String, String) {
        let links = self.gateways.far().links().unwrap();
        let mut links = links.into_iter();
        let link = links.find(|link| link.link.as_deref() == Some(path));
        let link = link.unwrap();
        (link.state.as_str().to_owned(), link.why)
    }
}

#[test]
fn flows_leave_a_path_that_is_cut_and_return_after_the_hold_down() {
    let scene = Scene::start(1000);
    let (probes, begun) = scene.probes();
    scene.net.cut_path(0).unwrap();
    scene.carries("path-2");
    let (state, why) = scene.link("path-1");
    assert_eq!(
        (state.as_str(), why.starts_with("BFD")),
        ("Down", true),
        "{why}"
    );
    scene.net.mend_path(0).unwrap();
    scene.carries("path-1");
    for way in probes.since(begun) {
        assert!(way.gap < MOVED, "{way:?}");
    }
}

#[test]
fn a_carrier_that_is_lost_is_told_to_the_far_end_over_the_other_path() {
    let scene = Scene::start(1000);
    let (probes, begun) = scene.probes();
    let gateway = &scene.net.replicas[0];
    scene.net.set_carrier(gateway, 0, false).unwrap();
    scene.carries("path-2");
    let (state, why) = scene.link("path-1");
    assert_eq!(
        (state.as_str(), why.as_str()),
        ("Down", "BFD: the far end does not hear us")
    );
    scene.net.set_carrier(gateway, 0, true).unwrap();
    scene.carries("path-1");
    for way in probes.since(begun) {
        assert!(way.gap < MOVED, "{way:?}");
    }
}

#[test]
fn paths_of_one_priority_share_the_flows_and_each_flow_keeps_its_own() {
    const FLOWS: u64 = 60;
    const DATAGRAMS: u64 = 20;
    let net = Redundant::with_paths(None, 2).unwrap();
    let settings = Settings {
        sharing: true,
        ..Settings::default()
    };
    let gateways = Gateways::start(&net, &settings).unwrap();
    let agent = gateways.all().next().unwrap();
    let sent = || {
        let links = agent.links().unwrap();
        [0, 1].map(|link: usize| {
            assert!(links[link].carries_flows);
            links[link].tx_packets
        })
    };
    let to = (net.host_address(Near::B), 9);
    let before = sent();
    for _ in 0..FLOWS {
        let socket = net.host_a.enter(|| UdpSocket::bind("0.0.0.0:0"));
        let socket = socket.unwrap().unwrap();
        for _ in 0..DATAGRAMS {
            // Port 9 is closed: an answer to that may come back as an error.
            let _ = socket.send_to(b"flow", to);
        }
    }
    wait::until("all datagrams to be counted", UP, || {
        let now = sent();
        let added = [0, 1].map(|link: usize| now[link] - before[link]);
        if added.iter().sum::<u64>() < FLOWS * DATAGRAMS {
            return None;
        }
        // Whole flows, and a fair share of them: half is 30, and one run in a million has fewer than 11.
        for packets in added {
            assert_eq!(packets % DATAGRAMS, 0, "{added:?}");
            assert!(packets >= 11 * DATAGRAMS, "{added:?}");
        }
        Some(())
    })
    .unwrap();
}

#[test]
fn a_drained_link_is_left_both_ways_before_anything_is_lost() {
    let scene = Scene::start(0);
    let (probes, begun) = scene.probes();
    let target = scene.gateways.name_of_link(0);
    let told = scene.gateways.far().command(&["drain", &target]).unwrap();
    assert!(told.contains("Drained"), "{told}");
    scene.carries("path-2");
    scene.gateways.far().command(&["undrain", &target]).unwrap();
    scene.carries("path-1");
    for order in ["prefer", "promote"] {
        let spare = scene.gateways.name_of_link(1);
        scene.gateways.far().command(&[order, &spare]).unwrap();
        let links = scene.gateways.far().links().unwrap();
        assert!(links[1].carries_flows, "{order}");
        scene.gateways.far().command(&["unprefer", &spare]).unwrap();
    }
    for way in probes.since(begun) {
        assert_eq!(way.lost, 0, "{way:?}");
    }
    let (code, said) = scene
        .gateways
        .far()
        .failing_command(&["drain", "a/nobody"])
        .unwrap();
    assert_eq!(code, 2);
    assert!(said.contains(&target), "{said}");
}
