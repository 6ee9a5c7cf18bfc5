//! A size that is tried: how often, and when it counts as lost.

use std::cmp::Ordering;
use std::time::Duration;

/// Tries of a size while the limit is looked for (MAX_PROBES of RFC 8899, 5.1.2).
const TRIES: u8 = 3;
/// Tries of the size in use: of ten packets lost in a hundred, four in a row are lost once in hours.
const TRIES_TO_CONFIRM: u8 = 4;
/// Shortest and longest wait for an answer; between them twice the round trip, and some time for a busy far end.
pub(super) const PATIENCE: (Duration, Duration) =
    (Duration::from_millis(200), Duration::from_secs(1));
const BUSY: Duration = Duration::from_millis(100);
/// Between two tries at most: on a long path the next one does not wait until the last one counts as lost.
const PACE: Duration = Duration::from_millis(250);

/// A size under trial.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trial {
    pub(super) size: u16,
    pub(super) confirms: bool,
    pub(super) tries: u8,
    /// A small probe is to be sent beside the last one.
    pub(super) beside_due: bool,
    /// Small probes sent beside it that have been answered.
    pub(super) signs_of_life: u8,
}

impl Trial {
    pub(super) fn new(size: u16, confirms: bool) -> Self {
        Self {
            size,
            confirms,
            tries: 0,
            beside_due: false,
            signs_of_life: 0,
        }
    }

    /// Whether the size is lost, once the last try has waited for its answer.
    pub(super) fn has_failed(self) -> bool {
        let path_lives = self.signs_of_life >= self.enough() / 2;
        self.tries >= self.enough() && path_lives && !self.beside_due
    }

    /// Whether nothing that was sent for it has been answered, though the tries were enough.
    pub(super) fn is_unheard(self) -> bool {
        self.tries > self.enough() && self.signs_of_life == 0
    }

    /// Tries after which it is lost.
    fn enough(self) -> u8 {
        if self.confirms {
            TRIES_TO_CONFIRM
        } else {
            TRIES
        }
    }

    /// How long to wait from this try to the next one.
    pub(super) fn wait(self, round_trip: Option<Duration>) -> Duration {
        let patience = patience(round_trip);
        match self.tries.cmp(&self.enough()) {
            Ordering::Less => patience.min(PACE),
            Ordering::Equal => patience,
            // Nothing comes through: no need to hurry.
            Ordering::Greater => PATIENCE.1,
        }
    }
}

/// How long an answer is waited for.
fn patience(round_trip: Option<Duration>) -> Duration {
    match round_trip {
        Some(round_trip) => (round_trip * 2 + BUSY).clamp(PATIENCE.0, PATIENCE.1),
        None => PATIENCE.1,
    }
}
