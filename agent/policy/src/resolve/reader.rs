//! Understands words one by one, and tells what is wrong with each.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use crossway_types::name;
use crossway_types::prefix::Prefix;
use crossway_types::protocol;
use crossway_types::shown::shown;
use datapath_abi::policy::MAX_RULES;

use crate::circle;
use crate::fault::Faults;
use crate::network::Network;
use crate::ports::{self, BUILT_IN, Services};
use crate::rule::{self, IMPLICIT, Understood};
use crate::sets::{Set, Sets};
use crate::source::{Entry, Key, List, Place, Source, Table};
use crate::words::{Names, RESERVED, Word};

/// What words mean, while they are read.
pub(super) struct Reader<'a> {
    names: Names<'a>,
    network: &'a Network,
    /// The sets of each object.
    objects: Vec<Vec<u32>>,
    sets: Sets,
    services: Services,
    faults: &'a mut Faults,
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: &'a Source, network: &'a Network, faults: &'a mut Faults) -> Self {
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

    /// The sets that words stand for, if nothing is wrong with any.
    pub(super) fn finish(self) -> Option<(Sets, Services)> {
        let is_right = self.faults.are_warnings();
        is_right.then_some((self.sets, self.services))
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

    pub(super) fn implicit(&mut self) -> Option<Understood> {
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
    pub(super) fn rules(&mut self, table: Table, entries: &[Entry]) -> Vec<Understood> {
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
            let same = rule::name(table, first, &entries[first]);
            let problem = format!("it allows the same as {same}");
            let place = Place::of(table, number);
            self.faults.warning(place, problem, "keep one of them");
        }
        rules
    }

    pub(super) fn entries(&mut self, table: Table, entries: &[Entry]) -> Vec<Understood> {
        let mut names = HashMap::new();
        let mut understood = Vec::with_capacity(entries.len());
        for (number, entry) in entries.iter().enumerate() {
            let place = Place::of(table, number);
            if let Some(name) = &entry.name {
                self.check_name(name, place.key(Key::Name), &mut names);
            }
            let ports = entry.ports.as_deref().unwrap_or_default();
            for (key, words) in [
                (Key::From, &entry.from[..]),
                (Key::To, &entry.to),
                (Key::Ports, ports),
            ] {
                check_words(words, place.key(key), self.faults);
            }
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
}

/// Tells of words that stand in a list twice.
fn check_words(words: &[String], place: Place, faults: &mut Faults) {
    let mut seen = HashSet::new();
    for (number, word) in words.iter().enumerate() {
        if !seen.insert(word) {
            let problem = format!("{} is listed twice", shown(word));
            faults.warning(place.word(number), problem, "keep one of them");
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
        check_words(&list.words, place, faults);
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
