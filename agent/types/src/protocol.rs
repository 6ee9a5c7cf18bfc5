//! IP protocols by name and number.

pub use datapath_abi::headers::{DCCP, ICMP, ICMPV6, SCTP, TCP, UDP, UDP_LITE, has_ports};

/// Numbers of the IANA registry "Assigned Internet Protocol Numbers" that site-to-site traffic
/// shows.
const NAMES: [(u8, &str); 13] = [
    (ICMP, "icmp"),
    (2, "igmp"),
    (4, "ipip"),
    (TCP, "tcp"),
    (UDP, "udp"),
    (DCCP, "dccp"),
    (41, "ipv6"),
    (47, "gre"),
    (50, "esp"),
    (51, "ah"),
    (ICMPV6, "icmpv6"),
    (SCTP, "sctp"),
    (UDP_LITE, "udplite"),
];

/// `tcp`, or the number where the protocol has no name here.
pub fn name(number: u8) -> String {
    let known = NAMES.iter().find(|(other, _)| *other == number);
    known.map_or_else(|| number.to_string(), |(_, name)| (*name).to_owned())
}

/// The number of a name or a number in text.
pub fn number(text: &str) -> Option<u8> {
    let lower = text.to_ascii_lowercase();
    let name = if lower == "ipv6-icmp" {
        "icmpv6"
    } else {
        &lower
    };
    NAMES
        .iter()
        .find(|(_, other)| *other == name)
        .map(|(number, _)| *number)
        .or_else(|| name.parse().ok())
}

/// Every name.
pub fn names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree() {
        assert_eq!(name(6), "tcp");
        assert_eq!(name(254), "254");
        assert_eq!(number("TCP"), Some(6));
        assert_eq!(number("ipv6-icmp"), Some(58));
        assert_eq!(number("254"), Some(254));
        assert_eq!(number("256"), None);
        assert_eq!(number("quic"), None);
        assert!(names().all(|name| number(name).is_some()));
    }
}
