//! Drops of a lane, by reason.

use datapath_abi::outcome::{DropReason, Tally};

use crate::io::udp::SendOutcome;

/// Counters of one lane; only its thread writes them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Drops([Tally; DropReason::COUNT]);

impl Drops {
    /// Counts one packet of `bytes`.
    pub(super) fn count(&mut self, reason: DropReason, bytes: usize) {
        let tally = &mut self.0[reason.index() as usize];
        tally.packets += 1;
        tally.bytes += bytes as u64;
    }

    /// Counts what a send refused.
    pub(super) fn add_send(&mut self, outcome: SendOutcome) {
        let tally = &mut self.0[DropReason::SendFailed.index() as usize];
        tally.packets += outcome.dropped_packets;
        tally.bytes += outcome.dropped_bytes;
    }

    /// All of them, by index.
    pub(super) fn tallies(&self) -> [Tally; DropReason::COUNT] {
        self.0
    }
}
