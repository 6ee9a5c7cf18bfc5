//! What an agent holds: memory, descriptors, threads, entries of its maps. None of it may grow.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use serde_json::Value;

use crate::{process, vitals};

/// Bytes that an agent may grow by after its first checkpoint: buffers of its allocator, tables of its past.
pub(super) const MEMORY_BOUND: u64 = 16 << 20;
/// Connections to the control socket that are being closed.
const DESCRIPTOR_BOUND: u64 = 4;
/// Threads for blocking work that tokio keeps for some seconds.
const THREAD_BOUND: u64 = 8;
/// Maps whose entries follow from the configuration.
const MAPS: [&str; 4] = ["ROUTES4", "ROUTES6", "SESSIONS", "INTERFACES"];

/// What one process holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Vitals {
    pub(super) pid: u32,
    pub(super) memory: u64,
    pub(super) descriptors: u64,
    pub(super) threads: u64,
    /// Entries by map.
    pub(super) entries: Vec<(&'static str, usize)>,
    /// Files under its pins: maps, and links whose names hold the numbers of interfaces.
    pub(super) pins: usize,
}

impl Vitals {
    /// Of a gateway's agent.
    pub(super) fn of(gateway: &str, pid: u32) -> Result<Self> {
        let process = vitals::Vitals::of(pid)?;
        let pinned = Path::new("/sys/fs/bpf/crossway").join(gateway);
        let entries = MAPS
            .iter()
            .map(|map| Ok((*map, entries(&pinned.join(map))?)));
        Ok(Self {
            pid,
            memory: process.memory,
            descriptors: process.descriptors as u64,
            threads: process.threads as u64,
            entries: entries.collect::<Result<_>>()?,
            pins: files_under(&pinned),
        })
    }

    /// What has grown since `first`, when the configuration was the same.
    pub(super) fn growth(&self, first: &Self) -> Vec<String> {
        let mut grown = Vec::new();
        if self.entries != first.entries {
            grown.push(format!(
                "entries {:?}, not {:?}",
                self.entries, first.entries
            ));
        }
        if self.pins != first.pins {
            grown.push(format!("{} pins, not {}", self.pins, first.pins));
        }
        for (what, now, then, bound) in [
            (
                "descriptors",
                self.descriptors,
                first.descriptors,
                DESCRIPTOR_BOUND,
            ),
            ("threads", self.threads, first.threads, THREAD_BOUND),
            ("bytes of memory", self.memory, first.memory, MEMORY_BOUND),
        ] {
            if now > then + bound {
                grown.push(format!("{now} {what}, at first {then}"));
            }
        }
        grown
    }
}

fn entries(map: &Path) -> Result<usize> {
    let mut command = Command::new("bpftool");
    let text = process::run(command.args(["-j", "map", "dump", "pinned"]).arg(map))?;
    let dump: Value = serde_json::from_str(&text)?;
    Ok(dump.as_array().map_or(0, Vec::len))
}

fn files_under(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    paths
        .map(|path| if path.is_dir() { files_under(&path) } else { 1 })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vitals() -> Vitals {
        Vitals {
            pid: 1,
            memory: 20 << 20,
            descriptors: 30,
            threads: 6,
            entries: vec![("SESSIONS", 3)],
            pins: 20,
        }
    }

    #[test]
    fn what_stays_within_the_bounds_has_not_grown() {
        let mut later = vitals();
        later.memory += MEMORY_BOUND;
        later.descriptors += DESCRIPTOR_BOUND;
        assert_eq!(later.growth(&vitals()), Vec::<String>::new());
    }

    #[test]
    fn one_entry_too_many_is_a_leak_and_so_is_one_too_few() {
        for count in [2, 4] {
            let later = Vitals {
                entries: vec![("SESSIONS", count)],
                ..vitals()
            };
            assert_eq!(later.growth(&vitals()).len(), 1);
        }
    }
}
