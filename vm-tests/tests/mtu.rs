//! Narrow links whose paths are not probed: nothing hangs, and who sends too much hears it from the gateway next to it.
//!
//! ```text
//!   own WAN:  host a ── gateway a ══════════ 1400 ══════════ gateway b ── host b     tunnel 1320
//!   middle:   host a ── gateway a ══ wan ══ 1400 ══ wan-far ══ gateway b ── host b   tunnel 1420
//! ```
//! The LANs have 1500.

use std::time::Duration;

use vm_tests::config::PathMtuMode;
use vm_tests::crossway::{self, Crossway};
use vm_tests::plan::{self, Shape};
use vm_tests::topology::{Builder, Family, Site, Topology};
use vm_tests::traffic::{self, Capture};
use vm_tests::wait;

const LIMIT: Duration = Duration::from_secs(5);
const TRANSFER: u64 = 4 << 20;

#[test]
fn transfers_pass_a_wan_of_1400_over_ipv4() {
    everything_fits(Builder::new(&["a", "b"]).wan_mtu(1400), Family::V4, 1320);
}

#[test]
fn transfers_pass_a_wan_of_1400_over_ipv6() {
    everything_fits(Builder::new(&["a", "b"]).wan_mtu(1400), Family::V6, 1320);
}

#[test]
fn transfers_pass_a_narrow_link_in_the_middle_over_ipv4() {
    everything_fits(Builder::new(&["a", "b"]).middle_mtu(1400), Family::V4, 1420);
}

#[test]
fn transfers_pass_a_narrow_link_in_the_middle_over_ipv6() {
    everything_fits(Builder::new(&["a", "b"]).middle_mtu(1400), Family::V6, 1420);
}

#[test]
fn too_big_is_answered_without_the_fast_path_too() {
    let (topology, _gateways) = start(Builder::new(&["a", "b"]).wan_mtu(1400), Family::V4, false);
    let [a, b] = [&topology.sites[0], &topology.sites[1]];
    for family in Family::ALL {
        traffic::exchange(a, b, family, TRANSFER).unwrap();
        too_big_is_answered(&topology, a, b, family, 1320);
    }
}

fn everything_fits(builder: Builder, outer: Family, tunnel_mtu: u32) {
    let (topology, gateways) = start(builder, outer, true);
    let [a, b] = [&topology.sites[0], &topology.sites[1]];
    for gateway in &gateways {
        let status = gateway.status().unwrap();
        assert_eq!(status.tun.mtu_bytes, tunnel_mtu);
    }
    for family in Family::ALL {
        for (from, to) in [(a, b), (b, a)] {
            segments_are_clamped(&topology, from, to, family, tunnel_mtu);
            traffic::exchange(from, to, family, TRANSFER).unwrap();
            too_big_is_answered(&topology, from, to, family, tunnel_mtu);
        }
    }
    for gateway in &gateways {
        assert_eq!(gateway.dropped().unwrap(), [], "{}", gateway.name());
        let status = gateway.status().unwrap();
        for offload in status.offloads {
            assert!(offload.on, "{offload:?}");
        }
    }
}

fn start(builder: Builder, outer: Family, fast_path: bool) -> (Topology, Vec<Crossway>) {
    let topology = builder.build().unwrap();
    let mut plans = plan::plan(&topology, Shape::FullMesh, outer).unwrap();
    for plan in &mut plans {
        plan.configure(move |config| {
            config.gateway.fast_path = fast_path;
            config.gateway.path_mtu = PathMtuMode::Fixed;
        });
    }
    let gateways = crossway::start_all(&topology, &plans).unwrap();
    (topology, gateways)
}

/// Both ends hear of a segment size that fits the tunnel, whoever connects.
fn segments_are_clamped(topology: &Topology, from: &Site, to: &Site, family: Family, mtu: u32) {
    let headers = if family == Family::V4 { 40 } else { 60 };
    let mss = format!("mss {},", mtu - headers);
    let ends = [from, to].map(|site| Capture::start(topology, &site.host, "eth0", "tcp").unwrap());
    let target = to.host_address(family);
    traffic::wait_for_ping(&from.host, target, LIMIT).unwrap();
    traffic::tcp_transfer(&from.host, &to.host, target, 100).unwrap();
    for (capture, flags) in ends.iter().zip(["Flags [S.]", "Flags [S]"]) {
        let lines = capture.wait_for(2, LIMIT).unwrap();
        let answer = lines.iter().find(|line| line.contains(flags)).unwrap();
        assert!(answer.contains(&mss), "not {mss} in {answer:?}");
    }
}

fn too_big_is_answered(topology: &Topology, from: &Site, to: &Site, family: Family, mtu: u32) {
    let filter = match family {
        Family::V4 => "icmp[0]=3",
        Family::V6 => "icmp6 and ip6[40]=2",
    };
    let capture = Capture::start(topology, &from.host, "eth0", filter).unwrap();
    let target = to.host_address(family);
    let overhead = if family == Family::V4 { 28 } else { 48 };
    // One byte too many; then exactly what fits, which must pass.
    let ping = |mtu: u32| {
        let size = mtu - overhead;
        from.host
            .run(&format!("ping -n -c 1 -W 1 -M do -s {size} {target}"))
    };
    assert!(ping(mtu + 1).is_err());
    let line = capture.wait_for(1, LIMIT).unwrap().remove(0);
    let from_gateway = format!("{} > ", from.gateway_address(family));
    let says = match family {
        Family::V4 => format!("need to frag (mtu {mtu})"),
        Family::V6 => format!("packet too big, mtu {mtu}"),
    };
    assert!(
        line.contains(&from_gateway) && line.contains(&says),
        "{line}"
    );
    // The first may be lost on an IPv6 path: the gateways learn by it what the middle takes.
    wait::until("a ping of the tunnel's MTU", LIMIT, || ping(mtu).ok()).unwrap();
}
