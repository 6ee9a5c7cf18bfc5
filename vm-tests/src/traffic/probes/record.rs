//! What was sent and what came, and what that says.

use std::time::Duration;

use super::INTERVAL;

/// The probes of one way. All times are microseconds since the start.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// When each probe was sent; its number is its index.
    sent: Vec<u64>,
    /// When each probe came first; `None` so far.
    came: Vec<Option<u64>>,
    /// How much longer than [`INTERVAL`] the sender paused before each probe, summed up.
    paused: Vec<u64>,
    /// Every arrival, in its order.
    arrivals: Vec<(u32, u64)>,
}

/// One way in a span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WayReport {
    /// Probes sent.
    pub sent: u32,
    /// Those that never came.
    pub lost: u32,
    /// The longest time between two arrivals, less what the sender paused meanwhile. Without loss this is
    /// about the interval of the probes, or how long they were held up.
    pub gap: Duration,
}

impl Record {
    /// Notes a probe and gives its number.
    pub(super) fn sent(&mut self, at: u64) -> u32 {
        let number = self.sent.len() as u32;
        let pause = self.sent.last().map_or(0, |last| {
            (at - last).saturating_sub(INTERVAL.as_micros() as u64)
        });
        let before = self.paused.last().copied().unwrap_or(0);
        self.sent.push(at);
        self.came.push(None);
        self.paused.push(before + pause);
        number
    }

    pub(super) fn arrived(&mut self, number: u32, at: u64) {
        // A number that was never sent is somebody else's datagram.
        let Some(came) = self.came.get_mut(number as usize) else {
            return;
        };
        if came.is_none() {
            *came = Some(at);
            self.arrivals.push((number, at));
        }
    }

    /// What became of the probes that were sent from `from` on, before `to`.
    pub(super) fn between(&self, from: u64, to: u64) -> WayReport {
        let first = self.sent.partition_point(|at| *at < from);
        let end = self.sent.partition_point(|at| *at < to);
        let lost = self.came[first..end].iter().filter(|came| came.is_none());
        WayReport {
            sent: (end - first) as u32,
            lost: lost.count() as u32,
            gap: Duration::from_micros(self.gap(first, end)),
        }
    }

    /// The longest time without an arrival, from the sending of the first probe of a range on. What came later than
    /// the sending of the last ends it.
    fn gap(&self, first: usize, end: usize) -> u64 {
        if first >= end {
            return 0;
        }
        let (start, stop) = (self.sent[first], self.sent[end - 1]);
        let begin = self.arrivals.partition_point(|(_, at)| *at < start);
        let mut last = (first, start);
        let mut longest = 0;
        for &(number, at) in &self.arrivals[begin..] {
            let number = number as usize;
            longest = longest.max(self.silence(last, (number, at)));
            if at > stop {
                return longest;
            }
            last = (number, at);
        }
        longest.max(self.silence(last, (end - 1, stop.max(last.1))))
    }

    /// Between two arrivals, each a probe's number and when it came.
    fn silence(&self, before: (usize, u64), after: (usize, u64)) -> u64 {
        let paused = self.paused[after.0].saturating_sub(self.paused[before.0]);
        (after.1 - before.1).saturating_sub(paused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `probes` probes a millisecond apart that take 300 µs, but for those that `fate` changes: how much later one
    /// comes, or `None` if it is lost.
    fn record(probes: u32, fate: impl Fn(u32) -> Option<u64>) -> Record {
        let mut record = Record::default();
        let mut arrivals = Vec::new();
        for number in 0..probes {
            let at = u64::from(number) * 1000;
            record.sent(at);
            arrivals.extend(fate(number).map(|late| (at + 300 + late, number)));
        }
        arrivals.sort_unstable();
        for (at, number) in arrivals {
            record.arrived(number, at);
        }
        record
    }

    fn milliseconds(report: WayReport) -> f64 {
        report.gap.as_secs_f64() * 1e3
    }

    #[test]
    fn a_stream_without_loss_has_gaps_of_one_interval() {
        let report = record(1000, |_| Some(0)).between(0, 1_000_000);
        assert_eq!((report.sent, report.lost), (1000, 0));
        assert!((milliseconds(report) - 1.0).abs() < 0.01, "{report:?}");
    }

    #[test]
    fn what_was_lost_in_a_row_is_one_gap() {
        let lost = |number| (!(400..700).contains(&number)).then_some(0);
        let report = record(1000, lost).between(100_000, 900_000);
        assert_eq!((report.sent, report.lost), (800, 300));
        assert!((milliseconds(report) - 301.0).abs() < 0.01, "{report:?}");
    }

    #[test]
    fn only_the_probes_of_the_span_count() {
        let lost = |number| (!(400..700).contains(&number)).then_some(0);
        let record = record(1000, lost);
        assert_eq!(record.between(0, 300_000).lost, 0);
        assert_eq!(record.between(650_000, 900_000).lost, 50);
        assert_eq!(record.between(2_000_000, 3_000_000), WayReport::default());
    }

    #[test]
    fn a_stream_that_never_comes_back_is_a_gap_to_its_end() {
        let report = record(1000, |number| (number < 400).then_some(0)).between(0, 1_000_000);
        assert_eq!(report.lost, 600);
        assert!((milliseconds(report) - 599.7).abs() < 1.0, "{report:?}");
        let silent = record(1000, |_| None).between(0, 1_000_000);
        assert!(milliseconds(silent) > 998.0, "{silent:?}");
    }

    #[test]
    fn what_is_held_up_and_comes_at_once_is_a_gap_without_loss() {
        let held = |number: u32| {
            let until = 500 * 1000;
            let at = u64::from(number) * 1000;
            Some(if (400..500).contains(&number) {
                until - at
            } else {
                0
            })
        };
        let report = record(1000, held).between(0, 1_000_000);
        assert_eq!(report.lost, 0);
        assert!((milliseconds(report) - 101.0).abs() < 0.01, "{report:?}");
    }

    #[test]
    fn a_pause_of_the_sender_is_not_the_paths_gap() {
        let mut record = Record::default();
        for at in [0, 1000, 2000, 52_000, 53_000] {
            let number = record.sent(at);
            record.arrived(number, at + 300);
        }
        let report = record.between(0, 60_000);
        assert_eq!(report.lost, 0);
        assert!((milliseconds(report) - 1.0).abs() < 0.01, "{report:?}");
    }

    #[test]
    fn a_probe_that_comes_twice_or_was_never_sent_counts_once_or_not() {
        let mut record = record(10, |number| (number != 5).then_some(0));
        record.arrived(3, 20_000);
        record.arrived(4_000_000, 20_000);
        assert_eq!(record.between(0, 10_000).lost, 1);
    }
}
