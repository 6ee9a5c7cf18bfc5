//! Compiles rules into the image that [`datapath_abi::policy::judge`] asks.
//!
//! Every key (an address, or protocol and port) is held by some sets of the rules: the blocks that
//! hold it are nested, so one walk from the widest to the narrowest meets them all (`tree.rs`).
//! What was met is a chain of sets, and from that comes the row of bits that the key's class has
//! (`classes.rs`). Keys of the same row are of the same class, and a part of the tree in which all
//! are of one class is a leaf.

mod classes;
mod tree;

use std::fmt;
use std::sync::Arc;

use crossway_types::address::Family;
use crossway_types::prefix::Prefix;
use datapath_abi::policy::{CLOSED, HEAD_LINES, LEAF, LINE_WORDS, Line, MAGIC, RULES_PER_LINE};

use self::classes::{Classes, Members};
use self::tree::{Item, Step, Tree};
use super::area::{FAMILIES, span};
use super::fault::Faults;
use super::network::Owner;
use super::ports;
use super::rule::Understood;
use super::sets::Set;
use super::source::{Place, Table};
use super::spans::Spans;

/// Virtual networks of an image.
const VNETS: u32 = 1;
/// Lines of the largest image: 256 MiB, which the kernel keeps in memory twice while rules change.
const MOST_LINES: usize = 1 << 23;
/// Bits of a port's key: protocol and port.
const PORT_BITS: u32 = 24;
const PROTOCOL_BITS: u32 = 8;

/// An image.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Compiled(Arc<[Line]>);

/// The image would have more than [`MOST_LINES`].
#[derive(Debug)]
pub(crate) struct TooLarge;

impl TooLarge {
    fn check(lines: usize) -> Result<(), Self> {
        if lines > MOST_LINES {
            return Err(Self);
        }
        Ok(())
    }

    /// Tells of it at the first rule.
    pub(crate) fn tell(table: Table, faults: &mut Faults) {
        let mebibytes = (MOST_LINES * size_of::<Line>()) >> 20;
        let problem = format!("the rules need more than {mebibytes} MiB of memory");
        let mend = "write shorter prefixes, or fewer rules";
        faults.error(Place::of(table, 0), problem, mend);
    }
}

/// What is compiled.
pub(crate) struct Input<'a> {
    /// By their numbers in the image.
    pub(crate) rules: &'a [Understood],
    /// The sets of addresses by their numbers.
    pub(crate) sets: &'a [Set],
    /// The sets of ports by their numbers.
    pub(crate) ports: &'a [Spans],
    /// Of the sites, sorted.
    pub(crate) routes: &'a [(Prefix, Owner)],
}

impl Compiled {
    /// Everything passes.
    pub(crate) fn open() -> Self {
        let head = [
            MAGIC,
            0,
            0,
            HEAD_LINES + VNETS,
            HEAD_LINES + VNETS,
            HEAD_LINES + VNETS,
            VNETS,
            0,
        ];
        let [roots, vnet] = [
            [LEAF, LEAF, 0, 0, 0, 0, 0, 0],
            [0, LEAF, LEAF, 0, 0, 0, 0, 0],
        ];
        Self(Arc::new([head, roots, vnet]))
    }

    /// Only what a rule allows passes.
    pub(crate) fn closed(input: &Input<'_>) -> Result<Self, TooLarge> {
        let row_lines = input.rules.len().div_ceil(RULES_PER_LINE);
        let mut tree = Tree::default();
        let mut addresses = Classes::new(address_members(input), row_lines);
        let items = address_items(input);
        let [v4, v6] = items.map(|items| tree.root(items, &mut addresses));
        let mut ports = Classes::new(port_members(input), row_lines);
        let (by_port, by_protocol) = port_items(input);
        let by_port = tree.root(by_port, &mut ports);
        let by_protocol = tree.root(by_protocol, &mut ports);
        let nodes = tree.into_lines();
        let (addresses, ports) = (addresses.into_rows(), ports.into_rows());
        let first = (HEAD_LINES + VNETS) as usize;
        let address_rows = first + nodes.len();
        let port_rows = address_rows + addresses.len();
        TooLarge::check(port_rows + ports.len())?;
        let head = [
            MAGIC,
            input.rules.len() as u32,
            row_lines as u32,
            first as u32,
            address_rows as u32,
            port_rows as u32,
            VNETS,
            0,
        ];
        let roots = [by_port?, by_protocol?, 0, 0, 0, 0, 0, 0];
        let vnet = [CLOSED, v4?, v6?, 0, 0, 0, 0, 0];
        let lines = [head, roots, vnet].into_iter();
        Ok(Self(
            lines.chain(nodes).chain(addresses).chain(ports).collect(),
        ))
    }

    pub(crate) fn lines(&self) -> Arc<[Line]> {
        Arc::clone(&self.0)
    }
}

impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} lines", self.0.len())
    }
}

/// Which rules name each set of addresses and each owner, in `from` and in `to`.
fn address_members(input: &Input<'_>) -> Vec<Members> {
    let owners = input.routes.iter().map(|(_, owner)| owner.index());
    let named = input.sets.iter().flat_map(|set| &set.owners);
    let owners = owners.chain(named.map(|owner| owner.index())).max();
    let owners = owners.map_or(1, |last| last + 1);
    let sides: [fn(&Understood) -> &[u32]; 2] = [|rule| &rule.from, |rule| &rule.to];
    let members = sides.map(|side| {
        let mut members = Members::new(input.sets.len(), owners);
        for (number, rule) in input.rules.iter().enumerate() {
            for set in side(rule) {
                members.add_set(*set, number as u32);
                for owner in &input.sets[*set as usize].owners {
                    members.add_owner(owner.index(), number as u32);
                }
            }
        }
        members
    });
    members.into()
}

/// The blocks of each family: prefixes of the sets that rules name, and routes.
fn address_items(input: &Input<'_>) -> [Vec<Item>; 2] {
    let mut is_named = vec![false; input.sets.len()];
    for rule in input.rules {
        for set in rule.from.iter().chain(&rule.to) {
            is_named[*set as usize] = true;
        }
    }
    let sets = input.sets.iter().zip(0..).zip(&is_named);
    let named = sets.filter(|(_, is_named)| **is_named);
    let prefixes = named.flat_map(|((set, number), _)| {
        let prefixes = set.prefixes.iter();
        prefixes.map(move |prefix| (*prefix, Step::Set(number)))
    });
    let routes = input.routes.iter();
    let routes = routes.map(|(prefix, owner)| (*prefix, Step::Owner(owner.index() as u32)));
    let mut items = [Vec::new(), Vec::new()];
    for (prefix, step) in prefixes.chain(routes) {
        let family = Family::of(prefix.address());
        let [v4, v6] = &mut items;
        let (items, spare) = if family == FAMILIES[0] {
            (v4, 96)
        } else {
            (v6, 0)
        };
        items.push(Item {
            key: span(&prefix).0 << spare,
            length: prefix.length().into(),
            step,
        });
    }
    items
}

/// Which rules name each set of ports.
fn port_members(input: &Input<'_>) -> Vec<Members> {
    let mut members = Members::new(input.ports.len(), 1);
    for (number, rule) in input.rules.iter().enumerate() {
        members.add_set(rule.ports, number as u32);
    }
    vec![members]
}

/// The blocks of ports, and those of protocols.
fn port_items(input: &Input<'_>) -> (Vec<Item>, Vec<Item>) {
    let items = |width: u32, spans: fn(&Spans) -> Spans| {
        let sets = input.ports.iter().zip(0..);
        let items = sets.flat_map(|(set, number)| {
            let blocks = spans(set).blocks(width);
            blocks.into_iter().map(move |(first, length)| Item {
                key: first << (u128::BITS - width),
                length,
                step: Step::Set(number),
            })
        });
        items.collect()
    };
    (
        items(PORT_BITS, Spans::clone),
        items(PROTOCOL_BITS, ports::protocols),
    )
}

const _: () = assert!(LINE_WORDS == 8, "the head is written word by word");
