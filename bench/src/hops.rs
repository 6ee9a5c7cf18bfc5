//! What is lost and reordered between which two points of the way from host a to host b: counters of the
//! interfaces before and after a load, and what TCP at both ends says of the order.
//!
//! Only where every packet crosses the cables by itself are these the same packets at every point. A few
//! that belong to no load (ARP, handshakes) are among them.

use std::fs;

use anyhow::{Context, Result};
use vm_tests::netns::Netns;
use vm_tests::topology::Topology;
use vm_tests::traffic::LinkCounters;

use crate::results::{Better, Results};

/// What the names of these figures begin with; the table shows them in a line of their own.
pub(crate) const PREFIX: &str = "hop: ";
/// Where packets can be lost, in the order of their way; each lies between two counters.
const SECTIONS: [&str; POINTS - 1] = [
    "lost on LAN cable a",
    "lost in gateway a",
    "lost on WAN cable",
    "lost in gateway b",
    "lost on LAN cable b",
];
const POINTS: usize = 6;
/// Of TcpExt (`/proc/net/netstat`): what the receiver queued out of order, and how the sender noticed.
const OUT_OF_ORDER: [&str; 1] = ["TCPOFOQueue"];
const REORDERED: [&str; 3] = ["TCPSACKReorder", "TCPTSReorder", "TCPRenoReorder"];

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hops {
    packets: [u64; POINTS],
    out_of_order: u64,
    reordered: u64,
}

impl Hops {
    pub(crate) fn look(topology: &Topology) -> Result<Self> {
        let (a, b) = (&topology.sites[0], &topology.sites[1]);
        let sent = |netns, interface| -> Result<u64> {
            Ok(LinkCounters::of(netns, interface)?.tx_packets)
        };
        let received = |netns, interface| -> Result<u64> {
            Ok(LinkCounters::of(netns, interface)?.rx_packets)
        };
        Ok(Self {
            packets: [
                sent(&a.host, "eth0")?,
                received(&a.gateway, "lan0")?,
                sent(&a.gateway, "wan0")?,
                received(&b.gateway, "wan0")?,
                sent(&b.gateway, "lan0")?,
                received(&b.host, "eth0")?,
            ],
            out_of_order: tcp_counters(&b.host, &OUT_OF_ORDER)?,
            reordered: tcp_counters(&a.host, &REORDERED)?,
        })
    }

    /// What happened between `before` and `self`, by name.
    pub(crate) fn since(&self, before: &Self) -> Vec<(&'static str, u64)> {
        let passed: Vec<u64> = self
            .packets
            .iter()
            .zip(before.packets)
            .map(|(now, then)| now.saturating_sub(then))
            .collect();
        let lost = passed
            .windows(2)
            .map(|pair| pair[0].saturating_sub(pair[1]));
        let mut events: Vec<(&'static str, u64)> = SECTIONS.into_iter().zip(lost).collect();
        let out_of_order = self.out_of_order.saturating_sub(before.out_of_order);
        let reordered = self.reordered.saturating_sub(before.reordered);
        events.push(("TCP out of order at host b", out_of_order));
        events.push(("TCP reordering seen at host a", reordered));
        events
    }
}

/// Adds what happened as figures of the load.
pub(crate) fn add(
    results: &mut Results,
    load: &str,
    contender: &str,
    events: &[(&'static str, u64)],
) {
    for (name, count) in events {
        let name = format!("{PREFIX}{name}");
        results.add(load, contender, &name, Better::Neither, *count as f64);
    }
}

/// Takes the losses out again where packets crossed a cable in one piece: its two ends do not count the
/// same then.
pub(crate) fn forget_losses(results: &mut Results) {
    let is_loss = |name: &str| {
        let name = name.strip_prefix(PREFIX);
        name.is_some_and(|name| SECTIONS.contains(&name))
    };
    results.figures.retain(|figure| !is_loss(&figure.name));
}

fn tcp_counters(netns: &Netns, names: &[&str]) -> Result<u64> {
    let text = netns
        .enter(|| fs::read_to_string("/proc/thread-self/net/netstat"))?
        .context("cannot read /proc/net/netstat")?;
    sum(&text, names).context("/proc/net/netstat has no line TcpExt as expected")
}

/// A line of names and a line of values, both behind `TcpExt:`.
fn sum(text: &str, names: &[&str]) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
    let (known, values) = (lines.next()?, lines.next()?);
    let pairs = known.split_whitespace().zip(values.split_whitespace());
    let wanted = pairs.filter(|(name, _)| names.contains(name));
    Some(
        wanted
            .filter_map(|(_, value)| value.parse::<u64>().ok())
            .sum(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_lie_between_two_counters() {
        let before = Hops {
            packets: [100; POINTS],
            ..Hops::default()
        };
        let after = Hops {
            packets: [200, 200, 190, 191, 191, 180],
            out_of_order: 7,
            reordered: 0,
        };
        let events = after.since(&before);
        let seen: Vec<_> = events.iter().filter(|(_, count)| *count > 0).collect();
        let expected = [
            ("lost in gateway a", 10),
            ("lost on LAN cable b", 11),
            ("TCP out of order at host b", 7),
        ];
        assert_eq!(seen, expected.iter().collect::<Vec<_>>());
    }

    #[test]
    fn counters_are_found_by_name() {
        let text = "TcpExt: A TCPSACKReorder B\nTcpExt: 1 20 300\nIpExt: A\nIpExt: 5\n";
        assert_eq!(sum(text, &["TCPSACKReorder", "B"]), Some(320));
        assert_eq!(sum("IpExt: A\n", &["A"]), None);
    }
}
