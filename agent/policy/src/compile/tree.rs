//! The tree of an image: each node decides by a byte of the key.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use datapath_abi::policy::{LEAF, LINE_WORDS, Line, NODE_ENTRIES, NODE_LINES};

use super::TooLarge;
use super::classes::{Classes, State};

/// A block of keys, all of which a set holds or an owner has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Item {
    /// Its first key, from the highest bit on.
    pub(super) key: u128,
    /// Bits that all its keys have in common.
    pub(super) length: u32,
    pub(super) step: Step,
}

/// What a walk down the tree meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// From here on another owner has the keys.
    Owner(u32),
    /// From here on this set holds them.
    Set(u32),
}

type Node = [u32; NODE_ENTRIES];

/// Nodes, of equal ones one.
#[derive(Default)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    /// Nodes by their hash.
    known: HashMap<u64, Vec<u32>>,
    hasher: RandomState,
}

impl Tree {
    /// Enters blocks, and gives the root of their tree.
    pub(super) fn root(
        &mut self,
        mut items: Vec<Item>,
        classes: &mut Classes,
    ) -> Result<u32, TooLarge> {
        // A block stands in front of those within it.
        items.sort_unstable();
        items.dedup();
        let whole = items.iter().take_while(|item| item.length == 0).count();
        let mut state = State::default();
        for item in &items[..whole] {
            state = classes.step(state, item.step);
        }
        self.below(&items[whole..], 0, state, classes)
    }

    /// The entry for keys that are in `state` where they are in none of the blocks, all of which
    /// differ in bits from byte `depth` on only.
    fn below(
        &mut self,
        items: &[Item],
        depth: u32,
        state: State,
        classes: &mut Classes,
    ) -> Result<u32, TooLarge> {
        if items.is_empty() {
            return Ok(LEAF | classes.class(state));
        }
        let mut states = [state; NODE_ENTRIES];
        let mut node: Node = [0; NODE_ENTRIES];
        let mut is_node = [false; NODE_ENTRIES];
        let end = (depth + 1) * u8::BITS;
        let byte = |item: &Item| (item.key >> (u128::BITS - end)) as usize % NODE_ENTRIES;
        let mut rest = items;
        while let Some(item) = rest.first() {
            let first = byte(item);
            if item.length <= end {
                // What holds the block holds all of it.
                let next = classes.step(states[first], item.step);
                states[first..first + (1 << (end - item.length))].fill(next);
                rest = &rest[1..];
                continue;
            }
            // Blocks in one entry follow each other: wider ones that begin there came before.
            let inside = rest.iter().take_while(|item| byte(item) == first).count();
            let (inside, behind) = rest.split_at(inside);
            node[first] = self.below(inside, depth + 1, states[first], classes)?;
            is_node[first] = true;
            rest = behind;
        }
        // Neighbours are mostly in the same state.
        let mut last = (state, classes.class(state));
        for (entry, is_node) in is_node.into_iter().enumerate() {
            if is_node {
                continue;
            }
            if states[entry] != last.0 {
                last = (states[entry], classes.class(states[entry]));
            }
            node[entry] = LEAF | last.1;
        }
        self.enter(&node, classes.lines())
    }

    /// The entry for a node: a leaf where all is of one class. `others` are the lines of the image
    /// that are no nodes.
    fn enter(&mut self, node: &Node, others: usize) -> Result<u32, TooLarge> {
        if node[0] & LEAF != 0 && node.iter().all(|entry| *entry == node[0]) {
            return Ok(node[0]);
        }
        let hash = self.hasher.hash_one(node);
        let alike = self.known.entry(hash).or_default();
        let same = alike
            .iter()
            .find(|known| self.nodes[**known as usize] == *node);
        if let Some(same) = same {
            return Ok(*same);
        }
        let number = self.nodes.len() as u32;
        alike.push(number);
        self.nodes.push(*node);
        TooLarge::check(self.nodes.len() * NODE_LINES as usize + others)?;
        Ok(number)
    }

    pub(super) fn into_lines(self) -> Vec<Line> {
        let words = self.nodes.as_flattened();
        let (lines, _) = words.as_chunks::<LINE_WORDS>();
        lines.to_vec()
    }
}
