//! What the table gave up by itself: all that came, less what we removed, less what is there.
//!
//! Of flows, and of what they counted. The table is read while the programs count, so what came is read before a walk
//! through it, and what we removed after: what is found missing is never more than what is missing, and all of it once
//! a walk meets no traffic.

use datapath_abi::flow::FlowCounters;
use datapath_abi::outcome::Tally;
use serde::{Deserialize, Serialize};

/// The count since the agent's start, or that of the agent whose maps it took over with its account.
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
    /// What the flows that we removed had counted.
    #[serde(default)]
    finished: (u64, u64),
    /// What was counted for sites whose counters were wiped since.
    #[serde(default)]
    retired: (u64, u64),
    /// What was missing at the start.
    #[serde(default)]
    missing_at_start: (u64, u64),
    /// What evicted flows had counted, as far as it was seen.
    #[serde(default)]
    lost: (u64, u64),
    /// How much of `evicted` and `lost` was reported.
    #[serde(default)]
    reported: (u64, u64, u64),
}

/// What had come before a walk through the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    inserted: u64,
    entered: u64,
    counted: Tally,
}

impl Account {
    /// Begins with what a take-over finds.
    pub(super) fn new(present: u64, inserted: u64) -> Self {
        Self {
            present_at_start: present,
            inserted_at_start: inserted,
            ..Self::default()
        }
    }

    pub(super) fn on_removed(&mut self, counters: &FlowCounters) {
        self.removed += 1;
        add(&mut self.finished, counted(counters));
    }

    /// A flow was entered, or its counters were raised.
    pub(super) fn on_told(&mut self, entered: bool, by: Tally) {
        self.entered += u64::from(entered);
        add(&mut self.told, by);
    }

    pub(super) fn on_retired(&mut self, counted: Tally) {
        add(&mut self.retired, counted);
    }

    /// Flows that the agent removed.
    pub fn removed(&self) -> u64 {
        self.removed
    }

    /// Flows inserted since the start, of all that were ever `inserted`.
    pub(super) fn inserted(&self, inserted: u64) -> u64 {
        inserted.saturating_sub(self.inserted_at_start)
    }

    /// Flows that are there, if no more were evicted than was seen.
    pub(super) fn present(&self, inserted: u64) -> u64 {
        let came = self.present_at_start + self.inserted(inserted) + self.entered;
        came.saturating_sub(self.removed)
            .saturating_sub(self.evicted)
    }

    /// Flows evicted since the start. `inserted` must have been read before `present` was counted.
    pub(super) fn evicted_of(&mut self, inserted: u64, present: u64) -> u64 {
        self.evicted_of_all(inserted, self.entered, present)
    }

    fn evicted_of_all(&mut self, inserted: u64, entered: u64, present: u64) -> u64 {
        let came = self.present_at_start + self.inserted(inserted) + entered;
        let evicted = came.saturating_sub(self.removed).saturating_sub(present);
        self.evicted = self.evicted.max(evicted);
        self.evicted
    }

    pub(super) fn open(&self, inserted: u64, carried: Tally) -> Opening {
        Opening {
            inserted,
            entered: self.entered,
            counted: carried + tally(self.told) + tally(self.retired),
        }
    }

    pub(super) fn settle(&mut self, opening: &Opening, present: u64, living: Tally) {
        self.evicted_of_all(opening.inserted, opening.entered, present);
        let missing = self.missing(opening, living);
        self.lost.0 = self.lost.0.max(missing.packets);
        self.lost.1 = self.lost.1.max(missing.bytes);
    }

    fn missing(&self, opening: &Opening, living: Tally) -> Tally {
        let accounted = living + tally(self.finished) + tally(self.missing_at_start);
        Tally {
            packets: opening.counted.packets.saturating_sub(accounted.packets),
            bytes: opening.counted.bytes.saturating_sub(accounted.bytes),
        }
    }

    /// What is missing already was lost to agents before, and nobody knows their account.
    pub(super) fn begin_without_history(&mut self, opening: &Opening, living: Tally) {
        let missing = self.missing(opening, living);
        self.missing_at_start = (missing.packets, missing.bytes);
    }

    /// Flows evicted so far, and what they had counted.
    pub fn evicted(&self) -> (u64, Tally) {
        (self.evicted, tally(self.lost))
    }

    /// What was evicted since the last report, if anything; it counts as reported.
    pub fn report(&mut self) -> Option<(u64, Tally)> {
        let (flows, packets, bytes) = self.reported;
        let more = Tally {
            packets: self.lost.0.saturating_sub(packets),
            bytes: self.lost.1.saturating_sub(bytes),
        };
        let more_flows = self.evicted.saturating_sub(flows);
        self.reported = (self.evicted, self.lost.0, self.lost.1);
        (more_flows > 0 || more.packets > 0).then_some((more_flows, more))
    }
}

/// What a flow has counted, both ways.
pub fn counted(counters: &FlowCounters) -> Tally {
    Tally {
        packets: counters
            .to_site_packets
            .wrapping_add(counters.from_site_packets),
        bytes: counters
            .to_site_bytes
            .wrapping_add(counters.from_site_bytes),
    }
}

fn tally((packets, bytes): (u64, u64)) -> Tally {
    Tally { packets, bytes }
}

fn add((packets, bytes): &mut (u64, u64), more: Tally) {
    *packets = packets.wrapping_add(more.packets);
    *bytes = bytes.wrapping_add(more.bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(packets: u64) -> FlowCounters {
        FlowCounters {
            to_site_packets: packets,
            from_site_bytes: 100 * packets,
            ..FlowCounters::default()
        }
    }

    fn packets(packets: u64) -> Tally {
        Tally {
            packets,
            bytes: 100 * packets,
        }
    }

    #[test]
    fn a_flow_that_a_replica_tells_of_during_a_walk_is_not_missed() {
        let mut account = Account::new(10, 500);
        let opening = account.open(500, packets(0));
        // It came behind the walk, which met the ten alone.
        account.on_told(true, packets(3));
        account.settle(&opening, 10, packets(0));
        assert_eq!(account.evicted(), (0, packets(0)));
        let opening = account.open(500, packets(0));
        account.settle(&opening, 11, packets(3));
        assert_eq!(account.evicted(), (0, packets(0)));
    }

    #[test]
    fn what_came_is_there_was_removed_or_was_evicted() {
        let mut account = Account::new(10, 500);
        assert_eq!(account.evicted_of(500, 10), 0);
        account.on_removed(&flow(1));
        account.on_removed(&flow(1));
        // 10 found, 20 came, 2 removed: 28 unless some were evicted.
        assert_eq!(account.evicted_of(520, 28), 0);
        assert_eq!(account.present(520), 28);
        assert_eq!(account.evicted_of(520, 25), 3);
        assert_eq!(account.present(520), 25);
        assert_eq!(account.inserted(520), 20);
        assert_eq!(account.removed(), 2);
    }

    #[test]
    fn a_flow_that_a_replica_told_of_came_too() {
        let mut account = Account::new(0, 0);
        account.on_told(true, packets(3));
        account.on_told(false, packets(3));
        assert_eq!(account.evicted_of(0, 1), 0);
        assert_eq!(account.evicted_of(0, 0), 1);
        let opening = account.open(0, Tally::default());
        account.settle(&opening, 0, Tally::default());
        assert_eq!(account.evicted(), (1, packets(6)));
    }

    #[test]
    fn evictions_are_never_taken_back() {
        let mut account = Account::new(0, 0);
        assert_eq!(account.evicted_of(10, 6), 4);
        assert_eq!(account.evicted_of(10, 8), 4);
        assert_eq!(account.evicted_of(10, 20), 4);
    }

    #[test]
    fn what_sites_counted_is_in_living_finished_or_evicted_flows() {
        let mut account = Account::new(0, 0);
        let opening = account.open(3, packets(60));
        // While the table is walked through, more is counted and a flow is removed.
        account.on_removed(&flow(20));
        account.settle(&opening, 2, packets(45));
        assert_eq!(account.evicted(), (0, Tally::default()));
        let opening = account.open(3, packets(70));
        account.settle(&opening, 1, packets(40));
        assert_eq!(account.evicted(), (1, packets(10)));
        assert_eq!(account.report(), Some((1, packets(10))));
        assert_eq!(account.report(), None);
        // A site goes, and takes what was counted for it along.
        account.on_retired(packets(50));
        let opening = account.open(3, packets(25));
        account.settle(&opening, 1, packets(40));
        assert_eq!(account.report(), Some((0, packets(5))));
    }

    #[test]
    fn what_was_missing_before_is_nobodys_to_report() {
        let mut account = Account::new(1, 7);
        let opening = account.open(7, packets(30));
        account.begin_without_history(&opening, packets(10));
        account.settle(&opening, 1, packets(10));
        assert_eq!(account.evicted(), (0, Tally::default()));
        let opening = account.open(7, packets(33));
        account.settle(&opening, 1, packets(10));
        assert_eq!(account.evicted(), (0, packets(3)));
    }

    #[test]
    fn the_account_of_an_older_agent_is_read() {
        let old = r#"{"present_at_start":1,"inserted_at_start":2,"removed":3,"evicted":4}"#;
        let account: Account = serde_json::from_str(old).unwrap();
        assert_eq!((account.removed, account.evicted), (3, 4));
    }
}
