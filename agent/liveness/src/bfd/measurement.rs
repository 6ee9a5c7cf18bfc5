//! The round trip to the far end, by the time that it takes to confirm a packet (RFC 5880, 6.5). One packet asks, once: of
//! several that ask, nobody could say which was answered. A far end that is not heard is asked again with the next
//! measurement.

use std::time::Instant;

use super::MEASURED_EVERY;
use crate::round_trip::RoundTrip;

/// The measurement of a session.
#[derive(Clone, Debug, Default)]
pub(super) struct Measurement {
    /// When the packet that asks was sent, until it is answered.
    asked: Option<Instant>,
    /// No packet asks before this.
    not_before: Option<Instant>,
    measured: RoundTrip,
}

impl Measurement {
    /// Whether a packet that is sent now is to ask.
    pub(super) fn begin(&mut self, now: Instant) -> bool {
        let due = self.not_before.is_none_or(|not_before| now >= not_before);
        if due {
            self.asked = Some(now);
            self.not_before = Some(now + MEASURED_EVERY);
        }
        due
    }

    /// The far end has confirmed a packet.
    pub(super) fn on_answer(&mut self, now: Instant) {
        if let Some(asked) = self.asked.take() {
            self.measured
                .on_measured(now.saturating_duration_since(asked));
        }
    }

    /// An answer from now on may be to another question.
    pub(super) fn give_up(&mut self) {
        self.asked = None;
    }

    /// What was measured.
    pub(super) fn measured(&self) -> RoundTrip {
        self.measured
    }
}
