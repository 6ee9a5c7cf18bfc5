//! What iptables lays into the kernel, as far as it is understood: its matches and targets, which `iptables-nft` uses
//! too, and the tables of `iptables-legacy` (linux/netfilter/x_tables.h, ip_tables.h, ip6_tables.h). Pure.

use std::collections::BTreeMap;

use super::ruleset::{
    Base, Chain, Expression, FORWARD, Field, INPUT, OUTPUT, PREROUTING, Place, Verdict,
};

/// A match of iptables.
pub(super) fn matched(name: &str, info: &[u8]) -> Expression {
    /// Where `struct xt_conntrack_mtinfo3` has what it looks at, what is inverted, and which states.
    const LOOKS_AT: usize = 146;
    const INVERTED: usize = 148;
    const STATES: usize = 150;
    const STATE: u16 = 1;
    let word = |at: usize| {
        let bytes = info.get(at..at + 2)?;
        Some(u16::from_ne_bytes(bytes.try_into().ok()?))
    };
    match (name, word(LOOKS_AT), word(INVERTED), word(STATES)) {
        ("conntrack", Some(STATE), Some(inverted), Some(states)) => {
            Expression::States(states.into(), inverted & STATE != 0)
        }
        ("comment", ..) => Expression::Nothing,
        _ => Expression::Unknown,
    }
}

/// A target of iptables.
pub(super) fn targeted(name: &str, info: &[u8]) -> Expression {
    /// `XT_CT_NOTRACK`, in the first byte of `struct xt_ct_target_info`.
    const NOTRACK: u8 = 1;
    match name {
        "REJECT" | "DROP" => Expression::Decide(Verdict::Drop),
        "MASQUERADE" | "SNAT" | "DNAT" | "NETMAP" => Expression::Translate,
        "CT" if info.first().is_some_and(|flags| flags & NOTRACK != 0) => Expression::Notrack,
        "NOTRACK" => Expression::Notrack,
        _ => Expression::Nothing,
    }
}

/// How one family lays out an entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// `NFPROTO_*`.
    pub(super) family: u8,
    /// Bytes of an address.
    address: usize,
    /// Where the protocol is: it is the last but for the flags.
    protocol: usize,
    /// Bytes of the protocol field, which may be wider than the number.
    flags: usize,
    /// The flag that makes a jump a goto.
    goto: u8,
    /// The flag of something that is not understood: later fragments of IPv4, the traffic class of IPv6.
    unknown: u8,
    /// Where the offset of the target is; that of the next entry is behind it.
    target: usize,
    /// Bytes of an entry: its matches begin there.
    length: usize,
}

/// `struct ipt_entry`.
pub(super) const OF_IPV4: Layout = Layout {
    family: super::ruleset::IPV4,
    address: 4,
    protocol: 80,
    flags: 82,
    goto: 2,
    unknown: 1,
    target: 88,
    length: 112,
};

/// `struct ip6t_entry`.
pub(super) const OF_IPV6: Layout = Layout {
    family: super::ruleset::IPV6,
    address: 16,
    protocol: 128,
    flags: 131,
    goto: 4,
    unknown: 2,
    target: 140,
    length: 168,
};

/// Bytes of `struct xt_entry_match` and `struct xt_entry_target`: length, name and revision.
const HEADER: usize = 32;
/// Bytes of an interface's name.
const NAME: usize = 16;

/// `struct ipt_getinfo`: what a table is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Info {
    hooks: u32,
    entries: [u32; HOOKS],
    policies: [u32; HOOKS],
    /// Bytes of its entries.
    pub(super) size: u32,
}

/// Hooks of netfilter for a family.
const HOOKS: usize = 5;

impl Info {
    /// Bytes of the structure.
    pub(super) const LENGTH: usize = 84;

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| word(bytes, 32 + 4 * at);
        let mut info = Self {
            hooks: word(0)?,
            entries: [0; HOOKS],
            policies: [0; HOOKS],
            size: word(12)?,
        };
        for hook in 0..HOOKS {
            info.entries[hook] = word(1 + hook)?;
            info.policies[hook] = word(1 + HOOKS + hook)?;
        }
        Some(info)
    }

    /// Where the chain of a hook begins, and where its policy is.
    fn hook(&self, hook: u32) -> Option<(usize, usize)> {
        let at = hook as usize;
        (self.hooks & 1 << hook != 0)
            .then(|| (self.entries[at] as usize, self.policies[at] as usize))
    }
}

/// The chains of a table; `None` where the bytes are none that the kernel would write.
pub(super) fn chains(
    layout: Layout,
    table: &str,
    priority: i32,
    info: &Info,
    bytes: &[u8],
) -> Option<Vec<(Place, Chain)>> {
    let entries = entries(layout, bytes)?;
    let names = names(info, &entries);
    let name_at = |offset: usize| names.get(&offset).cloned();
    let mut chains = Vec::new();
    for (begin, name) in &names {
        let hooks = [PREROUTING, INPUT, FORWARD, OUTPUT].into_iter();
        let mut hooks = hooks.filter_map(|hook| Some((hook, info.hook(hook)?)));
        let hook = hooks.find(|(_, (first, _))| first == begin);
        let policy = hook.map(|(_, (_, policy))| policy);
        let mut chain = Chain::default();
        for (at, entry) in entries.range(begin..) {
            let is_next = at != begin && names.contains_key(at);
            if is_next || entry.is_header() {
                break;
            }
            if policy == Some(*at) {
                break;
            }
            chain.rules.push(entry.rule(layout, name_at));
        }
        chain.base = hook.map(|(hook, (_, policy))| Base {
            kind: "filter".to_owned(),
            hook,
            priority,
            drops: entries.get(&policy).is_some_and(Entry::drops),
        });
        let place = Place {
            family: layout.family,
            table: table.to_owned(),
            name: name.clone(),
            legacy: true,
        };
        chains.push((place, chain));
    }
    Some(chains)
}

/// One entry of a table: a rule, a policy, or the header of a chain.
struct Entry<'a> {
    /// Addresses, interfaces, protocol and flags.
    head: &'a [u8],
    matches: &'a [u8],
    target: &'a [u8],
    /// Where the next begins.
    next: usize,
}

/// Entries by where they begin.
fn entries(layout: Layout, bytes: &[u8]) -> Option<BTreeMap<usize, Entry<'_>>> {
    let mut entries = BTreeMap::new();
    let mut at = 0;
    while at < bytes.len() {
        let entry = bytes.get(at..)?;
        let target = half(entry, layout.target)?;
        let length = half(entry, layout.target + 2)?;
        let next = at + length;
        entries.insert(
            at,
            Entry {
                head: entry.get(..layout.length)?,
                matches: entry.get(layout.length..target)?,
                // Its header at least; and so the next is behind this one.
                target: entry.get(target..length).filter(|it| it.len() >= HEADER)?,
                next,
            },
        );
        at = next;
    }
    Some(entries)
}

/// Names of the chains by where their first rule is.
fn names(info: &Info, entries: &BTreeMap<usize, Entry<'_>>) -> BTreeMap<usize, String> {
    const BUILT_IN: [&str; HOOKS] = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];
    let own = entries.values().filter(|entry| entry.is_header());
    let own = own.map(|entry| (entry.next, text(entry.target.get(HEADER..))));
    let built_in = (0..).zip(BUILT_IN);
    let built_in = built_in.filter_map(|(hook, name)| Some((info.hook(hook)?.0, name.to_owned())));
    let names = own.chain(built_in);
    // The last entry is a header behind which is nothing.
    names.filter(|(at, _)| entries.contains_key(at)).collect()
}

impl Entry<'_> {
    /// The header of a chain, or the end of the table.
    fn is_header(&self) -> bool {
        self.target_name() == "ERROR"
    }

    fn target_name(&self) -> String {
        text(self.target.get(2..HEADER - 1))
    }

    /// Whether it ends every packet, as a policy may.
    fn drops(&self) -> bool {
        const DROP: i32 = -1;
        self.target_name().is_empty() && self.verdict() == Some(DROP)
    }

    /// Of a target without a name: below zero what becomes of the packet, else where to go on.
    fn verdict(&self) -> Option<i32> {
        Some(word(self.target, HEADER)?.cast_signed())
    }

    fn rule(&self, layout: Layout, name_at: impl Fn(usize) -> Option<String>) -> Vec<Expression> {
        let mut steps = self.conditions(layout);
        let mut rest = self.matches;
        while let Some(length) = half(rest, 0).filter(|length| *length >= HEADER) {
            let name = text(rest.get(2..HEADER - 1));
            let info = rest.get(HEADER..length);
            steps.push(matched(&name, info.unwrap_or_default()));
            rest = rest.get(length..).unwrap_or_default();
        }
        let name = self.target_name();
        if !name.is_empty() {
            let info = self.target.get(HEADER..);
            steps.push(targeted(&name, info.unwrap_or_default()));
        } else if let Some(verdict) = self.decision(layout, name_at) {
            steps.push(Expression::Decide(verdict));
        }
        steps
    }

    fn decision(
        &self,
        layout: Layout,
        name_at: impl Fn(usize) -> Option<String>,
    ) -> Option<Verdict> {
        match self.verdict()? {
            -1 => Some(Verdict::Drop),
            -2 => Some(Verdict::Accept),
            -5 => Some(Verdict::Return),
            to => {
                let to = usize::try_from(to).ok()?;
                // A rule without a target goes on with the next.
                let chain = (to != self.next).then(|| name_at(to)).flatten()?;
                let is_goto = self.flags(layout)? & layout.goto != 0;
                Some(if is_goto {
                    Verdict::Goto(chain)
                } else {
                    Verdict::Jump(chain)
                })
            }
        }
    }

    fn flags(&self, layout: Layout) -> Option<u8> {
        self.head.get(layout.flags).copied()
    }

    /// What it asks of the IP header and the interfaces.
    fn conditions(&self, layout: Layout) -> Vec<Expression> {
        /// `IPT_INV_VIA_IN`, `IPT_INV_VIA_OUT` and `XT_INV_PROTO`.
        const NOT_IN: u8 = 1;
        const NOT_OUT: u8 = 2;
        const NOT_PROTOCOL: u8 = 0x40;
        let part = |at: usize, length: usize| self.head.get(at..at + length).unwrap_or_default();
        let inverted = part(layout.flags + 1, 1).first().copied().unwrap_or(0);
        let mut steps = Vec::new();
        for at in 0..2 {
            let mask = part((2 + at) * layout.address, layout.address);
            if is_set(mask) {
                let address = part(at * layout.address, layout.address).to_vec();
                steps.push(Expression::Load(0, Field::Address));
                steps.push(Expression::Compare(0, true, address));
            }
        }
        let names = 4 * layout.address;
        for (at, field, not) in [(0, Field::InName, NOT_IN), (1, Field::OutName, NOT_OUT)] {
            let mask = part(names + (2 + at) * NAME, NAME);
            if is_set(mask) {
                let name = part(names + at * NAME, NAME).iter().zip(mask);
                let name = name.map(|(byte, mask)| byte & mask).collect();
                steps.push(Expression::Load(0, field));
                steps.push(Expression::Mask(0, 0, mask.to_vec(), vec![0; NAME]));
                steps.push(Expression::Compare(0, inverted & not == 0, name));
            }
        }
        let protocol = half(self.head, layout.protocol).and_then(|it| u8::try_from(it).ok());
        if let Some(protocol) = protocol.filter(|protocol| *protocol != 0) {
            let equal = inverted & NOT_PROTOCOL == 0;
            steps.push(Expression::Load(0, Field::Protocol));
            steps.push(Expression::Compare(0, equal, vec![protocol]));
        }
        if self.flags(layout).unwrap_or(0) & layout.unknown != 0 {
            steps.push(Expression::Unknown);
        }
        steps
    }
}

fn is_set(bytes: &[u8]) -> bool {
    bytes.iter().any(|byte| *byte != 0)
}

fn half(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at + 2)?.try_into().ok()?;
    Some(u16::from_ne_bytes(bytes).into())
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_ne_bytes(bytes))
}

fn text(bytes: Option<&[u8]>) -> String {
    let bytes = bytes.unwrap_or_default();
    let end = bytes.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]).into_owned()
}

#[cfg(test)]
mod tests;
