//! Weather between gateways: netem (tc-netem(8)) where a router's cable to a gateway begins.
//!
//! The router is the place for it: a gateway hands its own interface super-packets, which netem would take
//! for one packet each, while through a router every packet passes by itself.

use std::io::Write;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::netns::Netns;

/// Packets that netem holds back at most: as many as come in a second or two, with the longest delay.
const LIMIT: u32 = 4000;
/// The handle of netem.
const NETEM: &str = "10:";

/// One way of the network: an interface that packets leave by.
#[derive(Clone, Copy, Debug)]
pub struct Way<'a> {
    netns: &'a Netns,
    interface: &'a str,
}

/// What netem let through and what it dropped since it was set up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Packets that left, doubles among them.
    pub sent: u64,
    /// Packets that were dropped: lost, or too many to be held back.
    pub dropped: u64,
}

impl<'a> Way<'a> {
    /// The way out of `interface`, which is calm.
    pub fn new(netns: &'a Netns, interface: &'a str) -> Self {
        Self { netns, interface }
    }

    /// The weather for every packet, in netem's words, such as `delay 20ms loss 1%`. The way must be calm.
    pub fn all(&self, weather: &str) -> Result<()> {
        let interface = self.interface;
        self.tc(&[format!(
            "qdisc add dev {interface} root handle {NETEM} netem limit {LIMIT} {weather}"
        )])
    }

    /// The weather for IPv4 packets of this length, and calm for all others: what netem counts is then
    /// these packets and nothing else. The way must be calm.
    pub fn only(&self, length: u16, weather: &str) -> Result<()> {
        let interface = self.interface;
        let all_to_the_second = "priomap 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1";
        self.tc(&[
            format!("qdisc add dev {interface} root handle 1: prio bands 2 {all_to_the_second}"),
            format!(
                "qdisc add dev {interface} parent 1:1 handle {NETEM} netem limit {LIMIT} {weather}"
            ),
            format!(
                "filter add dev {interface} parent 1: protocol ip prio 1 u32 match u16 {length:#x} 0xffff at 2 flowid 1:1"
            ),
        ])
    }

    /// Takes the weather away; what is held back is lost.
    pub fn calm(&self) -> Result<()> {
        self.tc(&[format!("qdisc delete dev {} root", self.interface)])
    }

    /// What passed, and how many packets are held back now.
    pub fn passed(&self) -> Result<(Passed, u64)> {
        let netem = self.netem()?;
        let number = |name: &str| {
            let number = netem[name].as_u64();
            number.with_context(|| format!("no {name} in {netem}"))
        };
        let passed = Passed {
            sent: number("packets")?,
            dropped: number("drops")?,
        };
        Ok((passed, number("qlen")?))
    }

    /// As `tc -s -j qdisc` shows it.
    fn netem(&self) -> Result<Value> {
        let interface = self.interface;
        let text = self
            .netns
            .run(&format!("tc -s -j qdisc show dev {interface}"))?;
        let mut all: Vec<Value> =
            serde_json::from_str(&text).context("`tc -j` did not write JSON")?;
        let place = all.iter().position(|qdisc| qdisc["kind"] == "netem");
        Ok(all.swap_remove(place.context("there is no netem")?))
    }

    /// Several commands for one start of `tc`.
    fn tc(&self, lines: &[String]) -> Result<()> {
        let mut command = self.netns.command("tc");
        let mut tc = command
            .args(["-batch", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start `tc` (package iproute2)")?;
        let text = lines.join("\n") + "\n";
        let mut input = tc.stdin.take().context("a pipe")?;
        input.write_all(text.as_bytes())?;
        drop(input);
        let output = tc.wait_with_output()?;
        ensure!(
            output.status.success(),
            "tc {text}said: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }
}
