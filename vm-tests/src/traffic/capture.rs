//! What a wire or an interface saw: tcpdump and the kernel's counters.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::netns::Netns;
use crate::process::ProcessGuard;
use crate::topology::Topology;
use crate::wait;

const LIMIT: Duration = Duration::from_secs(5);

/// A running tcpdump. Dropped, it is gone.
#[derive(Debug)]
pub struct Capture {
    process: ProcessGuard,
}

impl Capture {
    /// Captures on an interface what matches a filter (pcap-filter(7); empty for everything), and
    /// returns when it is ready for packets.
    pub fn start(
        topology: &Topology,
        netns: &Netns,
        interface: &str,
        filter: &str,
    ) -> Result<Self> {
        Self::start_in(topology.directory(), netns, interface, filter)
    }

    /// As [`Self::start`], with its output in `directory`.
    pub fn start_in(
        directory: &Path,
        netns: &Netns,
        interface: &str,
        filter: &str,
    ) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let log = directory.join(format!("capture-{number}.txt"));
        // As root: a guest has no user of tcpdump's own.
        let mut words = vec![
            "-n",
            "-t",
            "-l",
            "-Z",
            "root",
            "--immediate-mode",
            "-i",
            interface,
        ];
        words.extend(filter.split_whitespace());
        let mut process = netns.spawn("tcpdump", "tcpdump", &words, &log)?;
        let output = log.clone();
        process.wait_until("listen", LIMIT, || {
            let text = std::fs::read_to_string(&output).ok()?;
            text.contains("listening on").then_some(())
        })?;
        Ok(Self { process })
    }

    /// The packets so far, one line each.
    pub fn lines(&self) -> Vec<String> {
        let output = self.process.output();
        let lines = output.lines().filter(|line| is_packet(line));
        lines.map(str::to_owned).collect()
    }

    /// Waits until at least `count` packets were seen.
    pub fn wait_for(&self, count: usize, limit: Duration) -> Result<Vec<String>> {
        wait::until(&format!("{count} captured packets"), limit, || {
            Some(self.lines()).filter(|lines| lines.len() >= count)
        })
    }

    /// Ends it, and returns all that it saw.
    pub fn finish(mut self) -> Result<Vec<String>> {
        self.process.terminate(LIMIT)?;
        Ok(self.lines())
    }
}

/// Not one of tcpdump's own remarks. On the interface `any`, its name and the direction come first.
fn is_packet(line: &str) -> bool {
    let mut words = line.splitn(3, ' ').map(str::trim_start);
    let line = match (words.next(), words.next(), words.next()) {
        (Some(_), Some("In" | "Out" | "P" | "B" | "M"), Some(rest)) => rest,
        _ => line,
    };
    ["IP ", "IP6 ", "ARP", "ethertype", "vlan"]
        .iter()
        .any(|start| line.starts_with(start))
}

/// Counters of an interface, as `ip -s link` shows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounters {
    /// Packets received; a GRO packet counts as its segments only where the driver does so.
    pub rx_packets: u64,
    /// Bytes received; on veth without the Ethernet header.
    pub rx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
}

impl LinkCounters {
    /// Reads them.
    pub fn of(netns: &Netns, interface: &str) -> Result<Self> {
        let text = netns.ip(&format!("-s -j link show dev {interface}"))?;
        let json: Value = serde_json::from_str(&text).context("`ip -j` did not write JSON")?;
        let counters = &json[0]["stats64"];
        let number = |way: &str, unit: &str| {
            let number = counters[way][unit].as_u64();
            number.with_context(|| format!("`ip -s -j link` without {way} {unit}: {text}"))
        };
        Ok(Self {
            rx_packets: number("rx", "packets")?,
            rx_bytes: number("rx", "bytes")?,
            tx_packets: number("tx", "packets")?,
            tx_bytes: number("tx", "bytes")?,
        })
    }
}
