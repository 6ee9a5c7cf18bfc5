//! `status` names chains of the host's nftables that would drop what the kernel stack must carry, however they were
//! written.
//!
//! ```text
//!   host a ── gateway a with chains of all kinds ═══ WAN ═══ gateway b ── host b
//! ```

use std::time::Duration;

use vm_tests::crossway::{self, Crossway};
use vm_tests::netns::Netns;
use vm_tests::plan::{self, Shape};
use vm_tests::topology::{Builder, Family, Topology};
use vm_tests::wait;

const LIMIT: Duration = Duration::from_secs(10);
const CHAIN: &str = "nft add chain inet beside forward { type filter hook forward priority 0 ; }";
const POLICY: &str =
    "nft add chain inet beside forward { type filter hook forward priority 0 ; policy drop ; }";

#[test]
fn chains_that_drop_are_named_and_others_are_not() {
    let (topology, gateways) = two_sites();
    let (gateway, netns) = (&gateways[0], &topology.sites[0].gateway);
    let tun = gateway.status().unwrap().tun.name;
    let from_lan = format!("inet beside forward drops packets from lan0 to {tun}");
    let to_lan = format!("inet beside forward drops packets from {tun} to lan0");
    let invalid = "inet beside forward drops what conntrack calls invalid".to_owned();
    for (rules, expected) in [
        (vec![CHAIN.to_owned()], vec![]),
        (
            vec![CHAIN.to_owned(), rule("ct state invalid counter drop")],
            vec![&invalid],
        ),
        (
            vec![
                CHAIN.to_owned(),
                rule("ct state vmap { established : accept , related : accept , invalid : drop }"),
            ],
            vec![&invalid],
        ),
        (
            vec![
                POLICY.to_owned(),
                rule("ct state { established , related } accept"),
            ],
            vec![&from_lan, &to_lan],
        ),
        (
            vec![
                POLICY.to_owned(),
                rule("ct state established,related accept"),
                rule("iifname lan0 accept"),
            ],
            vec![&to_lan],
        ),
        (
            vec![
                POLICY.to_owned(),
                rule("iifname { lan0 , cw-* } counter accept"),
            ],
            vec![],
        ),
        (
            vec![
                POLICY.to_owned(),
                rule("iifname lan0 accept"),
                rule("ip saddr 10.2.0.0/24 accept"),
            ],
            vec![],
        ),
        (
            vec![
                CHAIN.to_owned(),
                rule("ct state invalid drop"),
                "nft add chain inet beside raw { type filter hook prerouting priority -300 ; }"
                    .to_owned(),
                "nft add rule inet beside raw ip saddr 10.0.0.0/8 ip daddr 10.0.0.0/8 notrack"
                    .to_owned(),
            ],
            vec![],
        ),
    ] {
        set(netns, &rules);
        let found = wait::until("the warnings", LIMIT, || {
            let found = firewall_warnings(gateway);
            let fits = found.len() == expected.len()
                && expected
                    .iter()
                    .all(|line| found.iter().any(|found| found.contains(line.as_str())));
            fits.then_some(())
        });
        assert!(found.is_ok(), "{rules:?}: {:?}", firewall_warnings(gateway));
    }
}

#[test]
fn what_iptables_wrote_is_named_as_well() {
    let (topology, gateways) = two_sites();
    let (gateway, netns) = (&gateways[0], &topology.sites[0].gateway);
    if netns
        .run("iptables-nft -w -A FORWARD -m conntrack --ctstate INVALID -j DROP")
        .is_err()
    {
        println!("note: no iptables-nft here");
        return;
    }
    let found = wait::until("the warning", LIMIT, || {
        firewall_warnings(gateway)
            .into_iter()
            .find(|line| line.contains("ip filter FORWARD drops what conntrack calls invalid"))
    });
    found.unwrap();
}

fn rule(rule: &str) -> String {
    format!("nft add rule inet beside forward {rule}")
}

fn set(netns: &Netns, rules: &[String]) {
    netns.run("nft flush ruleset").unwrap();
    netns.run("nft add table inet beside").unwrap();
    for line in rules {
        netns.run(line).unwrap();
    }
}

fn firewall_warnings(gateway: &Crossway) -> Vec<String> {
    let warnings = gateway.status().unwrap().warnings;
    let is_of_chains = |line: &String| line.contains("nftables chain");
    warnings.into_iter().filter(is_of_chains).collect()
}

fn two_sites() -> (Topology, Vec<Crossway>) {
    let topology = Builder::new(&["a", "b"]).build().unwrap();
    let plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
    let gateways = crossway::start_all(&topology, &plans).unwrap();
    (topology, gateways)
}
