//! How fast the sweep must be, and how full the table is.

use super::table::BATCH;

/// Entries that one step of a sweep looks at.
const STEP: u64 = 4 * BATCH as u64;
/// At most, however many flows come: a quarter of a million take some 50 ms.
const LARGEST_STEP: u64 = 64 * BATCH as u64;
/// A pass is through before so many times fewer flows have come than it looks at, once a table is half full.
const FASTER_THAN_NEW: u64 = 16;
const HALF: f64 = 0.5;

/// What the last passes of the sweep have shown.
#[derive(Debug, Default)]
pub(super) struct Pressure {
    /// Flows of IPv4 and of IPv6 that the last whole pass has met.
    last: [u64; 2],
    /// The same of the present one.
    present: [u64; 2],
    inserted_at_step: u64,
    inserted_at_pass: u64,
    inserted: u64,
}

impl Pressure {
    /// So many were ever inserted before this agent looked at the table.
    pub(super) fn new(inserted: u64) -> Self {
        Self {
            inserted_at_step: inserted,
            inserted_at_pass: inserted,
            inserted,
            ..Self::default()
        }
    }

    /// How many entries to look at now that so many were ever inserted in tables of these capacities.
    pub(super) fn begin_step(&mut self, inserted: u64, [v4, v6]: [u64; 2]) -> usize {
        let new = inserted.saturating_sub(self.inserted_at_step);
        self.inserted_at_step = inserted;
        self.inserted = inserted;
        if self.fill(false, v4).max(self.fill(true, v6)) < HALF {
            return STEP as usize;
        }
        new.saturating_mul(FASTER_THAN_NEW)
            .clamp(STEP, LARGEST_STEP) as usize
    }

    pub(super) fn on_seen(&mut self, v6: bool, count: usize) {
        self.present[usize::from(v6)] += count as u64;
    }

    pub(super) fn end_pass(&mut self, inserted: u64) {
        self.last = std::mem::take(&mut self.present);
        self.inserted_at_pass = inserted;
    }

    /// How full the table of a family is, from 0 to 1 or above: with those that have come since, as if all were of it.
    pub(super) fn fill(&self, v6: bool, capacity: u64) -> f64 {
        let new = self.inserted.saturating_sub(self.inserted_at_pass);
        let known = self.last[usize::from(v6)].max(self.present[usize::from(v6)]);
        (known + new) as f64 / capacity.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_grows_with_the_flows_that_come_once_a_table_fills_up() {
        let tables = [40_000, 10_000];
        let mut pressure = Pressure::new(7);
        let mut step = |inserted| pressure.begin_step(inserted, tables) as u64;
        assert_eq!(step(7 + 4_000), STEP);
        assert_eq!(step(7 + 8_000), 16 * 4_000);
        assert_eq!(step(7 + 8_001), STEP);
        assert_eq!(step(u64::MAX), LARGEST_STEP);
    }

    #[test]
    fn a_family_is_as_full_as_the_last_pass_has_met_it_and_what_came_since() {
        let is = |found: f64, expected: f64| (found - expected).abs() < 1e-9;
        let mut pressure = Pressure::default();
        pressure.begin_step(900, [1000; 2]);
        pressure.on_seen(false, 800);
        pressure.on_seen(true, 100);
        pressure.end_pass(900);
        assert!(is(pressure.fill(false, 1000), 0.8));
        assert!(is(pressure.fill(true, 1000), 0.1));
        pressure.begin_step(1000, [1000; 2]);
        assert!(is(pressure.fill(false, 1000), 0.9));
        pressure.on_seen(false, 850);
        // The present pass meets more.
        assert!(is(pressure.fill(false, 1000), 0.95));
    }
}
