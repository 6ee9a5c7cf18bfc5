//! Processor time of the whole machine, from the first line of `/proc/stat` (proc(5)).

use std::fs;

use anyhow::{Context, Result};

/// Ticks in a second that the kernel reports in; fixed for user space on every architecture that Linux
/// runs eBPF on (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// Seconds that all processors together have been busy since boot: user, nice, system, irq and softirq.
/// Idle, waiting for disks and stolen time are not in it.
pub(crate) fn busy_seconds() -> Result<f64> {
    let text = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    parse(&text).context("/proc/stat has no line \"cpu\" as expected")
}

/// User and system time of a process (proc(5)).
pub(crate) fn seconds_of(pid: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in front may hold blanks; it ends with the last parenthesis.
    let (_, rest) = text.rsplit_once(')').context("no process")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|word| word.parse::<f64>().ok());
    let (user, system) = ticks(11).zip(ticks(12)).context("a line of another form")?;
    Ok((user + system) / TICKS_PER_SECOND)
}

fn parse(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with("cpu "))?;
    let ticks: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .map_while(|word| word.parse().ok())
        .collect();
    let [user, nice, system, _idle, _iowait, irq, softirq, ..] = ticks[..] else {
        return None;
    };
    Some((user + nice + system + irq + softirq) as f64 / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_is_everything_but_idle_iowait_and_steal() {
        let text = "cpu  100 1 200 9000 50 3 40 7 0 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        assert_eq!(parse(text), Some(3.44));
        assert_eq!(parse("intr 5"), None);
    }
}
