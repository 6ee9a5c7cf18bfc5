//! Everything that counts packets at both gateways: the agents, their programs, and the kernel's stack.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek};

use anyhow::{Context, Result};
use serde_json::Value;
use vm_tests::api::DropsReply;
use vm_tests::crossway::{self, Crossway};
use vm_tests::netns::Netns;

/// Counters of the stack at which the way of a packet that came in ends, beside those of the interfaces.
const ENDS: &[&str] = &[
    "Ip/InHdrErrors",
    "Ip/InAddrErrors",
    "Ip/InUnknownProtos",
    "Ip/InDiscards",
    "Ip/ReasmReqds",
    "Ip/FragFails",
    "IpExt/InNoRoutes",
    "IpExt/InTruncatedPkts",
    "Icmp/InMsgs",
    "Tcp/InSegs",
    "Udp/NoPorts",
    "Udp/InErrors",
    "Ip6InHdrErrors",
    "Ip6InNoRoutes",
    "Ip6InAddrErrors",
    "Ip6InUnknownProtos",
    "Ip6InTruncatedPkts",
    "Ip6InDiscards",
    "Ip6ReasmReqds",
    "Ip6FragFails",
    ICMPV6,
    "Udp6NoPorts",
    "Udp6InErrors",
];

/// Messages of ICMPv6 but for these.
const ICMPV6: &str = "Icmp6InMsgs but discovery";
const DISCOVERY: [&str; 4] = [
    "Icmp6InRouterSolicits",
    "Icmp6InRouterAdvertisements",
    "Icmp6InNeighborSolicits",
    "Icmp6InNeighborAdvertisements",
];

/// Packets by `gateway/who/counter`.
pub(crate) type Counts = BTreeMap<String, u64>;

/// The counters of one gateway.
pub(crate) struct Gauges {
    name: String,
    label: &'static str,
    netns: String,
    /// Opened inside, they show the namespace from anywhere.
    files: Vec<File>,
    sockets: [File; 2],
}

impl Gauges {
    pub(crate) fn open(label: &'static str, gateway: &Crossway, netns: &Netns) -> Result<Self> {
        let open = |name: &str| {
            let path = format!("/proc/thread-self/net/{name}");
            netns.enter(|| File::open(&path))?.context(path.clone())
        };
        Ok(Self {
            name: gateway.name().to_owned(),
            label,
            netns: netns.name().to_owned(),
            files: ["snmp", "netstat", "snmp6"]
                .map(open)
                .into_iter()
                .collect::<Result<_>>()?,
            sockets: [open("udp")?, open("udp6")?],
        })
    }

    /// Bytes that wait in the sockets of the namespace.
    pub(crate) fn backlog(&mut self) -> Result<u64> {
        let mut bytes = 0;
        for file in &mut self.sockets {
            let text = read(file)?;
            for line in text.lines().skip(1) {
                let queues = line.split_whitespace().nth(4).unwrap_or_default();
                let (_, waiting) = queues.split_once(':').context("a line of /proc/net/udp")?;
                bytes += u64::from_str_radix(waiting, 16)?;
            }
        }
        Ok(bytes)
    }

    /// All counters now.
    pub(crate) fn read(&mut self, to: &mut Counts) -> Result<()> {
        let label = self.label;
        let DropsReply { drops, to_stack } = crossway::ask(&self.name, &["drops"])?;
        for count in drops {
            to.insert(format!("{label}/agent/{}", count.reason), count.packets);
        }
        for count in to_stack {
            to.insert(
                format!("{label}/left to stack/{}", count.reason),
                count.packets,
            );
        }
        for file in &mut self.files {
            for (counter, packets) in pairs(&read(file)?) {
                to.insert(format!("{label}/kernel/{counter}"), packets);
            }
        }
        // The routers' and gateways' own discovery of each other goes on meanwhile.
        let of = |counter: &str| to.get(&format!("{label}/kernel/{counter}")).copied();
        let discovery: u64 = DISCOVERY.iter().filter_map(|counter| of(counter)).sum();
        let others = of("Icmp6InMsgs").unwrap_or(0) - discovery;
        to.insert(format!("{label}/kernel/{ICMPV6}"), others);
        let text = vm_tests::process::ip(&format!("-n {} -s -s -j link show", self.netns))?;
        let links: Value = serde_json::from_str(&text)?;
        for link in links.as_array().context("no links")? {
            let name = link["ifname"].as_str().unwrap_or_default();
            let name = if name.starts_with("cw-") { "tun" } else { name };
            for (way, counter) in [
                ("rx", "packets"),
                ("rx", "dropped"),
                ("rx", "errors"),
                ("rx", "otherhost"),
                ("tx", "dropped"),
                ("tx", "errors"),
            ] {
                let packets = link["stats64"][way][counter].as_u64().unwrap_or(0);
                to.insert(format!("{label}/{name}/{way}_{counter}"), packets);
            }
        }
        Ok(())
    }
}

/// What a device could not send.
pub(crate) fn dropped_on_the_way_out(netns: &Netns, device: &str) -> Result<u64> {
    let text = netns.ip(&format!("-s -j link show {device}"))?;
    let links: Value = serde_json::from_str(&text)?;
    let dropped = links[0]["stats64"]["tx"]["dropped"].as_u64();
    dropped.context("no counters of a device")
}

/// Whether a packet's way ends at this counter.
pub(crate) fn is_end(counter: &str) -> bool {
    let mut parts = counter.splitn(3, '/').skip(1);
    match (parts.next(), parts.next()) {
        (Some("agent"), Some(_)) => true,
        (Some("kernel"), Some(name)) => ENDS.contains(&name),
        (Some("wan0" | "lan0" | "tun"), Some(name)) => !name.ends_with("_packets"),
        _ => false,
    }
}

/// What has grown since `before`.
pub(crate) fn growth(before: &Counts, now: &Counts) -> Counts {
    let grown = now.iter().filter_map(|(name, count)| {
        let more = count - before.get(name).unwrap_or(&0).min(count);
        (more > 0).then(|| (name.clone(), more))
    });
    grown.collect()
}

fn read(file: &mut File) -> Result<String> {
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// Of `/proc/net/snmp` and `netstat`, a line of names and a line of numbers for each protocol; of `snmp6`, a name
/// and a number in each line.
fn pairs(text: &str) -> Vec<(String, u64)> {
    let mut pairs = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some((protocol, names)) = line.split_once(": ") else {
            let mut words = line.split_whitespace();
            if let (Some(name), Some(Ok(count))) = (words.next(), words.next().map(str::parse)) {
                pairs.push((name.to_owned(), count));
            }
            continue;
        };
        let numbers = lines.next().unwrap_or_default().split_whitespace().skip(1);
        for (name, number) in names.split_whitespace().zip(numbers) {
            if let Ok(count) = number.parse() {
                pairs.push((format!("{protocol}/{name}"), count));
            }
        }
    }
    pairs
}
