//! What becomes of a packet in the chains that it meets. Pure.

use std::collections::HashMap;

use super::ruleset;
use super::ruleset::{
    Base, Chain, Expression, FORWARD, Field, INET, IPV4, IPV6, PREROUTING, Place, Ruleset, Verdict,
};
use super::{ForwardChain, Named};

/// By which interface a packet comes and by which it leaves.
#[derive(Clone, Copy, Debug)]
pub struct Passage<'a> {
    /// It comes by this, unless it is the host's own.
    pub from: Option<&'a Named>,
    /// It leaves by this, unless it is for the host.
    pub to: Option<&'a Named>,
    /// The ports of a UDP datagram; without, any packet is meant.
    pub ports: Option<Ports>,
}

/// The ports of a datagram as far as they are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    /// It comes from this.
    pub source: Option<u16>,
    /// It goes to this.
    pub destination: Option<u16>,
}

/// A chain in which a datagram ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// The chain, as commands name it.
    pub chain: String,
    /// Only one that begins a connection does.
    pub only_first: bool,
    /// What its rules are written with.
    pub written_with: WrittenWith,
}

/// The command that writes rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WrittenWith {
    /// `nft`, which takes the chain as it is named.
    Nft,
    /// The older iptables.
    Iptables {
        /// The command of the family.
        program: &'static str,
        /// Table, such as `filter`.
        table: String,
        /// Name of the chain there.
        chain: String,
    },
}

/// States of a connection, as `ct state` loads them (linux/netfilter/nf_conntrack_common.h).
const INVALID: u32 = 1;
const ESTABLISHED: u32 = 1 << 1;
const NEW: u32 = 1 << 3;
const UNTRACKED: u32 = 1 << 6;

/// IP protocol number.
const UDP: u8 = 17;

/// Chains in chains: the kernel's own limit (NFT_JUMP_STACK_SIZE).
const DEEPEST: u32 = 16;

/// What is wrong with the rules for packets that go this way, a line for each chain, with the mend.
pub(super) fn judge<'a>(
    rules: &'a Ruleset,
    passage: Passage<'a>,
    fast_path: bool,
) -> impl Iterator<Item = String> + 'a {
    let untracked = is_untracked(rules, passage);
    rules
        .at_hook(FORWARD)
        .into_iter()
        .filter_map(move |(place, chain, base)| {
            let ends = |state| Walk::of(rules, place, passage, state).ends(chain, base);
            let states: &[u32] = if untracked {
                &[UNTRACKED]
            } else {
                &[NEW, ESTABLISHED]
            };
            if states.iter().any(|state| ends(*state)) {
                return Some(drops_all(place, passage));
            }
            // What the stack sees whole is invalid only if it is.
            (fast_path && !untracked && ends(INVALID)).then(|| drops_invalid(place))
        })
}

/// The base chains that see a packet of a family on this way, and whether each drops one that begins a connection.
pub(super) fn meet<'a>(
    rules: &'a Ruleset,
    passage: Passage<'a>,
    ipv4: bool,
) -> impl Iterator<Item = ForwardChain> + 'a {
    let other = if ipv4 { IPV6 } else { IPV4 };
    let state = if is_untracked(rules, passage) {
        UNTRACKED
    } else {
        NEW
    };
    let chains = rules.at_hook(FORWARD).into_iter();
    chains
        .filter(move |(place, _, _)| place.family != other)
        .map(move |(place, chain, base)| ForwardChain {
            name: name(place),
            drops: Some(Walk::of(rules, place, passage, state).ends(chain, base)),
        })
}

/// The chains at a hook in which a datagram of the host itself ends. What is not understood lets it pass.
pub(super) fn blocked<'a>(
    rules: &'a Ruleset,
    hook: u32,
    passage: Passage<'a>,
) -> impl Iterator<Item = Blocked> + 'a {
    rules
        .at_hook(hook)
        .into_iter()
        .filter_map(move |(place, chain, base)| {
            let ends = |state| Walk::of(rules, place, passage, state).ends(chain, base);
            let all = ends(ESTABLISHED);
            (all || ends(NEW)).then(|| Blocked {
                chain: name(place),
                only_first: !all,
                written_with: written_with(place),
            })
        })
}

fn drops_all(place: &Place, passage: Passage<'_>) -> String {
    let [from, to] = [passage.from, passage.to].map(|end| end.map_or("", |end| &end.name));
    let chain = name(place);
    let mend = match written_with(place) {
        WrittenWith::Iptables {
            program,
            table,
            chain,
        } => format!("{program} -t {table} -I {chain} -i {from} -o {to} -j ACCEPT"),
        WrittenWith::Nft => {
            format!("nft insert rule {chain} iifname \"{from}\" oifname \"{to}\" accept")
        }
    };
    format!(
        "the {} chain {chain} drops packets from {from} to {to}: what the fast path leaves to the kernel stack is \
         lost; accept them there: {mend}",
        kind(place)
    )
}

fn drops_invalid(place: &Place) -> String {
    format!(
        "the {} chain {} drops what conntrack calls invalid, which a packet may be that the fast path leaves to \
         the kernel stack (IP options, too large): take the sites' prefixes out of tracking (README, \"Beside a stateful \
         firewall\")",
        kind(place),
        name(place)
    )
}

fn kind(place: &Place) -> &'static str {
    if place.legacy {
        "iptables-legacy"
    } else {
        "nftables"
    }
}

fn written_with(place: &Place) -> WrittenWith {
    if !place.legacy {
        return WrittenWith::Nft;
    }
    let program = if place.family == IPV6 {
        "ip6tables-legacy"
    } else {
        "iptables-legacy"
    };
    WrittenWith::Iptables {
        program,
        table: place.table.clone(),
        chain: place.name.clone(),
    }
}

fn name(place: &Place) -> String {
    let Place { table, name, .. } = place;
    if place.legacy {
        let family = if place.family == IPV6 { "IPv6" } else { "IPv4" };
        return format!("{table} {name} ({family})");
    }
    let family = match place.family {
        INET => "inet",
        IPV4 => "ip",
        IPV6 => "ip6",
        _ => "?",
    };
    format!("{family} {table} {name}")
}

/// Whether packets that come by this interface may be taken out of tracking.
fn is_untracked(rules: &Ruleset, passage: Passage<'_>) -> bool {
    rules
        .at_hook(PREROUTING)
        .into_iter()
        .any(|(place, chain, _)| {
            Walk::of(rules, place, passage, UNTRACKED).meets_notrack(chain, DEEPEST)
        })
}

/// One packet in one base chain.
struct Walk<'a> {
    rules: &'a Ruleset,
    place: &'a Place,
    passage: Passage<'a>,
    state: u32,
}

/// How a chain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Dropped,
    Passed,
    /// Behind its last rule.
    Fell,
    Returned,
}

/// Whether a rule is for the packet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Match {
    No,
    /// It looks at something that is not known.
    Perhaps,
    /// It looks at addresses, which may be those of sites.
    OfAddresses,
    Yes,
}

impl<'a> Walk<'a> {
    fn of(rules: &'a Ruleset, place: &'a Place, passage: Passage<'a>, state: u32) -> Self {
        Self {
            rules,
            place,
            passage,
            state,
        }
    }

    /// Whether the packet is dropped in a chain that the kernel enters.
    fn ends(&self, chain: &Chain, base: &Base) -> bool {
        match self.through(chain, DEEPEST) {
            End::Dropped => true,
            End::Fell | End::Returned => base.drops,
            End::Passed => false,
        }
    }

    fn through(&self, chain: &Chain, depth: u32) -> End {
        for rule in &chain.rules {
            let (matches, verdict) = self.rule(rule);
            let Some(verdict) = verdict.filter(|_| matches != Match::No) else {
                continue;
            };
            let end = match &verdict {
                Verdict::Accept => End::Passed,
                Verdict::Drop => End::Dropped,
                Verdict::Return => End::Returned,
                Verdict::Jump(to) | Verdict::Goto(to) => match self.chain(to) {
                    Some(chain) if depth > 0 => self.through(chain, depth - 1),
                    _ => End::Fell,
                },
            };
            let is_jump = matches!(verdict, Verdict::Jump(_));
            match (matches, end) {
                // Behind a jump it goes on here.
                (_, End::Fell | End::Returned) if is_jump => {}
                (Match::Yes, end) => return end,
                (Match::OfAddresses, End::Passed) => return End::Passed,
                // Of a single datagram no more need be known than that it may pass.
                (Match::Perhaps, End::Passed) if self.passage.ports.is_some() => {
                    return End::Passed;
                }
                _ => {}
            }
        }
        End::Fell
    }

    fn meets_notrack(&self, chain: &Chain, depth: u32) -> bool {
        chain.rules.iter().any(|rule| {
            let (matches, verdict) = self.rule(rule);
            let inner = match verdict {
                Some(Verdict::Jump(to) | Verdict::Goto(to)) if depth > 0 => self.chain(&to),
                _ => None,
            };
            let here = rule.contains(&Expression::Notrack);
            let there = inner.is_some_and(|chain| self.meets_notrack(chain, depth - 1));
            matches >= Match::OfAddresses && (here || there)
        })
    }

    fn chain(&self, name: &str) -> Option<&Chain> {
        self.rules.chains.get(&Place {
            name: name.to_owned(),
            ..self.place.clone()
        })
    }

    fn rule(&self, rule: &[Expression]) -> (Match, Option<Verdict>) {
        let mut matches = Match::Yes;
        let mut registers: HashMap<u32, (Field, Option<Vec<u8>>)> = HashMap::new();
        for step in rule {
            let of = |register: &u32| {
                registers
                    .get(register)
                    .cloned()
                    .unwrap_or((Field::Other, None))
            };
            match step {
                Expression::Load(register, field) => {
                    registers.insert(*register, (*field, self.value(*field)));
                }
                Expression::Mask(from, to, mask, xor) => {
                    let (field, value) = of(from);
                    let value = value.map(|value| {
                        let bits = value.iter().zip(mask).zip(xor);
                        bits.map(|((byte, mask), xor)| byte & mask ^ xor).collect()
                    });
                    registers.insert(*to, (field, value));
                }
                Expression::Compare(from, equal, with) => {
                    let holds = |value: &Vec<u8>| value.starts_with(with) == *equal;
                    matches = matches.min(known(&of(from), holds));
                }
                Expression::Lookup {
                    from,
                    set,
                    decides,
                    inverted,
                } => {
                    let found = of(from);
                    let place = Place {
                        name: set.clone(),
                        ..self.place.clone()
                    };
                    let Some(elements) = self.rules.sets.get(&place) else {
                        matches = matches.min(known(&(found.0, None), |_| false));
                        continue;
                    };
                    let value = found.1.as_ref();
                    let element = value.and_then(|value| ruleset::find(elements, value));
                    let there = element.is_some() != *inverted;
                    matches = matches.min(known(&found, |_| there));
                    if *decides {
                        return (matches, element.and_then(|element| element.verdict.clone()));
                    }
                }
                Expression::States(bits, inverted) => {
                    if (self.state & bits != 0) == *inverted {
                        matches = Match::No;
                    }
                }
                Expression::Decide(verdict) => return (matches, Some(verdict.clone())),
                Expression::Unknown => matches = matches.min(Match::Perhaps),
                Expression::Notrack | Expression::Translate | Expression::Nothing => {}
            }
            if matches == Match::No {
                return (Match::No, None);
            }
        }
        (matches, None)
    }

    fn value(&self, field: Field) -> Option<Vec<u8>> {
        // Without an interface the kernel loads 0 and an empty name.
        let name = |of: Option<&Named>| {
            let mut name = of.map_or("", |of| &of.name).as_bytes().to_vec();
            // As the kernel keeps names.
            name.resize(16, 0);
            name
        };
        let index = |of: Option<&Named>| of.map_or(0, |of| of.index.0).to_ne_bytes().to_vec();
        let Passage { from, to, ports } = self.passage;
        let port = |port: Option<u16>| port.map(|port| port.to_be_bytes().to_vec());
        match field {
            Field::In => Some(index(from)),
            Field::Out => Some(index(to)),
            Field::InName => Some(name(from)),
            Field::OutName => Some(name(to)),
            Field::State => Some(self.state.to_ne_bytes().to_vec()),
            Field::Protocol => ports.map(|_| vec![UDP]),
            Field::SourcePort => port(ports?.source),
            Field::DestinationPort => port(ports?.destination),
            Field::Address | Field::Other => None,
        }
    }
}

fn known((field, value): &(Field, Option<Vec<u8>>), holds: impl Fn(&Vec<u8>) -> bool) -> Match {
    match (value, field) {
        (Some(value), _) if holds(value) => Match::Yes,
        (Some(_), _) => Match::No,
        (None, Field::Address) => Match::OfAddresses,
        (None, _) => Match::Perhaps,
    }
}

#[cfg(test)]
mod tests;
