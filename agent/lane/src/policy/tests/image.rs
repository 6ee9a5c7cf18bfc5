//! Images of a few rules between networks of IPv4 that differ in their second byte.

use datapath_abi::policy::{CLOSED, LEAF, LINE_WORDS, Line, MAGIC, NODE_ENTRIES, NODE_LINES};

/// Networks that are told apart; all others are network 0.
const NETWORKS: u32 = 4;
/// Port of a rule that allows all, as of a protocol that has none.
const ANY: u16 = 0;

/// Whoever is in network `from` may open flows to `port` in network `to`.
#[derive(Clone, Copy)]
pub(super) struct Rule {
    from: u32,
    to: u32,
    protocol: u8,
    port: u16,
}

impl Rule {
    pub(super) const fn new(from: u32, to: u32, protocol: u8, port: u16) -> Self {
        Self {
            from,
            to,
            protocol,
            port,
        }
    }
}

/// A closed policy of these rules, of which no two have the same protocol.
pub(super) fn image(rules: &[Rule]) -> Vec<Line> {
    let mut lines = vec![[0; LINE_WORDS]; 3];
    let nodes = lines.len() as u32;
    let mut node = |entry: &dyn Fn(u32) -> u32| {
        let number = (lines.len() as u32 - nodes) / NODE_LINES;
        let entries: Vec<u32> = (0..NODE_ENTRIES as u32).map(entry).collect();
        let (entries, _) = entries.as_chunks::<LINE_WORDS>();
        lines.extend(entries);
        number
    };
    let second = node(&|byte| LEAF | if byte < NETWORKS { byte } else { 0 });
    let addresses = node(&|byte| if byte == 10 { second } else { LEAF });
    // Class n + 1 is that of rule n.
    let mut of_protocols = Vec::new();
    for (class, rule) in (1..).zip(rules) {
        let [high, low] = rule.port.to_be_bytes().map(u32::from);
        let of_low = node(&|byte| LEAF | if byte == low { class } else { 0 });
        let of_high = node(&|byte| if byte == high { of_low } else { LEAF });
        let of_ports = if rule.port == ANY {
            LEAF | class
        } else {
            of_high
        };
        of_protocols.push((u32::from(rule.protocol), class, of_ports));
    }
    let of = |byte| of_protocols.iter().find(|(protocol, ..)| *protocol == byte);
    let ports = node(&|byte| of(byte).map_or(LEAF, |(.., node)| *node));
    let protocols = node(&|byte| LEAF | of(byte).map_or(0, |(_, class, _)| *class));
    let address_rows = lines.len() as u32;
    for network in 0..NETWORKS {
        let bits = |of: fn(&Rule) -> u32| {
            let rules = rules.iter().enumerate();
            rules
                .filter(|(_, rule)| of(rule) == network)
                .fold(0, |bits, (number, _)| bits | 1 << number)
        };
        let (from, to) = (bits(|rule| rule.from), bits(|rule| rule.to));
        lines.push([u32::from(from != 0), 0, u32::from(to != 0), 0, 0, 0, 0, 0]);
        lines.extend([from, to].map(line_of));
    }
    let port_rows = lines.len() as u32;
    for class in 0..=rules.len() {
        let bits = if class == 0 { 0 } else { 1 << (class - 1) };
        lines.extend([u32::from(bits != 0), bits].map(line_of));
    }
    let count = rules.len() as u32;
    lines[0] = [MAGIC, count, 1, nodes, address_rows, port_rows, 1, 0];
    lines[1][..2].copy_from_slice(&[ports, protocols]);
    lines[2][..3].copy_from_slice(&[CLOSED, addresses, LEAF]);
    lines
}

fn line_of(word: u32) -> Line {
    let mut line = [0; LINE_WORDS];
    line[0] = word;
    line
}
