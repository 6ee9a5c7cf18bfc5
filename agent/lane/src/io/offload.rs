//! Offloads: each is probed at start, may fail later, and is then switched off for good, with the
//! reason kept for `status`.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// One offload of one device or socket.
#[derive(Clone, Debug)]
pub struct Offload {
    /// Name as `status` shows it.
    pub name: &'static str,
    /// Why it is off; `None` while it is on.
    pub off: Option<Off>,
}

/// Why and since when an offload is off.
#[derive(Clone, Debug)]
pub struct Off {
    /// The kernel's words and what was tried.
    pub why: String,
    /// When it was switched off.
    pub since: Instant,
}

/// An offload that is off, as one agent tells it to the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldOff {
    /// Its name.
    pub name: String,
    /// Why it is off.
    pub why: String,
    /// Time since it is.
    pub since_ms: u64,
}

impl Offload {
    /// An offload as the probe found it.
    pub fn probed(name: &'static str, probe: io::Result<()>, now: Instant) -> Self {
        let off = probe.err().map(|error| Off {
            why: format!("not accepted at start: {error}"),
            since: now,
        });
        Self { name, off }
    }

    /// An offload as the agent before found it.
    pub fn told(name: &'static str, off: &[ToldOff], now: Instant) -> Self {
        let told = off.iter().find(|off| off.name == name);
        let off = told.map(|told| Off {
            why: told.why.clone(),
            since: now
                .checked_sub(Duration::from_millis(told.since_ms))
                .unwrap_or(now),
        });
        Self { name, off }
    }

    /// What the next agent is told, if it is off.
    pub fn tell(&self, now: Instant) -> Option<ToldOff> {
        self.off.as_ref().map(|off| ToldOff {
            name: self.name.to_owned(),
            why: off.why.clone(),
            since_ms: now.saturating_duration_since(off.since).as_millis() as u64,
        })
    }

    /// Whether it may be used.
    pub fn is_on(&self) -> bool {
        self.off.is_none()
    }

    /// Switches it off after a failure.
    pub fn fail(&mut self, error: &io::Error, now: Instant) {
        tracing::warn!(offload = self.name, %error, "an offload failed and is now off; the data was sent again without it");
        self.off = Some(Off {
            why: format!("failed at run time: {error}"),
            since: now,
        });
    }
}

impl fmt::Display for Offload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.off {
            None => write!(f, "{} on", self.name),
            Some(off) => write!(f, "{} off ({})", self.name, off.why),
        }
    }
}
