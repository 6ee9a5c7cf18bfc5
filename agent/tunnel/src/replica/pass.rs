//! Which flows of the table are told: a pass goes through the whole table in the steps of its idle sweep.

use datapath_abi::flow::{FlowCounters, NOT_SEEN_HERE};

/// The programs' clock may be so old: two ticks of a kernel with the fewest.
const GRAIN_NS: u64 = 20_000_000;
/// Passes in which a gateway that is the standby now tells what it forwarded before.
const LAST_WORDS: u32 = 2;

/// One pass after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pass {
    /// When the present pass began; `None` between two.
    began: Option<u64>,
    /// When the two before began, the last one first.
    before: [u64; 2],
    /// The present pass tells of all flows, not only of those forwarded here.
    everything: bool,
    /// The next pass will.
    everything_next: bool,
    /// Passes until it falls silent.
    words: u32,
    /// Another gateway carries the flows now.
    standby: bool,
}

impl Pass {
    /// A replica is there that knows nothing yet.
    pub fn tell_everything(&mut self) {
        self.everything_next = true;
    }

    /// Begins a step; whether anything is to be told at all.
    pub fn begin_step(&mut self, standby: bool, now_ns: u64) -> bool {
        let anew = self.began.is_none();
        if anew {
            self.began = Some(now_ns);
            self.everything = std::mem::take(&mut self.everything_next);
        }
        self.standby = standby;
        if !standby {
            self.words = LAST_WORDS;
        } else if anew {
            self.words = self.words.saturating_sub(1);
        }
        self.words > 0
    }

    /// Whether a flow is to be told: it was forwarded here since the pass before the last began. So the last
    /// packets of a flow are told twice at least, for a datagram may be lost.
    pub fn wants(&self, counters: &FlowCounters) -> bool {
        let here = counters.route_generation != NOT_SEEN_HERE;
        let since = self.before[1].saturating_sub(GRAIN_NS);
        self.everything || (here && counters.last_seen_ns >= since)
    }

    /// Whether it tells of what another has missed, which may carry the flows now.
    pub fn raises(&self) -> bool {
        self.everything || self.standby
    }

    /// Ends a step; `finished` if the table is through.
    pub fn end_step(&mut self, finished: bool) {
        if finished && let Some(began) = self.began.take() {
            self.before = [began, self.before[0]];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn seen(at: u64, route_generation: u32) -> FlowCounters {
        FlowCounters {
            last_seen_ns: at,
            route_generation,
            ..FlowCounters::default()
        }
    }

    #[test]
    fn a_flow_is_told_while_it_moves_and_not_when_it_rests() {
        let mut pass = Pass::default();
        let mut told = Vec::new();
        // Two steps a pass; the flow is met in the second, and moves until second 5.
        for step in 0..12 {
            let now = (100 + step) * SECOND;
            assert!(pass.begin_step(false, now));
            if step % 2 == 1 && pass.wants(&seen(now.min(105 * SECOND), 3)) {
                told.push(step);
            }
            pass.end_step(step % 2 == 1);
        }
        assert_eq!(
            told,
            [1, 3, 5, 7, 9],
            "its last packet was told three times"
        );
    }

    #[test]
    fn a_flow_known_from_the_replica_alone_is_not_told_back() {
        let mut pass = Pass::default();
        assert!(pass.begin_step(false, SECOND));
        assert!(!pass.wants(&seen(SECOND, NOT_SEEN_HERE)));
        assert!(pass.wants(&seen(SECOND, 0)));
    }

    #[test]
    fn a_replica_that_comes_is_told_everything_in_one_whole_pass() {
        let mut pass = Pass::default();
        pass.begin_step(false, 10 * SECOND);
        pass.tell_everything();
        let old = seen(0, NOT_SEEN_HERE);
        assert!(!pass.wants(&old), "half a pass is none");
        pass.end_step(true);
        pass.begin_step(false, 11 * SECOND);
        assert!(pass.wants(&old) && pass.raises());
        pass.end_step(false);
        pass.begin_step(false, 12 * SECOND);
        assert!(pass.wants(&old));
        pass.end_step(true);
        pass.begin_step(false, 13 * SECOND);
        assert!(!pass.wants(&old) && !pass.raises());
    }

    #[test]
    fn a_standby_says_its_last_words_and_falls_silent() {
        let mut pass = Pass::default();
        assert!(!pass.begin_step(true, 1), "it was never more");
        pass.end_step(true);
        assert!(pass.begin_step(false, 2));
        pass.end_step(true);
        assert!(pass.begin_step(true, 3) && pass.raises());
        pass.end_step(true);
        assert!(!pass.begin_step(true, 4));
        pass.end_step(true);
        assert!(pass.begin_step(false, 5));
    }
}
