//! Whether what we send arrives, as far as it can be told from what comes back.
//!
//! Data is answered by data, by the response to a handshake, or by a keepalive. But a keepalive is an answer only if it
//! is one that data has caused: that comes ten seconds after it and after anything else that the peer has sent
//! (whitepaper 6.5). One that a peer sends at its own interval comes at another time, and from a peer that hears
//! nothing, too. Where it happens to come in time it counts once: then only a handshake tells.

use std::time::{Duration, Instant};

use super::{KEEPALIVE_TIMEOUT, NO_ANSWER_TIMEOUT, jitter};

/// By so much a keepalive that data has caused may seem to come early, for our timers are looked at some times a second,
const EARLY: Duration = Duration::from_secs(1);
/// or late, for theirs are, and it is on its way for some time.
const LATE: Duration = Duration::from_secs(2);

/// Packets set flags; they become times when the timers are looked at.
#[derive(Debug, Default)]
pub(crate) struct Doubt {
    /// Nothing has answered the last data sent.
    awaits: bool,
    /// The best that has come since the last look.
    heard: Heard,
    /// When the first data was sent that is not answered.
    since: Option<Instant>,
    /// When anything came from the peer.
    heard_at: Option<Instant>,
    /// A keepalive counted as an answer, and nothing has come since that is one for certain.
    excused: bool,
    due: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Heard {
    #[default]
    Nothing,
    Keepalive,
    Answer,
}

impl Doubt {
    /// An inner packet was sent.
    #[inline]
    pub(crate) fn on_data_sent(&mut self) {
        self.awaits = true;
    }

    /// An inner packet, or what proves that something of ours has arrived, was received.
    #[inline]
    pub(crate) fn on_answered(&mut self) {
        self.awaits = false;
        self.heard = Heard::Answer;
    }

    /// A keepalive was received.
    pub(crate) fn on_keepalive(&mut self) {
        self.heard = self.heard.max(Heard::Keepalive);
    }

    /// Makes times of what has passed since the last look.
    pub(crate) fn look(&mut self, now: Instant) {
        match std::mem::take(&mut self.heard) {
            Heard::Nothing => (),
            Heard::Keepalive => {
                if self.may_be_an_answer(now) {
                    self.clear();
                    self.awaits = false;
                    self.excused = true;
                }
                self.heard_at = Some(now);
            }
            Heard::Answer => {
                self.clear();
                self.excused = false;
                self.heard_at = Some(now);
            }
        }
        if self.awaits && self.due.is_none() {
            self.since = Some(now);
            self.due = Some(now + NO_ANSWER_TIMEOUT + jitter());
        }
    }

    /// Whether the session is to be doubted now, for nothing has answered.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let due = self.due.is_some_and(|due| now >= due);
        if due {
            self.clear();
            self.awaits = false;
        }
        due
    }

    /// When to look again.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.due
    }

    /// Whether nothing has answered the last data sent.
    pub(crate) fn awaits(&self) -> bool {
        self.awaits
    }

    /// As it goes on in the next agent, by what [`Self::awaits`] and [`Self::next`] say.
    pub(super) fn resumed(awaits: bool, due: Option<Instant>) -> Self {
        Self {
            awaits,
            since: due.and_then(|due| due.checked_sub(NO_ANSWER_TIMEOUT)),
            due,
            ..Self::default()
        }
    }

    fn clear(&mut self) {
        (self.since, self.due) = (None, None);
    }

    fn may_be_an_answer(&self, now: Instant) -> bool {
        let Some(since) = self.since.filter(|_| !self.excused) else {
            return false;
        };
        let caused = since.max(self.heard_at.unwrap_or(since)) + KEEPALIVE_TIMEOUT;
        now + EARLY >= caused && now <= caused + LATE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossway_sys::clock;

    /// Data is sent all the time, and a keepalive comes at these seconds; when the session is doubted.
    fn doubted_at(keepalives: &[u64]) -> Option<u64> {
        let start = clock::now();
        let mut doubt = Doubt::default();
        for tick in 0..600 {
            let now = start + Duration::from_millis(100) * tick;
            doubt.on_data_sent();
            if tick % 10 == 0 && keepalives.contains(&u64::from(tick / 10)) {
                doubt.on_keepalive();
            }
            doubt.look(now);
            if doubt.take(now) {
                return Some(u64::from(tick / 10));
            }
        }
        None
    }

    #[test]
    fn a_keepalive_answers_data_only_if_data_can_have_caused_it() {
        assert_eq!(doubted_at(&[]), Some(15));
        // At intervals of the peer's own.
        assert_eq!(doubted_at(&[1, 6, 11, 16]), Some(15));
        assert_eq!(doubted_at(&[5, 10, 15]), Some(15));
        assert_eq!(doubted_at(&[8]), Some(15));
        assert_eq!(doubted_at(&[13]), Some(15));
        // Ten seconds after the data, or after the keepalive before: once.
        assert_eq!(doubted_at(&[10]), Some(25));
        assert_eq!(doubted_at(&[12, 22]), Some(27));
        assert_eq!(doubted_at(&[3, 13]), Some(28));
        assert_eq!(doubted_at(&[10, 20, 30]), Some(25));
    }

    #[test]
    fn the_next_agent_knows_when_the_data_was_sent_that_a_keepalive_answers() {
        let start = clock::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        for (keepalive, answered) in [(3, false), (10, true), (14, false)] {
            let mut doubt = Doubt::resumed(true, Some(at(15)));
            doubt.on_keepalive();
            doubt.look(at(keepalive));
            assert_eq!(doubt.next().is_none(), answered, "{keepalive}");
        }
    }

    #[test]
    fn a_pause_is_no_doubt_and_an_answer_for_certain_begins_anew() {
        let start = clock::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut doubt = Doubt::default();
        doubt.on_data_sent();
        doubt.look(at(0));
        doubt.on_keepalive();
        doubt.look(at(10));
        assert_eq!(doubt.next(), None, "one packet, one answer");
        doubt.on_data_sent();
        doubt.on_answered();
        doubt.look(at(100));
        assert_eq!(doubt.next(), None);
        doubt.on_data_sent();
        doubt.look(at(200));
        doubt.on_keepalive();
        doubt.look(at(211));
        assert_eq!(doubt.next(), None, "it counts again");
        assert!(!doubt.take(at(300)));
    }
}
