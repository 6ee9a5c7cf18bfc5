//! What the counters of WireGuard's own messages say of the way that they came: the sender numbers the data messages of
//! a session from zero, so the receiver knows each that has not come, without a probe.
//!
//! Known is what a later message shows: of a session's last messages, a loss is not seen. Counted is what was
//! authentic, but for messages that were refused before they were decrypted ([`Arrivals::duplicates`],
//! [`Arrivals::outdated`]): whoever can send from anywhere can make those up.

use crossway_types::codec::{Damaged, Reader, Writer};

/// Data messages of one peer, of all its sessions. Each number only ever grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrivals {
    /// Came, authentic and new.
    pub received: u64,
    /// Were passed over when a later one came; of these, [`Self::late`] have come since.
    skipped: u64,
    /// Of those that came, behind one that was sent after it (RFC 4737 section 3.3).
    pub late: u64,
    /// Had come before.
    pub duplicates: u64,
    /// Lay behind the replay window: nobody knows whether they had come before.
    pub outdated: u64,
}

/// Why a message was refused by its counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It has come before.
    Duplicate,
    /// It lies behind the window.
    Outdated,
}

impl Arrivals {
    /// A message with `counter` was accepted, where `expected` was the next in order.
    #[inline]
    pub(super) fn on_accepted(&mut self, expected: u64, counter: u64) {
        self.received += 1;
        if counter > expected {
            self.skipped += counter - expected;
        } else if counter < expected {
            self.late += 1;
        }
    }

    /// A message was refused by its counter.
    #[cold]
    pub(super) fn on_refused(&mut self, why: Refused) {
        match why {
            Refused::Duplicate => self.duplicates += 1,
            Refused::Outdated => self.outdated += 1,
        }
    }

    /// Messages that the sender is known to have sent.
    pub fn expected(&self) -> u64 {
        self.received + self.missing()
    }

    /// Those of them that have not come, or not yet.
    pub fn missing(&self) -> u64 {
        self.skipped.saturating_sub(self.late)
    }

    /// For the agent that takes over.
    pub(super) fn export(&self, to: &mut Writer) {
        for count in [
            self.received,
            self.skipped,
            self.late,
            self.duplicates,
            self.outdated,
        ] {
            to.u64(count);
        }
    }

    /// What [`Self::export`] wrote.
    pub(super) fn import(from: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self {
            received: from.u64()?,
            skipped: from.u64()?,
            late: from.u64()?,
            duplicates: from.u64()?,
            outdated: from.u64()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::ReplayWindow;

    /// As a session counts them.
    fn counted(counters: impl IntoIterator<Item = u64>) -> Arrivals {
        let (mut arrivals, mut window) = (Arrivals::default(), ReplayWindow::new());
        for counter in counters {
            if let Some(why) = window.refusal(counter) {
                arrivals.on_refused(why);
                continue;
            }
            arrivals.on_accepted(window.expected(), counter);
            window.accept(counter);
        }
        arrivals
    }

    #[test]
    fn what_comes_in_order_is_neither_missing_nor_late() {
        let arrivals = counted(0..10_000);
        assert_eq!(arrivals.received, 10_000);
        assert_eq!((arrivals.missing(), arrivals.late), (0, 0));
        assert_eq!((arrivals.duplicates, arrivals.outdated), (0, 0));
    }

    #[test]
    fn each_message_that_a_later_one_shows_to_be_lost_is_counted() {
        // The first two of the session, every tenth, and a gap that is longer than the window.
        let lost = |counter: &u64| {
            *counter >= 2 && !counter.is_multiple_of(10) && !(20_000..40_000).contains(counter)
        };
        let arrivals = counted((0..=50_001).filter(lost));
        let came = (0..=50_001).filter(lost).count() as u64;
        assert_eq!(arrivals.received, came);
        assert_eq!(arrivals.expected(), 50_002);
        assert_eq!(arrivals.missing(), 50_002 - came);
        assert_eq!(arrivals.late, 0);
    }

    #[test]
    fn what_comes_late_is_reordered_and_not_lost_any_more() {
        let arrivals = counted([0, 1, 4, 2, 3, 5, 7]);
        assert_eq!((arrivals.received, arrivals.late), (7, 2));
        assert_eq!((arrivals.expected(), arrivals.missing()), (8, 1));
    }

    #[test]
    fn duplicates_and_what_lies_behind_the_window_are_told_apart() {
        let far = 100_000;
        let arrivals = counted([0, 0, 1, far, 0, 1, far, far - 1, far - 1]);
        assert_eq!(arrivals.duplicates, 3);
        assert_eq!(arrivals.outdated, 2);
        assert_eq!((arrivals.received, arrivals.late), (4, 1));
    }
}
