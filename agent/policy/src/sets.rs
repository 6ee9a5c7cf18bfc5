//! The sets of addresses that rules are made of, each kept once however many rules name it.

use std::collections::HashMap;

use crossway_types::prefix::Prefix;

use super::area::Area;
use super::network::Owner;

/// Addresses that one word stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Set {
    pub(crate) prefixes: Vec<Prefix>,
    pub(crate) owners: Vec<Owner>,
}

impl Set {
    pub(crate) fn of_prefixes(prefixes: impl IntoIterator<Item = Prefix>) -> Self {
        Self {
            prefixes: prefixes.into_iter().collect(),
            owners: Vec::new(),
        }
    }

    pub(crate) fn of_owners(owners: Vec<Owner>) -> Self {
        Self {
            prefixes: Vec::new(),
            owners,
        }
    }
}

/// Sets by their numbers, and by the words that stand for them.
#[derive(Debug, Default)]
pub(crate) struct Sets {
    list: Vec<Set>,
    by_word: HashMap<String, u32>,
}

impl Sets {
    /// A set that no other word stands for.
    pub(crate) fn add(&mut self, set: Set) -> u32 {
        self.list.push(set);
        (self.list.len() - 1) as u32
    }

    /// The set of a word, made the first time.
    pub(crate) fn of_word(&mut self, word: &str, set: impl FnOnce() -> Set) -> u32 {
        if let Some(known) = self.by_word.get(word) {
            return *known;
        }
        let added = self.add(set());
        self.by_word.insert(word.to_owned(), added);
        added
    }

    pub(crate) fn list(&self) -> &[Set] {
        &self.list
    }

    /// The addresses of each set; `owners` are those of each owner.
    pub(crate) fn areas(&self, owners: &[Area]) -> Vec<Area> {
        let area = |set: &Set| {
            let named = Area::of_prefixes(set.prefixes.iter().copied());
            let owned = set.owners.iter().map(|owner| &owners[owner.index()]);
            Area::union(owned.chain([&named]))
        };
        self.list.iter().map(area).collect()
    }
}
