//! What becomes of a packet in the chains that it meets. Pure.

use std::collections::HashMap;

use super::Named;
use super::ruleset;
use super::ruleset::{
    Base, Chain, Expression, FORWARD, Field, INET, IPV4, IPV6, PREROUTING, Place, Ruleset, Verdict,
};

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
}

/// Which program the rules were written with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Nftables,
    /// The older iptables.
    Legacy,
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
    kind: Kind,
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
                return Some(drops_all(kind, place, passage));
            }
            // What the stack sees whole is invalid only if it is.
            (fast_path && !untracked && ends(INVALID)).then(|| drops_invalid(kind, place))
        })
}

/// The chains at a hook in which a datagram of the host itself ends. What is not understood lets it pass.
pub(super) fn blocked<'a>(
    rules: &'a Ruleset,
    kind: Kind,
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
                chain: name(kind, place),
                only_first: !all,
            })
        })
}

fn drops_all(kind: Kind, place: &Place, passage: Passage<'_>) -> String {
    let [from, to] = [passage.from, passage.to].map(|end| end.map_or("", |end| &end.name));
    let (program, chain) = (kind.program(), name(kind, place));
    let mend = match kind {
        Kind::Nftables => {
            format!("nft insert rule {chain} iifname \"{from}\" oifname \"{to}\" accept")
        }
        Kind::Legacy => {
            let (command, chain) = legacy(place);
            format!("{command} -I {chain} -i {from} -o {to} -j ACCEPT")
        }
    };
    format!(
        "the {program} chain {chain} drops packets from {from} to {to}: what the fast path leaves to the kernel stack is lost; \
         accept them there: {mend}"
    )
}

fn drops_invalid(kind: Kind, place: &Place) -> String {
    let (program, chain) = (kind.program(), name(kind, place));
    format!(
        "the {program} chain {chain} drops what conntrack calls invalid, which a packet may be that the fast path leaves to \
         the kernel stack (IP options, too large): take the sites' prefixes out of tracking (README, \"Beside a stateful \
         firewall\")"
    )
}

impl Kind {
    fn program(self) -> &'static str {
        match self {
            Self::Nftables => "nftables",
            Self::Legacy => "iptables",
        }
    }
}

fn name(kind: Kind, place: &Place) -> String {
    if kind == Kind::Legacy {
        let (command, chain) = legacy(place);
        return format!("{chain} of {command}");
    }
    let family = match place.family {
        INET => "inet",
        IPV4 => "ip",
        IPV6 => "ip6",
        _ => "?",
    };
    format!("{family} {} {}", place.table, place.name)
}

/// The command for a chain of the older iptables, and its name there.
fn legacy(place: &Place) -> (&'static str, &str) {
    let command = if place.family == IPV6 {
        "ip6tables-legacy"
    } else {
        "iptables-legacy"
    };
    (command, &place.name)
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
