//! What was counted for a service, of flows that come, go on and end.
//!
//! The flow table counts for each flow from its beginning. A pass through it shows every living flow once; those that are
//! over are shown when they are taken out. So what a service has is what its ended flows had, and what the living ones had
//! when a pass last met them.

use std::ops::AddAssign;

/// What flows have counted together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Flows.
    pub flows: u64,
    /// Bytes to the service.
    pub to_bytes: u64,
    /// Bytes from it.
    pub from_bytes: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        *self = self.each(other, u64::saturating_add);
    }
}

impl Counts {
    fn each(self, other: Self, with: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            flows: with(self.flows, other.flows),
            to_bytes: with(self.to_bytes, other.to_bytes),
            from_bytes: with(self.from_bytes, other.from_bytes),
        }
    }

    fn less(self, other: Self) -> Self {
        self.each(other, u64::saturating_sub)
    }
}

/// A count that goes on from pass to pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Running {
    /// Of flows that are over.
    pub ended: Counts,
    /// Of those that were alive at the end of the last pass, less those that have ended since.
    pub living: Counts,
    /// Of those that the present pass has met.
    met: Counts,
}

impl Running {
    /// What is known so far. It never falls.
    pub fn total(&self) -> Counts {
        let mut total = self.ended;
        total += self.living;
        total
    }

    /// As it was kept. Where the flow table is another one than then, all its flows are over.
    pub fn kept(ended: Counts, living: Counts, same_table: bool) -> Self {
        let mut kept = Self {
            ended,
            living,
            ..Self::default()
        };
        if !same_table {
            kept.ended = kept.total();
            kept.living = Counts::default();
        }
        kept
    }

    /// Takes in what was kept before this began to count.
    pub fn go_on_from(&mut self, kept: Self) {
        // The same flows: some have ended since, and the next pass says more of the others.
        let living = kept.living.less(self.ended);
        self.living = self.living.each(living, u64::max);
        self.ended += kept.ended;
    }

    /// The pass has met a flow.
    pub fn meet(&mut self, flow: Counts) {
        self.met += flow;
    }

    /// A flow is over. What it had when the last pass met it does not count twice.
    pub fn end(&mut self, flow: Counts) {
        self.ended += flow;
        self.living = self.living.less(flow);
    }

    /// The pass is through, and has met every living flow. What is missing now was evicted by the kernel, or taken out
    /// by an agent that was killed: it stays counted as far as it was seen. Says whether anything has changed.
    pub fn settle(&mut self) -> bool {
        let before = *self;
        self.living = std::mem::take(&mut self.met);
        self.ended += before.total().less(self.total());
        self.ended != before.ended || self.living != before.living
    }

    /// As [`Self::settle`], of a count that may fall.
    pub fn settle_lower(&mut self) {
        self.living = std::mem::take(&mut self.met);
    }

    /// The pass was not followed as a whole.
    pub fn pass_over(&mut self) {
        self.met = Counts::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(flows: u64, bytes: u64) -> Counts {
        Counts {
            flows,
            to_bytes: bytes,
            from_bytes: 2 * bytes,
        }
    }

    #[test]
    fn a_flow_counts_once_whether_it_lives_or_has_ended() {
        let mut running = Running::default();
        running.meet(counts(1, 100));
        assert_eq!(running.total(), Counts::default(), "the pass goes on");
        assert!(running.settle());
        assert_eq!(running.total(), counts(1, 100));
        // It grows; another comes and goes between two looks at it.
        running.end(counts(1, 7));
        running.meet(counts(1, 150));
        running.settle();
        assert_eq!(running.total(), counts(2, 157));
        running.end(counts(1, 150));
        assert_eq!(running.total(), counts(2, 157), "it was known");
        running.settle();
        assert_eq!(running.total(), counts(2, 157));
        assert!(!running.settle(), "nothing comes any more");
    }

    #[test]
    fn what_was_evicted_stays_counted_as_far_as_it_was_seen() {
        let mut running = Running::default();
        running.meet(counts(2, 100));
        running.settle();
        running.settle();
        assert_eq!(running.total(), counts(2, 100));
        running.meet(counts(1, 10));
        running.settle();
        assert_eq!(running.total(), counts(3, 110));
    }

    #[test]
    fn a_restart_goes_on_with_the_same_table_and_adds_to_that_of_another() {
        let mut same = Running::kept(counts(5, 500), counts(1, 100), true);
        assert_eq!(same.total(), counts(6, 600));
        same.meet(counts(1, 130));
        same.settle();
        assert_eq!(same.total(), counts(6, 630), "the living flow is the same");
        let mut other = Running::kept(counts(5, 500), counts(1, 100), false);
        other.meet(counts(1, 30));
        other.settle();
        assert_eq!(other.total(), counts(7, 630));
        // The database was opened late: what came meanwhile is not lost.
        let mut late = Running::default();
        late.end(counts(1, 1));
        late.meet(counts(1, 130));
        late.settle();
        late.go_on_from(Running::kept(counts(5, 500), counts(1, 100), true));
        assert_eq!(late.total(), counts(7, 631));
    }
}
