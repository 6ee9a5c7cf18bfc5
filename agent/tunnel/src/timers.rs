//! What a session owes by the clock (whitepaper 6). A packet only sets flags; they become deadlines
//! when the timers are looked at, some times a second, so that no packet costs a clock read.

pub(super) mod doubt;

use std::time::{Duration, Instant};

use rand::Rng;

use crossway_types::codec::{Damaged, Reader, Writer};
use doubt::Doubt;

/// Age at which the side that began a session renews it (REKEY_AFTER_TIME).
pub(super) const REKEY_AFTER: Duration = Duration::from_mins(2);
/// Age at which the other side does on a link that is kept alive, if the first has not.
pub(super) const REKEY_AFTER_AS_RESPONDER: Duration = Duration::from_secs(150);
/// Time after which an unanswered initiation is sent again (REKEY_TIMEOUT), less the jitter.
pub(super) const REKEY_TIMEOUT: Duration = Duration::from_secs(5);
/// Time after which a handshake is given up (REKEY_ATTEMPT_TIME).
pub(super) const REKEY_ATTEMPT_TIME: Duration = Duration::from_secs(90);
/// Time after which data is answered with a keepalive, if with nothing else.
pub(super) const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time after which data without any answer makes us doubt the session.
pub(super) const NO_ANSWER_TIMEOUT: Duration =
    Duration::from_secs(KEEPALIVE_TIMEOUT.as_secs() + REKEY_TIMEOUT.as_secs());
/// Most that is added to a retry, so that two sides that began at once do not go on so.
const JITTER_MS: u64 = 333;

/// A time at random up to the jitter's bound.
pub(super) fn jitter() -> Duration {
    Duration::from_millis(rand::rng().random_range(0..=JITTER_MS))
}

/// What has passed since the timers were looked at last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Traffic {
    /// Something authentic was sent.
    pub(super) sent: bool,
    /// Something authentic was received.
    pub(super) heard: bool,
}

/// The deadlines of traffic.
#[derive(Debug, Default)]
pub(super) struct Timers {
    traffic: Traffic,
    /// The last data received has not been answered by anything.
    owes: bool,
    doubt: Doubt,
    answer_at: Option<Instant>,
    /// Time between two messages on a link that is kept alive.
    interval: Option<Duration>,
    keepalive_at: Option<Instant>,
}

impl Timers {
    /// Timers of a link that is kept alive every `interval`, if that is given.
    pub(super) fn new(interval: Option<Duration>) -> Self {
        Self {
            interval,
            ..Self::default()
        }
    }

    /// An inner packet was sent.
    #[inline]
    pub(super) fn on_data_sent(&mut self) {
        self.traffic.sent = true;
        self.owes = false;
        self.doubt.on_data_sent();
    }

    /// A keepalive or handshake message was sent.
    pub(super) fn on_control_sent(&mut self) {
        self.traffic.sent = true;
        self.owes = false;
    }

    /// An inner packet was received.
    #[inline]
    pub(super) fn on_data_received(&mut self) {
        self.traffic.heard = true;
        self.doubt.on_answered();
        self.owes = true;
    }

    /// The response to an initiation of ours was received, or the first message that a response of ours has caused.
    pub(super) fn on_response(&mut self) {
        self.traffic.heard = true;
        self.doubt.on_answered();
    }

    /// A keepalive was received.
    pub(super) fn on_keepalive(&mut self) {
        self.traffic.heard = true;
        self.doubt.on_keepalive();
    }

    /// For the agent that takes over.
    pub(super) fn export(&self, to: &mut Writer) {
        for flag in [
            self.traffic.sent,
            self.traffic.heard,
            self.owes,
            self.doubt.awaits(),
        ] {
            to.bool(flag);
        }
        for deadline in [self.answer_at, self.doubt.next(), self.keepalive_at] {
            to.option(deadline, Writer::instant);
        }
    }

    /// What [`Self::export`] wrote, of a link that is kept alive as this one's.
    pub(super) fn import(&mut self, from: &mut Reader<'_>) -> Result<(), Damaged> {
        self.traffic = Traffic {
            sent: from.bool()?,
            heard: from.bool()?,
        };
        self.owes = from.bool()?;
        let awaits = from.bool()?;
        self.answer_at = from.option(Reader::instant)?;
        self.doubt = Doubt::resumed(awaits, from.option(Reader::instant)?);
        let keepalive_at = from.option(Reader::instant)?;
        self.keepalive_at = keepalive_at.filter(|_| self.interval.is_some());
        Ok(())
    }

    /// Whether anything has passed.
    #[inline]
    pub(super) fn has_traffic(&self) -> bool {
        self.traffic.sent | self.traffic.heard
    }

    /// Makes deadlines of what has passed since the last look, and says what it was.
    pub(super) fn take_traffic(&mut self, now: Instant) -> Traffic {
        let traffic = std::mem::take(&mut self.traffic);
        if traffic.sent {
            self.answer_at = None;
            self.keepalive_at = None;
        }
        self.doubt.look(now);
        if self.owes {
            self.answer_at.get_or_insert(now + KEEPALIVE_TIMEOUT);
        }
        if let Some(interval) = self.interval {
            self.keepalive_at.get_or_insert(now + interval);
        }
        traffic
    }

    /// Whether a keepalive is due; it is then up to the caller to send one.
    pub(super) fn take_keepalive(&mut self, now: Instant) -> bool {
        let answer = take_due(&mut self.answer_at, now);
        if answer {
            self.owes = false;
        }
        take_due(&mut self.keepalive_at, now) | answer
    }

    /// Whether the session is to be doubted, for nothing has answered.
    pub(super) fn take_doubt(&mut self, now: Instant) -> bool {
        self.doubt.take(now)
    }

    /// When to look again, if nothing passes before.
    pub(super) fn next(&self) -> Option<Instant> {
        [self.answer_at, self.doubt.next(), self.keepalive_at]
            .into_iter()
            .flatten()
            .min()
    }
}

fn take_due(deadline: &mut Option<Instant>, now: Instant) -> bool {
    let due = deadline.is_some_and(|deadline| now >= deadline);
    if due {
        *deadline = None;
    }
    due
}

#[cfg(test)]
mod tests;
