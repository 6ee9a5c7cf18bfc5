//! Uplinks that take less than they are given, beside others.
//!
//! ```text
//!                          wan0 ══ slow: 4 Mbit/s ══ router ── wan0 [gateway b] ── host b
//!  host a ── [gateway a]                               └────── wan0 [gateway c] ── host c
//!                          wan1 ─────── idle ───────────────── wan1
//!                          192.0.2.1, fd00:192::1              192.0.2.2, fd00:192::2
//! ```

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use vm_tests::config::{LivenessMode, Wan};
use vm_tests::crossway::{self, Crossway};
use vm_tests::netns::Netns;
use vm_tests::plan::{self, GatewayPlan, Shape};
use vm_tests::process;
use vm_tests::topology::{Builder, Family, LISTEN_PORT, Topology};
use vm_tests::{traffic, wait};

const UP: Duration = Duration::from_secs(10);
/// Five times what the slow uplink takes, and no work for the machine.
const FLOOD_BYTES: usize = 1200;
const FLOOD_PER_MS: usize = 2;
/// The queue before the slow uplink is longer than any send buffer.
const SLOW: &str = "tc qdisc add dev wan0 root tbf rate 4mbit burst 32kb limit 200mb";

#[test]
fn a_slow_uplink_costs_a_link_over_another_neither_bfd_nor_pings() {
    for (outer, bound) in [(Family::V4, true), (Family::V4, false), (Family::V6, false)] {
        let (topology, plans) = two_uplinks(outer, bound);
        let gateways = crossway::start_all(&topology, &plans).unwrap();
        let [site_a, site_b, site_c] = &topology.sites[..] else {
            panic!("three sites");
        };
        let (to_b, to_c) = [site_b, site_c]
            .map(|site| site.host_address(Family::V4))
            .into();
        traffic::wait_for_ping(&site_a.host, to_b, UP).unwrap();
        traffic::wait_for_ping(&site_a.host, to_c, UP).unwrap();
        site_a.gateway.run(SLOW).unwrap();
        let ping = traffic::SteadyPing::start(&site_a.host, to_c, topology.directory()).unwrap();
        let before = gateways[0].log().len();
        flood_until_full(&site_a.host, (to_b, 9).into(), &gateways[0]);
        let case = format!("outer {outer:?}, bound to interfaces: {bound}");
        assert_eq!(ping.finish(UP).unwrap().lost(), 0, "{case}");
        let log = &gateways[0].log()[before..];
        let of_c = format!("{}/", site_c.name);
        let fell = log
            .lines()
            .find(|line| line.contains(&of_c) && line.contains("Down"));
        assert_eq!(fell, None, "{case}");
    }
}

/// Floods for eight seconds, in which the buffer of the slow uplink must have become full.
fn flood_until_full(from: &Netns, to: SocketAddr, gateway: &Crossway) {
    let socket = from
        .enter(|| UdpSocket::bind("0.0.0.0:0"))
        .unwrap()
        .unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for _ in 0..FLOOD_PER_MS {
                    // What the host itself cannot send is no matter.
                    let _ = socket.send_to(&[0; FLOOD_BYTES], to);
                }
                thread::sleep(Duration::from_millis(1));
            }
        });
        let full = wait::until("the slow uplink's buffer to be full", 3 * UP, || {
            let dropped = gateway.dropped().unwrap();
            let full = dropped
                .iter()
                .any(|(reason, _)| reason == "send-buffer-full");
            full.then_some(())
        });
        // Full it stays for a while, and the others are watched.
        thread::sleep(Duration::from_secs(5));
        stop.store(true, Ordering::Relaxed);
        full.unwrap();
    });
}

/// Sites b and c, each over an uplink of its own; by the kernel's routes, or bound to the interfaces.
fn two_uplinks(outer: Family, bound: bool) -> (Topology, Vec<GatewayPlan>) {
    let topology = Builder::new(&["a", "b", "c"]).build().unwrap();
    let (a, c) = (&topology.sites[0].gateway, &topology.sites[2].gateway);
    process::ip(&format!(
        "-n {} link add wan1 type veth peer name wan1 netns {}",
        a.name(),
        c.name()
    ))
    .unwrap();
    for (gateway, last) in [(a, 1), (c, 2)] {
        gateway.ip("link set wan1 up").unwrap();
        gateway
            .ip(&format!("address add 192.0.2.{last}/24 dev wan1"))
            .unwrap();
        gateway
            .ip(&format!("address add fd00:192::{last}/64 dev wan1 nodad"))
            .unwrap();
    }
    let mut plans = plan::plan(&topology, Shape::FullMesh, outer).unwrap();
    let at = |last: u8| match outer {
        Family::V4 => SocketAddr::from(([192, 0, 2, last], LISTEN_PORT)),
        Family::V6 => SocketAddr::from(([0xfd00, 0x192, 0, 0, 0, 0, 0, last.into()], LISTEN_PORT)),
    };
    plans[0].peers[1].endpoint = Some(at(2));
    plans[2].peers[0].endpoint = Some(at(1));
    for number in [0, 2] {
        plans[number].configure(|config| config.gateway.wan.push(Wan::new("wan1")));
    }
    // Else the flood ends with the link over the slow uplink, which hears of nothing behind so long a queue.
    plans[1].watch_by_wireguard();
    plans[0].configure(move |config| {
        config.sites[0].gateways[0].links[0].liveness.mode = LivenessMode::WireGuard;
        if bound {
            config.sites[0].gateways[0].links[0].wan = Some("wan0".to_owned());
            config.sites[1].gateways[0].links[0].wan = Some("wan1".to_owned());
        }
    });
    (topology, plans)
}
