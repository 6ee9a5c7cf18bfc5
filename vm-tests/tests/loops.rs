//! Both ends believe that the other has a destination: the first packet that would go back is answered, and goes no
//! further.
//!
//! ```text
//!   host a ── gateway a ═══ WAN ═══ gateway b ── host b
//!             10.0.0.0/8 is b's     10.0.0.0/8 is a's
//! ```

use std::net::IpAddr;
use std::process::Stdio;

use vm_tests::crossway::{self, Crossway};
use vm_tests::netns::Netns;
use vm_tests::plan::{self, Shape};
use vm_tests::topology::{Builder, Family, Topology};
use vm_tests::traffic;

const PINGS: u64 = 10;

/// Each routes far more to the other than that one has.
fn sites_with_wide_routes() -> (Topology, Vec<Crossway>) {
    let topology = Builder::new(&["a", "b"]).build().unwrap();
    let mut plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
    for plan in &mut plans {
        plan.peers[0].routes = vec!["10.0.0.0/8".to_owned(), "2001:db8::/32".to_owned()];
    }
    let gateways = crossway::start_all(&topology, &plans).unwrap();
    (topology, gateways)
}

#[test]
fn a_packet_for_nobody_is_answered_at_the_first_turn() {
    let (topology, gateways) = sites_with_wide_routes();
    let [a, b] = [&topology.sites[0], &topology.sites[1]];
    traffic::exchange_both_ways(a, b, 1 << 16).unwrap();
    for (nobody, family) in [("10.99.0.1", Family::V4), ("2001:db8:99::1", Family::V6)] {
        let nobody: IpAddr = nobody.parse().unwrap();
        let before = gateways[0].site("b").unwrap();
        let turned = turned_back(&gateways[1]);
        let text = pinged(&a.host, &[], &nobody.to_string());
        let by = [b.gateway_address(family)];
        assert_eq!(answers(&text, &by), PINGS, "{text}");
        let after = gateways[0].site("b").unwrap();
        assert_eq!(after.to_site_packets - before.to_site_packets, PINGS);
        assert_eq!(after.from_site_packets - before.from_site_packets, PINGS);
        assert_eq!(turned_back(&gateways[1]) - turned, PINGS);
        assert_eq!(turned_back(&gateways[0]), 0);
    }
    // What is for somebody goes on.
    traffic::exchange_both_ways(a, b, 1 << 16).unwrap();
}

/// Record route: a router must look at each of these packets.
#[test]
fn a_packet_with_options_for_nobody_is_answered_at_the_first_turn() {
    let (topology, gateways) = sites_with_wide_routes();
    let [a, b] = [&topology.sites[0], &topology.sites[1]];
    traffic::exchange_both_ways(a, b, 1 << 16).unwrap();
    let before = gateways[0].site("b").unwrap();
    let text = pinged(&a.host, &["-R"], "10.99.0.1");
    assert_eq!(
        answers(&text, &[b.gateway_address(Family::V4)]),
        PINGS,
        "{text}"
    );
    let after = gateways[0].site("b").unwrap();
    assert_eq!(after.to_site_packets - before.to_site_packets, PINGS);
    assert_eq!(after.from_site_packets - before.from_site_packets, PINGS);
    assert_eq!(turned_back(&gateways[1]), PINGS);
    assert_eq!(turned_back(&gateways[0]), 0);
    // To a host that is there they pass, both ways.
    let there = b.host_address(Family::V4).to_string();
    let text = pinged(&a.host, &["-R"], &there);
    assert_eq!(
        traffic::replies_in(&text).unwrap().received,
        PINGS as u32,
        "{text}"
    );
}

/// ```text
///   host b ── gateway b ═══ hub a ═══ gateway c ── host c
///             10.0.0.0/8     10.2.0.0/16 is b's, 10.3.0.0/16 is c's
/// ```
#[test]
fn a_hub_without_the_fast_path_answers_what_would_go_back_to_its_site() {
    let topology = Builder::new(&["a", "b", "c"]).build().unwrap();
    let mut plans = plan::plan(&topology, Shape::Hub, Family::V4).unwrap();
    plan::give_tunnel_addresses(&topology, &mut plans);
    for plan in &mut plans {
        plan.configure(|config| config.gateway.fast_path = false);
        for peer in &mut plan.peers {
            peer.routes = match peer.site.as_str() {
                "a" => ["10.0.0.0/8", "2001:db8::/32"].as_slice(),
                "b" => &["10.2.0.0/16", "10.255.0.2/32", "2001:db8:2::/48"],
                _ => &["10.3.0.0/16", "10.255.0.3/32", "2001:db8:3::/48"],
            }
            .iter()
            .map(ToString::to_string)
            .collect();
        }
    }
    let _gateways = crossway::start_all(&topology, &plans).unwrap();
    let [a, b, c] = [0, 1, 2].map(|at| &topology.sites[at]);
    for (options, nobody, family) in [
        (&[][..], "10.2.99.1", Family::V4),
        (&["-R"], "10.2.99.1", Family::V4),
        (&[], "2001:db8:2:99::1", Family::V6),
    ] {
        let hub = [a.gateway_address(family), a.tunnel_address(family)];
        let text = pinged(&b.host, options, nobody);
        // The kernel limits how many it gives to one host (`icmp_ratelimit`).
        let all = text
            .lines()
            .filter(|line| line.starts_with("From "))
            .count();
        assert!(all > 0, "{text}");
        assert_eq!(answers(&text, &hub), all as u64, "{text}");
    }
    // On to another site is no way back.
    for (target, family) in [
        (c, Family::V4),
        (c, Family::V6),
        (a, Family::V4),
        (a, Family::V6),
    ] {
        let there = target.host_address(family).to_string();
        let text = pinged(&b.host, &[], &there);
        assert_eq!(
            traffic::replies_in(&text).unwrap().received,
            PINGS as u32,
            "{text}"
        );
    }
}

fn pinged(from: &Netns, more: &[&str], to: &str) -> String {
    let output = from
        .command("ping")
        .args(["-n", "-c", &PINGS.to_string(), "-i", "0.05", "-W", "2"])
        .args(more)
        .arg(to)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// How many pings were answered with "unreachable" by one of these.
fn answers(text: &str, by: &[IpAddr]) -> u64 {
    let is_from = |line: &str| by.iter().any(|by| line.starts_with(&format!("From {by} ")));
    let answers = text.lines().filter(|line| is_from(line));
    answers.filter(|line| line.contains("nreachable")).count() as u64
}

fn turned_back(gateway: &crossway::Crossway) -> u64 {
    let drops = gateway.dropped().unwrap();
    let found = drops.iter().find(|(reason, _)| reason == "turned-back");
    found.map_or(0, |(_, packets)| *packets)
}
