//! Policy: which rule lets a flow pass. Programs and lanes ask the same *image*, a rule set compiled into lines of
//! bytes, by the same code.
//!
//! ```text
//! line 0          MAGIC, rules, row lines, first line of: nodes, address rows, port rows; vnets, 0
//! line 1          roots of ports and of protocols
//! line 2 + vnet   flags, roots of IPv4 and of IPv6
//! nodes           256 entries each, in 32 lines
//! address rows    a line of summaries, row lines of rules by `from`, row lines of rules by `to`
//! port rows       a line with the summary, row lines of rules
//! ```
//!
//! A key is walked byte by byte: an address, or protocol and port. Each step reads an entry: the number of the next node,
//! or with [`LEAF`] a class. All keys of a class are in the same rules; its row has a bit for each. Rules that allow a flow
//! are those whose bit is set for its source, its destination and its port. A summary has a bit for each line of a row in
//! which any is set, so that of thousands of rules few lines are read (Baboescu and Varghese, "Scalable Packet
//! Classification", SIGCOMM 2001).

use crate::address::Address;
use crate::headers::{Family, Ports};

/// Unit of an image: what one look reads.
pub type Line = [u32; LINE_WORDS];

/// Words of a line.
pub const LINE_WORDS: usize = 8;
/// First word of an image; its last byte is the version.
pub const MAGIC: u32 = 0x6377_7001;
/// Rules of a set: a summary is one word of 64 bits.
pub const MAX_RULES: usize = 64 * RULES_PER_LINE;
/// Rules whose bits are in one line.
pub const RULES_PER_LINE: usize = 32 * LINE_WORDS;
/// Entries of a node: one for each value of a byte.
pub const NODE_ENTRIES: usize = 256;
/// Lines of a node.
pub const NODE_LINES: u32 = (NODE_ENTRIES / LINE_WORDS) as u32;
/// Bit of an entry that is a class, not a node.
pub const LEAF: u32 = 1 << 31;
/// Lines in front of the first vnet's.
pub const HEAD_LINES: u32 = 2;
/// Flag of a vnet: what no rule allows is denied.
pub const CLOSED: u32 = 1;

/// What [`judge`] says where no rule allows the flow, and of an image that cannot be read.
pub const NO_RULE: u32 = u32::MAX;
/// What [`judge`] says of a vnet that is not closed, or that the image does not have.
pub const OPEN: u32 = u32::MAX - 1;

/// Longest key: the bytes of an IPv6 address.
const MOST_STEPS: u32 = 16;

/// Lines of an image, wherever they are.
pub trait Image {
    /// The line with this number, if there is one.
    fn line(&self, index: u32) -> Option<&Line>;
}

impl Image for [Line] {
    #[inline]
    fn line(&self, index: u32) -> Option<&Line> {
        self.get(index as usize)
    }
}

/// Which end of a packet's flow opened it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opener {
    /// The one that sent the packet.
    Sender,
    /// The one that it is sent to: the packet is an answer.
    Receiver,
    /// It cannot be told; a rule for either is enough.
    Either,
}

/// Kind of an ICMP message, of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Icmp {
    /// An answer: echo reply and the like.
    Reply,
    /// About a packet that it carries.
    Error,
    /// A request, or anything else that somebody sends of their own accord.
    Other,
}

impl Icmp {
    /// By family and type of the message.
    #[inline(always)]
    pub fn of(family: Family, kind: u8) -> Self {
        match family {
            // RFC 792: echo, timestamp and information replies; RFC 950: address mask reply.
            Family::V4 => match kind {
                0 | 14 | 16 | 18 => Self::Reply,
                3 | 4 | 5 | 11 | 12 => Self::Error,
                _ => Self::Other,
            },
            // RFC 4443, 2.1: errors have the high bit clear. RFC 4443, 4.2 and RFC 4620: replies.
            Family::V6 => match kind {
                129 | 140 => Self::Reply,
                0..=127 => Self::Error,
                _ => Self::Other,
            },
        }
    }
}

/// What is asked about a packet.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Virtual network id.
    pub vnet: u32,
    /// IP version of both addresses.
    pub family: Family,
    /// The packet's source.
    pub source: &'a Address,
    /// The packet's destination.
    pub destination: &'a Address,
    /// IP protocol number.
    pub protocol: u8,
    /// Its ports. `None` for a fragment that has none: then the rules of any port of its protocol count. Without the first
    /// fragment, which has them, nobody can put the datagram together.
    pub ports: Option<Ports>,
    /// Who opened the flow.
    pub opener: Opener,
}

/// The lowest rule that allows the packet's flow, or [`NO_RULE`] or [`OPEN`].
#[inline(always)]
pub fn judge(image: &(impl Image + ?Sized), question: &Question<'_>) -> u32 {
    search(image, question).unwrap_or(NO_RULE)
}

#[inline(always)]
fn search(image: &(impl Image + ?Sized), question: &Question<'_>) -> Option<u32> {
    let head = image.line(0)?;
    if head[0] != MAGIC {
        return None;
    }
    let table = Table {
        image,
        row_lines: head[2],
        nodes: head[3],
        address_rows: head[4],
        port_rows: head[5],
    };
    if question.vnet >= head[6] {
        return Some(OPEN);
    }
    let vnet = image.line(HEAD_LINES.wrapping_add(question.vnet))?;
    if vnet[0] & CLOSED == 0 {
        return Some(OPEN);
    }
    let root = match question.family {
        Family::V4 => vnet[1],
        Family::V6 => vnet[2],
    };
    let source = table.address_row(root, question.family, question.source)?;
    let destination = table.address_row(root, question.family, question.destination)?;
    let roots = image.line(1)?;
    if question.opener != Opener::Receiver {
        let port = question.ports.map(Ports::destination);
        let port = table.port_row(roots, question.protocol, port)?;
        let rule = table.common(source, destination, port)?;
        if rule != NO_RULE || question.opener == Opener::Sender {
            return Some(rule);
        }
    }
    let port = question.ports.map(Ports::source);
    let port = table.port_row(roots, question.protocol, port)?;
    table.common(destination, source, port)
}

/// An image and where its parts begin.
struct Table<'i, I: Image + ?Sized> {
    image: &'i I,
    row_lines: u32,
    nodes: u32,
    address_rows: u32,
    port_rows: u32,
}

impl<I: Image + ?Sized> Table<'_, I> {
    /// First line of the row of an address.
    #[inline(always)]
    fn address_row(&self, root: u32, family: Family, address: &Address) -> Option<u32> {
        let half =
            |upper, lower| u64::from(u32::from_be(upper)) << 32 | u64::from(u32::from_be(lower));
        let (upper, lower) = match family {
            Family::V4 => (half(address[3], 0), 0),
            Family::V6 => (half(address[0], address[1]), half(address[2], address[3])),
        };
        let class = self.walk(root, upper, lower)?;
        let lines = self.row_lines.wrapping_mul(2).wrapping_add(1);
        Some(self.address_rows.wrapping_add(class.wrapping_mul(lines)))
    }

    /// First line of the row of a port of a protocol, or of all its ports.
    #[inline(always)]
    fn port_row(&self, roots: &Line, protocol: u8, port: Option<u16>) -> Option<u32> {
        let protocol = u64::from(protocol) << 56;
        let class = match port {
            Some(port) => self.walk(roots[0], protocol | u64::from(port) << 40, 0)?,
            None => self.walk(roots[1], protocol, 0)?,
        };
        let lines = self.row_lines.wrapping_add(1);
        Some(self.port_rows.wrapping_add(class.wrapping_mul(lines)))
    }

    /// The class of a key, whose bytes are these from the highest on.
    #[inline(always)]
    fn walk(&self, root: u32, mut upper: u64, mut lower: u64) -> Option<u32> {
        let mut entry = root;
        for _ in 0..MOST_STEPS {
            if entry & LEAF != 0 {
                break;
            }
            let byte = (upper >> 56) as u32;
            upper = upper << 8 | lower >> 56;
            lower <<= 8;
            let line = entry
                .wrapping_mul(NODE_LINES)
                .wrapping_add(byte / LINE_WORDS as u32)
                .wrapping_add(self.nodes);
            entry = self.image.line(line)?[byte as usize % LINE_WORDS];
        }
        (entry & LEAF != 0).then_some(entry & !LEAF)
    }

    /// The lowest rule that is in all three rows, or [`NO_RULE`].
    #[inline(always)]
    fn common(&self, from: u32, to: u32, port: u32) -> Option<u32> {
        let mut lines = summary(self.image.line(from)?, 0)
            & summary(self.image.line(to)?, 2)
            & summary(self.image.line(port)?, 0);
        for line in 1..=u64::BITS {
            if lines == 0 {
                break;
            }
            if lines & 1 != 0 {
                let from = self.image.line(from.wrapping_add(line))?;
                let to = to.wrapping_add(self.row_lines).wrapping_add(line);
                let to = self.image.line(to)?;
                let port = self.image.line(port.wrapping_add(line))?;
                for word in 0..LINE_WORDS {
                    let rules = from[word] & to[word] & port[word];
                    if rules != 0 {
                        let before = (line - 1) * RULES_PER_LINE as u32 + word as u32 * u32::BITS;
                        return Some(before + rules.trailing_zeros());
                    }
                }
            }
            lines >>= 1;
        }
        Some(NO_RULE)
    }
}

/// A summary, which is the two words at `word`, the lower half in front.
#[inline(always)]
fn summary(line: &Line, word: usize) -> u64 {
    u64::from(line[word]) | u64::from(line[word + 1]) << 32
}

mod asked;

pub use self::asked::{
    Asked, Denied, IPV4, NO_PORTS, NO_RULE16, OPEN_IMAGE, OPEN16, REFUSED_HEAD, REFUSED_PER_SECOND,
    RULE_SLOTS, Refused, RuleFlows, rule_slot, short,
};

#[cfg(test)]
mod tests;
