//! What is kept of one site or link for one interval, and how two intervals become one.

use crate::control::message::{LinkState, SiteState};
use crate::liveness::round_trip::RoundTrip;

/// Fewer messages say nothing of how many of a hundred are lost.
const LEAST_MESSAGES: u64 = 20;
/// The parts of a loss.
const WHOLE: u64 = 10_000;

/// How a site or a link is, better states first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum State {
    /// Nobody looked.
    #[default]
    Unwatched,
    Up,
    /// Of a site: some link is down.
    Degraded,
    Drained,
    Connecting,
    Down,
}

impl State {
    const ALL: [Self; 6] = [
        Self::Unwatched,
        Self::Up,
        Self::Degraded,
        Self::Drained,
        Self::Connecting,
        Self::Down,
    ];

    /// Its letter in the answer.
    pub(super) fn letter(self) -> char {
        match self {
            Self::Unwatched => '-',
            Self::Up => 'U',
            Self::Degraded => 'G',
            Self::Drained => 'R',
            Self::Connecting => 'C',
            Self::Down => 'D',
        }
    }

    /// By its number, as it is written down.
    pub(super) fn of_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Whether traffic passes.
    pub(super) fn carries(self) -> bool {
        matches!(self, Self::Up | Self::Degraded)
    }
}

impl From<SiteState> for State {
    fn from(state: SiteState) -> Self {
        match state {
            SiteState::Active => Self::Up,
            SiteState::Degraded => Self::Degraded,
            SiteState::Down => Self::Down,
        }
    }
}

impl From<LinkState> for State {
    fn from(state: LinkState) -> Self {
        match state {
            LinkState::Up => Self::Up,
            LinkState::Connecting => Self::Connecting,
            LinkState::Down => Self::Down,
            LinkState::Drained => Self::Drained,
        }
    }
}

/// Counters of a site or link as they are now. They only grow; one that shrinks was begun anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub to_site_bytes: u64,
    pub from_site_bytes: u64,
    pub received: u64,
    pub missing: u64,
    pub round_trip: RoundTrip,
}

/// One interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) to_site_bytes: u64,
    pub(super) from_site_bytes: u64,
    /// Bytes of the fastest second.
    pub(super) to_site_peak: u64,
    pub(super) from_site_peak: u64,
    pub(super) round_trip_sum_us: u64,
    pub(super) round_trips: u32,
    pub(super) round_trip_min_us: u32,
    pub(super) round_trip_max_us: u32,
    pub(super) watched_ms: u32,
    pub(super) out_ms: u32,
    pub(super) received: u32,
    /// Fewer than none where messages of the interval before came after all.
    pub(super) missing: i32,
    /// The loss of the worst short interval, in parts of [`WHOLE`].
    pub(super) worst_loss: u16,
    pub(super) worst: State,
}

impl Cell {
    /// Adds what comes behind it.
    pub(super) fn absorb(&mut self, later: &Self) {
        self.to_site_bytes += later.to_site_bytes;
        self.from_site_bytes += later.from_site_bytes;
        self.to_site_peak = self.to_site_peak.max(later.to_site_peak);
        self.from_site_peak = self.from_site_peak.max(later.from_site_peak);
        if later.round_trips > 0 {
            let least = [self.round_trip_min_us, later.round_trip_min_us];
            self.round_trip_min_us = match self.round_trips {
                0 => later.round_trip_min_us,
                _ => least[0].min(least[1]),
            };
            self.round_trip_max_us = self.round_trip_max_us.max(later.round_trip_max_us);
            self.round_trip_sum_us += later.round_trip_sum_us;
            self.round_trips += later.round_trips;
        }
        self.watched_ms = self.watched_ms.saturating_add(later.watched_ms);
        self.out_ms = self.out_ms.saturating_add(later.out_ms);
        self.received = self.received.saturating_add(later.received);
        self.missing = self.missing.saturating_add(later.missing);
        self.worst_loss = self.worst_loss.max(later.worst_loss);
        self.worst = self.worst.max(later.worst);
    }

    /// Adds time in a state.
    pub(super) fn add_time(&mut self, state: State, out: bool, elapsed_ms: u64) {
        let elapsed = u32::try_from(elapsed_ms).unwrap_or(u32::MAX);
        if state != State::Unwatched {
            self.watched_ms = self.watched_ms.saturating_add(elapsed);
        }
        if out {
            self.out_ms = self.out_ms.saturating_add(elapsed);
        }
        self.worst = self.worst.max(state);
    }

    /// Adds what was counted within `elapsed_ms`.
    pub(super) fn count(&mut self, before: &Counters, now: &Counters, elapsed_ms: u64) {
        let grown = |before: u64, now: u64| now.saturating_sub(before);
        let (to, from) = (
            grown(before.to_site_bytes, now.to_site_bytes),
            grown(before.from_site_bytes, now.from_site_bytes),
        );
        self.to_site_bytes += to;
        self.from_site_bytes += from;
        let rate = |bytes: u64| bytes.saturating_mul(1000) / elapsed_ms.max(1);
        self.to_site_peak = self.to_site_peak.max(rate(to));
        self.from_site_peak = self.from_site_peak.max(rate(from));
        if now.received >= before.received {
            let received = grown(before.received, now.received);
            let missing = now.missing as i64 - before.missing as i64;
            self.received = self.received.saturating_add(received as u32);
            let limits = (i64::from(i32::MIN), i64::from(i32::MAX));
            let missing = missing.clamp(limits.0, limits.1) as i32;
            self.missing = self.missing.saturating_add(missing);
        }
        if now.round_trip.count > 0 && now.round_trip.count != before.round_trip.count {
            let took = now.round_trip.last.as_micros().clamp(1, u32::MAX.into()) as u32;
            self.absorb(&Self {
                round_trip_sum_us: took.into(),
                round_trips: 1,
                round_trip_min_us: took,
                round_trip_max_us: took,
                ..Self::default()
            });
        }
    }

    /// Messages that did not come, as far as is known.
    pub(super) fn lost(&self) -> u32 {
        self.missing.max(0) as u32
    }

    /// The loss of this interval by itself, in parts of [`WHOLE`]; `None` where too few messages came.
    pub(super) fn loss(&self) -> Option<u16> {
        let lost = u64::from(self.lost());
        let expected = u64::from(self.received) + lost;
        (expected >= LEAST_MESSAGES).then(|| (lost * WHOLE / expected) as u16)
    }

    /// The mean of the round trips; 0 where none was measured.
    pub(super) fn round_trip_mean_us(&self) -> u32 {
        let mean = self.round_trip_sum_us.checked_div(self.round_trips.into());
        mean.unwrap_or_default() as u32
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn of_two_intervals_the_extremes_stay() {
        let fast = Cell {
            to_site_bytes: 1000,
            to_site_peak: 900,
            round_trip_sum_us: 50,
            round_trips: 1,
            round_trip_min_us: 50,
            round_trip_max_us: 50,
            watched_ms: 10,
            worst: State::Up,
            ..Cell::default()
        };
        let broken = Cell {
            to_site_bytes: 10,
            to_site_peak: 5,
            watched_ms: 10,
            out_ms: 1,
            worst_loss: 300,
            worst: State::Down,
            ..Cell::default()
        };
        for [mut first, second] in [[fast, broken], [broken, fast]] {
            first.absorb(&second);
            assert_eq!((first.to_site_bytes, first.to_site_peak), (1010, 900));
            assert_eq!((first.out_ms, first.worst), (1, State::Down));
            assert_eq!((first.worst_loss, first.round_trip_min_us), (300, 50));
            assert_eq!(first.round_trip_mean_us(), 50);
        }
    }

    #[test]
    fn counters_are_compared_and_those_that_begin_anew_count_nothing() {
        let before = Counters {
            to_site_bytes: 100,
            received: 100,
            missing: 7,
            ..Counters::default()
        };
        let now = Counters {
            to_site_bytes: 600,
            received: 195,
            missing: 12,
            round_trip: RoundTrip {
                last: Duration::from_micros(900),
                count: 1,
            },
            ..Counters::default()
        };
        let mut cell = Cell::default();
        cell.count(&before, &now, 500);
        assert_eq!((cell.to_site_bytes, cell.to_site_peak), (500, 1000));
        assert_eq!(
            (cell.received, cell.lost(), cell.loss()),
            (95, 5, Some(500))
        );
        assert_eq!((cell.round_trips, cell.round_trip_max_us), (1, 900));
        // The late ones came after all.
        let late = Counters {
            missing: 7,
            received: 200,
            ..now
        };
        cell.count(&now, &late, 500);
        assert_eq!((cell.lost(), cell.round_trips), (0, 1));
        let mut anew = Cell::default();
        anew.count(&now, &Counters::default(), 1000);
        assert_eq!(anew, Cell::default());
    }

    #[test]
    fn every_state_has_its_number_and_its_letter() {
        let letters: String = State::ALL.iter().map(|state| state.letter()).collect();
        assert_eq!(letters, "-UGRCD");
        for state in State::ALL {
            assert_eq!(State::of_number(state as u8), Some(state));
        }
        assert_eq!(State::of_number(6), None);
    }
}
