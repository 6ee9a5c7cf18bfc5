//! The posture as the kernel tells it (proc_pid_status(5)), not as we meant it.

use std::fs;
use std::io;

use caps::Capability;

use super::sys;
use crate::control::message::{Posture, ThreadPosture};

/// How the process stands now. Empty where /proc is not there.
pub fn current() -> Posture {
    let threads = threads().unwrap_or_default();
    let mut capabilities: Vec<String> = threads
        .iter()
        .flat_map(|thread| thread.told.capabilities.clone())
        .collect();
    capabilities.sort();
    capabilities.dedup();
    let all = |holds: fn(&Thread) -> bool| !threads.is_empty() && threads.iter().all(holds);
    Posture {
        capabilities,
        no_new_privileges: all(|thread| thread.no_new_privileges),
        seccomp: all(|thread| thread.filtered),
        dumpable: sys::is_dumpable(),
        threads: threads.into_iter().map(|thread| thread.told).collect(),
    }
}

struct Thread {
    told: ThreadPosture,
    no_new_privileges: bool,
    filtered: bool,
}

fn threads() -> io::Result<Vec<Thread>> {
    let mut threads = Vec::new();
    for entry in fs::read_dir("/proc/self/task")? {
        // One that has ended meanwhile holds nothing.
        if let Ok(text) = fs::read_to_string(entry?.path().join("status")) {
            threads.push(thread(&text));
        }
    }
    threads.sort_by(|a, b| a.told.name.cmp(&b.told.name));
    Ok(threads)
}

fn thread(status: &str) -> Thread {
    let value = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|rest| rest.strip_prefix(':'))
            .map_or("", str::trim)
    };
    let permitted = u64::from_str_radix(value("CapPrm"), 16).unwrap_or(u64::MAX);
    Thread {
        told: ThreadPosture {
            name: value("Name").to_owned(),
            capabilities: names(permitted),
        },
        no_new_privileges: value("NoNewPrivs") == "1",
        // 2 is SECCOMP_MODE_FILTER.
        filtered: value("Seccomp") == "2",
    }
}

/// Capabilities by their names; one that is newer than this program by its number.
fn names(mut set: u64) -> Vec<String> {
    let mut names = Vec::new();
    let mut known: Vec<Capability> = caps::all().into_iter().collect();
    known.sort_by_key(Capability::index);
    for capability in known {
        if set & capability.bitmask() != 0 {
            names.push(capability.to_string());
        }
        set &= !capability.bitmask();
    }
    let rest = (0..u64::BITS).filter(|bit| set >> bit & 1 == 1);
    names.extend(rest.map(|bit| format!("CAP_{bit}")));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_told_as_proc_has_it() {
        let text = "Name:\tlane-0\nCapPrm:\t000000c000003000\nNoNewPrivs:\t1\nSeccomp:\t2\n";
        let thread = thread(text);
        assert_eq!(thread.told.name, "lane-0");
        let expected = ["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_PERFMON", "CAP_BPF"];
        assert_eq!(thread.told.capabilities, expected);
        assert!(thread.no_new_privileges && thread.filtered);
    }

    #[test]
    fn what_cannot_be_read_counts_as_held() {
        let thread = thread("Name:\tx\n");
        assert_eq!(thread.told.capabilities.len(), 64);
        assert!(!thread.no_new_privileges && !thread.filtered);
        assert_eq!(names(1 << 60), ["CAP_60"]);
    }

    #[test]
    fn this_process_is_told() {
        let posture = current();
        assert!(!posture.threads.is_empty());
        assert!(!posture.seccomp);
    }
}
