//! Both ends believe that the other has a destination: the first packet that would go back is answered, and goes no
//! further.
//!
//! ```text
//!   host a ── gateway a ═══ WAN ═══ gateway b ── host b
//!             10.0.0.0/8 is b's     10.0.0.0/8 is a's
//! ```

use std::net::IpAddr;
use std::process::Stdio;

use vm_tests::crossway;
use vm_tests::plan::{self, Shape};
use vm_tests::topology::{Builder, Family};
use vm_tests::traffic;

const PINGS: u64 = 10;

#[test]
fn a_packet_for_nobody_is_answered_at_the_first_turn() {
    let topology = Builder::new(&["a", "b"]).build().unwrap();
    let mut plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
    for plan in &mut plans {
        plan.peers[0].routes = vec!["10.0.0.0/8".to_owned(), "2001:db8::/32".to_owned()];
    }
    let gateways = crossway::start_all(&topology, &plans).unwrap();
    let [a, b] = [&topology.sites[0], &topology.sites[1]];
    traffic::exchange_both_ways(a, b, 1 << 16).unwrap();
    for (nobody, family) in [("10.99.0.1", Family::V4), ("2001:db8:99::1", Family::V6)] {
        let nobody: IpAddr = nobody.parse().unwrap();
        let before = gateways[0].site("b").unwrap();
        let turned = turned_back(&gateways[1]);
        let output = a
            .host
            .command("ping")
            .args(["-n", "-c", &PINGS.to_string(), "-i", "0.05", "-W", "2"])
            .arg(nobody.to_string())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let from = format!("From {} ", b.gateway_address(family));
        let answers = text.lines().filter(|line| line.starts_with(&from));
        let unreachable = answers.filter(|line| line.contains("nreachable"));
        assert_eq!(unreachable.count() as u64, PINGS, "{text}");
        let after = gateways[0].site("b").unwrap();
        assert_eq!(after.to_site_packets - before.to_site_packets, PINGS);
        assert_eq!(after.from_site_packets - before.from_site_packets, PINGS);
        assert_eq!(turned_back(&gateways[1]) - turned, PINGS);
        assert_eq!(turned_back(&gateways[0]), 0);
    }
    // What is for somebody goes on.
    traffic::exchange_both_ways(a, b, 1 << 16).unwrap();
}

fn turned_back(gateway: &crossway::Crossway) -> u64 {
    let drops = gateway.dropped().unwrap();
    let found = drops.iter().find(|(reason, _)| reason == "turned-back");
    found.map_or(0, |(_, packets)| *packets)
}
