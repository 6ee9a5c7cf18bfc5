//! Proofs of `[[never]]` and `[[expect]]`, by the arithmetic of sets: no address and no port is
//! left out.

mod cells;
mod claim;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use crossway_types::address::Family;
use crossway_types::prefix::Prefix;
use crossway_types::protocol::{ICMP, ICMPV6};

use self::cells::Cells;
use self::claim::{Claim, inner};
use super::area::{Area, FAMILIES};
use super::fault::Faults;
use super::ports::all_of;
use super::rule::{self, Understood};
use super::source::{Entry, Place, Table};
use super::spans::Spans;

/// What the numbers in rules stand for.
pub(crate) struct Ground<'a> {
    areas: &'a [Area],
    ports: &'a [Spans],
    /// This gateway's own addresses: what they open always passes.
    own: Area,
    /// Of each family, what the other alone has.
    foreign: [Spans; 2],
}

impl<'a> Ground<'a> {
    pub(crate) fn new(areas: &'a [Area], ports: &'a [Spans], own: &[IpAddr]) -> Self {
        Self {
            areas,
            ports,
            own: Area::of_prefixes(own.iter().copied().map(Prefix::host)),
            foreign: [ICMPV6, ICMP].map(|protocol| Spans::new([all_of(protocol)])),
        }
    }

    /// The addresses of a set.
    pub(crate) fn area(&self, set: u32) -> &Area {
        &self.areas[set as usize]
    }

    /// The ports of a set, as far as the family has them.
    pub(crate) fn ports(&self, ports: u32, family: Family) -> Spans {
        let foreign = match family {
            Family::Ipv4 => &self.foreign[0],
            Family::Ipv6 => &self.foreign[1],
        };
        self.ports[ports as usize].without(foreign)
    }

    /// What a claim is about, in one family.
    fn claimed(&self, claim: &Understood, family: Family) -> Claim {
        let area = |sets: &[u32]| {
            let spans = sets.iter().map(|set| self.area(*set).family(family));
            Spans::new(spans.flat_map(Spans::iter))
        };
        Claim {
            family,
            from: area(&claim.from).without(self.own.family(family)),
            to: area(&claim.to),
            ports: self.ports(claim.ports, family),
        }
    }
}

/// Rules of which something is claimed.
pub(crate) struct Claimed<'a> {
    /// Which of the two kinds. A failed proof of shadow rules is a warning: they let nothing pass.
    pub(crate) table: Table,
    /// As they are written.
    pub(crate) entries: &'a [Entry],
    /// As they are understood; without rules, everything passes.
    pub(crate) rules: Option<&'a [Understood]>,
}

impl Claimed<'_> {
    fn tell(&self, place: Place, (problem, mend): (String, &str), faults: &mut Faults) {
        if self.table == Table::Shadow {
            let mend = format!("{mend}, before the shadow rules become the active ones");
            faults.warning(place, problem, mend);
        } else {
            faults.error(place, problem, mend);
        }
    }
}

/// Checks that no rule allows anything of what is claimed.
pub(crate) fn never(
    ground: &Ground<'_>,
    of: &Claimed<'_>,
    claims: &[Understood],
    faults: &mut Faults,
) {
    for (number, claim) in claims.iter().enumerate() {
        let claimed = FAMILIES.map(|family| ground.claimed(claim, family));
        let mut claimed = claimed.iter().filter(|claim| !claim.is_empty());
        let broken = claimed.find_map(|claim| {
            let Some(rules) = of.rules else {
                let flow = claim.usual().any_flow();
                let problem = format!("the policy is open, which allows {flow}");
                return Some((problem, "write rules, or take this out"));
            };
            let found = allowed(ground, rules, claim)?;
            let usual = allowed(ground, rules, &claim.usual());
            let (rule, flow) = usual.unwrap_or(found);
            let name = rule::name(of.table, rule, &of.entries[rule]);
            let problem = format!("{name} allows {flow}");
            Some((problem, "narrow the rule, or this"))
        });
        if let Some(broken) = broken {
            of.tell(Place::of(Table::Never, number), broken, faults);
        }
    }
}

/// Tells of claims that no flow can fall under.
pub(crate) fn are_about_something(
    ground: &Ground<'_>,
    table: Table,
    claims: &[Understood],
    faults: &mut Faults,
) {
    for (number, claim) in claims.iter().enumerate() {
        let claimed = FAMILIES.map(|family| ground.claimed(claim, family));
        if claimed.iter().all(Claim::is_empty) {
            let mend = "write addresses of one family on both sides, not those of this gateway \
                        alone: what it opens always passes";
            faults.error(Place::of(table, number), "it is about nothing", mend);
        }
    }
}

/// The first rule that allows something of it, and what.
fn allowed(ground: &Ground<'_>, rules: &[Understood], claim: &Claim) -> Option<(usize, String)> {
    let from = Touched::new(ground, &claim.from, claim.family);
    let to = Touched::new(ground, &claim.to, claim.family);
    let rules = rules.iter().enumerate();
    let mut found = rules.filter_map(|(number, rule)| {
        let (from, to) = (from.of(&rule.from)?, to.of(&rule.to)?);
        let ports = ground.ports(rule.ports, claim.family).and(&claim.ports);
        (!ports.is_empty()).then(|| (number, claim.flow(from, to, &ports)))
    });
    found.next()
}

/// Where sets touch some addresses; each set is looked at once.
struct Touched<'a> {
    ground: &'a Ground<'a>,
    spans: &'a Spans,
    family: Family,
    known: RefCell<HashMap<u32, Option<u128>>>,
}

impl<'a> Touched<'a> {
    fn new(ground: &'a Ground<'a>, spans: &'a Spans, family: Family) -> Self {
        Self {
            ground,
            spans,
            family,
            known: RefCell::default(),
        }
    }

    /// An address that one of the sets has in common with ours.
    fn of(&self, sets: &[u32]) -> Option<u128> {
        let mut known = self.known.borrow_mut();
        let mut touched = sets.iter().map(|set| {
            *known.entry(*set).or_insert_with(|| {
                let area = self.ground.area(*set).family(self.family);
                inner(&area.and(self.spans))
            })
        });
        touched.find_map(|touched| touched)
    }
}

/// Checks that rules allow all of what is claimed.
pub(crate) fn expect(
    ground: &Ground<'_>,
    of: &Claimed<'_>,
    claims: &[Understood],
    faults: &mut Faults,
) {
    let Some(rules) = of.rules else { return };
    for (number, claim) in claims.iter().enumerate() {
        let claimed = FAMILIES.map(|family| ground.claimed(claim, family));
        let mut claimed = claimed.iter().filter(|claim| !claim.is_empty());
        let missing = claimed.find_map(|claim| {
            let found = denied(ground, rules, claim)?;
            Some(denied(ground, rules, &claim.usual()).unwrap_or(found))
        });
        if let Some(flow) = missing {
            let kind = if of.table == Table::Shadow {
                "shadow rule"
            } else {
                "rule"
            };
            let problem = format!("no {kind} allows {flow}");
            let mend = "widen a rule, or narrow this";
            of.tell(Place::of(Table::Expect, number), (problem, mend), faults);
        }
    }
}

/// A flow of the claim that no rule allows.
fn denied(ground: &Ground<'_>, rules: &[Understood], claim: &Claim) -> Option<String> {
    let near_from = Touched::new(ground, &claim.from, claim.family);
    let near_to = Touched::new(ground, &claim.to, claim.family);
    let touches =
        |rule: &&Understood| near_from.of(&rule.from).is_some() && near_to.of(&rule.to).is_some();
    let rules: Vec<&Understood> = rules.iter().filter(touches).collect();
    let of = |side: fn(&Understood) -> &[u32], spans| {
        let sides: Vec<&[u32]> = rules.iter().map(|rule| side(rule)).collect();
        Cells::new(&sides, spans, |set| ground.area(set).family(claim.family))
    };
    let from = of(|rule| &rule.from, &claim.from);
    let to = of(|rule| &rule.to, &claim.to);
    let ports: Vec<Spans> = rules
        .iter()
        .map(|rule| ground.ports(rule.ports, claim.family))
        .collect();
    // What rules for all of the addresses allow need not be looked at for each of them.
    let left = without(
        &claim.ports,
        &ports,
        &both(&from.everywhere, &to.everywhere),
    );
    if left.is_empty() {
        return None;
    }
    let mut covered = HashSet::new();
    for from in &from.cells {
        for to in &to.cells {
            let common = both(&from.rules, &to.rules);
            if covered.contains(&common) {
                continue;
            }
            let missing = without(&left, &ports, &common);
            if !missing.is_empty() {
                return Some(claim.flow(from.example, to.example, &missing));
            }
            covered.insert(common);
        }
    }
    None
}

fn both(a: &[u64], b: &[u64]) -> Vec<u64> {
    a.iter().zip(b).map(|(a, b)| a & b).collect()
}

/// What of `wanted` is in the ports of none of these rules.
fn without(wanted: &Spans, ports: &[Spans], rules: &[u64]) -> Spans {
    let mut left = wanted.clone();
    for rule in cells::bits(rules) {
        if left.is_empty() {
            break;
        }
        left = left.without(&ports[rule]);
    }
    left
}
