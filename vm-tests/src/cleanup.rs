//! What is left of a lab or test that was killed before it could clean up.

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::{frr, netns};

/// Directories of the topologies that stand.
pub const DIRECTORY: &str = "/run/crossway-lab";
/// Where gateways keep their sockets and states.
const RUN: &str = "/run/crossway";
/// Where gateways pin maps and links.
const PINS: &str = "/sys/fs/bpf/crossway";

/// Removes namespaces, processes in them, pins, sockets and files whose name starts with `prefix`.
/// Returns what was removed, one line each.
pub fn remove_leftovers(prefix: &str) -> Result<Vec<String>> {
    let mut removed = Vec::new();
    for name in netns::list() {
        if belongs(&name, prefix) {
            netns::remove(&name)?;
            removed.push(format!("namespace {name}"));
        }
    }
    for directory in [DIRECTORY, RUN, PINS, frr::DIRECTORY] {
        let directory = Path::new(directory);
        remove_entries(directory, prefix, &mut removed);
        // Succeeds when nobody else's is in it.
        let _ = fs::remove_dir(directory);
    }
    Ok(removed)
}

/// Removes what tests left whose process is gone.
pub fn remove_dead_tests() -> Result<Vec<String>> {
    let mut prefixes: Vec<String> = netns::list()
        .iter()
        .filter_map(|name| dead_prefix(name))
        .collect();
    prefixes.dedup();
    let mut removed = Vec::new();
    for prefix in prefixes {
        removed.extend(remove_leftovers(&prefix)?);
    }
    Ok(removed)
}

/// Removes pins, socket and state of one gateway that was killed and will not start again.
pub fn remove_gateway_state(gateway: &str) {
    // None of it need exist.
    let _ = fs::remove_dir_all(Path::new(PINS).join(gateway));
    for suffix in ["sock", "state.json", "handshakes", "names.json"] {
        let _ = fs::remove_file(Path::new(RUN).join(format!("{gateway}.{suffix}")));
    }
}

/// `cw<pid>-<number>` of a name whose process does not run any more.
fn dead_prefix(name: &str) -> Option<String> {
    let mut parts = name.split('-');
    let (head, number) = (parts.next()?, parts.next()?);
    let pid: u32 = head.strip_prefix("cw")?.parse().ok()?;
    number.parse::<u32>().ok()?;
    (!Path::new("/proc").join(pid.to_string()).exists()).then(|| format!("{head}-{number}"))
}

fn remove_entries(directory: &Path, prefix: &str, removed: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        if belongs(&entry.file_name().to_string_lossy(), prefix) {
            let path = entry.path();
            let done = if path.is_dir() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            if done.is_ok() {
                removed.push(path.display().to_string());
            }
        }
    }
}

fn belongs(name: &str, prefix: &str) -> bool {
    name == prefix
        || name
            .strip_prefix(prefix)
            .is_some_and(|rest| rest.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_does_not_take_a_longer_number_for_its_own() {
        assert!(belongs("cw12-1-gw-a", "cw12-1"));
        assert!(!belongs("cw12-10-gw-a", "cw12-1"));
    }

    #[test]
    fn names_of_a_living_process_are_left_alone() {
        let own = format!("cw{}-0-gw-a", std::process::id());
        assert_eq!(dead_prefix(&own), None);
        assert_eq!(dead_prefix("cw-lab-gw-a"), None);
        assert_eq!(
            dead_prefix("cw4294967295-3-wan").as_deref(),
            Some("cw4294967295-3")
        );
    }
}
