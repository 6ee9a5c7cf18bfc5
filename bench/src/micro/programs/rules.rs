//! An image of many rules, as the compiler of the configuration makes one: each rule lets the hosts of the LAN reach
//! ten prefixes, at the port that the frames go to.

use std::collections::BTreeMap;

use datapath_abi::policy::{
    CLOSED, HEAD_LINES, LEAF, LINE_WORDS, Line, MAGIC, NODE_ENTRIES, RULES_PER_LINE,
};

use super::frames;

/// Rules, and prefixes that they name.
pub(super) const RULES: usize = 10_000;
pub(super) const PREFIXES: usize = 100_000;

const ROW_LINES: usize = RULES.div_ceil(RULES_PER_LINE);
const UDP: u8 = 17;
/// Class of the hosts, and of all else that no rule names.
const HOSTS: u32 = 0;

/// Nodes as they are numbered: what each value of a byte leads to.
struct Nodes(Vec<[u32; NODE_ENTRIES]>);

impl Nodes {
    fn add(&mut self, rest: u32) -> u32 {
        self.0.push([rest; NODE_ENTRIES]);
        self.0.len() as u32 - 1
    }

    /// Makes a key, of which these are the bytes, one of a class. `rest` is the class of its neighbours.
    fn set(&mut self, root: u32, key: &[u8], class: u32, rest: u32) {
        let (last, first) = key.split_last().expect("a key has bytes");
        let mut node = root as usize;
        for byte in first {
            let mut next = self.0[node][usize::from(*byte)];
            if next & LEAF != 0 {
                next = self.add(rest);
                self.0[node][usize::from(*byte)] = next;
            }
            node = next as usize;
        }
        self.0[node][usize::from(*last)] = LEAF | class;
    }
}

pub(super) fn image() -> Vec<Line> {
    let mut nodes = Nodes(Vec::new());
    let addresses = nodes.add(LEAF | HOSTS);
    let mut prefixes = BTreeMap::new();
    for index in 0..PREFIXES {
        let rule = index % RULES;
        prefixes.insert(frames::prefix(index), rule as u32 + 1);
    }
    for (prefix, class) in prefixes {
        nodes.set(addresses, &prefix.octets()[..3], class, LEAF | HOSTS);
    }
    // No port, and that of the frames.
    let ports = nodes.add(LEAF);
    let [high, low] = frames::KNOWN.destination.1.to_be_bytes();
    nodes.set(ports, &[UDP, high, low], 1, LEAF);
    let protocols = nodes.add(LEAF);

    let first_node = HEAD_LINES as usize + 1;
    let mut lines = vec![[0; LINE_WORDS]; first_node];
    for node in &nodes.0 {
        lines.extend(node.as_chunks::<LINE_WORDS>().0);
    }
    let address_rows = lines.len();
    write_row(&mut lines, &[&|_| true, &|_| false]);
    for class in 0..RULES {
        write_row(&mut lines, &[&|_| false, &|rule| rule == class]);
    }
    let port_rows = lines.len();
    write_row(&mut lines, &[&|_| false]);
    write_row(&mut lines, &[&|_| true]);
    let number = |place: usize| u32::try_from(place).expect("an image has fewer lines");
    lines[0] = [
        MAGIC,
        number(RULES),
        number(ROW_LINES),
        number(first_node),
        number(address_rows),
        number(port_rows),
        1,
        0,
    ];
    lines[1][..2].copy_from_slice(&[ports, protocols]);
    lines[2][..3].copy_from_slice(&[CLOSED, addresses, LEAF | HOSTS]);
    lines
}

/// A row: of each part, whether a rule is in it.
fn write_row(lines: &mut Vec<Line>, parts: &[&dyn Fn(usize) -> bool]) {
    let mut summary = [0; LINE_WORDS];
    let mut bits = vec![[0; LINE_WORDS]; parts.len() * ROW_LINES];
    for (part, holds) in parts.iter().enumerate() {
        for rule in (0..RULES).filter(|rule| holds(*rule)) {
            let (line, bit) = (rule / RULES_PER_LINE, rule % RULES_PER_LINE);
            bits[part * ROW_LINES + line][bit / 32] |= 1 << (bit % 32);
            summary[2 * part + line / 32] |= 1 << (line % 32);
        }
    }
    lines.push(summary);
    lines.extend(bits);
}
