//! The rule that comes nearest to allowing a flow that none allows, and what it lacks.
//!
//! An image has a row of rules for each class of addresses and of ports, so that the rows of one question say of every
//! rule whether its `from`, its `to` and its ports hold.

use datapath_abi::address::{self, Address};
use datapath_abi::headers::{Family, Ports};
use datapath_abi::policy::{HEAD_LINES, LEAF, LINE_WORDS, Line, NODE_LINES, Question};

/// A rule, and what of it holds for the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gateway) struct Near {
    /// Its number.
    pub(in crate::gateway) rule: u32,
    /// Who opens the flow is in its `from`.
    pub(in crate::gateway) from: bool,
    /// To whom is in its `to`.
    pub(in crate::gateway) to: bool,
    /// By what is in its ports.
    pub(in crate::gateway) ports: bool,
}

impl Near {
    fn holding(self) -> usize {
        [self.from, self.to, self.ports]
            .into_iter()
            .filter(|holds| *holds)
            .count()
    }
}

/// Of the first `rules` of an image the one of which most holds, the first of those; none where nothing holds of any. The
/// sender is asked about as the one who opens.
pub(in crate::gateway) fn nearest(
    image: &[Line],
    question: &Question<'_>,
    rules: usize,
) -> Option<Near> {
    let rows = Rows::of(image, question)?;
    let near = (0..rules as u32).filter_map(|rule| rows.near(rule));
    // The first of those that are equally near.
    let best = near.rev().max_by_key(|near| near.holding())?;
    (best.holding() > 0).then_some(best)
}

/// The rows of a question: of who opens, of to whom, and of by what.
struct Rows<'i> {
    from: &'i [Line],
    to: &'i [Line],
    ports: &'i [Line],
}

impl<'i> Rows<'i> {
    fn of(image: &'i [Line], question: &Question<'_>) -> Option<Self> {
        let head = image.first()?;
        let [_, _, row_lines, nodes, address_rows, port_rows, ..] = *head;
        let walk = |root, key: &[u8]| class(image, nodes, root, key);
        let vnet = image.get((HEAD_LINES + question.vnet) as usize)?;
        let root = match question.family {
            Family::V4 => vnet[1],
            Family::V6 => vnet[2],
        };
        // A line of summaries, the rules by `from`, and those by `to`.
        let row = |class: u32, part: u32| {
            let start = address_rows + class * (2 * row_lines + 1) + 1 + part * row_lines;
            image.get(start as usize..(start + row_lines) as usize)
        };
        let source = walk(root, &key(question.family, question.source))?;
        let destination = walk(root, &key(question.family, question.destination))?;
        let roots = image.get(1)?;
        let port = match question.ports.map(Ports::destination) {
            Some(port) => {
                let [high, low] = port.to_be_bytes();
                walk(roots[0], &[question.protocol, high, low])?
            }
            None => walk(roots[1], &[question.protocol])?,
        };
        let start = port_rows + port * (row_lines + 1) + 1;
        Some(Self {
            from: row(source, 0)?,
            to: row(destination, 1)?,
            ports: image.get(start as usize..(start + row_lines) as usize)?,
        })
    }

    fn near(&self, rule: u32) -> Option<Near> {
        Some(Near {
            rule,
            from: bit(self.from, rule)?,
            to: bit(self.to, rule)?,
            ports: bit(self.ports, rule)?,
        })
    }
}

fn bit(row: &[Line], rule: u32) -> Option<bool> {
    let word = (rule / u32::BITS) as usize;
    let line = row.get(word / LINE_WORDS)?;
    Some(line[word % LINE_WORDS] >> (rule % u32::BITS) & 1 == 1)
}

/// The class that a walk with this key ends at.
fn class(image: &[Line], nodes: u32, root: u32, key: &[u8]) -> Option<u32> {
    let mut entry = root;
    for byte in key {
        if entry & LEAF != 0 {
            break;
        }
        let line = nodes + entry * NODE_LINES + u32::from(*byte) / LINE_WORDS as u32;
        entry = image.get(line as usize)?[usize::from(*byte) % LINE_WORDS];
    }
    (entry & LEAF != 0).then_some(entry & !LEAF)
}

/// The bytes of an address that are walked.
fn key(family: Family, address: &Address) -> Vec<u8> {
    let bytes = address::to_bytes(*address);
    match family {
        Family::V4 => bytes[12..].to_vec(),
        Family::V6 => bytes.to_vec(),
    }
}
