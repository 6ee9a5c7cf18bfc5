//! Addresses parted into cells: within a cell, all are in the same rules.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::spans::Spans;

/// Bits of a word.
const BITS: usize = u64::BITS as usize;

/// The cells of some addresses.
pub(super) struct Cells {
    pub(super) cells: Vec<Cell>,
    /// The rules that all of the addresses are in.
    pub(super) everywhere: Vec<u64>,
}

/// Addresses that are in the same rules.
pub(super) struct Cell {
    /// One of them.
    pub(super) example: u128,
    /// A bit for each rule.
    pub(super) rules: Vec<u64>,
}

impl Cells {
    /// Parts `whole` by the rules whose sets are `sides`; `spans` are the addresses of a set.
    pub(super) fn new<'s>(
        sides: &[&[u32]],
        whole: &Spans,
        spans: impl Fn(u32) -> &'s Spans,
    ) -> Self {
        let mut users: HashMap<u32, Vec<usize>> = HashMap::new();
        for (rule, sets) in sides.iter().enumerate() {
            for set in *sets {
                users.entry(*set).or_default().push(rule);
            }
        }
        let mut changes: BTreeMap<u128, Vec<Change>> = BTreeMap::new();
        let mut change = |at: u128, change| changes.entry(at).or_default().push(change);
        for set in users.keys() {
            for (first, last) in spans(*set).and(whole).iter() {
                change(first, Change::Begins(*set));
                if let Some(behind) = last.checked_add(1) {
                    change(behind, Change::Ends(*set));
                }
            }
        }
        for (first, last) in whole.iter() {
            change(first, Change::Inside);
            if let Some(behind) = last.checked_add(1) {
                change(behind, Change::Outside);
            }
        }
        let words = sides.len().div_ceil(BITS);
        let cells = walk(&changes, &users, words);
        let mut everywhere = vec![u64::MAX; words];
        for cell in &cells {
            for (all, here) in everywhere.iter_mut().zip(&cell.rules) {
                *all &= here;
            }
        }
        Self { cells, everywhere }
    }
}

enum Change {
    Begins(u32),
    Ends(u32),
    Inside,
    Outside,
}

/// One cell for each sum of rules that is met.
fn walk(
    changes: &BTreeMap<u128, Vec<Change>>,
    users: &HashMap<u32, Vec<usize>>,
    words: usize,
) -> Vec<Cell> {
    let mut cells = Vec::new();
    let mut seen: HashSet<Vec<u64>> = HashSet::new();
    let mut sets: HashSet<u32> = HashSet::new();
    let mut is_inside = false;
    for (at, changes) in changes {
        // What ends here does so before what begins: spans of one side may touch.
        for change in changes {
            match change {
                Change::Ends(set) => drop(sets.remove(set)),
                Change::Outside => is_inside = false,
                Change::Begins(_) | Change::Inside => {}
            }
        }
        for change in changes {
            match change {
                Change::Begins(set) => drop(sets.insert(*set)),
                Change::Inside => is_inside = true,
                Change::Ends(_) | Change::Outside => {}
            }
        }
        if !is_inside {
            continue;
        }
        let mut rules = vec![0; words];
        for rule in sets.iter().flat_map(|set| &users[set]) {
            rules[rule / BITS] |= 1 << (rule % BITS);
        }
        if seen.insert(rules.clone()) {
            let example = *at;
            cells.push(Cell { example, rules });
        }
    }
    cells
}

/// The numbers of the bits that are set.
pub(super) fn bits(words: &[u64]) -> impl Iterator<Item = usize> {
    words.iter().enumerate().flat_map(|(index, word)| {
        (0..BITS).filter_map(move |bit| (word >> bit & 1 == 1).then_some(index * BITS + bit))
    })
}
