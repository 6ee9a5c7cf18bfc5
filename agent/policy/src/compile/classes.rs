//! Classes of keys: which rules hold them, as rows of bits.

use std::collections::HashMap;

use datapath_abi::policy::{LINE_WORDS, Line, RULES_PER_LINE};

use super::tree::Step;

/// Which rules name each set and each owner, on one side.
pub(super) struct Members {
    by_set: Vec<Vec<u32>>,
    by_owner: Vec<Vec<u32>>,
}

impl Members {
    pub(super) fn new(sets: usize, owners: usize) -> Self {
        Self {
            by_set: vec![Vec::new(); sets],
            by_owner: vec![Vec::new(); owners],
        }
    }

    pub(super) fn add_set(&mut self, set: u32, rule: u32) {
        self.by_set[set as usize].push(rule);
    }

    pub(super) fn add_owner(&mut self, owner: usize, rule: u32) {
        self.by_owner[owner].push(rule);
    }
}

/// What a walk has met: the last owner, and every set. Of the default nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    owner: u32,
    /// Number of a chain; 0 is the empty one.
    chain: u32,
}

/// The classes of one kind of keys. Sides have a summary and bits each, in their order.
pub(super) struct Classes {
    sides: Vec<Members>,
    row_lines: usize,
    /// Chains from 1 on: the one that it goes on from, and the set that is added.
    chains: Vec<(u32, u32)>,
    numbers: HashMap<(u32, u32), u32>,
    known: HashMap<State, u32>,
    rows: HashMap<Box<[Line]>, u32>,
}

impl Classes {
    pub(super) fn new(sides: Vec<Members>, row_lines: usize) -> Self {
        Self {
            sides,
            row_lines,
            chains: Vec::new(),
            numbers: HashMap::new(),
            known: HashMap::new(),
            rows: HashMap::new(),
        }
    }

    /// The state behind a step.
    pub(super) fn step(&mut self, state: State, step: Step) -> State {
        match step {
            Step::Owner(owner) => State { owner, ..state },
            Step::Set(set) => {
                let link = (state.chain, set);
                let chain = *self.numbers.entry(link).or_insert_with(|| {
                    self.chains.push(link);
                    self.chains.len() as u32
                });
                State { chain, ..state }
            }
        }
    }

    /// The class of keys in a state.
    pub(super) fn class(&mut self, state: State) -> u32 {
        if let Some(class) = self.known.get(&state) {
            return *class;
        }
        let next = self.rows.len() as u32;
        let row = self.row(state);
        let class = *self.rows.entry(row).or_insert(next);
        self.known.insert(state, class);
        class
    }

    fn row(&self, state: State) -> Box<[Line]> {
        let mut row = vec![[0; LINE_WORDS]; 1 + self.sides.len() * self.row_lines];
        for (number, side) in self.sides.iter().enumerate() {
            let first = 1 + number * self.row_lines;
            let mut summary = 0_u64;
            let mut set_bits = |rules: &[u32]| {
                for rule in rules.iter().map(|rule| *rule as usize) {
                    let (line, bit) = (rule / RULES_PER_LINE, rule % RULES_PER_LINE);
                    row[first + line][bit / 32] |= 1 << (bit % 32);
                    summary |= 1 << line;
                }
            };
            set_bits(&side.by_owner[state.owner as usize]);
            let mut chain = state.chain;
            while let Some(index) = chain.checked_sub(1) {
                let (before, set) = self.chains[index as usize];
                set_bits(&side.by_set[set as usize]);
                chain = before;
            }
            row[0][2 * number] = summary as u32;
            row[0][2 * number + 1] = (summary >> 32) as u32;
        }
        row.into()
    }

    /// Lines of all rows so far.
    pub(super) fn lines(&self) -> usize {
        self.rows.len() * (1 + self.sides.len() * self.row_lines)
    }

    /// The rows by their classes.
    pub(super) fn into_rows(self) -> Vec<Line> {
        let mut rows: Vec<(Box<[Line]>, u32)> = self.rows.into_iter().collect();
        rows.sort_unstable_by_key(|(_, class)| *class);
        rows.into_iter().flat_map(|(row, _)| row).collect()
    }
}
