//! Texts that stand for one value: prefixes, endpoints, keys, protocols. And the tables that prefixes go into.

use std::net::{IpAddr, SocketAddr};

use super::feed::{Feed, Script};
use crossway::config::Endpoint;
use crossway::config::endpoint::{parse_endpoint, parse_listen};
use crossway::control::{overlaps, protocol};
use crossway::ids::SiteId;
use crossway::keys::{SecretKey, parse_public_key, public_key_text};
use crossway::prefix::{Prefix, PrefixError, PrefixIndex};
use crossway::routes::RouteTable;

/// Prefixes of one input.
const PREFIXES: usize = 64;

pub(super) fn run(data: &[u8]) {
    let mut feed = Feed::new(data);
    if feed.u8() == 0 {
        return table(&mut feed);
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    prefix(text);
    endpoints(text);
    keys(text);
    protocols(text);
}

fn prefix(text: &str) {
    match text.parse::<Prefix>() {
        Ok(prefix) => {
            assert_eq!(prefix.to_string().parse(), Ok(prefix));
            assert!(holds(&prefix, prefix.address()) && prefix.covers(&prefix));
        }
        Err(PrefixError::HostBits { meant, .. }) => {
            assert_eq!(meant.to_string().parse(), Ok(meant));
        }
        Err(error) => assert!(error.to_string().contains(text)),
    }
}

fn endpoints(text: &str) {
    match parse_endpoint(text) {
        Ok(endpoint) => {
            assert_eq!(parse_endpoint(&endpoint.to_string()), Ok(endpoint.clone()));
            if let Endpoint::Address(address) = endpoint {
                assert!(!address.ip().is_unspecified() && address.port() != 0);
            }
        }
        Err((problem, mend)) => {
            assert!(!problem.is_empty() && !mend.contains('\n'));
            // Whatever the standard takes is refused for what it means and not for how it looks.
            if let Ok(address) = text.parse::<SocketAddr>() {
                let ip = address.ip();
                let odd = ip.is_unspecified() || ip.is_multicast() || ip == IpAddr::from([255; 4]);
                let scoped = matches!(address, SocketAddr::V6(it) if it.scope_id() != 0);
                assert!(odd || scoped || address.port() == 0, "{problem}");
            }
        }
    }
    if let Ok(address) = parse_listen(text) {
        assert_eq!(parse_listen(&address.to_string()), Ok(address));
    }
}

fn keys(text: &str) {
    match parse_public_key(text) {
        Ok(key) => assert_eq!(public_key_text(&key), text),
        // What may be a key is not repeated.
        Err(error) => assert!(text.len() < 40 || !error.to_string().contains(text)),
    }
    if let Ok(key) = SecretKey::from_base64(text) {
        assert_eq!(*key.to_base64(), text.trim());
        assert!(!format!("{key:?}").contains(text.trim()));
    }
}

fn protocols(text: &str) {
    if let Some(number) = protocol::number(text) {
        assert_eq!(protocol::number(&protocol::name(number)), Some(number));
    }
}

/// Whether an address lies in a prefix, bit by bit.
pub(super) fn holds(prefix: &Prefix, address: IpAddr) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let (own, other) = (bits(prefix.address()), bits(address));
    let bit = |bytes: &[u8], at: u8| bytes[usize::from(at / 8)] >> (7 - at % 8) & 1;
    own.len() == other.len() && (0..prefix.length()).all(|at| bit(&own, at) == bit(&other, at))
}

fn address(feed: &mut Feed<'_>) -> IpAddr {
    // Of few bits, so that they meet.
    if feed.bool() {
        let [a, b] = feed.array();
        [a & 0x81, 0, 0, b & 0x83].into()
    } else {
        let [a, b] = feed.array();
        IpAddr::from([
            0x2000 | u16::from(a & 1),
            0,
            0,
            0,
            u16::from(a >> 7) << 15,
            0,
            0,
            u16::from(b & 3),
        ])
    }
}

/// Lookups find what a search of the whole list finds.
fn table(feed: &mut Feed<'_>) {
    let mut routes: Vec<(Prefix, SiteId)> = Vec::new();
    for _ in 0..feed.u8() as usize % PREFIXES {
        let prefix = Prefix::containing(address(feed), feed.u8());
        assert!(holds(&prefix, prefix.address()));
        let site = SiteId(u32::from(feed.u8() & 3));
        if routes.iter().all(|(other, _)| *other != prefix) {
            routes.push((prefix, site));
        }
    }
    let table = RouteTable::new(routes.iter().copied());
    let index = PrefixIndex::new(routes.iter().copied());
    for _ in 0..8 {
        let wanted = address(feed);
        let found = routes.iter().filter(|(prefix, _)| holds(prefix, wanted));
        let longest = found.max_by_key(|(prefix, _)| prefix.length());
        assert_eq!(table.site_of(wanted), longest.map(|(_, site)| *site));
        let matched = index
            .longest_match(wanted)
            .map(|(prefix, site)| (prefix, *site));
        assert_eq!(matched, longest.copied());
    }
    let (a, b) = (
        Prefix::containing(address(feed), feed.u8()),
        Prefix::containing(address(feed), feed.u8()),
    );
    let covers = |a: &Prefix, b: &Prefix| a.length() <= b.length() && holds(a, b.address());
    assert_eq!(a.covers(&b), covers(&a, &b));
    let names: Vec<(Prefix, String)> = routes
        .iter()
        .map(|(it, site)| (*it, site.to_string()))
        .collect();
    let named: Vec<(Prefix, &str)> = names
        .iter()
        .map(|(it, site)| (*it, site.as_str()))
        .collect();
    let pairs = routes
        .iter()
        .flat_map(|(outer, _)| routes.iter().map(move |(inner, _)| (outer, inner)));
    let expected = pairs
        .filter(|(outer, inner)| outer != inner && covers(outer, inner))
        .count();
    assert_eq!(overlaps("default", &named).len(), expected);
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        "10.2.0.0/24",
        "10.2.0.1/24",
        "2001:db8::/48",
        "::/0",
        "192.0.2.1",
        "203.0.113.7:51820",
        "[2001:db8::7]:51820",
        "2001:db8::7:51820",
        "vpn.example.net:51820",
        "0.0.0.0:51820",
        "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=",
        "tcp",
        "ipv6-icmp",
    ];
    let mut seeds: Vec<Vec<u8>> = texts.map(Vec::from).into();
    let mut script = Script::default().u8(0).u8(20);
    for number in 0..30_u8 {
        script = script
            .u8(number)
            .u8(number.wrapping_mul(9))
            .u8(number.wrapping_mul(31))
            .u8(number.wrapping_mul(5))
            .u8(number);
    }
    seeds.push(script.end());
    seeds
}
