//! What it was measured on.

use std::fs;

use serde::{Deserialize, Serialize};

/// Set to 1 in virtual machines without KVM (`cargo xtask vm-test`).
const EMULATED: &str = "CROSSWAY_EMULATED";

/// The machine and its state before the first run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cpus: usize,
    /// Every instruction is emulated: figures are ratios at best.
    #[serde(default)]
    pub(crate) emulated: bool,
    pub(crate) kernel: String,
    /// Processes running or ready in the last minute, on average (proc(5)).
    pub(crate) load_average_before: f64,
}

impl Machine {
    pub(crate) fn here() -> Self {
        Self {
            processor: processor(),
            emulated: std::env::var_os(EMULATED).is_some_and(|value| value == "1"),
            cpus: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_average_before: read("/proc/loadavg")
                .split_whitespace()
                .next()
                .and_then(|word| word.parse().ok())
                .unwrap_or(0.0),
        }
    }

    /// In one line.
    pub(crate) fn line(&self) -> String {
        let emulated = if self.emulated { "emulated CPU: " } else { "" };
        format!(
            "{emulated}{}, {} CPUs for everything, kernel {}",
            self.processor, self.cpus, self.kernel
        )
    }

    /// Says so where others are at work.
    pub(crate) fn warn_if_busy(&self) {
        if self.load_average_before > 0.5 {
            eprintln!(
                "others are at work here (load average {}): the figures will be noisy",
                self.load_average_before
            );
        }
    }
}

fn processor() -> String {
    let text = read("/proc/cpuinfo");
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    name.and_then(|rest| rest.split(':').nth(1))
        .map_or("unknown processor".to_owned(), |name| {
            name.trim().to_owned()
        })
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
