//! What is proven of rules, against every address and port at which anything changes.

use std::net::IpAddr;

use crossway_types::protocol;
use datapath_abi::policy::{NO_RULE, Opener};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::naive::{Flow, Naive};
use super::{network, rule};
use crate::source::{Entry, Key, Place, Table};
use crate::{Network, Policy, Source, Stance};

/// What is said of the rules of a policy, each finding a line.
fn said(source: &Source) -> String {
    let faults = match Policy::new(source.clone(), &network()) {
        Ok((_, warnings)) => warnings,
        Err(faults) => faults,
    };
    let line = |fault: &crate::Fault| {
        let table = fault.place.table.as_str();
        format!("{table} #{}: {}", fault.place.entry + 1, fault.problem)
    };
    let lines: Vec<String> = faults.iter().map(line).collect();
    lines.join("\n")
}

fn claims(allow: &[Entry], never: &[Entry], expect: &[Entry]) -> String {
    said(&Source {
        allow: allow.to_vec(),
        never: never.to_vec(),
        expect: expect.to_vec(),
        ..Source::default()
    })
}

#[test]
fn what_must_never_pass_is_found_in_the_rule_that_lets_it_pass() {
    let rules = [
        rule(&["lan"], &["paris"], &["tcp/443"]),
        rule(&["10.9.0.0/16"], &["europe", "rome"], &["tcp/1-1024"]),
    ];
    let never = |from, to, ports: &[&str]| claims(&rules, &[rule(&[from], &[to], ports)], &[]);
    assert_eq!(never("lan", "paris", &["tcp/80", "udp"]), "");
    assert_eq!(
        never("192.168.7.0/24", "10.2.0.128/25", &[]),
        "never #1: allow #1 allows 192.168.7.1 → 10.2.0.129 tcp/443"
    );
    assert_eq!(
        never("any", "2001:db8:2::5", &["web"]),
        "never #1: allow #1 allows 2000::1 → 2001:db8:2::5 tcp/443"
    );
    assert_eq!(
        never("europe", "tag:dmz", &["tcp/1024-1030"]),
        "never #1: allow #2 allows 10.9.0.1 → 10.3.0.1 tcp/1024"
    );
    assert_eq!(never("rome", "any", &[]), "");
    assert_eq!(
        never("gateway", "any", &[]),
        "never #1: it is about nothing"
    );
    assert_eq!(
        claims(&[], &[rule(&["lan"], &["paris"], &["gre"])], &[]),
        "never #1: the policy is open, which allows 172.16.0.1 → 10.2.0.1 gre"
    );
}

#[test]
fn what_must_pass_is_put_together_from_several_rules() {
    let rules = [
        rule(&["10.9.0.0/17"], &["paris"], &["tcp/1-500"]),
        rule(&["10.9.128.0/17"], &["paris"], &["tcp"]),
        rule(&["10.9.0.0/16"], &["10.2.0.0/25"], &["tcp/501-1000"]),
        rule(&["10.0.0.0/8"], &["10.2.0.128/25"], &["tcp/501-1000"]),
    ];
    let expect = |from, to, ports: &[&str]| claims(&rules, &[], &[rule(&[from], &[to], ports)]);
    assert_eq!(expect("10.9.0.0/16", "10.2.0.0/24", &["tcp/1-1000"]), "");
    assert_eq!(
        expect("10.9.0.0/16", "10.2.0.0/24", &["tcp/1-1001"]),
        "expect #1: no rule allows 10.9.0.0 → 10.2.0.0 tcp/1001"
    );
    assert_eq!(expect("10.8.0.0/15", "10.2.0.128/25", &["tcp/501"]), "");
    assert_eq!(
        expect("10.8.0.0/15", "10.2.0.64/26", &["tcp/501"]),
        "expect #1: no rule allows 10.8.0.0 → 10.2.0.64 tcp/501"
    );
    assert_eq!(
        expect("10.9.0.0/16", "paris", &["tcp/1-1000"]),
        "",
        "there are no addresses of IPv6 on the one side"
    );
    assert_eq!(
        expect("gateway", "any", &[]),
        "expect #1: it is about nothing"
    );
    assert_eq!(claims(&[], &[], &[rule(&["any"], &["any"], &[])]), "");
}

#[test]
fn a_claim_that_shadow_rules_would_break_is_a_warning() {
    let source = |shadow: Entry| Source {
        stance: Some(Stance::Open),
        shadow: vec![shadow],
        expect: vec![rule(&["lan"], &["paris"], &["tcp/443"])],
        ..Source::default()
    };
    let kept = source(rule(&["lan"], &["paris"], &["tcp"]));
    assert_eq!(said(&kept), "");
    let broken = source(rule(&["lan"], &["paris"], &["tcp/80"]));
    assert_eq!(
        said(&broken),
        "expect #1: no shadow rule allows 172.16.0.0 → 10.2.0.0 tcp/443"
    );
    let (_, warnings) = Policy::new(broken, &network()).unwrap();
    assert_eq!(
        warnings[0].mend,
        "widen a rule, or narrow this, before the shadow rules become the active ones"
    );
}

#[test]
fn every_rule_for_icmp_is_for_that_of_the_family() {
    let rules = [rule(&["any"], &["any"], &["icmp"])];
    let v4 = [rule(&["10.1.0.0/16"], &["paris"], &["1"])];
    let v6 = [rule(&["2001:db8::/32"], &["paris"], &["icmpv6"])];
    assert_eq!(claims(&rules, &[], &v4), "");
    assert_eq!(claims(&rules, &[], &v6), "");
}

/// Few prefixes and ports, so that rules meet.
struct Small(StdRng);

impl Small {
    fn word(&mut self) -> String {
        let words = [
            "10.9.0.0/30",
            "10.9.0.0/31",
            "10.9.0.2/31",
            "10.9.0.1",
            "10.9.0.3",
            "10.9.0.4/30",
            "paris",
            "lan",
            "tag:ci",
            "2001:db8:2::/127",
            "2001:db8:2::1",
            "any",
        ];
        // The wide ones are few.
        let count = if self.0.random_range(0..4) == 0 {
            12
        } else {
            6
        };
        words[self.0.random_range(0..count)].to_owned()
    }

    fn entry(&mut self) -> Entry {
        let ports = ["tcp/1-3", "tcp/4-5", "tcp/2", "udp", "tcp", "icmp", "any"];
        let several = |it: &mut Self| (0..it.0.random_range(1..3)).map(|_| it.word()).collect();
        let from = several(self);
        let to = several(self);
        let count = self.0.random_range(1..3);
        let ports = (0..count).map(|_| ports[self.0.random_range(0..7)].to_owned());
        Entry {
            name: None,
            from,
            to,
            ports: Some(ports.collect()),
        }
    }
}

/// Where anything of those words begins or ends.
fn edges() -> Vec<Flow> {
    let v4 = [
        "0.0.0.0", "10.2.0.0", "10.3.0.0", "10.9.0.0", "10.9.0.1", "10.9.0.2", "10.9.0.3",
        "10.9.0.4", "10.9.0.8",
    ];
    let v6 = ["::", "2001:db8:2::", "2001:db8:2::1", "2001:db8:2::2"];
    let ports = [
        (6, 0),
        (6, 1),
        (6, 2),
        (6, 3),
        (6, 4),
        (6, 6),
        (17, 0),
        (1, 0),
        (58, 0),
        (47, 0),
    ];
    let parse = |texts: &[&str]| -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    };
    let mut flows = Vec::new();
    for (addresses, foreign) in [(parse(&v4), 58), (parse(&v6), 1)] {
        for source in &addresses {
            for destination in &addresses {
                let ports = ports.iter().filter(|(protocol, _)| *protocol != foreign);
                flows.extend(ports.map(|(protocol, port)| Flow {
                    source: *source,
                    destination: *destination,
                    protocol: *protocol,
                    ports: Some((0, *port)),
                }));
            }
        }
    }
    flows
}

#[test]
fn a_proof_finds_what_trying_every_flow_finds() {
    let network = Network {
        own: Vec::new(),
        ..network()
    };
    let edges = edges();
    let (mut broken, mut kept) = ([0, 0], [0, 0]);
    for seed in 0..400 {
        let mut random = Small(StdRng::seed_from_u64(seed));
        let count = random.0.random_range(1..8);
        let source = Source {
            stance: Some(Stance::Closed),
            allow: (0..count).map(|_| random.entry()).collect(),
            never: vec![random.entry()],
            expect: vec![random.entry()],
            ..Source::default()
        };
        let rules = Naive::new(&source, &source.allow, &network);
        let faults = match Policy::new(source.clone(), &network) {
            Ok((_, faults)) | Err(faults) => faults,
        };
        let claims = [
            (Table::Never, &source.never),
            (Table::Expect, &source.expect),
        ];
        for (kind, (table, claim)) in claims.into_iter().enumerate() {
            let claim = Naive::new(&source, claim, &network);
            let mut claimed = edges
                .iter()
                .filter(|flow| claim.judge(flow, Opener::Sender) != NO_RULE);
            let is_empty = claimed.clone().next().is_none();
            let is_wrong = claimed.any(|flow| {
                let is_allowed = rules.judge(flow, Opener::Sender) != NO_RULE;
                is_allowed == (table == Table::Never)
            });
            let place = Place::of(table, 0);
            let found = faults
                .iter()
                .find(|fault| fault.place == place && !fault.is_warning);
            let is_found = found.is_some_and(|fault| !fault.problem.contains("about nothing"));
            assert_eq!(is_found, is_wrong, "seed {seed}: {source:?}\n{found:?}");
            if let Some(fault) = found.filter(|_| !is_empty) {
                let flow = example(&fault.problem);
                assert_ne!(claim.judge(&flow, Opener::Sender), NO_RULE, "{fault:?}");
                let is_allowed = rules.judge(&flow, Opener::Sender) != NO_RULE;
                assert_eq!(is_allowed, table == Table::Never, "{fault:?}");
                broken[kind] += 1;
            } else {
                kept[kind] += 1;
            }
        }
    }
    let enough = broken.iter().chain(&kept).all(|count| *count > 40);
    assert!(enough, "{broken:?} were broken, {kept:?} kept");
}

/// The flow that a counter-example names: `no rule allows 10.9.0.1 → 10.2.0.1 tcp/443`.
fn example(problem: &str) -> Flow {
    let (before, behind) = problem.split_once(" → ").unwrap();
    let source = before.rsplit(' ').next().unwrap().parse().unwrap();
    let (destination, port) = behind.split_once(' ').unwrap();
    let (name, port) = port.split_once('/').unwrap_or((port, "0"));
    Flow {
        source,
        destination: destination.parse().unwrap(),
        protocol: protocol::number(name).unwrap(),
        ports: Some((0, port.parse().unwrap())),
    }
}

#[test]
fn a_failed_proof_names_its_entry() {
    let source = Source {
        allow: vec![rule(&["lan"], &["paris"], &[])],
        never: vec![
            rule(&["rome"], &["paris"], &[]),
            rule(&["lan"], &["paris"], &[]),
        ],
        ..Source::default()
    };
    let faults = Policy::new(source, &network()).unwrap_err();
    let place = Place {
        table: Table::Never,
        entry: 1,
        key: Key::Whole,
        word: None,
    };
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].place, place);
    assert_eq!(faults[0].mend, "narrow the rule, or this");
}
