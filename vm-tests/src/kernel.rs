//! What the kernels of the namespaces counted as lost: each counter by its name.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::netns::Netns;

/// Counts by name; all of them only grow, unless their owner begins anew.
pub type Counts = BTreeMap<String, u64>;

/// Of /proc/net/snmp and netstat, each a packet that went no further.
const SNMP: [&str; 19] = [
    "Ip InHdrErrors",
    "Ip InAddrErrors",
    "Ip InUnknownProtos",
    "Ip InDiscards",
    "Ip OutDiscards",
    "Ip OutNoRoutes",
    "Ip ReasmFails",
    "Ip FragFails",
    "IpExt InNoRoutes",
    "IpExt InTruncatedPkts",
    "Udp NoPorts",
    "Udp InErrors",
    "Udp RcvbufErrors",
    "Udp SndbufErrors",
    "Udp InCsumErrors",
    "Udp MemErrors",
    "TcpExt TCPBacklogDrop",
    "TcpExt ListenDrops",
    "TcpExt TCPRcvQDrop",
];
/// Of /proc/net/snmp6.
const SNMP6: [&str; 15] = [
    "Ip6InHdrErrors",
    "Ip6InTooBigErrors",
    "Ip6InNoRoutes",
    "Ip6InAddrErrors",
    "Ip6InUnknownProtos",
    "Ip6InTruncatedPkts",
    "Ip6InDiscards",
    "Ip6OutDiscards",
    "Ip6OutNoRoutes",
    "Ip6ReasmFails",
    "Ip6FragFails",
    "Udp6NoPorts",
    "Udp6InErrors",
    "Udp6RcvbufErrors",
    "Udp6InCsumErrors",
];
/// Of an interface, each way.
const INTERFACE: [&str; 5] = [
    "errors",
    "dropped",
    "over_errors",
    "carrier_errors",
    "otherhost_dropped",
];

/// The counts of a namespace, each name after `name`; those that are zero are left out.
pub fn counts(name: &str, netns: &Netns) -> Result<Counts> {
    let read = |file: &str| fs::read_to_string(format!("/proc/thread-self/net/{file}"));
    let texts = netns.enter(|| ["snmp", "netstat", "snmp6"].map(read))?;
    let [snmp, netstat, snmp6] = texts;
    let mut counts = Counts::new();
    let mut add = |what: &str, count: u64| {
        if count > 0 {
            counts.insert(what.to_owned(), count);
        }
    };
    for text in [snmp?, netstat?] {
        for (what, count) in pairs(&text) {
            if SNMP.contains(&what.as_str()) {
                add(&what, count);
            }
        }
    }
    for (what, count) in columns(&snmp6?) {
        if SNMP6.contains(&what) {
            add(what, count);
        }
    }
    let links = netns.ip("-s -s -j link show")?;
    let links: Value = serde_json::from_str(&links).context("`ip -j` did not write JSON")?;
    for link in links.as_array().into_iter().flatten() {
        let interface = link["ifname"].as_str().unwrap_or_default();
        let of_the_tunnel = interface.starts_with("cw-");
        for (way, what) in ["rx", "tx"]
            .into_iter()
            .flat_map(|way| INTERFACE.map(|what| (way, what)))
        {
            // What the kernel refuses there, the agent counts.
            if of_the_tunnel && way == "rx" {
                continue;
            }
            let interface = if of_the_tunnel { "TUN" } else { interface };
            let count = link["stats64"][way][what].as_u64().unwrap_or(0);
            add(&format!("{interface} {way} {what}"), count);
        }
    }
    for udp in ["Udp ", "Udp6"] {
        keep_rest_of_errors(&mut counts, udp);
    }
    let named = counts.into_iter();
    Ok(named
        .map(|(what, count)| (format!("{name} {what}"), count))
        .collect())
}

/// `InErrors` holds what has a name of its own once more: the rest was refused by a socket's filter.
fn keep_rest_of_errors(counts: &mut Counts, udp: &str) {
    let errors = format!("{udp}InErrors");
    let of_them = ["RcvbufErrors", "InCsumErrors", "MemErrors"];
    let named: u64 = of_them
        .iter()
        .filter_map(|what| counts.get(&format!("{udp}{what}")))
        .sum();
    let all = counts.remove(&errors).unwrap_or(0);
    if all > named {
        counts.insert(format!("{udp}filtered"), all - named);
    }
}

/// A line of names and a line of numbers, both behind the same word.
fn pairs(text: &str) -> Vec<(String, u64)> {
    let lines: Vec<&str> = text.lines().collect();
    let tables = lines.chunks(2).filter_map(|table| {
        let [names, numbers] = table else { return None };
        let (of, names) = names.split_once(": ")?;
        let (_, numbers) = numbers.split_once(": ")?;
        let names = names.split(' ').map(move |name| format!("{of} {name}"));
        let numbers = numbers.split(' ').map(|number| number.parse().unwrap_or(0));
        Some(names.zip(numbers))
    });
    tables.flatten().collect()
}

fn columns(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let (name, number) = line.split_once(char::is_whitespace)?;
        Some((name, number.trim().parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_filter_refused_is_the_rest_of_the_errors() {
        let mut counts = Counts::from([
            ("Udp InErrors".to_owned(), 9),
            ("Udp RcvbufErrors".to_owned(), 4),
        ]);
        keep_rest_of_errors(&mut counts, "Udp ");
        assert_eq!(counts.get("Udp filtered"), Some(&5));
        assert_eq!(counts.get("Udp InErrors"), None);
        keep_rest_of_errors(&mut counts, "Udp6");
        assert_eq!(counts.len(), 2);
    }

    #[test]
    fn both_forms_of_the_kernels_tables_are_read() {
        let text = "Ip: Forwarding InHdrErrors\nIp: 1 7\nUdp: NoPorts InErrors\nUdp: 3 4\n";
        let pairs = pairs(text);
        assert!(pairs.contains(&("Ip InHdrErrors".to_owned(), 7)));
        assert!(pairs.contains(&("Udp NoPorts".to_owned(), 3)));
        let columns: Vec<_> = columns("Ip6InReceives   \t12\nUdp6NoPorts  \t3\n").collect();
        assert_eq!(columns, [("Ip6InReceives", 12), ("Udp6NoPorts", 3)]);
    }
}
