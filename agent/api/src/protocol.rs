//! Protocols, ends of flows and TCP flags as text.

use std::net::{IpAddr, SocketAddr};

use datapath_abi::flow::{FlowCounters, FlowKey};

pub(crate) use crossway_types::protocol::TCP;
use crossway_types::protocol::{ICMP, ICMPV6};
pub use crossway_types::protocol::{name, number};

/// TCP flags from the lowest bit of byte 13 of the header (RFC 9293 section 3.1).
const TCP_FLAGS: [char; 8] = ['F', 'S', 'R', 'P', 'A', 'U', 'E', 'C'];

/// An end of a flow: `10.1.0.2:443`, `[2001:db8::1]:443`, `10.1.0.2 id 7` of ICMP's echoes, or the bare address.
pub fn end(protocol: u8, address: IpAddr, port: u16) -> String {
    match protocol {
        _ if port == 0 => address.to_string(),
        ICMP | ICMPV6 => format!("{address} id {port}"),
        _ => SocketAddr::new(address, port).to_string(),
    }
}

/// Flags towards the site and from it, such as `SAP/SA`.
pub fn tcp_flags(to_site: u8, from_site: u8) -> String {
    format!("{}/{}", letters(to_site), letters(from_site))
}

/// [`tcp_flags`] of a flow of any protocol: empty where it is not TCP.
pub(crate) fn flags_of_flow(key: &FlowKey, counters: &FlowCounters) -> String {
    if key.protocol == TCP {
        tcp_flags(counters.tcp_flags_to_site, counters.tcp_flags_from_site)
    } else {
        String::new()
    }
}

/// The flags of one direction, from their letters.
pub fn tcp_flags_of(letters: &str) -> u8 {
    let bits = letters.chars().filter_map(|letter| {
        let bit = TCP_FLAGS.iter().position(|flag| *flag == letter)?;
        Some(1 << bit)
    });
    bits.fold(0, |flags, bit: u8| flags | bit)
}

fn letters(flags: u8) -> String {
    // The order in which people say them: SYN first.
    const ORDER: [usize; 8] = [1, 4, 3, 0, 2, 5, 6, 7];
    ORDER
        .into_iter()
        .filter(|bit| flags & (1 << bit) != 0)
        .map(|bit| TCP_FLAGS[bit])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_has_what_its_protocol_has() {
        let of = |protocol, address: &str, port| end(protocol, address.parse().unwrap(), port);
        assert_eq!(of(TCP, "10.1.0.2", 443), "10.1.0.2:443");
        assert_eq!(of(17, "2001:db8::1", 53), "[2001:db8::1]:53");
        assert_eq!(of(ICMP, "10.1.0.2", 7), "10.1.0.2 id 7");
        assert_eq!(of(ICMPV6, "2001:db8::1", 7), "2001:db8::1 id 7");
        assert_eq!(of(47, "10.1.0.2", 0), "10.1.0.2");
    }

    #[test]
    fn flags_are_written_syn_first() {
        assert_eq!(tcp_flags(0x1a, 0x12), "SAP/SA");
        assert_eq!(tcp_flags(0x02, 0), "S/");
        for flags in 0..=255 {
            assert_eq!(tcp_flags_of(&letters(flags)), flags);
        }
    }
}
