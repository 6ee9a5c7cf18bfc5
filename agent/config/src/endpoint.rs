//! `listen` and `endpoints`: address and port.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::Endpoint;
use super::diagnostic::shown;

/// What is wrong and how to mend it.
pub type Problem = (String, String);

/// Reads `listen`: an address of this gateway, or all of them, and a port.
pub fn parse_listen(text: &str) -> Result<SocketAddr, Problem> {
    const EXAMPLE: &str = "0.0.0.0:51820";
    match parse(text, EXAMPLE)? {
        Endpoint::Address(address) if address.ip().is_multicast() => Err((
            format!("{} is a multicast address", shown(text)),
            format!("write an address of this gateway, or {EXAMPLE}"),
        )),
        Endpoint::Address(address) => Ok(address),
        Endpoint::Name { .. } => Err((
            format!("{} is not an IP address and port", shown(text)),
            format!("write an address of this gateway, or {EXAMPLE}, or [::]:51820"),
        )),
    }
}

/// Reads one of `endpoints`: where packets can be sent.
pub fn parse_endpoint(text: &str) -> Result<Endpoint, Problem> {
    const EXAMPLE: &str = "203.0.113.7:51820";
    let endpoint = parse(text, EXAMPLE)?;
    if let Endpoint::Address(address) = &endpoint {
        let ip = address.ip();
        let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
        if ip.is_unspecified() || ip.is_multicast() || broadcast {
            return Err((
                format!("{} is not the address of one host", shown(text)),
                format!("write where the gateway is reached, such as {EXAMPLE}"),
            ));
        }
    }
    Ok(endpoint)
}

fn parse(text: &str, example: &str) -> Result<Endpoint, Problem> {
    if text.parse::<Ipv6Addr>().is_ok() || is_bare_v6_with_port(text) {
        return Err(bare_v6(text));
    }
    let Some((host, port)) = text
        .rsplit_once(':')
        .filter(|(_, port)| !port.contains(']'))
    else {
        return Err((
            format!("{} has no port", shown(text)),
            if shown(text) == text {
                format!("write {text}:51820, or the port that it listens on")
            } else {
                format!("write {example}")
            },
        ));
    };
    let Some(port) = parse_port(port) else {
        return Err((
            format!("{} has no usable port", shown(text)),
            format!("write a number from 1 to 65535 behind the colon, such as {example}"),
        ));
    };
    if let Some(inside) = host.strip_prefix('[') {
        let address = inside
            .strip_suffix(']')
            .and_then(|v6| v6.parse::<Ipv6Addr>().ok());
        let address = address.ok_or_else(|| {
            (
                format!("{} has no IPv6 address between brackets", shown(text)),
                "write it as [2001:db8::1]:51820".to_owned(),
            )
        })?;
        return Ok(Endpoint::Address((address, port).into()));
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(Endpoint::Address((address, port).into()));
    }
    check_host_name(host).map_err(|problem| {
        (
            format!("{} {problem}", shown(text)),
            format!("write an address or a host name, such as {example} or vpn.example.net:51820"),
        )
    })?;
    Ok(Endpoint::Name {
        host: host.to_owned(),
        port,
    })
}

fn parse_port(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0)
}

/// `2001:db8::1:51820` may be an address or an address and a port: only brackets tell.
fn is_bare_v6_with_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        digits && (1..=5).contains(&port.len()) && host.parse::<Ipv6Addr>().is_ok()
    })
}

fn bare_v6(text: &str) -> Problem {
    let with_port = text
        .rsplit_once(':')
        .filter(|(host, port)| {
            // Five digits cannot be part of an address, fewer can if there is room for them.
            let whole = text.parse::<Ipv6Addr>().is_ok();
            host.parse::<Ipv6Addr>().is_ok() && (port.len() == 5 || !whole)
        })
        .map_or_else(|| (text, "51820"), |(host, port)| (host, port));
    (
        format!("{} is an IPv6 address without brackets", shown(text)),
        format!("write [{}]:{}", with_port.0, with_port.1),
    )
}

/// Host name syntax: RFC 1123 section 2.1, and a last label that is no number (RFC 3696 section 2).
fn check_host_name(host: &str) -> Result<(), &'static str> {
    let name = host.strip_suffix('.').unwrap_or(host);
    let labels: Vec<&str> = name.split('.').collect();
    if name.is_empty() {
        return Err("has nothing in front of the port");
    }
    if labels
        .last()
        .is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()))
    {
        return Err("is not an IPv4 address");
    }
    if name.len() > 253
        || labels
            .iter()
            .any(|label| label.is_empty() || label.len() > 63)
    {
        return Err("is not a host name: its parts have 1 to 63 characters, the whole at most 253");
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let wrong = |label: &&str| {
        label.starts_with('-') || label.ends_with('-') || !label.chars().all(allowed)
    };
    if labels.iter().any(wrong) {
        return Err("is not a host name: its parts are letters, digits and inner hyphens");
    }
    Ok(())
}
