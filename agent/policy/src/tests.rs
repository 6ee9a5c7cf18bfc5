//! Rules in words against the image that is made of them, and what is proven of them.

mod faults;
mod naive;
mod proofs;
mod property;
mod size;

use std::net::IpAddr;

use datapath_abi::address;
use datapath_abi::headers::{Family, Ports};
use datapath_abi::policy::{Line, NO_RULE, OPEN, Opener, Question, judge};

use super::source::{Entry, List};
use super::{Network, Policy, SiteNetwork, Source, Stance};

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn list(name: &str, list: &[&str]) -> List {
    List {
        name: name.to_owned(),
        words: words(list),
    }
}

/// A rule; without ports for any.
fn rule(from: &[&str], to: &[&str], ports: &[&str]) -> Entry {
    Entry {
        name: None,
        from: words(from),
        to: words(to),
        ports: (!ports.is_empty()).then(|| words(ports)),
    }
}

fn site(name: &str, tags: &[&str], routes: &[&str]) -> SiteNetwork {
    SiteNetwork {
        name: name.to_owned(),
        tags: words(tags),
        routes: routes.iter().map(|route| route.parse().unwrap()).collect(),
    }
}

/// Berlin's, with three sites.
fn network() -> Network {
    Network {
        sites: vec![
            site("paris", &["ci"], &["10.2.0.0/24", "2001:db8:2::/48"]),
            site("rome", &["ci", "dmz"], &["10.3.0.0/24"]),
            site("europe", &[], &["10.0.0.0/8"]),
        ],
        own: vec!["10.255.0.1".parse().unwrap()],
    }
}

fn policy(source: Source) -> Policy {
    let understood = Policy::new(source, &network());
    understood.unwrap_or_else(|faults| panic!("{faults:?}")).0
}

fn of_rules(allow: Vec<Entry>) -> Policy {
    policy(Source {
        allow,
        ..Source::default()
    })
}

/// `from`, `to`, protocol and port; no port for a later fragment.
type Asked<'a> = (&'a str, &'a str, u8, Option<u16>);

fn ask(image: &[Line], (from, to, protocol, port): Asked<'_>) -> u32 {
    let ports = port.map(|port| {
        let [high, low] = port.to_be_bytes();
        Ports::of_word(u32::from_ne_bytes([0xc0, 0, high, low]))
    });
    let (source, destination) = (from.parse().unwrap(), to.parse().unwrap());
    let flow = (source, destination);
    judged(image, flow, protocol, ports, Opener::Sender)
}

fn judged(
    image: &[Line],
    (source, destination): (IpAddr, IpAddr),
    protocol: u8,
    ports: Option<Ports>,
    opener: Opener,
) -> u32 {
    let question = Question {
        vnet: 0,
        family: if source.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        },
        source: &in_words(source),
        destination: &in_words(destination),
        protocol,
        ports,
        opener,
    };
    judge(image, &question)
}

fn in_words(address: IpAddr) -> address::Address {
    match address {
        IpAddr::V4(v4) => address::mapped(v4.octets()),
        IpAddr::V6(v6) => address::from_bytes(v6.octets()),
    }
}

#[test]
fn without_rules_everything_passes_and_with_one_nothing_else_does() {
    let open = Policy::default();
    assert!(open.is_open() && open.rules.is_empty());
    let flow = ("10.1.0.1", "10.2.0.1", 6, Some(443));
    assert_eq!(ask(&open.image(), flow), OPEN);
    let closed = of_rules(vec![rule(&["lan"], &["rome"], &[])]);
    assert!(!closed.is_open());
    assert_eq!(ask(&closed.image(), flow), NO_RULE);
    let empty = policy(Source {
        stance: Some(Stance::Closed),
        ..Source::default()
    });
    assert_eq!(ask(&empty.image(), flow), NO_RULE);
    assert_eq!(empty.rules.len(), 1, "what the gateway opens");
}

#[test]
fn names_stand_for_the_addresses_that_routes_lead_to() {
    let policy = of_rules(vec![
        rule(&["lan"], &["paris"], &["tcp/443"]),
        rule(&["tag:ci"], &["europe"], &["udp/5060-5061"]),
        rule(&["any"], &["gateway"], &["icmp"]),
    ]);
    let image = policy.image();
    let cases = [
        (("192.168.0.1", "10.2.0.9", 6, Some(443)), 0),
        (("192.168.0.1", "10.2.0.9", 6, Some(444)), NO_RULE),
        (("192.168.0.1", "10.2.0.9", 17, Some(443)), NO_RULE),
        // Of Europe, which has the shorter prefix.
        (("10.1.0.1", "10.2.0.9", 6, Some(443)), NO_RULE),
        (("192.168.0.1", "10.2.1.9", 6, Some(443)), NO_RULE),
        (("2001:db8:1::1", "2001:db8:2::9", 6, Some(443)), 0),
        (("10.2.0.1", "10.9.0.1", 17, Some(5060)), 1),
        (("10.3.0.1", "10.9.0.1", 17, Some(5061)), 1),
        (("10.3.0.1", "10.9.0.1", 17, Some(5062)), NO_RULE),
        // Paris is not of Europe, though Europe's route holds it.
        (("10.3.0.1", "10.2.0.1", 17, Some(5061)), NO_RULE),
        (("10.9.0.1", "10.255.0.1", 1, Some(0)), 2),
        (("10.9.0.1", "10.255.0.1", 6, Some(22)), NO_RULE),
        // A later fragment is judged by its protocol alone.
        (("192.168.0.1", "10.2.0.9", 6, None), 0),
        (("192.168.0.1", "10.2.0.9", 17, None), NO_RULE),
        (("10.255.0.1", "10.9.0.1", 47, Some(0)), 3),
    ];
    for (flow, expected) in cases {
        assert_eq!(ask(&image, flow), expected, "{flow:?}");
    }
    assert!(policy.rules[3].is_implicit);
    let names: Vec<&str> = policy.rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(names, ["allow #1", "allow #2", "allow #3", "gateway"]);
}

#[test]
fn objects_and_groups_hold_others() {
    let policy = policy(Source {
        objects: vec![
            list("all", &["servers", "tag:dmz"]),
            list("servers", &["10.9.0.0/28", "10.9.1.5", "paris"]),
        ],
        ports: vec![list("erp", &["tcp/8000-8010", "web"])],
        allow: vec![rule(&["lan"], &["all"], &["erp", "ad-core"])],
        ..Source::default()
    });
    let image = policy.image();
    let lan = "192.168.0.1";
    for to in ["10.9.0.15", "10.9.1.5", "10.2.0.1", "10.3.0.7"] {
        for port in [80, 8005, 443, 88, 3268, 49_152] {
            assert_eq!(ask(&image, (lan, to, 6, Some(port))), 0, "{to} {port}");
        }
        assert_eq!(ask(&image, (lan, to, 6, Some(22))), NO_RULE);
    }
    assert_eq!(ask(&image, (lan, "10.9.0.16", 6, Some(80))), NO_RULE);
}

#[test]
fn shadow_rules_are_an_image_of_their_own() {
    let policy = policy(Source {
        stance: Some(Stance::Open),
        shadow: vec![rule(&["lan"], &["paris"], &[])],
        ..Source::default()
    });
    let shadow = policy.shadow_image().unwrap();
    let flow = ("192.168.0.1", "10.2.0.1", 6, Some(1));
    assert_eq!(ask(&policy.image(), flow), OPEN);
    assert_eq!(ask(&shadow, flow), 0);
    let back = ("10.2.0.1", "192.168.0.1", 6, Some(1));
    assert_eq!(ask(&shadow, back), NO_RULE);
    assert_eq!(policy.shadow.len(), 2);
    assert_eq!(policy.shadow[0].name, "shadow #1");
}
