//! `status` names chains of the host's nftables that would drop what the kernel stack must carry, however they were
//! written.
//!
//! ```text
//!   host a ── gateway a with chains of all kinds ═══ WAN ═══ gateway b ── host b
//! ```

use std::fmt::Debug;
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
        // From another state, so that what is seen is of these rules.
        let (before, warned) = if expected.is_empty() {
            (POLICY, vec![&from_lan, &to_lan])
        } else {
            (CHAIN, vec![])
        };
        set(netns, &[before.to_owned()]);
        assert_warns_of(gateway, &[before], &warned);
        set(netns, &rules);
        assert_warns_of(gateway, &rules, &expected);
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

/// Each change is made when the one before was seen: who only looks every few seconds is late.
#[test]
fn a_change_is_followed_at_once() {
    const CHANGES: usize = 12;
    let (topology, gateways) = two_sites();
    let (gateway, netns) = (&gateways[0], &topology.sites[0].gateway);
    let deadline = wait::now() + 2 * LIMIT;
    for number in 0..CHANGES {
        let drops = number % 2 == 0;
        let policy = if drops { POLICY } else { CHAIN };
        set(netns, &[policy.to_owned()]);
        let left = deadline.saturating_duration_since(wait::now());
        let seen = wait::until("the change to be seen", left, || {
            (firewall_warnings(gateway).is_empty() != drops).then_some(())
        });
        assert!(
            seen.is_ok(),
            "{number} of {CHANGES} changes were seen in time"
        );
    }
}

#[test]
fn chains_of_the_older_iptables_that_drop_are_named_and_others_are_not() {
    let (topology, gateways) = two_sites();
    let (gateway, netns) = (&gateways[0], &topology.sites[0].gateway);
    let tun = gateway.status().unwrap().tun.name;
    if netns.run("iptables-legacy -w -S FORWARD").is_err() {
        println!("note: no iptables-legacy here");
        return;
    }
    let dropped = |table: &str, from: &str, to: &str| {
        format!("iptables-legacy chain {table} FORWARD (IPv4) drops packets from {from} to {to}")
    };
    let both = |table: &str| vec![dropped(table, "lan0", &tun), dropped(table, &tun, "lan0")];
    let invalid = "iptables-legacy chain filter FORWARD (IPv4) drops what conntrack calls invalid";
    let in_ipv6 = format!("chain filter FORWARD (IPv6) drops packets from lan0 to {tun}");
    for (rules, expected) in [
        (vec!["iptables-legacy -P FORWARD ACCEPT"], vec![]),
        (vec!["iptables-legacy -P FORWARD DROP"], both("filter")),
        (
            vec!["iptables-legacy -t mangle -A FORWARD -j DROP"],
            both("mangle"),
        ),
        (
            vec![
                "iptables-legacy -P FORWARD DROP",
                "iptables-legacy -A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
                "iptables-legacy -A FORWARD -i lan+ -j ACCEPT",
            ],
            vec![dropped("filter", &tun, "lan0")],
        ),
        (
            vec![
                "iptables-legacy -P FORWARD DROP",
                "iptables-legacy -N ours",
                "iptables-legacy -N others",
                "iptables-legacy -A others -i eth9 -j ACCEPT",
                "iptables-legacy -A ours -o lan0 -j ACCEPT",
                "iptables-legacy -A ours ! -i cw+ -j ACCEPT",
                "iptables-legacy -A FORWARD -j others",
                "iptables-legacy -A FORWARD -g ours",
            ],
            vec![],
        ),
        (
            vec![
                "iptables-legacy -P FORWARD DROP",
                "iptables-legacy -A FORWARD -s 10.2.0.0/24 -j ACCEPT",
                "iptables-legacy -A FORWARD -d 10.2.0.0/24 -j ACCEPT",
            ],
            vec![],
        ),
        (
            vec!["iptables-legacy -A FORWARD -m conntrack --ctstate INVALID -j DROP"],
            vec![invalid.to_owned()],
        ),
        (
            vec![
                "iptables-legacy -A FORWARD -m conntrack --ctstate INVALID -j DROP",
                "iptables-legacy -t raw -A PREROUTING -s 10.0.0.0/8 -d 10.0.0.0/8 -j CT --notrack",
            ],
            vec![],
        ),
        (
            vec!["ip6tables-legacy -A FORWARD -i lan0 -j REJECT"],
            vec![in_ipv6],
        ),
    ] {
        for program in ["iptables-legacy", "ip6tables-legacy"] {
            netns
                .run(&format!("{program} -w -P FORWARD ACCEPT"))
                .unwrap();
            for table in ["filter", "mangle", "raw"] {
                netns.run(&format!("{program} -w -t {table} -F")).unwrap();
                netns.run(&format!("{program} -w -t {table} -X")).unwrap();
            }
        }
        for line in &rules {
            netns.run(line).unwrap();
        }
        assert_warns_of(gateway, &rules, &expected);
    }
}

/// Waits until the gateway warns of the `expected`, and of nothing else.
fn assert_warns_of(gateway: &Crossway, rules: &[impl Debug], expected: &[impl AsRef<str>]) {
    let found = wait::until("the warnings", LIMIT, || {
        let found = firewall_warnings(gateway);
        let is_there = |line: &str| found.iter().any(|found| found.contains(line));
        let fits =
            found.len() == expected.len() && expected.iter().all(|line| is_there(line.as_ref()));
        fits.then_some(())
    });
    assert!(found.is_ok(), "{rules:?}: {:?}", firewall_warnings(gateway));
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
    let is_of_chains =
        |line: &String| line.contains("nftables chain") || line.contains("iptables-legacy chain");
    warnings.into_iter().filter(is_of_chains).collect()
}

fn two_sites() -> (Topology, Vec<Crossway>) {
    let topology = Builder::new(&["a", "b"]).build().unwrap();
    let plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
    let gateways = crossway::start_all(&topology, &plans).unwrap();
    (topology, gateways)
}
