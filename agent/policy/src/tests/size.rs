//! How large images become. The sizes do not depend on the machine, so they are told in the
//! documentation.

use crossway_types::prefix::Prefix;
use datapath_abi::headers::Ports;
use datapath_abi::policy::{NO_RULE, Opener};

use super::{judged, rule};
use crate::source::{Entry, List};
use crate::{Network, Policy, SiteNetwork, Source};

/// So many rules over so many prefixes of their own, as large networks have them: of sites, in
/// objects, and alone.
fn large(rules: usize, prefixes: usize) -> Policy {
    let networks: Vec<String> = (0..prefixes)
        .map(|n| match n % 4 {
            // Three of four are IPv4: blocks of a company's own range, and hosts in them.
            0 => format!("10.{}.{}.0/24", n >> 8 & 0xff, n & 0xff),
            1 => format!("10.{}.{}.{}", n >> 10 & 0xff, n >> 2 & 0xff, n % 251),
            2 => format!(
                "172.{}.{}.{}/28",
                16 + (n >> 14),
                n >> 6 & 0xff,
                (n << 2) & 0xf0
            ),
            _ => format!("2001:db8:{:x}::/48", n & 0xffff),
        })
        .collect();
    let each = prefixes / rules;
    let allow = networks.chunks(each.max(2)).take(rules);
    let allow: Vec<Entry> = allow
        .zip(1_u16..)
        .map(|(networks, port)| {
            let (from, to) = networks.split_at(networks.len() / 2);
            let [from, to] = [from, to].map(|words| words.iter().map(String::as_str).collect());
            let (from, to): (Vec<&str>, Vec<&str>) = (from, to);
            rule(&from, &to, &[&format!("tcp/{port}")])
        })
        .collect();
    let site = SiteNetwork {
        name: "paris".to_owned(),
        tags: Vec::new(),
        routes: vec!["10.0.0.0/8".parse().unwrap()],
    };
    let network = Network {
        sites: vec![site],
        own: vec!["10.255.0.1".parse().unwrap()],
    };
    let source = Source {
        allow,
        ..Source::default()
    };
    Policy::new(source, &network).unwrap().0
}

fn mebibytes(policy: &Policy) -> f64 {
    policy.image().len() as f64 * 32.0 / f64::from(1 << 20)
}

#[test]
fn an_image_grows_with_rules_and_prefixes_and_a_small_one_is_small() {
    let small = mebibytes(&large(10, 100));
    let middle = mebibytes(&large(100, 1_000));
    assert!(small < 0.2 && middle < 2.0, "{small} {middle}");
}

#[test]
fn a_set_that_many_rules_name_is_kept_once() {
    let hosts = (0..5_000_u32).map(|n| format!("10.9.{}.{}", n >> 8, n & 0xff));
    let object = List {
        name: "hosts".to_owned(),
        words: hosts.collect(),
    };
    let allow = (1..=300).map(|port| rule(&["lan"], &["hosts"], &[&format!("tcp/{port}")]));
    let policy = super::policy(Source {
        objects: vec![object],
        allow: allow.collect(),
        ..Source::default()
    });
    assert!(mebibytes(&policy) < 0.3, "{}", mebibytes(&policy));
}

/// Not a test: it prints what the documentation tells.
#[test]
#[ignore = "it measures"]
fn sizes_are_told() {
    for (rules, prefixes) in [(10, 100), (100, 1_000), (1_000, 10_000), (10_000, 100_000)] {
        let begin = crossway_sys::clock::now();
        let policy = large(rules, prefixes);
        let took = begin.elapsed();
        let size = mebibytes(&policy);
        let looks = looks(&policy);
        println!(
            "{rules} rules, {prefixes} prefixes: {size:.2} MiB in {took:?}; a look {looks} ns"
        );
    }
}

/// Nanoseconds that a look takes, of flows between the networks of the rules.
fn looks(policy: &Policy) -> u128 {
    const LOOKS: u32 = 1_000_000;
    let first = |words: &[String]| -> Option<std::net::IpAddr> {
        let prefix: Option<Prefix> = words.first().and_then(|word| word.parse().ok());
        prefix.map(|prefix| prefix.address())
    };
    let rules = policy.rules.iter();
    let ends: Vec<_> = rules
        .filter_map(|rule| Some((first(&rule.from)?, first(&rule.to)?)))
        .filter(|(from, to)| from.is_ipv4() == to.is_ipv4())
        .collect();
    let image = policy.image();
    let begin = crossway_sys::clock::now();
    let mut allowed = 0;
    for look in 0..LOOKS {
        // Far from the one before, as flows come.
        let ends = ends[look.wrapping_mul(7_919) as usize % ends.len()];
        let ports = Some(Ports::of_word(look.wrapping_mul(2_654_435_761)));
        let rule = judged(&image, ends, 6, ports, Opener::Sender);
        allowed += u32::from(rule != NO_RULE);
    }
    println!("{allowed} of {LOOKS} were allowed");
    begin.elapsed().as_nanos() / u128::from(LOOKS)
}
