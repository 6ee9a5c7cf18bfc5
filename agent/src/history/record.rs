//! One site or link: its cells, and how it was seen last.

use std::collections::VecDeque;

use super::TIERS;
use super::cell::{Cell, Counters, State};
use crate::control::message::SeriesKind;

/// A site or a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) kind: SeriesKind,
    pub(super) name: String,
    pub(super) site: String,
    pub(super) state: State,
    /// It has been down since it carried last, or since it was given up.
    pub(super) out: bool,
    /// Up to when its time is in its cells.
    pub(super) accounted: u64,
    /// Its counters at the last look; `None` where those of the next are the first.
    pub(super) counters: Option<Counters>,
    pub(super) open: [Cell; TIERS],
    pub(super) closed: [VecDeque<Cell>; TIERS],
    /// Whether the look under way has seen it.
    pub(super) seen: bool,
}

/// What has become of its outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Began,
    Ended,
    Nothing,
}

impl Record {
    /// One that nobody has looked at, with as many closed cells as there are intervals.
    pub(super) fn new(kind: SeriesKind, name: &str, site: &str, lengths: [usize; TIERS]) -> Self {
        Self {
            kind,
            name: name.to_owned(),
            site: site.to_owned(),
            state: State::Unwatched,
            out: false,
            accounted: 0,
            counters: None,
            open: [Cell::default(); TIERS],
            closed: lengths.map(|length| VecDeque::from(vec![Cell::default(); length])),
            seen: false,
        }
    }

    /// Puts the time until now into its cells.
    pub(super) fn account(&mut self, now: u64) {
        let elapsed = now.saturating_sub(self.accounted);
        self.accounted = self.accounted.max(now);
        for cell in &mut self.open {
            cell.add_time(self.state, self.out, elapsed);
        }
    }

    /// It is in this state from now on.
    pub(super) fn turn_to(&mut self, state: State, now: u64) -> Turn {
        self.account(now);
        let before = std::mem::replace(&mut self.state, state);
        // A state that did not last until anybody accounted for it is seen all the same.
        for cell in &mut self.open {
            cell.worst = cell.worst.max(state);
        }
        let begins = state == State::Down || (state == State::Connecting && before.carries());
        // What nobody looks at any more was taken out of the file.
        let ends = state.carries() || matches!(state, State::Drained | State::Unwatched);
        match (self.out, begins, ends) {
            (false, true, _) => {
                self.out = true;
                Turn::Began
            }
            (true, _, true) => {
                self.out = false;
                Turn::Ended
            }
            _ => Turn::Nothing,
        }
    }

    /// Counts what has come since the last look.
    pub(super) fn count(&mut self, now: Counters, elapsed_ms: u64) {
        if let Some(before) = self.counters.replace(now) {
            for cell in &mut self.open {
                cell.count(&before, &now, elapsed_ms);
            }
        }
    }

    /// Closes the cell of a tier, whose `gone` oldest go.
    pub(super) fn close(&mut self, tier: usize, gone: usize) {
        let mut cell = std::mem::take(&mut self.open[tier]);
        cell.worst_loss = cell
            .worst_loss
            .max(cell.loss().filter(|_| tier == 0).unwrap_or(0));
        let coarser = self.open.iter_mut().skip(tier + 1);
        coarser.for_each(|open| open.worst_loss = open.worst_loss.max(cell.worst_loss));
        self.closed[tier].push_back(cell);
        self.closed[tier].drain(..gone.min(self.closed[tier].len()));
    }

    /// Makes one cell of two.
    pub(super) fn halve(&mut self) {
        for cells in &mut self.closed {
            let mut merged = VecDeque::with_capacity(cells.len().div_ceil(2));
            for (at, cell) in cells.iter().enumerate() {
                match merged.back_mut() {
                    Some(last) if at % 2 == 1 => Cell::absorb(last, cell),
                    _ => merged.push_back(*cell),
                }
            }
            *cells = merged;
        }
    }

    /// Whether nothing is known of it any more.
    pub(super) fn is_forgotten(&self) -> bool {
        let watched = |cell: &Cell| cell.watched_ms > 0;
        self.state == State::Unwatched
            && !self.open.iter().any(watched)
            && !self.closed.iter().flatten().any(watched)
    }
}
