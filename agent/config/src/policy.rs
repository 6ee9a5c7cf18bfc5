//! Reads `policy`, `denied`, `[objects]`, `[ports]`, `[[allow]]`, `[[shadow]]`, `[[never]]` and
//! `[[expect]]`.

use std::collections::HashMap;

use toml_edit::{Item, TableLike};

use super::gateway::GatewayDraft;
use super::section::{At, Choice, Section};
use super::site::{SiteDraft, place};
use crossway_policy::source::{Entry, Key, List, Place, Table};
use crossway_policy::{Denied, Fault, Network, Policy, SiteNetwork, Source, Stance};

const FROM: &str = "\"paris\"";
const TO: &str = "\"10.2.0.0/24\"";
const PORTS: &str = "\"tcp/443\"";
/// An object's words.
const WORDS: &str = "\"10.2.0.0/24\"";

/// What the file says, as far as it could be read, and where.
pub(super) struct PolicyDraft {
    source: Source,
    offsets: HashMap<Place, usize>,
    /// How messages speak of the entries of a table.
    places: HashMap<(Table, usize), String>,
}

impl PolicyDraft {
    /// Reads the sections.
    pub(super) fn read(root: &Section<'_>) -> Self {
        let mut draft = Self {
            source: Source::default(),
            offsets: HashMap::new(),
            places: HashMap::new(),
        };
        draft.source.stance = read_stance(root);
        draft.source.denied = read_denied(root).unwrap_or_default();
        draft.source.objects = draft.read_lists(root, Table::Objects, WORDS);
        draft.source.ports = draft.read_lists(root, Table::Ports, PORTS);
        draft.source.allow = draft.read_entries(root, Table::Allow);
        draft.source.shadow = draft.read_entries(root, Table::Shadow);
        draft.source.never = draft.read_entries(root, Table::Never);
        draft.source.expect = draft.read_entries(root, Table::Expect);
        draft.check_stance(root);
        draft
    }

    /// The policy, if nothing is wrong with it.
    pub(super) fn finish(
        self,
        root: &Section<'_>,
        gateway: Option<&GatewayDraft>,
        sites: &[SiteDraft],
    ) -> Option<Policy> {
        let network = network(gateway, sites);
        let (policy, mut faults) = match Policy::new(self.source.clone(), &network) {
            Ok((policy, warnings)) => (Some(policy), warnings),
            Err(faults) => (None, faults),
        };
        if root.report.has_errors() {
            // Of rules that could not be read whole, words can be judged, but nothing can be
            // proven.
            faults.retain(|fault| !fault.is_warning && !is_proof(fault));
        }
        for fault in faults {
            let (offset, place) = (self.offset(fault.place), self.place(fault.place));
            let Fault {
                problem,
                mend,
                is_warning,
                ..
            } = fault;
            if is_warning {
                root.report.warning(offset, place, problem, mend);
            } else {
                root.report.error(offset, place, problem, mend);
            }
        }
        policy
    }

    fn offset(&self, place: Place) -> usize {
        let Place { table, entry, .. } = place;
        let wider = [
            place,
            Place {
                word: None,
                ..place
            },
            Place::of(table, entry),
        ];
        let mut known = wider.iter().filter_map(|place| self.offsets.get(place));
        known.next().copied().unwrap_or_default()
    }

    fn place(&self, place: Place) -> String {
        let entry = self.places.get(&(place.table, place.entry));
        let entry = entry.map_or(place.table.as_str(), String::as_str);
        match place.key.as_str() {
            Some(key) => format!("{entry}, {key}"),
            None => entry.to_owned(),
        }
    }

    fn check_stance(&self, root: &Section<'_>) {
        let rules = self.source.allow.len();
        let Some(found) = root.item("policy") else {
            return;
        };
        match self.source.stance {
            Some(Stance::Open) if rules > 0 => {
                let problem = format!("it is open, but there are rules ([[allow]], {rules})");
                let mend = "take out one of the two; rules that are tried only are [[shadow]]";
                root.error("policy", found.offset, problem, mend);
            }
            Some(Stance::Closed) if rules == 0 => {
                let problem = "it is closed, and no [[allow]] lets anything pass";
                root.report
                    .warning(found.offset, "policy", problem, "add the rules");
            }
            _ => {}
        }
    }

    /// `[objects]` or `[ports]`.
    fn read_lists(&mut self, root: &Section<'_>, table: Table, example: &str) -> Vec<List> {
        let key = table.as_str();
        let Some(section) = root.table(key, &format!("{{ name = [{example}] }}")) else {
            return Vec::new();
        };
        let named = section.named_lists(example);
        let lists = named.into_iter().enumerate();
        let lists = lists.map(|(number, (name, offset, words))| {
            let place = Place::of(table, number);
            let shown = if crossway_types::name::problem(name).is_none() {
                format!("{key}, {name}")
            } else {
                key.to_owned()
            };
            self.places.insert((table, number), shown);
            self.offsets.insert(place, offset);
            let words = words.map(|words| self.note(place, &words));
            List {
                name: name.to_owned(),
                words: words.unwrap_or_default(),
            }
        });
        lists.collect()
    }

    /// `[[allow]]` and those like it.
    fn read_entries(&mut self, root: &Section<'_>, table: Table) -> Vec<Entry> {
        let key = table.as_str();
        let sections = root.tables(key, key, |found: &dyn TableLike, index| {
            let name = found.get("name").and_then(Item::as_str);
            match name.filter(|name| crossway_types::name::problem(name).is_none()) {
                Some(_) => place(key, found, index),
                None => format!("{key} #{}", index + 1),
            }
        });
        let sections = sections.iter().enumerate();
        sections
            .map(|(number, section)| self.read_entry(section, Place::of(table, number)))
            .collect()
    }

    fn read_entry(&mut self, section: &Section<'_>, entry: Place) -> Entry {
        let key = (entry.table, entry.entry);
        self.places.insert(key, section.place.clone());
        self.offsets.insert(entry, section.offset);
        let name = section.string("name", "\"web\"");
        if let Some(name) = &name {
            self.offsets.insert(entry.key(Key::Name), name.offset);
        }
        for (key, example) in [("from", FROM), ("to", TO)] {
            if !section.has(key) {
                section.missing(key, format!("write {key} = [{example}], or [\"any\"]"));
            }
        }
        let mut words = |key: Key, word, example| {
            let words = section.words(word, example)?;
            Some(self.note(entry.key(key), &words))
        };
        Entry {
            from: words(Key::From, "from", FROM).unwrap_or_default(),
            to: words(Key::To, "to", TO).unwrap_or_default(),
            ports: words(Key::Ports, "ports", PORTS),
            name: name.map(|name| name.value.to_owned()),
        }
    }

    /// Keeps where words stand.
    fn note(&mut self, place: Place, words: &[At<&str>]) -> Vec<String> {
        if let Some(first) = words.first() {
            self.offsets.entry(place).or_insert(first.offset);
        }
        let words = words.iter().enumerate();
        let words = words.map(|(number, word)| {
            self.offsets.insert(place.word(number), word.offset);
            word.value.to_owned()
        });
        words.collect()
    }
}

fn read_stance(root: &Section<'_>) -> Option<Stance> {
    let choice = Choice {
        example: "\"open\"",
        all: &Stance::ALL,
        word: Stance::as_str,
        is: "not a known policy",
        mend: "write \"open\" (every site reaches everything) or \"closed\" (only what an \
               [[allow]] lets pass)",
    };
    root.choice("policy", &choice).map(At::into_value)
}

fn read_denied(root: &Section<'_>) -> Option<Denied> {
    let choice = Choice {
        example: "\"reject\"",
        all: &Denied::ALL,
        word: Denied::as_str,
        is: "not a known answer",
        mend: "write \"drop\" (silently) or \"reject\" (the sender gets an ICMP message, or a \
               reset of TCP)",
    };
    root.choice("denied", &choice).map(At::into_value)
}

/// Whether it is about all that the rules allow.
fn is_proof(fault: &Fault) -> bool {
    let Place { table, key, .. } = fault.place;
    matches!(table, Table::Never | Table::Expect) && key == Key::Whole
}

/// What names in rules stand for, as far as that could be read.
fn network(gateway: Option<&GatewayDraft>, sites: &[SiteDraft]) -> Network {
    let own = gateway.map_or(&[][..], |gateway| &gateway.tunnel_addresses);
    Network {
        own: own.iter().map(|at| at.value.address).collect(),
        sites: sites
            .iter()
            .map(|site| SiteNetwork {
                name: site
                    .name
                    .as_ref()
                    .map_or_else(String::new, |at| at.value.clone()),
                tags: site.tags.clone(),
                routes: site.routes.iter().map(|at| at.value).collect(),
            })
            .collect(),
    }
}
