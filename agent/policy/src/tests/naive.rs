//! Rules as a reader understands them: each word is asked for each flow. Slow, and nothing in
//! common with the compiler.

use std::collections::HashMap;
use std::net::IpAddr;

use crossway_types::prefix::Prefix;
use crossway_types::protocol;
use datapath_abi::policy::{NO_RULE, Opener};

use crate::ports::BUILT_IN;
use crate::source::{Entry, List};
use crate::{Network, Source};

pub(super) struct Naive<'a> {
    network: &'a Network,
    objects: HashMap<&'a str, Vec<Word<'a>>>,
    ports: HashMap<&'a str, Vec<PortWord<'a>>>,
    rules: Vec<Rule<'a>>,
}

struct Rule<'a> {
    from: Vec<Word<'a>>,
    to: Vec<Word<'a>>,
    ports: Option<Vec<PortWord<'a>>>,
}

enum Word<'a> {
    Prefix(Prefix),
    Name(&'a str),
}

enum PortWord<'a> {
    Range(u8, u16, u16),
    Protocol(u8),
    Name(&'a str),
}

/// Ends, protocol and the port of each end; no ports of a later fragment.
pub(super) struct Flow {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) protocol: u8,
    pub(super) ports: Option<(u16, u16)>,
}

impl<'a> Naive<'a> {
    pub(super) fn new(source: &'a Source, rules: &'a [Entry], network: &'a Network) -> Self {
        let built_in = BUILT_IN.iter().map(|(name, words)| {
            let words = words.iter().map(|word| port_word(word)).collect();
            (*name, words)
        });
        let ports = source.ports.iter().map(|list| {
            let words = list.words.iter().map(|word| port_word(word)).collect();
            (list.name.as_str(), words)
        });
        let side = |words: &'a [String]| words.iter().map(|word| Word::new(word)).collect();
        Self {
            network,
            objects: source
                .objects
                .iter()
                .map(|List { name, words }| (name.as_str(), side(words)))
                .collect(),
            ports: built_in.chain(ports).collect(),
            rules: rules
                .iter()
                .map(|rule| Rule {
                    from: side(&rule.from),
                    to: side(&rule.to),
                    ports: rule
                        .ports
                        .as_ref()
                        .map(|words| words.iter().map(|word| port_word(word)).collect()),
                })
                .collect(),
        }
    }

    pub(super) fn judge(&self, flow: &Flow, opener: Opener) -> u32 {
        let forth = (
            flow.source,
            flow.destination,
            flow.ports.map(|ports| ports.1),
        );
        let back = (
            flow.destination,
            flow.source,
            flow.ports.map(|ports| ports.0),
        );
        let allowed = |(from, to, port)| self.allowed(from, to, flow.protocol, port);
        match opener {
            Opener::Sender => allowed(forth),
            Opener::Receiver => allowed(back),
            Opener::Either => match allowed(forth) {
                NO_RULE => allowed(back),
                rule => rule,
            },
        }
    }

    fn allowed(&self, from: IpAddr, to: IpAddr, protocol: u8, port: Option<u16>) -> u32 {
        let fits = |rule: &Rule<'_>| {
            self.holds(&rule.from, from)
                && self.holds(&rule.to, to)
                && rule
                    .ports
                    .as_ref()
                    .is_none_or(|words| self.has_port(words, protocol, port))
        };
        match self.rules.iter().position(fits) {
            Some(rule) => rule as u32,
            None if self.network.own.contains(&from) => self.rules.len() as u32,
            None => NO_RULE,
        }
    }

    fn holds(&self, words: &[Word<'_>], address: IpAddr) -> bool {
        words.iter().any(|word| match word {
            Word::Prefix(prefix) => prefix.contains(address),
            Word::Name("any") => true,
            Word::Name("lan") => self.site_of(address).is_none(),
            Word::Name("gateway") => self.network.own.contains(&address),
            Word::Name(name) => match (name.strip_prefix("tag:"), self.objects.get(name)) {
                (Some(tag), _) => self.site_of(address).is_some_and(|site| {
                    let tags = &self.network.sites[site].tags;
                    tags.iter().any(|other| other == tag)
                }),
                (None, Some(words)) => self.holds(words, address),
                (None, None) => self
                    .site_of(address)
                    .is_some_and(|site| self.network.sites[site].name == *name),
            },
        })
    }

    /// The site that has the longest route to it.
    fn site_of(&self, address: IpAddr) -> Option<usize> {
        let sites = self.network.sites.iter().enumerate();
        let routes = sites.flat_map(|(site, it)| it.routes.iter().map(move |route| (route, site)));
        let leading = routes.filter(|(route, _)| route.contains(address));
        let longest = leading.max_by_key(|(route, _)| route.length());
        longest.map(|(_, site)| site)
    }

    fn has_port(&self, words: &[PortWord<'_>], protocol: u8, port: Option<u16>) -> bool {
        words.iter().any(|word| match word {
            PortWord::Protocol(number) => *number == protocol,
            PortWord::Range(number, first, last) => {
                *number == protocol && port.is_none_or(|port| (*first..=*last).contains(&port))
            }
            PortWord::Name("any") => true,
            PortWord::Name("icmp") => [1, 58].contains(&protocol),
            PortWord::Name(name) => self.has_port(&self.ports[name], protocol, port),
        })
    }
}

impl<'a> Word<'a> {
    fn new(word: &'a str) -> Self {
        word.parse().map_or(Self::Name(word), Self::Prefix)
    }
}

fn port_word(word: &str) -> PortWord<'_> {
    if let Some((name, ports)) = word.split_once('/') {
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        let [first, last] = [first, last].map(|port| port.parse().unwrap());
        return PortWord::Range(protocol::number(name).unwrap(), first, last);
    }
    match protocol::number(word) {
        Some(number) if word != "icmp" => PortWord::Protocol(number),
        _ => PortWord::Name(word),
    }
}
