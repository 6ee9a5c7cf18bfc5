//! This process as one of those that run the gateway, one after the other.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::upgrade::Upgrade;
use crate::clock;
use crate::control::server::SharedSocket;
use crate::logging::Log;

/// What this process has beside the gateway.
pub(super) struct Process {
    /// The configuration file.
    pub(super) path: PathBuf,
    /// When the first of the agents that handed the gateway on was started.
    pub(super) started: Instant,
    pub(super) started_since_epoch: Duration,
    /// Where it is commanded and where it is taken over, for the agent that does.
    pub(super) sockets: [SharedSocket; 2],
    pub(super) upgrade: Upgrade,
    /// What it says.
    pub(super) log: Log,
    /// Another agent has the gateway.
    pub(super) handed_over: bool,
}

impl Process {
    pub(super) fn new(path: PathBuf, sockets: [SharedSocket; 2], now: Instant) -> Self {
        Self {
            path,
            started: now,
            started_since_epoch: clock::since_epoch(),
            sockets,
            upgrade: Upgrade::default(),
            log: Log::default(),
            handed_over: false,
        }
    }

    /// Counts its time from where an agent before it was started.
    pub(super) fn continue_from(&mut self, uptime: Duration, since_epoch: Duration, now: Instant) {
        if let Some(started) = now.checked_sub(uptime)
            && !since_epoch.is_zero()
        {
            self.started = started;
            self.started_since_epoch = since_epoch;
        }
    }
}
