//! What a process holds and takes: descriptors, memory, processor time.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// Of `/proc/PID/stat`, in a second: fixed for user space on every architecture (`USER_HZ`).
const TICKS_PER_SECOND: u64 = 100;

/// At one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vitals {
    /// Open descriptors.
    pub descriptors: usize,
    /// Threads.
    pub threads: usize,
    /// Resident memory in bytes.
    pub memory: u64,
    /// Processor time so far, all threads together.
    pub busy: Duration,
}

impl Vitals {
    /// Of a process.
    pub fn of(pid: u32) -> Result<Self> {
        let read = |file: &str| {
            let path = format!("/proc/{pid}/{file}");
            fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
        };
        let count = |folder: &str| -> Result<usize> {
            Ok(fs::read_dir(format!("/proc/{pid}/{folder}"))?.count())
        };
        Ok(Self {
            descriptors: count("fd")?,
            threads: count("task")?,
            memory: memory(&read("status")?).context("no VmRSS")?,
            busy: busy(&read("stat")?).context("no times in stat")?,
        })
    }
}

/// `VmRSS:     12345 kB`
fn memory(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// User and system time are the 14th and 15th field, the 12th and 13th behind the name, which may hold
/// anything (proc(5)).
fn busy(stat: &str) -> Option<Duration> {
    let (_, behind_name) = stat.rsplit_once(") ")?;
    let mut fields = behind_name.split(' ').skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let sum = ticks()? + ticks()?;
    Some(Duration::from_millis(sum * 1000 / TICKS_PER_SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_a_name_with_brackets() {
        let stat = "17 (a ) b) S 1 17 17 0 -1 4194304 90 0 0 0 250 50 0 0 20 0 3 0 100 1 2";
        assert_eq!(busy(stat), Some(Duration::from_secs(3)));
        assert_eq!(memory("Name:\ta\nVmRSS:\t   2048 kB\n"), Some(2 << 20));
    }

    #[test]
    fn this_process_is_alive() {
        let vitals = Vitals::of(std::process::id()).unwrap();
        assert!(vitals.descriptors > 2 && vitals.threads > 0 && vitals.memory > 0);
    }
}
