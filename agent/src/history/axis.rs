//! The intervals of one resolution: when each began. Every site and link has a cell for each of them.

use std::collections::VecDeque;

/// Times are milliseconds of the clock that counts since boot, whoever sets the wall clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Axis {
    /// Length of an interval.
    pub(super) step_ms: u64,
    /// How far back intervals are kept.
    pub(super) span_ms: u64,
    /// When each closed interval began.
    pub(super) begins: VecDeque<u64>,
    /// When the open one began, once it has.
    pub(super) open: Option<u64>,
    /// Packets that were dropped in each closed interval, by the number of the reason.
    pub(super) drops: VecDeque<Vec<(u16, u64)>>,
    /// And in the open one.
    pub(super) open_drops: Vec<(u16, u64)>,
}

impl Axis {
    pub(super) fn new(step_ms: u64, span_ms: u64) -> Self {
        Self {
            step_ms,
            span_ms,
            begins: VecDeque::new(),
            open: None,
            drops: VecDeque::new(),
            open_drops: Vec::new(),
        }
    }

    /// Intervals that are kept beside the open one.
    pub(super) fn capacity(&self) -> usize {
        (self.span_ms / self.step_ms) as usize
    }

    /// Whether the open interval is over.
    pub(super) fn is_due(&self, now: u64) -> bool {
        self.open
            .is_some_and(|open| now >= open.saturating_add(self.step_ms))
    }

    /// Closes the open interval at `now`, where the next one begins. How many of the oldest ones go, of each site and
    /// link as well.
    pub(super) fn close(&mut self, now: u64) -> usize {
        let Some(open) = self.open.replace(now) else {
            return 0;
        };
        self.begins.push_back(open);
        self.drops.push_back(std::mem::take(&mut self.open_drops));
        let mut gone = 0;
        while self.is_oldest_gone(now) {
            self.begins.pop_front();
            self.drops.pop_front();
            gone += 1;
        }
        gone
    }

    fn is_oldest_gone(&self, now: u64) -> bool {
        let second = self.begins.get(1).copied().or(self.open);
        self.begins.len() > self.capacity()
            || second.is_some_and(|end| {
                end.saturating_add(self.span_ms) < now && !self.begins.is_empty()
            })
    }

    /// Adds drops to the open interval.
    pub(super) fn count(&mut self, drops: &[(u16, u64)]) {
        add_drops(&mut self.open_drops, drops);
    }

    /// Makes one interval of two.
    pub(super) fn halve(&mut self) {
        self.step_ms *= 2;
        let begins: VecDeque<u64> = self.begins.iter().copied().step_by(2).collect();
        self.begins = begins;
        let mut merged: VecDeque<Vec<(u16, u64)>> = VecDeque::new();
        for (at, drops) in std::mem::take(&mut self.drops).into_iter().enumerate() {
            match merged.back_mut() {
                Some(last) if at % 2 == 1 => add_drops(last, &drops),
                _ => merged.push_back(drops),
            }
        }
        self.drops = merged;
    }
}

fn add_drops(to: &mut Vec<(u16, u64)>, more: &[(u16, u64)]) {
    for (reason, packets) in more.iter().filter(|(_, packets)| *packets > 0) {
        match to.iter_mut().find(|(known, _)| known == reason) {
            Some((_, sum)) => *sum += packets,
            None => to.push((*reason, *packets)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_go_by_number_and_by_age() {
        let mut axis = Axis::new(10, 50);
        assert_eq!((axis.close(0), axis.is_due(5)), (0, false));
        for number in 1..=7 {
            assert!(axis.is_due(number * 10));
            axis.count(&[(1, 2), (1, 1), (2, 0)]);
            axis.close(number * 10);
        }
        assert_eq!(axis.begins, [20, 30, 40, 50, 60]);
        assert_eq!(axis.drops[0], [(1, 3)]);
        // The host slept.
        assert_eq!(axis.close(1000), 5);
        assert_eq!(axis.begins, [70]);
        assert_eq!(axis.close(2000), 1, "an interval may end beyond the span");
    }

    #[test]
    fn two_intervals_become_one_and_no_drop_is_lost() {
        let mut axis = Axis::new(10, 100);
        for number in 0..6 {
            axis.count(&[(number as u16 % 2, 1)]);
            axis.close(number * 10);
        }
        axis.halve();
        assert_eq!((axis.step_ms, axis.capacity()), (20, 5));
        assert_eq!(axis.begins, [0, 20, 40]);
        let sum: u64 = axis
            .drops
            .iter()
            .flatten()
            .map(|(_, packets)| packets)
            .sum();
        assert_eq!((axis.drops.len(), sum), (3, 6));
    }
}
