//! The filter tables of the older iptables (linux/netfilter_ipv4/ip_tables.h, linux/netfilter_ipv6/ip6_tables.h), in the
//! words of nftables. What is not there is not asked for: that would load its module.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::UdpSocket;

use crossway_sys::socket_option;

use super::netlink::{matched, targeted};
use super::ruleset::{
    Base, Chain, Expression, FORWARD, Field, INPUT, IPV4, IPV6, OUTPUT, Place, Ruleset, Verdict,
};

/// `IPT_SO_GET_INFO` and `IPT_SO_GET_ENTRIES`, the same for IPv6.
const GET_INFO: libc::c_int = 64;
const GET_ENTRIES: libc::c_int = 65;
/// Bytes of a table's name.
const NAME: usize = 32;
/// `struct ipt_getinfo`: name, valid hooks, where each of five hooks begins and has its policy, entries, bytes.
const INFO: usize = NAME + 4 + 5 * 4 + 5 * 4 + 4 + 4;
/// `struct ipt_get_entries` in front of the entries: name and bytes, aligned to 8.
const HEAD: usize = 40;
/// `struct xt_entry_match` and `xt_entry_target`: size, name, revision.
const EXTENSION: usize = 32;
/// The hooks that are looked at.
const HOOKS: [(u32, &str); 3] = [(INPUT, "INPUT"), (FORWARD, "FORWARD"), (OUTPUT, "OUTPUT")];
const TABLE: &str = "filter";

/// Where an entry of a family has what.
struct Layout {
    family: u8,
    level: libc::c_int,
    /// Bytes of both addresses, in front of the masks.
    addresses: usize,
    /// Where the interfaces' names begin.
    interfaces: usize,
    /// Protocol, flags, inverted flags.
    protocol: usize,
    flags: usize,
    inverted: usize,
    /// Offsets of the target and of the next entry.
    offsets: usize,
    /// Where matches begin.
    matches: usize,
}

const IPV4_LAYOUT: Layout = Layout {
    family: IPV4,
    level: libc::IPPROTO_IP,
    addresses: 8,
    interfaces: 16,
    protocol: 80,
    flags: 82,
    inverted: 83,
    offsets: 88,
    matches: 112,
};

const IPV6_LAYOUT: Layout = Layout {
    family: IPV6,
    level: libc::IPPROTO_IPV6,
    addresses: 32,
    interfaces: 64,
    protocol: 128,
    flags: 131,
    inverted: 132,
    offsets: 140,
    matches: 168,
};

/// `IPT_INV_VIA_IN`, `IPT_INV_VIA_OUT`, `XT_INV_PROTO`.
const NOT_IN: u8 = 1;
const NOT_OUT: u8 = 2;
const NOT_PROTOCOL: u8 = 0x40;
/// `IPT_F_GOTO`; IPv6 has it one bit higher.
const GOTO_V4: u8 = 2;
const GOTO_V6: u8 = 4;

/// Tables that exist, of both families.
pub(super) fn tables() -> Vec<String> {
    let of_both = ["ip_tables_names", "ip6_tables_names"].map(names);
    of_both.concat()
}

fn names(file: &str) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// The rules of the filter tables that exist.
pub(super) fn rules() -> io::Result<Ruleset> {
    let mut rules = Ruleset::default();
    for (file, layout, any) in [
        ("ip_tables_names", IPV4_LAYOUT, "0.0.0.0:0"),
        ("ip6_tables_names", IPV6_LAYOUT, "[::]:0"),
    ] {
        if !names(file).iter().any(|name| name == TABLE) {
            continue;
        }
        let socket = UdpSocket::bind(any)?;
        let mut info = [0; INFO];
        info[..TABLE.len()].copy_from_slice(TABLE.as_bytes());
        socket_option::get(&socket, layout.level, GET_INFO, &mut info)?;
        let size = word(&info, INFO - 4) as usize;
        let mut entries = vec![0; HEAD + size];
        entries[..TABLE.len()].copy_from_slice(TABLE.as_bytes());
        entries[NAME..NAME + 4].copy_from_slice(&(size as u32).to_ne_bytes());
        socket_option::get(&socket, layout.level, GET_ENTRIES, &mut entries)?;
        rules
            .chains
            .extend(chains(&layout, &info, &entries[HEAD..]));
    }
    Ok(rules)
}

/// The chains of a table, from `struct ipt_getinfo` and the entries.
fn chains(layout: &Layout, info: &[u8], entries: &[u8]) -> HashMap<Place, Chain> {
    let starts: Vec<(usize, String, Option<u32>)> = starts(layout, info, entries);
    let mut chains = HashMap::new();
    for (start, name, hook) in &starts {
        let mut chain = Chain {
            base: hook.map(|hook| Base {
                kind: "filter".to_owned(),
                hook,
                priority: 0,
                // The policy is the last rule.
                drops: false,
            }),
            rules: Vec::new(),
        };
        let mut at = *start;
        while let Some(entry) = Entry::at(layout, entries, at) {
            let begins_another = at != *start && starts.iter().any(|(other, ..)| *other == at);
            if begins_another || entry.target_name() == "ERROR" {
                break;
            }
            chain.rules.push(entry.steps(&starts, at));
            at += entry.length;
        }
        let place = Place {
            family: layout.family,
            table: TABLE.to_owned(),
            name: name.clone(),
        };
        chains.insert(place, chain);
    }
    chains
}

/// Where each chain begins, and the hook of those that the kernel enters.
fn starts(layout: &Layout, info: &[u8], entries: &[u8]) -> Vec<(usize, String, Option<u32>)> {
    let of_hooks = HOOKS.iter().map(|(hook, name)| {
        let start = word(info, NAME + 4 + *hook as usize * 4) as usize;
        (start, (*name).to_owned(), Some(*hook))
    });
    let mut starts: Vec<_> = of_hooks.collect();
    let mut at = 0;
    while let Some(entry) = Entry::at(layout, entries, at) {
        at += entry.length;
        // The head of a chain that others jump to; the last one is the end of the table.
        if entry.target_name() == "ERROR" && at < entries.len() {
            starts.push((at, text(entry.target.get(EXTENSION..)), None));
        }
    }
    starts
}

/// A rule.
struct Entry<'a> {
    layout: &'a Layout,
    bytes: &'a [u8],
    target: &'a [u8],
    target_at: usize,
    length: usize,
}

impl<'a> Entry<'a> {
    fn at(layout: &'a Layout, entries: &'a [u8], at: usize) -> Option<Self> {
        let bytes = entries.get(at..)?;
        let half = |at: usize| {
            let bytes = bytes.get(at..at + 2)?;
            Some(usize::from(u16::from_ne_bytes(bytes.try_into().ok()?)))
        };
        let target_at = half(layout.offsets)?;
        let length = half(layout.offsets + 2).filter(|length| *length >= layout.matches)?;
        let bytes = bytes.get(..length)?;
        Some(Self {
            layout,
            bytes,
            target: bytes.get(target_at..)?,
            target_at,
            length,
        })
    }

    fn target_name(&self) -> String {
        text(self.target.get(2..EXTENSION - 1))
    }

    fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or_default()
    }

    /// What the rule looks at, and what it does.
    fn steps(&self, starts: &[(usize, String, Option<u32>)], at: usize) -> Vec<Expression> {
        let mut steps = self.interfaces();
        steps.extend(self.addresses());
        let protocol = self.byte(self.layout.protocol);
        if protocol != 0 {
            let equal = self.byte(self.layout.inverted) & NOT_PROTOCOL == 0;
            steps.push(Expression::Load(0, Field::Protocol));
            steps.push(Expression::Compare(0, equal, vec![protocol]));
        }
        steps.extend(self.matches());
        steps.push(match self.target_name().as_str() {
            "" => self.verdict(starts, at),
            name => targeted(name, self.target.get(EXTENSION..).unwrap_or_default()),
        });
        steps
    }

    /// Names, or beginnings of names, as far as their masks reach.
    fn interfaces(&self) -> Vec<Expression> {
        let mut steps = Vec::new();
        for (place, field, not) in [(0, Field::InName, NOT_IN), (1, Field::OutName, NOT_OUT)] {
            let of = |at: usize| self.bytes.get(at..at + 16).unwrap_or_default();
            let start = self.layout.interfaces + place * 16;
            let (name, mask) = (of(start), of(start + 32));
            let length = mask.iter().take_while(|byte| **byte != 0).count();
            if length > 0 {
                let equal = self.byte(self.layout.inverted) & not == 0;
                steps.push(Expression::Load(0, field));
                steps.push(Expression::Compare(0, equal, name[..length].to_vec()));
            }
        }
        steps
    }

    fn addresses(&self) -> Vec<Expression> {
        let length = self.layout.addresses;
        let masks = self.bytes.get(length..2 * length).unwrap_or_default();
        if masks.iter().all(|byte| *byte == 0) {
            return Vec::new();
        }
        vec![
            Expression::Load(0, Field::Address),
            Expression::Compare(0, true, Vec::new()),
        ]
    }

    fn matches(&self) -> Vec<Expression> {
        let mut steps = Vec::new();
        let mut rest = self.bytes.get(self.layout.matches..self.target_at);
        while let Some(extension) = rest.filter(|rest| rest.len() >= EXTENSION) {
            let size = usize::from(u16::from_ne_bytes([extension[0], extension[1]]));
            let Some(one) = extension.get(..size).filter(|one| one.len() >= EXTENSION) else {
                break;
            };
            steps.push(matched(&text(one.get(2..EXTENSION - 1)), &one[EXTENSION..]));
            rest = extension.get(size..);
        }
        steps
    }

    /// That of the standard target: a verdict if it is negative, else where to go on.
    fn verdict(&self, starts: &[(usize, String, Option<u32>)], at: usize) -> Expression {
        const DROP: i32 = -1;
        const ACCEPT: i32 = -2;
        const RETURN: i32 = -5;
        let goto = if self.layout.family == IPV4 {
            GOTO_V4
        } else {
            GOTO_V6
        };
        match word(self.target, EXTENSION).cast_signed() {
            DROP => Expression::Decide(Verdict::Drop),
            ACCEPT => Expression::Decide(Verdict::Accept),
            RETURN => Expression::Decide(Verdict::Return),
            // A rule without a target goes on with the next one.
            to if to < 0 || to as usize == at + self.length => Expression::Nothing,
            to => {
                let chain = starts.iter().find(|(start, ..)| *start == to as usize);
                let Some((_, chain, _)) = chain else {
                    return Expression::Unknown;
                };
                let chain = chain.clone();
                Expression::Decide(if self.byte(self.layout.flags) & goto == 0 {
                    Verdict::Jump(chain)
                } else {
                    Verdict::Goto(chain)
                })
            }
        }
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let bytes = bytes
        .get(at..at + 4)
        .and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u32::from_ne_bytes)
}

fn text(bytes: Option<&[u8]>) -> String {
    let bytes = bytes.unwrap_or_default();
    let end = bytes.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]).into_owned()
}
