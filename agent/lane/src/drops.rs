//! Drops of a lane, by reason.

use datapath_abi::outcome::{DropReason, Tally};

use crate::io::udp::Unsent;

/// Counters of one lane; only its thread writes them.
#[derive(Clone, Copy, Debug)]
pub struct Drops([Tally; DropReason::COUNT]);

impl Default for Drops {
    fn default() -> Self {
        Self([Tally::default(); DropReason::COUNT])
    }
}

impl Drops {
    /// Counts one packet of `bytes`.
    pub(super) fn count(&mut self, reason: DropReason, bytes: usize) {
        let tally = &mut self.0[reason.index() as usize];
        tally.packets += 1;
        tally.bytes += bytes as u64;
    }

    /// Counts several packets.
    pub(super) fn add(&mut self, reason: DropReason, more: Tally) {
        self.0[reason.index() as usize] += more;
    }

    /// Counts what could not be sent.
    pub(super) fn add_send(&mut self, unsent: Unsent) {
        self.add(DropReason::SendFailed, unsent.failed);
        self.add(DropReason::SendBufferFull, unsent.no_room);
    }

    /// All of them, by index.
    pub fn tallies(&self) -> [Tally; DropReason::COUNT] {
        self.0
    }
}
