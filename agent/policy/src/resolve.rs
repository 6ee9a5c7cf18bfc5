//! From words to sets: understands a [`Source`], or tells everything that is wrong with it.

use std::collections::HashMap;

use crossway_types::name;
use crossway_types::prefix::Prefix;
use crossway_types::protocol;
use crossway_types::shown::shown;
use datapath_abi::policy::MAX_RULES;

use super::Policy;
use super::area::FAMILIES;
use super::circle;
use super::compile::{self, Compiled, TooLarge};
use super::fault::{Fault, Faults};
use super::network::Network;
use super::ports::{self, BUILT_IN, Services};
use super::proof::{self, Ground};
use super::rule::{IMPLICIT, Rule, Understood};
use super::sets::{Set, Sets};
use super::source::{Entry, Key, List, Place, Source, Table};
use super::words::{Names, RESERVED, Word};

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
    let Reader {
        sets,
        services,
        faults,
        ..
    } = reader;
    if !faults.are_warnings() {
        return None;
    }
    let areas = sets.areas(&network.areas());
    let ground = Ground::new(&areas, services.list(), &network.own);
    warn_of_idle_rules(&ground, Table::Allow, &allow, faults);
    warn_of_idle_rules(&ground, Table::Shadow, &shadow, faults);
    let rules = (!source.is_open()).then_some(&allow[..]);
    proof::never(&ground, source, rules, &never, faults);
    proof::expect(&ground, source, rules, &expect, faults);
    let routes = network.routes();
    let mut compiled = |table, rules: &[Understood]| {
        let rules: Vec<Understood> = rules.iter().chain(&implicit).cloned().collect();
        let input = compile::Input {
            rules: &rules,
            sets: sets.list(),
            ports: services.list(),
            routes: &routes,
        };
        let image = Compiled::closed(&input);
        image
            .map_err(|TooLarge(mebibytes)| {
                let problem = format!("the rules need more than {mebibytes} MiB of memory");
                let mend = "write shorter prefixes, or fewer rules";
                faults.error(Place::of(table, 0), problem, mend);
            })
            .ok()
    };
    let active = match rules {
        Some(rules) => compiled(Table::Allow, rules)?,
        None => Compiled::open(),
    };
    let tried = match &shadow[..] {
        [] => None,
        rules => Some(compiled(Table::Shadow, rules)?),
    };
    faults.are_warnings().then_some((active, tried))
}

/// A rule whose sides share no family, or whose protocol the family does not have, lets nothing pass.
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

/// What words mean, while they are read.
struct Reader<'a> {
    names: Names<'a>,
    network: &'a Network,
    /// The sets of each object.
    objects: Vec<Vec<u32>>,
    sets: Sets,
    services: Services,
    faults: &'a mut Faults,
}

impl<'a> Reader<'a> {
    fn new(source: &'a Source, network: &'a Network, faults: &'a mut Faults) -> Self {
        let names = Names::new(&source.objects, network);
        let reserved = |name: &str| RESERVED.contains(&name) || name.parse::<Prefix>().is_ok();
        check_lists(Table::Objects, &source.objects, faults, |name| {
            if names.is_site(name) {
                Some("the name of a site")
            } else {
                reserved(name).then_some("a word of its own")
            }
        });
        check_lists(Table::Ports, &source.ports, faults, |name| {
            let is_built_in = BUILT_IN.iter().any(|(other, _)| *other == name);
            let is_protocol = protocol::number(name).is_some() || name == "any";
            if is_built_in {
                Some("a group that is built in")
            } else {
                is_protocol.then_some("a protocol")
            }
        });
        let services = Services::new(&source.ports, faults);
        let mut reader = Self {
            names,
            network,
            objects: vec![Vec::new(); source.objects.len()],
            sets: Sets::default(),
            services,
            faults,
        };
        reader.look_up(&source.objects);
        reader
    }

    /// Understands `[objects]`.
    fn look_up(&mut self, lists: &[List]) {
        let mut own = Vec::with_capacity(lists.len());
        let mut references = Vec::with_capacity(lists.len());
        for (number, list) in lists.iter().enumerate() {
            let (set, objects) = self.words(&list.words, Place::of(Table::Objects, number));
            own.push(self.sets.add(set));
            references.push(objects);
        }
        let (order, circles) = circle::order(&references);
        for way in circles {
            let place = Place::of(Table::Objects, way[0]);
            let names = way.iter().map(|object| lists[*object].name.as_str());
            ports::circle_fault(place, names, self.faults);
        }
        for object in order {
            let inner = references[object].iter();
            let inner = inner.flat_map(|inner| self.objects[*inner].iter().copied());
            let all = inner.chain([own[object]]).collect();
            self.objects[object] = sorted(all);
        }
    }

    /// What these words stand for, without the objects, and those.
    fn words(&mut self, words: &[String], place: Place) -> (Set, Vec<usize>) {
        let mut set = Set::default();
        let mut objects = Vec::new();
        for (number, word) in words.iter().enumerate() {
            match self.names.read(word) {
                Ok(Word::Object(object)) => objects.push(object),
                Ok(word) => {
                    let Set { prefixes, owners } = self.set_of(&word);
                    set.prefixes.extend(prefixes);
                    set.owners.extend(owners);
                }
                Err((problem, mend)) => self.faults.error(place.word(number), problem, mend),
            }
        }
        (set, objects)
    }

    fn set_of(&self, word: &Word) -> Set {
        match word {
            Word::Any => Set::of_prefixes(everything()),
            Word::Gateway => Set::of_prefixes(self.network.own.iter().copied().map(Prefix::host)),
            Word::Owners(owners) => Set::of_owners(owners.clone()),
            Word::Prefix(prefix) => Set::of_prefixes([*prefix]),
            Word::Object(_) => Set::default(),
        }
    }

    /// The numbers of the sets of a side of a rule.
    fn side(&mut self, words: &[String], place: Place) -> Vec<u32> {
        let mut sets = Vec::new();
        for (number, word) in words.iter().enumerate() {
            match self.names.read(word) {
                Ok(Word::Object(object)) => sets.extend(&self.objects[object]),
                Ok(meant) => {
                    let set = self.set_of(&meant);
                    sets.push(self.sets.of_word(word, || set));
                }
                Err((problem, mend)) => self.faults.error(place.word(number), problem, mend),
            }
        }
        sorted(sets)
    }

    fn implicit(&mut self) -> Option<Understood> {
        if self.network.own.is_empty() {
            return None;
        }
        let (own, any) = (self.set_of(&Word::Gateway), self.set_of(&Word::Any));
        let place = Place::of(Table::Allow, 0);
        Some(Understood {
            from: vec![self.sets.of_word("gateway", || own)],
            to: vec![self.sets.of_word("any", || any)],
            ports: self.services.number(None, place, self.faults),
        })
    }

    /// `[[allow]]` or `[[shadow]]`.
    fn rules(&mut self, table: Table, entries: &[Entry]) -> Vec<Understood> {
        // One is that of the gateway.
        if entries.len() >= MAX_RULES {
            let place = Place::of(table, MAX_RULES - 1);
            let problem = format!("{} rules are too many", entries.len());
            let mend = format!("one gateway takes {}", MAX_RULES - 1);
            self.faults.error(place, problem, mend);
        }
        let rules = self.entries(table, entries);
        let mut seen = HashMap::new();
        for (number, rule) in rules.iter().enumerate() {
            let Some(first) = seen
                .insert(rule, number)
                .filter(|_| self.faults.are_warnings())
            else {
                continue;
            };
            let same = super::rule::name(table, first, &entries[first]);
            let problem = format!("it allows the same as {same}");
            let place = Place::of(table, number);
            self.faults.warning(place, problem, "keep one of them");
        }
        rules
    }

    fn entries(&mut self, table: Table, entries: &[Entry]) -> Vec<Understood> {
        let mut names = HashMap::new();
        let mut understood = Vec::with_capacity(entries.len());
        for (number, entry) in entries.iter().enumerate() {
            let place = Place::of(table, number);
            if let Some(name) = &entry.name {
                self.check_name(name, place.key(Key::Name), &mut names);
            }
            self.check_words(&entry.from, place.key(Key::From));
            self.check_words(&entry.to, place.key(Key::To));
            self.check_words(entry.ports.as_deref().unwrap_or(&[]), place.key(Key::Ports));
            understood.push(Understood {
                from: self.side(&entry.from, place.key(Key::From)),
                to: self.side(&entry.to, place.key(Key::To)),
                ports: self
                    .services
                    .number(entry.ports.as_deref(), place, self.faults),
            });
        }
        understood
    }

    fn check_name<'n>(&mut self, name: &'n str, place: Place, names: &mut HashMap<&'n str, usize>) {
        if let Some(problem) = name::problem(name) {
            let problem = format!("{} {problem}", shown(name));
            self.faults.error(place, problem, name::mend());
        } else if name == IMPLICIT {
            let problem = format!("{name} is the rule for what this gateway itself opens");
            self.faults.error(place, problem, "write another name");
        } else if let Some(first) = names.insert(name, place.entry) {
            let table = place.table.as_str();
            let problem = format!("{name} is already {table} #{}", first + 1);
            self.faults.error(place, problem, "rename one of them");
        }
    }

    /// Tells of words that stand in a list twice.
    fn check_words(&mut self, words: &[String], place: Place) {
        let mut seen = HashMap::new();
        for (number, word) in words.iter().enumerate() {
            if seen.insert(word, number).is_some() {
                let problem = format!("{} is listed twice", shown(word));
                self.faults
                    .warning(place.word(number), problem, "keep one of them");
            }
        }
    }
}

/// Checks the names of `[objects]` or `[ports]`; `taken` tells what a name is already.
fn check_lists(
    table: Table,
    lists: &[List],
    faults: &mut Faults,
    taken: impl Fn(&str) -> Option<&'static str>,
) {
    for (number, list) in lists.iter().enumerate() {
        let place = Place::of(table, number);
        if let Some(problem) = name::problem(&list.name) {
            let problem = format!("the name {} {problem}", shown(&list.name));
            faults.error(place, problem, name::mend());
        } else if let Some(what) = taken(&list.name) {
            let problem = format!("{} is {what}", list.name);
            faults.error(place, problem, "write another name");
        }
    }
}

fn everything() -> [Prefix; 2] {
    use std::net::{Ipv4Addr, Ipv6Addr};
    [
        Prefix::containing(Ipv4Addr::UNSPECIFIED.into(), 0),
        Prefix::containing(Ipv6Addr::UNSPECIFIED.into(), 0),
    ]
}

fn sorted(mut sets: Vec<u32>) -> Vec<u32> {
    sets.sort_unstable();
    sets.dedup();
    sets
}
