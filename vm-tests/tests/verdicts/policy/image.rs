//! Images of small rule sets, made in the plainest way: a node for every byte in which prefixes or ports differ.

use std::net::IpAddr;

use datapath_abi::policy::{
    CLOSED, HEAD_LINES, LEAF, LINE_WORDS, Line, MAGIC, NODE_ENTRIES, NODE_LINES, RULES_PER_LINE,
};

/// A rule: prefixes, and what is allowed between them.
#[derive(Clone)]
pub(crate) struct Rule {
    from: Vec<Prefix>,
    to: Vec<Prefix>,
    ports: Vec<Ports>,
}

/// A protocol and a range of its ports; no protocol is any.
#[derive(Clone, Copy)]
pub(crate) struct Ports {
    protocol: Option<u8>,
    first: u16,
    last: u16,
}

/// Ports from one to another.
pub(crate) fn range(protocol: u8, first: u16, last: u16) -> Ports {
    Ports {
        protocol: Some(protocol),
        first,
        last,
    }
}

/// All of a protocol.
pub(crate) fn all(protocol: u8) -> Ports {
    range(protocol, 0, u16::MAX)
}

/// All protocols.
pub(crate) fn any() -> Ports {
    Ports {
        protocol: None,
        ..all(0)
    }
}

/// A rule between prefixes, each list divided by spaces.
pub(crate) fn rule(from: &str, to: &str, ports: &[Ports]) -> Rule {
    let prefixes = |text: &str| text.split(' ').map(Prefix::of).collect();
    Rule {
        from: prefixes(from),
        to: prefixes(to),
        ports: ports.to_vec(),
    }
}

/// A key's first bytes and bits. Of an address, or of protocol and port.
#[derive(Clone)]
struct Prefix {
    bytes: Vec<u8>,
    bits: usize,
}

impl Prefix {
    fn of(text: &str) -> Self {
        let (address, bits) = text.split_once('/').expect("address/length");
        let bytes = match address.parse().unwrap() {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let bits = bits.parse().unwrap();
        Self { bytes, bits }
    }

    /// Whether it holds all keys that begin so, none of them, or some.
    fn holds(&self, start: &[u8]) -> Option<bool> {
        let same = |bit: usize| {
            let mask = 0x80 >> (bit % 8);
            self.bytes[bit / 8] & mask == start[bit / 8] & mask
        };
        let known = (start.len() * 8).min(self.bits);
        if !(0..known).all(same) {
            return Some(false);
        }
        (self.bits <= start.len() * 8).then_some(true)
    }
}

impl Ports {
    /// As [`Prefix::holds`]: the bytes are a protocol and a port.
    fn holds(self, start: &[u8]) -> Option<bool> {
        let protocol = *start.first()?;
        if self.protocol.is_some_and(|its| its != protocol) {
            return Some(false);
        }
        let (low, high) = match start[1..] {
            [] => (0, u16::MAX),
            [high] => (u16::from(high) << 8, u16::from(high) << 8 | 0xff),
            [high, low, ..] => (
                u16::from_be_bytes([high, low]),
                u16::from_be_bytes([high, low]),
            ),
        };
        if self.first <= low && high <= self.last {
            return Some(true);
        }
        (high < self.first || self.last < low).then_some(false)
    }

    /// Whether it holds any port of a protocol.
    fn holds_some(self, start: &[u8]) -> Option<bool> {
        let protocol = *start.first()?;
        Some(self.protocol.is_none_or(|its| its == protocol))
    }
}

/// The image in which the first so many vnets are open, and then one has these rules.
pub(crate) fn compile(open: u32, rules: &[Rule]) -> Vec<Line> {
    let mut image = Builder {
        row_lines: rules.len().div_ceil(RULES_PER_LINE).max(1),
        ..Builder::default()
    };
    let ends = |family: usize| {
        move |start: &[u8]| -> Option<Vec<Vec<u32>>> {
            let side = |prefixes: fn(&Rule) -> &Vec<Prefix>| {
                which(rules, |rule| {
                    let of_family = prefixes(rule).iter().filter(|it| it.bytes.len() == family);
                    some_or_all(of_family.map(|prefix| prefix.holds(start)))
                })
            };
            Some(vec![side(|rule| &rule.from)?, side(|rule| &rule.to)?])
        }
    };
    let by = |holds: fn(Ports, &[u8]) -> Option<bool>| {
        move |start: &[u8]| -> Option<Vec<Vec<u32>>> {
            let of = |rule: &Rule| some_or_all(rule.ports.iter().map(|it| holds(*it, start)));
            Some(vec![which(rules, of)?])
        }
    };
    let mut addresses = Vec::new();
    let roots = [4, 16].map(|family| image.entry(&mut Vec::new(), &ends(family), &mut addresses));
    let mut ports = Vec::new();
    let port_root = image.entry(&mut Vec::new(), &by(Ports::holds), &mut ports);
    let protocol_root = image.entry(&mut Vec::new(), &by(Ports::holds_some), &mut ports);
    let mut lines = vec![[0; LINE_WORDS]; (HEAD_LINES + open + 1) as usize];
    let nodes = lines.len() as u32;
    lines.extend(image.nodes.iter().flat_map(|node| {
        node.chunks(LINE_WORDS)
            .map(|entries| -> Line { entries.try_into().unwrap() })
    }));
    let address_rows = lines.len() as u32;
    for row in &addresses {
        image.write_row(&mut lines, row);
    }
    let port_rows = lines.len() as u32;
    for row in &ports {
        image.write_row(&mut lines, row);
    }
    let (count, row_lines) = (rules.len() as u32, image.row_lines as u32);
    lines[0] = [
        MAGIC,
        count,
        row_lines,
        nodes,
        address_rows,
        port_rows,
        open + 1,
        0,
    ];
    lines[1][..2].copy_from_slice(&[port_root, protocol_root]);
    lines[(HEAD_LINES + open) as usize][..3].copy_from_slice(&[CLOSED, roots[0], roots[1]]);
    lines
}

/// True if one of them is, else nothing if one is nothing.
fn some_or_all(parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let parts: Vec<_> = parts.collect();
    if parts.contains(&Some(true)) {
        return Some(true);
    }
    (!parts.contains(&None)).then_some(false)
}

/// The rules for which it is so; nothing if it depends.
fn which(rules: &[Rule], is: impl Fn(&Rule) -> Option<bool>) -> Option<Vec<u32>> {
    let mut found = Vec::new();
    for (number, rule) in (0..).zip(rules) {
        if is(rule)? {
            found.push(number);
        }
    }
    Some(found)
}

/// For each part of a row, the rules in it.
type Row = Vec<Vec<u32>>;

#[derive(Default)]
struct Builder {
    nodes: Vec<Vec<u32>>,
    row_lines: usize,
}

impl Builder {
    /// The entry for keys that begin so: a class of `rows` if they are all in the same rules, else a node.
    fn entry(
        &mut self,
        start: &mut Vec<u8>,
        row_of: &impl Fn(&[u8]) -> Option<Row>,
        rows: &mut Vec<Row>,
    ) -> u32 {
        if let Some(row) = row_of(start) {
            let class = rows.iter().position(|it| *it == row).unwrap_or_else(|| {
                rows.push(row);
                rows.len() - 1
            });
            return LEAF | class as u32;
        }
        let number = self.nodes.len();
        self.nodes.push(Vec::new());
        let mut entries = Vec::with_capacity(NODE_ENTRIES);
        for byte in 0..=u8::MAX {
            start.push(byte);
            entries.push(self.entry(start, row_of, rows));
            start.pop();
        }
        self.nodes[number] = entries;
        number as u32
    }

    fn write_row(&self, lines: &mut Vec<Line>, row: &Row) {
        let mut summary = [0; LINE_WORDS];
        let mut bits = vec![[0; LINE_WORDS]; row.len() * self.row_lines];
        for (part, rules) in row.iter().enumerate() {
            for rule in rules {
                let (line, bit) = (
                    *rule as usize / RULES_PER_LINE,
                    *rule as usize % RULES_PER_LINE,
                );
                bits[part * self.row_lines + line][bit / 32] |= 1 << (bit % 32);
                summary[2 * part + line / 32] |= 1 << (line % 32);
            }
        }
        lines.push(summary);
        lines.extend(bits);
    }
}

const _: () = assert!(NODE_LINES as usize * LINE_WORDS == NODE_ENTRIES);
