//! The kernel's notes, as far as they are looked at: their kind, and the prefix of a route. Read by hand, since there
//! may be thousands a second of which none matters.

use std::net::IpAddr;

use crossway_types::prefix::Prefix;

/// What a note is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note {
    Link,
    Address,
    /// For this prefix; `None` where that cannot be told, as for a nexthop object, which any route may use.
    Route(Option<Prefix>),
    /// A policy rule.
    Rule,
    /// Settings of an interface.
    Settings,
    /// Notes were lost.
    Overrun,
}

// linux/netlink.h and linux/rtnetlink.h.
const NLMSG_OVERRUN: u16 = 4;
const RTM_NEWNETCONF: u16 = 80;
const RTM_DELNETCONF: u16 = 81;
const RTM_NEWNEXTHOP: u16 = 104;
const RTM_DELNEXTHOP: u16 = 105;
const RTA_DST: u16 = 1;
/// `struct nlmsghdr`, `struct rtmsg` and `struct rtattr`, and what each begins at a multiple of.
const HEADER: usize = 16;
const ROUTE_HEADER: usize = 12;
const ATTRIBUTE_HEADER: usize = 4;
const ALIGNMENT: usize = 4;

/// Shows `take` each note of one read.
pub(super) fn read(mut bytes: &[u8], mut take: impl FnMut(Note)) {
    while let Some((length, kind)) = header(bytes) {
        let body = &bytes[HEADER..length];
        let note = match kind {
            libc::RTM_NEWLINK | libc::RTM_DELLINK => Some(Note::Link),
            libc::RTM_NEWADDR | libc::RTM_DELADDR => Some(Note::Address),
            libc::RTM_NEWROUTE | libc::RTM_DELROUTE => Some(Note::Route(prefix(body))),
            RTM_NEWNEXTHOP | RTM_DELNEXTHOP => Some(Note::Route(None)),
            RTM_NEWNETCONF | RTM_DELNETCONF => Some(Note::Settings),
            libc::RTM_NEWRULE | libc::RTM_DELRULE => Some(Note::Rule),
            NLMSG_OVERRUN => Some(Note::Overrun),
            _ => None,
        };
        note.into_iter().for_each(&mut take);
        bytes = bytes
            .get(length.next_multiple_of(ALIGNMENT)..)
            .unwrap_or_default();
    }
}

/// Length and type of the message that `bytes` begin with; `None` where there is no whole one.
fn header(bytes: &[u8]) -> Option<(usize, u16)> {
    let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
    let kind = word(bytes.get(4..)?)?;
    (HEADER..=bytes.len())
        .contains(&length)
        .then_some((length, kind))
}

fn prefix(route: &[u8]) -> Option<Prefix> {
    let (family, length) = (i32::from(*route.first()?), *route.get(1)?);
    let any = match family {
        libc::AF_INET => IpAddr::from([0; 4]),
        libc::AF_INET6 => IpAddr::from([0; 16]),
        _ => return None,
    };
    let mut rest = route.get(ROUTE_HEADER..)?;
    while let (Some(size), Some(kind)) = (word(rest), rest.get(2..).and_then(word)) {
        let size = usize::from(size);
        let value = rest.get(ATTRIBUTE_HEADER..size)?;
        if kind == RTA_DST {
            let address = match any {
                IpAddr::V4(_) => IpAddr::from(<[u8; 4]>::try_from(value).ok()?),
                IpAddr::V6(_) => IpAddr::from(<[u8; 16]>::try_from(value).ok()?),
            };
            return Some(Prefix::containing(address, length));
        }
        rest = rest
            .get(size.next_multiple_of(ALIGNMENT)..)
            .unwrap_or_default();
    }
    // A default route has no destination.
    (length == 0).then(|| Prefix::containing(any, 0))
}

fn word(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut message = Vec::new();
        message.extend_from_slice(&((HEADER + body.len()) as u32).to_ne_bytes());
        message.extend_from_slice(&kind.to_ne_bytes());
        message.resize(HEADER, 0);
        message.extend_from_slice(body);
        message.resize(message.len().next_multiple_of(ALIGNMENT), 0);
        message
    }

    fn route(family: i32, length: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = vec![family as u8, length];
        body.resize(ROUTE_HEADER, 0);
        for (kind, value) in attributes {
            body.extend_from_slice(&((ATTRIBUTE_HEADER + value.len()) as u16).to_ne_bytes());
            body.extend_from_slice(&kind.to_ne_bytes());
            body.extend_from_slice(value);
            body.resize(body.len().next_multiple_of(ALIGNMENT), 0);
        }
        message(libc::RTM_NEWROUTE, &body)
    }

    fn notes(bytes: &[u8]) -> Vec<Note> {
        let mut notes = Vec::new();
        read(bytes, |note| notes.push(note));
        notes
    }

    #[test]
    fn a_routes_prefix_is_read_behind_other_attributes() {
        let table = (15, &254_u32.to_ne_bytes()[..]);
        let all = [
            route(libc::AF_INET, 24, &[table, (RTA_DST, &[10, 2, 3, 0])]),
            route(libc::AF_INET6, 0, &[table]),
            route(libc::AF_INET, 24, &[table]),
            message(RTM_DELNEXTHOP, &[0; 8]),
            message(RTM_NEWNETCONF, &[0; 4]),
            message(libc::RTM_DELLINK, &[0; 16]),
        ];
        let prefix = |text: &str| Note::Route(Some(text.parse().unwrap()));
        assert_eq!(
            notes(&all.concat()),
            [
                prefix("10.2.3.0/24"),
                prefix("::/0"),
                Note::Route(None),
                Note::Route(None),
                Note::Settings,
                Note::Link,
            ]
        );
    }

    #[test]
    fn what_is_cut_short_or_lies_about_its_length_ends_the_reading() {
        let whole = route(libc::AF_INET, 24, &[(RTA_DST, &[10, 2, 3, 0])]);
        for end in 0..whole.len() {
            assert_eq!(notes(&whole[..end]), []);
        }
        let mut lies = whole.clone();
        // The attribute says that it has no header.
        lies[HEADER + ROUTE_HEADER] = 0;
        assert_eq!(notes(&lies), [Note::Route(None)]);
        lies[0] = 3;
        assert_eq!(notes(&lies), []);
    }
}
