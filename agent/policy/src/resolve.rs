//! From words to sets: understands a [`Source`], or tells everything that is wrong with it.

mod reader;

use self::reader::Reader;
use super::Policy;
use super::area::FAMILIES;
use super::compile::{self, Compiled, TooLarge};
use super::fault::{Fault, Faults};
use super::network::Network;
use super::proof::{self, Claimed, Ground};
use super::rule::{Rule, Understood};
use super::source::{Entry, Place, Source, Table};

/// See [`Policy::new`].
pub(crate) fn policy(
    source: Source,
    network: &Network,
) -> Result<(Policy, Vec<Fault>), Vec<Fault>> {
    let mut faults = Faults::default();
    let Some((active, tried)) = understand(&source, network, &mut faults) else {
        return Err(faults.into_vec());
    };
    let implicit = || (!network.own.is_empty()).then(Rule::implicit);
    let shown = |table, entries: &[Entry]| -> Vec<Rule> {
        let rules = entries.iter().enumerate();
        let rules = rules.map(|(number, entry)| Rule::new(table, number, entry));
        rules.chain(implicit()).collect()
    };
    let policy = Policy {
        denied: source.denied,
        rules: if source.is_open() {
            Vec::new()
        } else {
            shown(Table::Allow, &source.allow)
        },
        shadow: if tried.is_none() {
            Vec::new()
        } else {
            shown(Table::Shadow, &source.shadow)
        },
        source,
        active,
        tried,
    };
    Ok((policy, faults.into_vec()))
}

/// The images of the active and of the shadow rules, if nothing is wrong.
fn understand(
    source: &Source,
    network: &Network,
    faults: &mut Faults,
) -> Option<(Compiled, Option<Compiled>)> {
    let mut reader = Reader::new(source, network, faults);
    let allow = reader.rules(Table::Allow, &source.allow);
    let shadow = reader.rules(Table::Shadow, &source.shadow);
    let never = reader.entries(Table::Never, &source.never);
    let expect = reader.entries(Table::Expect, &source.expect);
    let implicit = reader.implicit();
    let (sets, services) = reader.finish()?;
    let areas = sets.areas(&network.areas());
    let ground = Ground::new(&areas, services.list(), &network.own);
    warn_of_idle_rules(&ground, Table::Allow, &allow, faults);
    warn_of_idle_rules(&ground, Table::Shadow, &shadow, faults);
    proof::are_about_something(&ground, Table::Never, &never, faults);
    proof::are_about_something(&ground, Table::Expect, &expect, faults);
    for claimed in claimed(source, &allow, &shadow) {
        proof::never(&ground, &claimed, &never, faults);
        proof::expect(&ground, &claimed, &expect, faults);
    }
    let routes = network.routes();
    let mut compiled = |table, mut rules: Vec<Understood>| {
        rules.extend(implicit.clone());
        let input = compile::Input {
            rules: &rules,
            sets: sets.list(),
            ports: services.list(),
            routes: &routes,
        };
        let image = Compiled::closed(&input);
        image.map_err(|TooLarge| TooLarge::tell(table, faults)).ok()
    };
    let active = if source.is_open() {
        Compiled::open()
    } else {
        compiled(Table::Allow, allow)?
    };
    let tried = if shadow.is_empty() {
        None
    } else {
        Some(compiled(Table::Shadow, shadow)?)
    };
    faults.are_warnings().then_some((active, tried))
}

/// The rules that claims are about: the active ones, and the shadow rules if there are any.
fn claimed<'a>(
    source: &'a Source,
    allow: &'a [Understood],
    shadow: &'a [Understood],
) -> impl Iterator<Item = Claimed<'a>> {
    let active = Claimed {
        table: Table::Allow,
        entries: &source.allow,
        rules: (!source.is_open()).then_some(allow),
    };
    let tried = (!shadow.is_empty()).then_some(Claimed {
        table: Table::Shadow,
        entries: &source.shadow,
        rules: Some(shadow),
    });
    [active].into_iter().chain(tried)
}

/// A rule whose sides share no family, or whose protocol the family does not have, lets nothing
/// pass.
fn warn_of_idle_rules(
    ground: &Ground<'_>,
    table: Table,
    rules: &[Understood],
    faults: &mut Faults,
) {
    let has = |sets: &[u32], family| {
        let mut sets = sets.iter();
        sets.any(|set| !ground.area(*set).family(family).is_empty())
    };
    for (number, rule) in rules.iter().enumerate() {
        let works = FAMILIES.iter().any(|family| {
            let ports = ground.ports(rule.ports, *family);
            !ports.is_empty() && has(&rule.from, *family) && has(&rule.to, *family)
        });
        if !works {
            let problem =
                "it allows nothing: from, to and ports have no family of addresses in common";
            let mend = "write addresses of one family on both sides";
            faults.warning(Place::of(table, number), problem, mend);
        }
    }
}
