//! What a clean stop must give back: links, addresses, routes, rules, queueing disciplines and sysctls
//! of a namespace, as text.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use crate::netns::Netns;
use crate::wait;

/// The kernel reports changes of carrier once a second.
const SETTLE_LIMIT: Duration = Duration::from_secs(5);

/// Each line shows one part of the state; counters and clocks are not in them.
const COMMANDS: [&str; 8] = [
    "ip -d link",
    "ip address",
    "ip -4 route show table all",
    "ip -6 route show table all",
    "ip -4 rule",
    "ip -6 rule",
    "tc qdisc show",
    // Values that cannot be read are left out.
    "sysctl --all --ignore --pattern ^net\\.",
];

/// A namespace's state at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostState(Vec<(&'static str, String)>);

impl HostState {
    /// Reads it.
    pub fn of(netns: &Netns) -> Result<Self> {
        COMMANDS
            .iter()
            .map(|&command| Ok((command, netns.run(command)?)))
            .collect::<Result<_>>()
            .map(Self)
    }

    /// Reads it once the kernel is done with bringing up what was just made: an Ethernet interface that is
    /// up has carrier and a link-local address. Both come a moment later.
    pub fn settled(netns: &Netns) -> Result<Self> {
        wait::try_until("interfaces to come up", SETTLE_LIMIT, || {
            let links: Value = serde_json::from_str(&netns.ip("-j address")?)?;
            let mut links = links.as_array().into_iter().flatten();
            Ok(links.all(has_settled).then_some(()))
        })?;
        Self::of(netns)
    }

    /// The lines that differ, under the command that showed them; empty for equal states.
    pub fn difference(&self, later: &Self) -> String {
        let mut text = String::new();
        for ((command, before), (_, after)) in self.0.iter().zip(&later.0) {
            if before == after {
                continue;
            }
            text.push_str(command);
            text.push('\n');
            push_missing(&mut text, '-', before, after);
            push_missing(&mut text, '+', after, before);
        }
        text
    }
}

/// An interface of `ip -j address`.
fn has_settled(link: &Value) -> bool {
    let holds = |list: &Value, word: &str| {
        let mut words = list.as_array().into_iter().flatten();
        words.any(|found| found == word)
    };
    let mut addresses = link["addr_info"].as_array().into_iter().flatten();
    link["link_type"] != "ether"
        || !holds(&link["flags"], "UP")
        || link["operstate"] == "UP"
            && addresses.any(|address| {
                address["family"] == "inet6"
                    && address["scope"] == "link"
                    && address["tentative"].is_null()
            })
}

/// What an agent remembers for the next one, whatever becomes of itself.
pub const MEMORY: [&str; 3] = [".handshakes", ".history", ".names.json"];

/// What a gateway keeps outside of its namespace, [`MEMORY`] apart: pins, socket, state. Empty after a clean stop.
pub fn files_of(gateway: &str) -> Vec<PathBuf> {
    let folders = ["/sys/fs/bpf/crossway", "/run/crossway"];
    let entries = folders.into_iter().flat_map(fs::read_dir).flatten();
    let files = entries.flatten().filter(|entry| {
        let name = entry.file_name();
        let rest = name.to_str().and_then(|name| name.strip_prefix(gateway));
        let is_its = |rest: &str| rest.is_empty() || rest.starts_with('.');
        rest.is_some_and(|rest| is_its(rest) && !MEMORY.contains(&rest))
    });
    files.map(|entry| entry.path()).collect()
}

/// Lines of `all` that `others` lacks. Another order alone shows as the command without lines.
fn push_missing(text: &mut String, sign: char, all: &str, others: &str) {
    let others: Vec<&str> = others.lines().collect();
    for line in all.lines().filter(|line| !others.contains(line)) {
        text.push(sign);
        text.push_str(line);
        text.push('\n');
    }
}
