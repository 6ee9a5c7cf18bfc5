//! Reads chains, rules and sets from the kernel (linux/netfilter/nfnetlink.h, nf_tables.h). It blocks, for as long as
//! the kernel takes to write its rules.

use std::io;

use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

use super::ruleset::{Base, Element, Expression, Field, Place, Ruleset, Verdict};
use super::xtables::{matched, targeted};

/// `NFNL_SUBSYS_NFTABLES`, the upper byte of a message's type.
const NFTABLES: u16 = 10 << 8;
/// `NFT_MSG_*`.
const GET_CHAIN: u16 = 4;
const GET_RULE: u16 = 7;
const GET_ELEMENTS: u16 = 13;
const GET_GENERATION: u16 = 16;
/// Of a change: its type, `NFT_MSG_NEWGEN`.
pub(super) const NEW_GENERATION: u16 = NFTABLES | 15;
const REQUEST: u16 = 1;
const DUMP: u16 = 0x300;
/// `NLMSG_ERROR` and `NLMSG_DONE`.
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// Bytes of `nlmsghdr` and of `nfgenmsg` behind it.
const HEADER: usize = 16;
const GENERIC: usize = 4;
/// The kernel fills at most this much with one answer to a dump.
const LONGEST_ANSWER: usize = 64 * 1024;
/// Sets larger than that are addresses, not states or interfaces.
const MOST_ELEMENTS: usize = 1024;

/// A connection to the kernel's nftables.
pub(super) struct NetfilterSocket(Socket);

impl NetfilterSocket {
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self(socket))
    }

    /// A number that every change of the rules raises; 0 where the kernel has no nftables.
    pub(super) fn generation(&mut self) -> io::Result<u32> {
        let mut generation = 0;
        let take = |_: u8, message: &[u8]| {
            generation = number(find(message, 1)).unwrap_or(0);
        };
        match self.ask(GET_GENERATION, 0, 0, &[], take) {
            // No nftables in the kernel.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(0),
            asked => asked.map(|()| generation),
        }
    }

    /// All that is understood of the rules.
    pub(super) fn rules(&mut self) -> io::Result<Ruleset> {
        let mut rules = Ruleset::default();
        self.dump(GET_CHAIN, 0, &[], |family, message| {
            let place = place(family, message, 1, 3);
            let base = find(message, 4).map(|hook| Base {
                kind: text(find(message, 7)),
                hook: number(find(hook, 1)).unwrap_or(u32::MAX),
                priority: number(find(hook, 2)).unwrap_or(0).cast_signed(),
                drops: number(find(message, 5)) == Some(0),
            });
            let chain = rules.chains.entry(place).or_default();
            chain.base = base;
        })?;
        self.dump(GET_RULE, 0, &[], |family, message| {
            let place = place(family, message, 1, 2);
            let steps = find(message, 4).map(|list| attributes(list).map(|(_, it)| expression(it)));
            let steps = steps.into_iter().flatten().collect();
            rules.chains.entry(place).or_default().rules.push(steps);
        })?;
        for set in sets_of_interest(&rules) {
            let mut elements = Vec::new();
            let mut names = Vec::new();
            put_text(&mut names, 1, &set.table);
            put_text(&mut names, 2, &set.name);
            self.dump(GET_ELEMENTS, set.family, &names, |_, message| {
                let list = find(message, 3).unwrap_or_default();
                for (_, element) in attributes(list) {
                    let key = find(element, 1).and_then(|key| find(key, 1));
                    let verdict = find(element, 2).and_then(|data| find(data, 2));
                    elements.push(Element {
                        key: key.unwrap_or_default().to_vec(),
                        ends: number(find(element, 3)).is_some_and(|flags| flags & 1 != 0),
                        verdict: verdict.and_then(self::verdict),
                    });
                }
            })?;
            if elements.len() <= MOST_ELEMENTS {
                rules.sets.insert(set, elements);
            }
        }
        Ok(rules)
    }

    fn dump(
        &mut self,
        kind: u16,
        family: u8,
        body: &[u8],
        take: impl FnMut(u8, &[u8]),
    ) -> io::Result<()> {
        match self.ask(kind, DUMP, family, body, take) {
            // No nftables in the kernel, or a set that has just gone.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOENT)) => {
                Ok(())
            }
            asked => asked,
        }
    }

    /// Sends a request and hands on family and attributes of each message that answers it.
    fn ask(
        &mut self,
        kind: u16,
        flags: u16,
        family: u8,
        body: &[u8],
        mut take: impl FnMut(u8, &[u8]),
    ) -> io::Result<()> {
        let length = (HEADER + GENERIC + body.len()) as u32;
        let mut request = length.to_ne_bytes().to_vec();
        request.extend((NFTABLES | kind).to_ne_bytes());
        request.extend((REQUEST | flags).to_ne_bytes());
        // Number and port: one request at a time, and the kernel knows the port.
        request.extend([0; 8]);
        request.extend([family, 0, 0, 0]);
        request.extend(body);
        self.0.send(&request, 0)?;
        let mut answer = Vec::with_capacity(LONGEST_ANSWER);
        loop {
            answer.clear();
            self.0.recv(&mut answer, 0)?;
            let mut rest = answer.as_slice();
            while let Some((kind, message)) = next_message(&mut rest) {
                match kind {
                    DONE => return Ok(()),
                    ERROR => return error_in(message),
                    _ => take(
                        message.first().copied().unwrap_or_default(),
                        message.get(GENERIC..).unwrap_or_default(),
                    ),
                }
                if flags & DUMP == 0 {
                    return Ok(());
                }
            }
        }
    }
}

/// Splits the next message off: its type and what follows the header.
fn next_message<'a>(rest: &mut &'a [u8]) -> Option<(u16, &'a [u8])> {
    let length = u32::from_ne_bytes(rest.get(..4)?.try_into().ok()?) as usize;
    let kind = u16::from_ne_bytes(rest.get(4..6)?.try_into().ok()?);
    let message = rest.get(HEADER..length)?;
    *rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, message))
}

fn error_in(message: &[u8]) -> io::Result<()> {
    let code = message.get(..4).and_then(|bytes| bytes.try_into().ok());
    match code.map_or(0, i32::from_ne_bytes) {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(-code)),
    }
}

/// The sets that are looked into for the state of a connection or an interface.
fn sets_of_interest(rules: &Ruleset) -> Vec<Place> {
    let mut sets = Vec::new();
    for (place, chain) in &rules.chains {
        for rule in &chain.rules {
            let mut last = Field::Other;
            for step in rule {
                match step {
                    Expression::Load(_, field) => last = *field,
                    Expression::Lookup { set, .. }
                        if !matches!(last, Field::Address | Field::Other) =>
                    {
                        let set = Place {
                            name: set.clone(),
                            ..place.clone()
                        };
                        if !sets.contains(&set) {
                            sets.push(set);
                        }
                    }
                    _ => {}
                }
            }
        }
    }
    sets
}

/// An expression: its name and what belongs to it.
fn expression(expression: &[u8]) -> Expression {
    let data = find(expression, 2).unwrap_or_default();
    let register = |attribute| register(number(find(data, attribute)).unwrap_or(0));
    let value = |attribute| find(data, attribute).and_then(|data| find(data, 1));
    let bytes = |attribute| value(attribute).unwrap_or_default().to_vec();
    match text(find(expression, 1)).as_str() {
        "meta" if find(data, 1).is_some() => {
            let field = match number(find(data, 2)) {
                Some(4) => Field::In,
                Some(5) => Field::Out,
                Some(6) => Field::InName,
                Some(7) => Field::OutName,
                Some(16) => Field::Protocol,
                // The family, which stands in front of every look at addresses in a table of both (`inet`).
                Some(1 | 15) => Field::Address,
                _ => Field::Other,
            };
            Expression::Load(register(1), field)
        }
        "ct" if find(data, 1).is_some() => {
            let is_state = number(find(data, 2)) == Some(0);
            let field = if is_state { Field::State } else { Field::Other };
            Expression::Load(register(1), field)
        }
        "payload" if find(data, 1).is_some() => {
            let place = [2, 3, 4].map(|attribute| number(find(data, attribute)).unwrap_or(0));
            // Base 1 is the network header, with the protocol in byte 9 of IPv4 and 6 of IPv6; 2 is the next one.
            let field = match place {
                [1, 9 | 6, 1] => Field::Protocol,
                [1, ..] => Field::Address,
                [2, 0, 2] => Field::SourcePort,
                [2, 2, 2] => Field::DestinationPort,
                _ => Field::Other,
            };
            Expression::Load(register(1), field)
        }
        "bitwise" if value(4).is_some() => {
            Expression::Mask(register(1), register(2), bytes(4), bytes(5))
        }
        "cmp" => match number(find(data, 2)) {
            Some(0) => Expression::Compare(register(1), true, bytes(3)),
            Some(1) => Expression::Compare(register(1), false, bytes(3)),
            _ => Expression::Unknown,
        },
        "lookup" => Expression::Lookup {
            from: register(2),
            set: text(find(data, 1)),
            decides: number(find(data, 3)) == Some(0),
            inverted: number(find(data, 5)).is_some_and(|flags| flags & 1 != 0),
        },
        "immediate" => match find(data, 2)
            .and_then(|data| find(data, 2))
            .and_then(verdict)
        {
            Some(verdict) => Expression::Decide(verdict),
            None => Expression::Nothing,
        },
        "reject" => Expression::Decide(Verdict::Drop),
        "notrack" => Expression::Notrack,
        "masq" | "nat" => Expression::Translate,
        "counter" | "log" | "comment" => Expression::Nothing,
        "match" => matched(&text(find(data, 1)), find(data, 3).unwrap_or_default()),
        "target" => targeted(&text(find(data, 1)), find(data, 3).unwrap_or_default()),
        _ => Expression::Unknown,
    }
}

fn verdict(data: &[u8]) -> Option<Verdict> {
    let chain = || text(find(data, 2));
    Some(match number(find(data, 1))?.cast_signed() {
        0 => Verdict::Drop,
        1 => Verdict::Accept,
        -3 => Verdict::Jump(chain()),
        -4 => Verdict::Goto(chain()),
        -5 => Verdict::Return,
        _ => return None,
    })
}

/// A register in units of 4 bytes: 1 to 4 are those of 16 bytes, 8 to 23 the same in pieces of 4.
fn register(number: u32) -> u32 {
    match number {
        1..=4 => (number - 1) * 4,
        8.. => number - 8,
        _ => u32::MAX,
    }
}

fn place(family: u8, message: &[u8], table: u16, name: u16) -> Place {
    Place {
        family,
        table: text(find(message, table)),
        name: text(find(message, name)),
        legacy: false,
    }
}

/// Attributes (`struct nlattr`): type and content.
fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    /// Without the flags `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`.
    const TYPE: u16 = 0x3fff;
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(rest.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?) & TYPE;
        let content = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, content))
    })
}

fn find(message: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(message).find_map(|(found, content)| (found == kind).then_some(content))
}

fn number(attribute: Option<&[u8]>) -> Option<u32> {
    Some(u32::from_be_bytes(attribute?.try_into().ok()?))
}

fn text(attribute: Option<&[u8]>) -> String {
    let bytes = attribute.unwrap_or_default();
    let end = bytes.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]).into_owned()
}

fn put_text(to: &mut Vec<u8>, kind: u16, text: &str) {
    let length = 4 + text.len() + 1;
    to.extend((length as u16).to_ne_bytes());
    to.extend(kind.to_ne_bytes());
    to.extend(text.as_bytes());
    to.resize(to.len() + length.next_multiple_of(4) - length + 1, 0);
}
