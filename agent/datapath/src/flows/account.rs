//! How many flows the table gave up by itself: all that came, less what we removed, less what is there.

use datapath_abi::outcome::Tally;
use serde::{Deserialize, Serialize};

/// The count since the agent's start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    present_at_start: u64,
    inserted_at_start: u64,
    removed: u64,
    /// Flows entered by the agent, because a replica told of them.
    #[serde(default)]
    entered: u64,
    /// What flows have counted by a replica's word: packets, and bytes.
    #[serde(default)]
    told: (u64, u64),
    /// The most seen so far: a flow that comes while the table is counted may hide an eviction, but
    /// none is ever taken back.
    evicted: u64,
}

impl Account {
    /// Begins with what a take-over finds.
    pub(super) fn new(present: u64, inserted: u64) -> Self {
        Self {
            present_at_start: present,
            inserted_at_start: inserted,
            removed: 0,
            entered: 0,
            told: (0, 0),
            evicted: 0,
        }
    }

    pub(super) fn on_removed(&mut self) {
        self.removed += 1;
    }

    /// A flow was entered, or its counters were raised.
    pub(super) fn on_told(&mut self, entered: bool, by: Tally) {
        self.entered += u64::from(entered);
        let (packets, bytes) = &mut self.told;
        *packets = packets.wrapping_add(by.packets);
        *bytes = bytes.wrapping_add(by.bytes);
    }

    pub(super) fn told(&self) -> Tally {
        let (packets, bytes) = self.told;
        Tally { packets, bytes }
    }

    pub(super) fn removed(&self) -> u64 {
        self.removed
    }

    /// Flows inserted since the start, of all that were ever `inserted`.
    pub(super) fn inserted(&self, inserted: u64) -> u64 {
        inserted.saturating_sub(self.inserted_at_start)
    }

    /// Flows evicted since the start. `inserted` must have been read before `present` was counted.
    pub(super) fn evicted(&mut self, inserted: u64, present: u64) -> u64 {
        let came = self.present_at_start + self.inserted(inserted) + self.entered;
        let evicted = came.saturating_sub(self.removed).saturating_sub(present);
        self.evicted = self.evicted.max(evicted);
        self.evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_is_there_was_removed_or_was_evicted() {
        let mut account = Account::new(10, 500);
        assert_eq!(account.evicted(500, 10), 0);
        account.on_removed();
        account.on_removed();
        // 10 found, 20 came, 2 removed: 28 unless some were evicted.
        assert_eq!(account.evicted(520, 28), 0);
        assert_eq!(account.evicted(520, 25), 3);
        assert_eq!(account.inserted(520), 20);
        assert_eq!(account.removed(), 2);
    }

    #[test]
    fn a_flow_that_a_replica_told_of_came_too() {
        let mut account = Account::new(0, 0);
        let by = Tally {
            packets: 3,
            bytes: 300,
        };
        account.on_told(true, by);
        account.on_told(false, by);
        assert_eq!(account.evicted(0, 1), 0);
        assert_eq!(account.evicted(0, 0), 1);
        assert_eq!(account.told().packets, 6);
    }

    #[test]
    fn evictions_are_never_taken_back() {
        let mut account = Account::new(0, 0);
        assert_eq!(account.evicted(10, 6), 4);
        assert_eq!(account.evicted(10, 8), 4);
        assert_eq!(account.evicted(10, 20), 4);
    }
}
