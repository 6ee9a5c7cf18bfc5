//! One pair of gateways on the kernel of a guest: which ways of the kernel the agent took, that they are those
//! which this version has, and that traffic passes with them.
//!
//! ```text
//!   host a ── gateway a ═══ WAN ═══ gateway b ── host b
//! ```

use serde_json::Value;
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
    let status = pair.a.query(&["status"]).unwrap();
    if kernel >= FAST_PATH {
        let attached = text_of(&status, "attachments", "hook", "lan_ingress", "mode");
        let expected = if kernel >= TCX { "tcx" } else { "clsact" };
        assert_eq!(attached, expected, "{status:#}");
        println!("note: attached by {attached}");
        let packets = status["sites"][0]["to_site_packets"].as_u64();
        assert!(packets.is_some_and(|count| count > 1000), "{status:#}");
    } else {
        assert_eq!(status["fast_path"], false, "{status:#}");
        let warnings = status["warnings"].to_string();
        assert!(warnings.contains("need Linux 5.12 or later"), "{warnings}");
        println!("note: no fast path, the kernel stack forwards");
    }
    for (offload, since) in [
        ("tun-tso", (2, 6)),
        ("tun-uso", TUN_USO),
        ("udp-gso", UDP_GSO),
        ("udp-gro", UDP_GRO),
    ] {
        let is_on = find(&status, "offloads", "name", offload)["on"] == true;
        assert_eq!(
            is_on,
            kernel >= since,
            "{offload} on {kernel:?}: {status:#}"
        );
        println!("note: {offload} {}", if is_on { "on" } else { "off" });
    }
    assert_eq!(
        says_udp_gro_forwarding(&pair.a),
        kernel >= UDP_GRO_FORWARDING,
        "{status:#}"
    );
}

/// Whether it joins datagrams that are only forwarded, which it says among what it changed on the host.
fn says_udp_gro_forwarding(gateway: &Crossway) -> bool {
    let status = gateway.query(&["status"]).unwrap();
    status["host_changes"]
        .to_string()
        .contains("rx-udp-gro-forwarding")
}

/// Major and minor of the running kernel.
fn kernel_version() -> (u32, u32) {
    let text = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = text.split(['.', '-']).map(|number| number.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

fn find<'a>(status: &'a Value, list: &str, key: &str, value: &str) -> &'a Value {
    let entries = status[list].as_array().unwrap();
    let found = entries.iter().find(|entry| entry[key] == value);
    found.unwrap_or_else(|| panic!("no {value} in {list}: {status:#}"))
}

fn text_of(status: &Value, list: &str, key: &str, value: &str, wanted: &str) -> String {
    let entry = find(status, list, key, value);
    entry[wanted].as_str().unwrap_or_default().to_owned()
}
