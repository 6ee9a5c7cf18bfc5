//! Offloads: each is probed at start, may fail later, and is then switched off for good, with the
//! reason kept for `status`.

use std::fmt;
use std::io;
use std::time::Instant;

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

impl Offload {
    /// An offload as the probe found it.
    pub fn probed(name: &'static str, probe: io::Result<()>, now: Instant) -> Self {
        let off = probe.err().map(|error| Off {
            why: format!("not taken at start: {error}"),
            since: now,
        });
        Self { name, off }
    }

    /// Whether it may be used.
    pub fn is_on(&self) -> bool {
        self.off.is_none()
    }

    /// Switches it off after a failure.
    pub fn fail(&mut self, error: &io::Error, now: Instant) {
        tracing::warn!(offload = self.name, %error, "offload failed and is off from now on; what failed was sent again without it");
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
