//! One word: a protocol, or ports of one.

use crossway_types::nearest::nearest;
use crossway_types::protocol;
use crossway_types::shown::shown;

use super::{Span, all_of};
use crate::words::Problem;

/// A bare number that is probably meant as a port.
pub(super) fn mistaken(word: &str) -> Option<Problem> {
    let number = word.parse::<u8>().ok()?;
    let is_bare = word == number.to_string() && protocol::name(number) == word;
    is_bare.then(|| {
        let problem = format!("{number} is taken as the number of an IP protocol");
        let mend = format!("if a port is meant, write tcp/{number} or udp/{number}");
        (problem, mend)
    })
}

/// The number of a protocol by its name or number.
pub(super) fn number_of(word: &str) -> Option<u8> {
    let is_plain = word
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    protocol::number(word).filter(|_| is_plain)
}

/// Understands `tcp/443` or `udp/5060-5061`, split at the slash.
pub(super) fn read_ports(word: &str, protocol: &str, ports: &str) -> Result<Span, Problem> {
    let Some(number) = number_of(protocol) else {
        let mend = match nearest(protocol, protocol::names()) {
            Some(near) => format!("did you mean {near}?"),
            None => "write tcp/443 or udp/5060-5061".to_owned(),
        };
        return Err((format!("{} is no protocol", shown(protocol)), mend));
    };
    if !protocol::has_ports(number) {
        let name = protocol::name(number);
        let problem = format!("{}: {name} has no ports", shown(word));
        return Err((problem, format!("write {name}")));
    }
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let (Some(first), Some(last)) = (port(first), port(last)) else {
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let problem = if is_number(first) && is_number(last) {
            format!("{} is out of range", shown(word))
        } else {
            format!("{} has no usable port", shown(word))
        };
        let name = protocol::name(number);
        let mend = format!("ports are 1 to 65535: write {name}/443, or {name} for all of them");
        return Err((problem, mend));
    };
    if last < first {
        let name = protocol::name(number);
        let problem = format!("{} is backwards", shown(word));
        return Err((problem, format!("write {name}/{last}-{first}")));
    }
    let at = |port: u16| all_of(number).0 + u128::from(port);
    Ok((at(first), at(last)))
}

fn port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|_| is_plain);
    port.filter(|port| *port > 0)
}
