//! A link that goes up and down all the time is not up: what follows a link (its site, routes, virtual routers, the
//! journal) would be busy with it, and who sends over it loses packets each time. It is held down, each time for
//! twice as long. Pure.

use std::time::{Duration, Instant};

/// One that goes down so soon after it came up has flapped.
const FLAPS_WITHIN: Duration = Duration::from_secs(10);
/// One that was up for so long is as good as any other.
const FORGIVEN_AFTER: Duration = Duration::from_mins(1);
/// Accidents come in threes: a cable that is moved, a router that starts.
const FREE_FLAPS: u32 = 3;
/// How long the first one after those is held down; doubled with each.
const FIRST_HOLD: Duration = Duration::from_secs(1);
/// At most eight times as long: a site may have no other link.
const MOST_DOUBLINGS: u32 = 3;

/// What a link has done of late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Damping {
    came_up: Option<Instant>,
    held_until: Option<Instant>,
    flaps: u32,
}

impl Damping {
    /// One that has flapped so often before.
    pub(super) fn after(flaps: u32, came_up: Option<Instant>) -> Self {
        Self {
            came_up,
            held_until: None,
            flaps: flaps.min(FREE_FLAPS + MOST_DOUBLINGS + 1),
        }
    }

    /// How often it has flapped.
    pub(super) fn flaps(&self) -> u32 {
        self.flaps
    }

    pub(super) fn on_up(&mut self, now: Instant) {
        self.came_up = Some(now);
        self.held_until = None;
    }

    pub(super) fn on_down(&mut self, now: Instant) {
        let Some(came_up) = self.came_up.take() else {
            return;
        };
        let lasted = now.saturating_duration_since(came_up);
        if lasted >= FORGIVEN_AFTER {
            self.flaps = 0;
        } else if lasted < FLAPS_WITHIN {
            self.flaps = (self.flaps + 1).min(FREE_FLAPS + MOST_DOUBLINGS + 1);
        }
        let hold = self.flaps.checked_sub(FREE_FLAPS + 1);
        self.held_until = hold.map(|doublings| now + FIRST_HOLD * (1 << doublings));
    }

    /// How long it must not come up.
    pub(super) fn held_for(&self, now: Instant) -> Option<Duration> {
        let left = self.held_until?.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossway_sys::clock;

    #[test]
    fn accidents_are_free_and_habits_are_held_down_for_longer_each_time() {
        let (mut damping, mut now) = (Damping::default(), clock::now());
        let mut holds = Vec::new();
        for _ in 0..12 {
            damping.on_up(now);
            now += Duration::from_millis(1);
            damping.on_down(now);
            let hold = damping.held_for(now).unwrap_or_default();
            holds.push(hold.as_secs());
            now += hold;
            assert_eq!(damping.held_for(now), None);
        }
        assert_eq!(holds, [0, 0, 0, 1, 2, 4, 8, 8, 8, 8, 8, 8]);
        // Not good yet, and not bad either.
        damping.on_up(now);
        now += FLAPS_WITHIN;
        damping.on_down(now);
        assert_eq!(damping.held_for(now), Some(Duration::from_secs(8)));
        damping.on_up(now);
        now += FORGIVEN_AFTER;
        damping.on_down(now);
        assert_eq!((damping.held_for(now), damping.flaps()), (None, 0));
    }

    #[test]
    fn who_has_not_been_up_cannot_flap() {
        let (mut damping, now) = (Damping::default(), clock::now());
        for _ in 0..9 {
            damping.on_down(now);
        }
        assert_eq!(damping, Damping::default());
        assert_eq!(Damping::after(u32::MAX, None).flaps(), 7);
    }
}
