//! What control was told of a link, and what it is still to be told: so many changes a second, and no more.

use std::time::Instant;

use super::LinkLiveness;
use crate::allowance::{Allowance, Rate};

/// Changes of one link that control is told. The first ones of any outage at once; a far end that flaps for ever costs
/// five a second, whatever it does.
const CHANGES: Rate = Rate {
    per_second: 5,
    burst: 10,
};

/// Of one link.
pub(in super::super) struct Told {
    /// At the last look.
    seen: LinkLiveness,
    /// What control knows.
    known: LinkLiveness,
    /// The link has died and was benched, and control does not know it yet. It must: who benched it does not
    /// bring it back.
    died: Option<LinkLiveness>,
    changes: Allowance,
}

impl Told {
    /// Of a link that control knows nothing of.
    pub(in super::super) fn new(now: Instant) -> Self {
        Self {
            seen: LinkLiveness::default(),
            known: LinkLiveness::default(),
            died: None,
            changes: Allowance::new(CHANGES, now),
        }
    }

    /// Takes what is known now; whether it is something else than at the last look.
    pub(super) fn look(&mut self, pulse: LinkLiveness, alive: bool) -> bool {
        let seen = std::mem::replace(&mut self.seen, pulse);
        let altered = differ(seen, pulse);
        if altered && !alive {
            self.died = Some(pulse);
        }
        altered
    }

    /// What is to be told now: that it has died, or the last that was seen.
    pub(super) fn poll(&mut self, now: Instant) -> Option<LinkLiveness> {
        let next = self.waiting()?;
        if !self.changes.take(now) {
            return None;
        }
        self.died = None;
        self.known = next;
        Some(next)
    }

    /// When there is something to be told.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        self.waiting().map(|_| self.changes.ready_at(now))
    }

    fn waiting(&self) -> Option<LinkLiveness> {
        let candidates = [self.died, Some(self.seen)].into_iter().flatten();
        candidates
            .into_iter()
            .find(|pulse| differ(self.known, *pulse))
    }
}

/// Whether there is more than a change of a time between them.
fn differ(a: LinkLiveness, b: LinkLiveness) -> bool {
    let essence = |pulse: LinkLiveness| {
        let bfd = pulse.bfd.map(|bfd| (bfd.state, bfd.remote, bfd.decides));
        (bfd, pulse.echo)
    };
    essence(a) != essence(b)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crossway_sys::clock;

    fn pulse(alive: bool) -> LinkLiveness {
        LinkLiveness {
            bfd: None,
            echo: Some(alive),
        }
    }

    #[test]
    fn the_first_changes_are_told_at_once_and_later_ones_at_a_pace_with_the_last_at_the_end() {
        let start = clock::now();
        let mut told = Told::new(start);
        let mut heard = Vec::new();
        let mut now = start;
        for turn in 0..5000_u32 {
            now = start + Duration::from_millis(2) * turn;
            assert!(told.look(pulse(turn % 2 == 0), turn % 2 == 0));
            heard.extend(told.poll(now).map(|pulse| (now, pulse)));
        }
        assert!((50..=62).contains(&heard.len()), "{}", heard.len());
        assert_eq!(heard[9].0, start + Duration::from_millis(18));
        // It has died last, and lives again before that could be told.
        told.look(pulse(false), false);
        told.look(pulse(true), true);
        assert!(told.next(now).is_some(), "whatever else happens");
        while let Some(at) = told.next(now) {
            now = at;
            let pulse = told.poll(now).expect("there is something to tell");
            heard.push((now, pulse));
        }
        assert_eq!(heard.pop().map(|(_, pulse)| pulse), Some(pulse(true)));
        assert_eq!(told.next(now), None);
    }

    #[test]
    fn a_death_is_told_though_it_was_short() {
        let now = clock::now();
        let mut told = Told::new(now);
        told.look(pulse(true), true);
        assert_eq!(told.poll(now), Some(pulse(true)));
        told.look(pulse(false), false);
        told.look(pulse(true), true);
        assert_eq!(told.poll(now), Some(pulse(false)));
        assert_eq!(told.poll(now), Some(pulse(true)));
        assert_eq!(told.poll(now), None);
    }
}
