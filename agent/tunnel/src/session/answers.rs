//! Our answers to the initiations of one peer: which may be given, and whether any arrives.
//!
//! A peer that begins a handshake sends something under its keys as soon as it has our answer. One that begins again
//! and again has none: what we send does not arrive, though all that it sends does. Then its messages are no sign of a
//! way that works.

use std::time::{Duration, Instant};

use datapath_abi::outcome::DropReason;

use crate::tai64n::Timestamp;
use crate::timers::{REKEY_ATTEMPT_TIME, REKEY_TIMEOUT};
use crossway_types::codec::{Damaged, Reader, Writer};

/// Shortest time between two initiations of a peer that are answered (whitepaper 5.1), as in the
/// kernel.
const INITIATION_INTERVAL: Duration = Duration::from_millis(20);
/// An initiation that comes so long after the first unconfirmed answer is a retry, which comes after REKEY_TIMEOUT, and
/// not one that crossed with that answer or was hastened by a cookie.
const RETRY_AFTER: Duration = Duration::from_millis(REKEY_TIMEOUT.as_millis() as u64 / 2);

/// What was answered to one peer.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// The initiation that was answered last: when, and its timestamp.
    last: Option<(Instant, Timestamp)>,
    unconfirmed: Option<Unconfirmed>,
    /// Handshakes that gave a session, whoever began them.
    completed: u64,
}

/// Answers that the peer has shown no sign of having got.
#[derive(Debug)]
struct Unconfirmed {
    /// When the first of them was sent.
    since: Instant,
    /// Whether the peer has tried again since.
    ignored: bool,
}

impl Answers {
    /// Whether an initiation of this timestamp is to be answered now.
    pub(crate) fn check(&self, timestamp: Timestamp, now: Instant) -> Result<(), DropReason> {
        match self.last {
            Some((_, last)) if timestamp <= last => Err(DropReason::HandshakeReplayed),
            Some((at, _)) if now < at + INITIATION_INTERVAL => {
                Err(DropReason::HandshakeRateLimited)
            }
            _ => Ok(()),
        }
    }

    /// It was answered.
    pub(crate) fn on_answered(&mut self, timestamp: Timestamp, now: Instant) {
        self.last = Some((now, timestamp));
        let unconfirmed = self.unconfirmed.get_or_insert(Unconfirmed {
            since: now,
            ignored: false,
        });
        unconfirmed.ignored |= now >= unconfirmed.since + RETRY_AFTER;
    }

    /// The peer has sent something under the keys of our answer, or has answered us.
    pub(crate) fn on_confirmed(&mut self) {
        self.unconfirmed = None;
        self.completed += 1;
    }

    /// Handshakes that gave a session, whoever began them.
    pub(crate) fn completed(&self) -> u64 {
        self.completed
    }

    /// Goes on counting where another agent ended.
    pub(crate) fn set_completed(&mut self, completed: u64) {
        self.completed = completed;
    }

    /// Looks at the clock: a peer that tries no more has given up.
    pub(crate) fn expire(&mut self, now: Instant) {
        let patience = REKEY_ATTEMPT_TIME;
        if self.last.is_some_and(|(at, _)| now >= at + patience) {
            self.unconfirmed = None;
        }
    }

    /// Whether a session is likely to come of an answer that was just sent. The first of several counts: a peer
    /// that gets none of them must not hold us back for ever.
    pub(crate) fn may_give_a_session(&self, now: Instant) -> bool {
        let unconfirmed = self.unconfirmed.as_ref();
        unconfirmed.is_some_and(|unconfirmed| now < unconfirmed.since + REKEY_TIMEOUT)
    }

    /// For how long the peer has begun one handshake after another and got none of our answers.
    pub(crate) fn ignored_for(&self, now: Instant) -> Option<Duration> {
        let ignored = self
            .unconfirmed
            .as_ref()
            .filter(|answers| answers.ignored)?;
        Some(now.saturating_duration_since(ignored.since))
    }

    /// For the agent that takes over.
    pub(crate) fn export(&self, to: &mut Writer) {
        to.option(self.last, |to, (at, timestamp)| {
            to.instant(at);
            to.bytes(&timestamp);
        });
    }

    /// What [`Self::export`] wrote.
    pub(crate) fn import(from: &mut Reader<'_>) -> Result<Self, Damaged> {
        let last = from.option(|from| Ok((from.instant()?, from.array()?)))?;
        Ok(Self {
            last,
            unconfirmed: None,
            completed: 0,
        })
    }
}
