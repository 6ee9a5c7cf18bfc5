//! One pair of gateways on the kernel of a guest: which ways of the kernel the agent took, that they are those
//! which this version has, and that traffic passes with them.
//!
//! ```text
//!   host a ── gateway a ═══ WAN ═══ gateway b ── host b
//! ```

use vm_tests::crossway::Crossway;
use vm_tests::pair::Pair;
use vm_tests::traffic;

/// Thousands of packets, and super-packets among them.
const TRANSFER: u64 = 4 << 20;

/// Since which kernel a way exists, from the kernel's history.
const FAST_PATH: (u32, u32) = (5, 12);
const TCX: (u32, u32) = (6, 6);
const TUN_USO: (u32, u32) = (6, 2);
const UDP_GSO: (u32, u32) = (4, 18);
const UDP_GRO: (u32, u32) = (5, 0);
const UDP_GRO_FORWARDING: (u32, u32) = (5, 12);

#[test]
fn a_gateway_takes_the_best_ways_that_this_kernel_has_and_traffic_passes() {
    let kernel = kernel_version();
    let pair = Pair::start(|_| ()).unwrap();
    traffic::exchange_both_ways(pair.site_a(), pair.site_b(), TRANSFER).unwrap();
    let status = pair.a.status().unwrap();
    if kernel >= FAST_PATH {
        let mut attachments = status.attachments.iter();
        let lan = attachments.find(|attachment| attachment.hook == "lan_ingress");
        let attached = &lan.unwrap_or_else(|| panic!("{status:#?}")).mode;
        let expected = if kernel >= TCX { "tcx" } else { "clsact" };
        assert_eq!(attached, expected, "{status:#?}");
        println!("note: attached by {attached}");
        let packets = status.sites[0].traffic.to_site_packets;
        assert!(packets > 1000, "{status:#?}");
    } else {
        assert!(!status.fast_path, "{status:#?}");
        let warnings = status.warnings.join(
            "
",
        );
        assert!(warnings.contains("need Linux 5.12 or later"), "{warnings}");
        println!("note: no fast path, the kernel stack forwards");
    }
    for (offload, since) in [
        ("tun-tso", (2, 6)),
        ("tun-uso", TUN_USO),
        ("udp-gso", UDP_GSO),
        ("udp-gro", UDP_GRO),
    ] {
        let mut offloads = status.offloads.iter();
        let found = offloads.find(|found| found.name == offload);
        let is_on = found.unwrap_or_else(|| panic!("{status:#?}")).on;
        assert_eq!(
            is_on,
            kernel >= since,
            "{offload:?} on {kernel:?}: {status:#?}"
        );
        println!("note: {offload:?} {}", if is_on { "on" } else { "off" });
    }
    assert_eq!(
        says_udp_gro_forwarding(&pair.a),
        kernel >= UDP_GRO_FORWARDING,
        "{status:#?}"
    );
}

/// Whether it joins datagrams that are only forwarded, which it says among what it changed on the host.
fn says_udp_gro_forwarding(gateway: &Crossway) -> bool {
    let status = gateway.status().unwrap();
    let mut changes = status.host_changes.iter();
    changes.any(|change| change.contains("rx-udp-gro-forwarding"))
}

/// Major and minor of the running kernel.
fn kernel_version() -> (u32, u32) {
    let text = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = text.split(['.', '-']).map(|number| number.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}
