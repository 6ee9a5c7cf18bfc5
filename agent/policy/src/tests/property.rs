//! Random rules and random flows: the image says what the words say.

use std::net::IpAddr;

use crossway_types::prefix::Prefix;
use datapath_abi::headers::Ports;
use datapath_abi::policy::{Line, Opener};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::naive::{Flow, Naive};
use super::{judged, list, rule};
use crate::source::{Entry, List};
use crate::{Network, Policy, SiteNetwork, Source, Stance};

const SETS: u64 = 200;
const FLOWS_OF_A_SET: usize = 500;

/// Makes rules out of few prefixes, so that they overlap.
struct Generator {
    random: StdRng,
    prefixes: Vec<Prefix>,
}

impl Generator {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let prefixes = (0..40).map(|_| prefix(&mut random)).collect();
        Self { random, prefixes }
    }

    fn several<T>(&mut self, most: usize, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let count = self.random.random_range(1..=most);
        (0..count).map(|_| make(self)).collect()
    }

    fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.random.random_range(0..choices.len())].clone()
    }

    fn prefix(&mut self) -> Prefix {
        let prefixes = self.prefixes.clone();
        self.one_of(&prefixes)
    }

    fn network(&mut self) -> Network {
        let sites = ["a", "b", "c"].map(|name| SiteNetwork {
            name: name.to_owned(),
            tags: if name == "b" {
                vec!["t".to_owned()]
            } else {
                Vec::new()
            },
            routes: self.several(5, Self::prefix),
        });
        // A route is of one site.
        let mut seen = Vec::new();
        let sites = sites.map(|mut site| {
            site.routes.retain(|route| {
                let is_new = !seen.contains(route);
                seen.push(*route);
                is_new
            });
            site
        });
        Network {
            sites: sites.into(),
            own: self.several(2, Self::address),
        }
    }

    /// On the edge of one of the prefixes, or somewhere within.
    fn address(&mut self) -> IpAddr {
        let prefix = self.prefix();
        let (first, last) = crate::area::span(&prefix);
        let number = match self.random.random_range(0..4) {
            0 => first,
            1 => last.saturating_add(1),
            2 => first.saturating_sub(1),
            _ => self.random.random_range(first..=last),
        };
        let family = crossway_types::address::Family::of(prefix.address());
        crate::area::address(family, number)
    }

    fn word(&mut self) -> String {
        let names = [
            "lan", "a", "b", "c", "tag:t", "any", "gateway", "inner", "outer",
        ];
        if self.random.random_range(0..3) == 0 {
            self.one_of(&names).to_owned()
        } else {
            self.prefix().to_string()
        }
    }

    fn port(&mut self) -> String {
        let words = [
            "tcp", "icmp", "gre", "icmpv6", "any", "own", "dns", "web", "132/9", "254", "udp",
        ];
        if self.random.random_range(0..3) == 0 {
            return self.one_of(&words).to_owned();
        }
        let protocol = self.one_of(&["tcp", "udp", "sctp"]);
        let first = self.near_port().max(1);
        match self.random.random_range(0..3) {
            0 => format!("{protocol}/{first}"),
            _ => format!("{protocol}/{first}-{}", first.max(self.near_port())),
        }
    }

    /// Ports of rules and of flows are often the same or one beside.
    fn near_port(&mut self) -> u16 {
        let some = [1, 53, 80, 255, 256, 443, 511, 512, 5060, 65_534, 65_535];
        let port = self.one_of(&some);
        self.random.random_range(port - 1..=port)
    }

    fn rule(&mut self) -> Entry {
        let from = self.several(3, Self::word);
        let to = self.several(3, Self::word);
        let ports = self.several(3, Self::port);
        Entry {
            name: None,
            from,
            to,
            ports: self.random.random::<bool>().then_some(ports),
        }
    }

    fn source(&mut self) -> Source {
        // Few have more than the 256 that one line of a row holds: a flow costs the naive way a
        // look at each.
        let most = match self.random.random_range(0..40) {
            0 => 600,
            1..20 => 3,
            _ => 30,
        };
        let inner = self.several(4, |it| it.prefix().to_string());
        let mut outer = self.several(3, |it| it.prefix().to_string());
        outer.push("inner".to_owned());
        outer.push("c".to_owned());
        Source {
            stance: Some(Stance::Closed),
            objects: vec![
                List {
                    name: "outer".to_owned(),
                    words: outer,
                },
                List {
                    name: "inner".to_owned(),
                    words: inner,
                },
            ],
            ports: vec![list("own", &["tcp/80-81", "udp", "ntp"])],
            allow: self.several(most, Self::rule),
            shadow: self.several(5, Self::rule),
            ..Source::default()
        }
    }

    fn flow(&mut self) -> Flow {
        let source = self.address();
        let destination = loop {
            let destination = self.address();
            if destination.is_ipv4() == source.is_ipv4() {
                break destination;
            }
        };
        let protocol = self.one_of(&[6, 17, 1, 58, 47, 132, 254, 255, 0]);
        let has_ports = [6, 17, 132].contains(&protocol);
        let ports = if has_ports {
            (self.near_port(), self.near_port())
        } else {
            (0, 0)
        };
        Flow {
            source,
            destination,
            protocol,
            ports: (self.random.random_range(0..10) > 0).then_some(ports),
        }
    }
}

fn prefix(random: &mut StdRng) -> Prefix {
    if random.random() {
        let bits = 0x0a00_0000 | random.random::<u32>() & 0x00ff_0f03;
        let length = random.random_range(0..=32);
        Prefix::containing(std::net::Ipv4Addr::from_bits(bits).into(), length)
    } else {
        let low = random.random::<u128>() & 0xff_0000_0000_0000_0f03;
        let bits = 0x2001_0db8_u128 << 96 | low;
        let length = random.random_range(0..=128);
        Prefix::containing(std::net::Ipv6Addr::from_bits(bits).into(), length)
    }
}

fn compare(image: &[Line], naive: &Naive<'_>, flow: &Flow) {
    let ports = flow.ports.map(|(source, destination)| {
        let ([a, b], [c, d]) = (source.to_be_bytes(), destination.to_be_bytes());
        Ports::of_word(u32::from_ne_bytes([a, b, c, d]))
    });
    for opener in [Opener::Sender, Opener::Receiver, Opener::Either] {
        let ends = (flow.source, flow.destination);
        let judged = judged(image, ends, flow.protocol, ports, opener);
        let Flow {
            source,
            destination,
            protocol,
            ports,
        } = flow;
        assert_eq!(
            judged,
            naive.judge(flow, opener),
            "{source} to {destination}, {protocol} {ports:?}, {opener:?}"
        );
    }
}

#[test]
fn the_image_says_of_100_000_random_flows_what_the_words_say() {
    for seed in 0..SETS {
        let mut generator = Generator::new(seed);
        let network = generator.network();
        let source = generator.source();
        let understood = Policy::new(source.clone(), &network);
        let (policy, _) = understood.unwrap_or_else(|faults| panic!("seed {seed}: {faults:?}"));
        let active = Naive::new(&source, &source.allow, &network);
        let shadow = Naive::new(&source, &source.shadow, &network);
        let (image, tried) = (policy.image(), policy.shadow_image().unwrap());
        for _ in 0..FLOWS_OF_A_SET {
            let flow = generator.flow();
            compare(&image, &active, &flow);
            compare(&tried, &shadow, &flow);
        }
    }
}

#[test]
fn a_rule_behind_256_others_is_found() {
    let mut allow: Vec<Entry> = (0..700)
        .map(|n: u16| {
            let address = format!("10.9.{}.{}", n >> 8, n & 255);
            rule(&["lan"], &[&address], &["tcp/443"])
        })
        .collect();
    allow.push(rule(&["lan"], &["10.9.0.0/16"], &["udp"]));
    let policy = super::of_rules(allow);
    let ask =
        |to: &str, protocol| super::ask(&policy.image(), ("192.168.0.1", to, protocol, Some(443)));
    assert_eq!(ask("10.9.2.187", 6), 699);
    assert_eq!(ask("10.9.2.188", 6), u32::MAX);
    assert_eq!(ask("10.9.2.188", 17), 700);
}
