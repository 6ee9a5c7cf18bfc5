//! The kernel's WireGuard as the far gateway. For guests: not every kernel has it.
//!
//! ```text
//!  host a ── [gateway a: crossway] wan0 ───────────────── wan0 [gateway b: kernel] ── host b
//!  10.1.0.10           203.0.113.1                 203.0.113.2                     10.2.0.10
//!  2001:db8:1::10      fd00:113::1                 fd00:113::2                2001:db8:2::10
//! ```

use std::time::Duration;

use vm_tests::kernel_pair::{Dials, KernelPair};
use vm_tests::netns::Netns;
use vm_tests::process;
use vm_tests::topology::{Family, LISTEN_PORT};
use vm_tests::traffic::{Capture, SteadyPing};

const UP: Duration = Duration::from_secs(10);
/// Of an initiation on an Ethernet: 148 bytes, UDP 8, IP, 14.
const INITIATION: [(Family, u32); 2] = [(Family::V4, 190), (Family::V6, 210)];

#[test]
fn either_side_begins_over_either_family_and_all_nestings_pass() {
    let mut joined = KernelPair::start(Family::V4, Dials::Crossway).unwrap();
    joined.talks().unwrap();
    // A peer that is set anew knows no session: every round has a handshake of its own.
    for (outer, length) in INITIATION {
        for dials in [Dials::Kernel, Dials::Crossway] {
            let filter = format!("udp and len = {length}");
            let (_, b) = joined.sites();
            let initiations =
                Capture::start(&joined.topology, &b.gateway, "wan0", &filter).unwrap();
            joined.begin_anew(outer, dials).unwrap();
            joined.talks().unwrap();
            let lines = initiations.finish().unwrap();
            let (a, b) = joined.sites();
            let from = if dials == Dials::Crossway { a } else { b };
            let from = format!(" {}.{LISTEN_PORT} > ", from.wan_address(outer));
            assert!(
                lines.iter().all(|line| line.contains(&from)) && !lines.is_empty(),
                "{outer:?}, begun by {dials:?}: {lines:?}"
            );
        }
    }
    assert_eq!(joined.agent.dropped().unwrap(), []);
}

#[test]
fn either_side_moves_and_keepalives_tell_of_it() {
    let joined = KernelPair::start_adjusted(Family::V4, Dials::Crossway, |plans| {
        for plan in &mut *plans {
            plan.peers[0].keepalive = Some(1);
        }
        // BFD's packets would do instead of keepalives.
        plans[0].watch_by_wireguard();
    })
    .unwrap();
    joined.first_packet().unwrap();
    let (a, b) = joined.sites();
    let directory = joined.topology.directory();
    let ping = SteadyPing::start(&a.host, b.host_address(Family::V6), directory).unwrap();
    // The kernel's port, then its address.
    joined.kernel.set("listen-port 51999").unwrap();
    joined.agent_sends_to("203.0.113.2:51999").unwrap();
    ping.goes_on(UP).unwrap();
    moves(&b.gateway, "203.0.113.2", "203.0.113.77");
    joined.agent_sends_to("203.0.113.77:51999").unwrap();
    ping.goes_on(UP).unwrap();
    // Our address, then our port, by a NAT that was not there before.
    moves(&a.gateway, "203.0.113.1", "203.0.113.88");
    joined
        .kernel_sends_to(&format!("203.0.113.88:{LISTEN_PORT}"))
        .unwrap();
    ping.goes_on(UP).unwrap();
    let nat = "table ip nat { chain out { type nat hook postrouting priority 100; udp sport 51820 masquerade to :61000; }; }";
    process::run(a.gateway.command("nft").arg(nat)).unwrap();
    joined.kernel_sends_to("203.0.113.88:61000").unwrap();
    ping.goes_on(UP).unwrap();
    drop(ping);
    // Without traffic each says every second that it is there: 16 bytes of header, 16 of tag and nothing between.
    for from in ["203.0.113.77", "203.0.113.88"] {
        let filter = format!("udp and src {from} and udp[4:2] = 40");
        let capture = Capture::start(&joined.topology, &b.gateway, "wan0", &filter).unwrap();
        capture.wait_for(2, UP).unwrap();
    }
    assert_eq!(joined.agent.dropped().unwrap(), []);
}

/// Gives a gateway a new address on the WAN, and takes the old one away.
fn moves(gateway: &Netns, from: &str, to: &str) {
    // Else the kernel deletes the second address of a network together with the first.
    let promote = "net/ipv4/conf/wan0/promote_secondaries";
    gateway.set_sysctl(promote, "1").unwrap();
    for change in [format!("add {to}"), format!("delete {from}")] {
        gateway
            .ip(&format!("address {change}/24 dev wan0"))
            .unwrap();
    }
}
