//! What becomes of a packet in the chains that it meets. Pure.

use std::collections::HashMap;

use super::Named;
use super::ruleset;
use super::ruleset::{
    Chain, Expression, FORWARD, Field, INET, IPV4, IPV6, PREROUTING, Place, Ruleset, Verdict,
};

/// By which interface a packet comes and by which it leaves.
#[derive(Clone, Copy, Debug)]
pub struct Passage<'a> {
    /// It comes by this.
    pub from: &'a Named,
    /// It leaves by this.
    pub to: &'a Named,
}

/// States of a connection, as `ct state` loads them (linux/netfilter/nf_conntrack_common.h).
const INVALID: u32 = 1;
const ESTABLISHED: u32 = 1 << 1;
const NEW: u32 = 1 << 3;
const UNTRACKED: u32 = 1 << 6;

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
            let ends = |state| {
                let walk = Walk {
                    rules,
                    place,
                    passage,
                    state,
                };
                match walk.through(chain, DEEPEST) {
                    End::Dropped => true,
                    End::Fell | End::Returned => base.drops,
                    End::Passed => false,
                }
            };
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

fn drops_all(place: &Place, passage: Passage<'_>) -> String {
    let (from, to) = (&passage.from.name, &passage.to.name);
    let chain = name(place);
    let mend = if place.legacy {
        let Place { table, name, .. } = place;
        let program = program(place);
        format!("{program} -t {table} -I {name} -i {from} -o {to} -j ACCEPT")
    } else {
        format!("nft insert rule {chain} iifname \"{from}\" oifname \"{to}\" accept")
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

/// The command that changes a chain of the older iptables.
fn program(place: &Place) -> &'static str {
    if place.family == IPV6 {
        "ip6tables-legacy"
    } else {
        "iptables-legacy"
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
            let walk = Walk {
                rules,
                place,
                passage,
                state: UNTRACKED,
            };
            walk.meets_notrack(chain, DEEPEST)
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

impl Walk<'_> {
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
        let name = |of: &Named| {
            let mut name = of.name.clone().into_bytes();
            // As the kernel keeps names.
            name.resize(16, 0);
            name
        };
        match field {
            Field::In => Some(self.passage.from.index.0.to_ne_bytes().to_vec()),
            Field::Out => Some(self.passage.to.index.0.to_ne_bytes().to_vec()),
            Field::InName => Some(name(self.passage.from)),
            Field::OutName => Some(name(self.passage.to)),
            Field::State => Some(self.state.to_ne_bytes().to_vec()),
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
