//! What has changed of late: the last [`CAPACITY`] changes of state, each with its time and cause.
//!
//! The gateway's loop alone records. Readers keep the number of the event they want next and take
//! what is there at their own pace, so none can hold the loop up or make the journal grow; one that
//! was too slow is told how many events it missed.

use std::collections::VecDeque;
use std::time::Duration;

use crate::control::message::{Event, EventKind, EventsReply};

/// Events that are kept: a day of a flapping link at one change a minute and a half, in 300 KiB.
pub const CAPACITY: usize = 1024;

/// No journal has counted so far: beyond, numbers could end.
const LARGEST_ADOPTED: u64 = 1 << 62;

/// A change of state that is to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What kind of thing has changed.
    pub kind: EventKind,
    /// Its name.
    pub subject: String,
    /// The state it was in; `None` where it had none.
    pub from: Option<String>,
    /// The state it is in.
    pub to: String,
    /// Why, in words for a person.
    pub cause: String,
}

/// The last events, oldest first.
#[derive(Debug)]
pub struct Journal {
    events: VecDeque<Event>,
    /// Number of the event that comes next; the first is 1.
    next: u64,
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            events: VecDeque::new(),
            next: 1,
        }
    }
}

impl Journal {
    /// Records a change at `since_epoch` of the wall clock. The oldest event makes room.
    pub fn record(&mut self, since_epoch: Duration, change: Change) {
        if self.events.len() == CAPACITY {
            self.events.pop_front();
        }
        self.events.push_back(Event {
            sequence: self.next,
            unix_milliseconds: u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX),
            kind: change.kind,
            subject: change.subject,
            from: change.from,
            to: change.to,
            cause: change.cause,
        });
        self.next += 1;
    }

    /// Goes on where the journal of another agent ended. Events whose numbers do not follow each other are no
    /// journal, and are left behind.
    pub fn adopt(&mut self, mut events: Vec<Event>) {
        let first = events.first().map_or(1, |first| first.sequence);
        let numbers = first..first.saturating_add(events.len() as u64);
        let told = events.iter().map(|event| event.sequence);
        if !(1..LARGEST_ADOPTED).contains(&numbers.end) || !numbers.clone().eq(told) {
            return;
        }
        self.next = numbers.end;
        self.events = events
            .split_off(events.len().saturating_sub(CAPACITY))
            .into();
    }

    /// The last `count` events, or all that are kept.
    pub fn last(&self, count: Option<usize>) -> EventsReply {
        let kept = self.events.len();
        let wanted = count.unwrap_or(kept).min(kept);
        self.reply(kept - wanted, 0)
    }

    /// The events from number `sequence` on, and how many of those are no longer kept.
    pub fn since(&self, sequence: u64) -> EventsReply {
        let oldest = self.next - self.events.len() as u64;
        let missed = oldest.saturating_sub(sequence);
        let skipped = sequence.saturating_sub(oldest);
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        self.reply(skipped.min(self.events.len()), missed)
    }

    fn reply(&self, skipped: usize, missed: u64) -> EventsReply {
        EventsReply {
            events: self.events.range(skipped..).cloned().collect(),
            missed,
            next_sequence: self.next,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(to: &impl ToString) -> Change {
        Change {
            kind: EventKind::Link,
            subject: "paris/paris-1".to_owned(),
            from: Some("Up".to_owned()),
            to: to.to_string(),
            cause: "no answer".to_owned(),
        }
    }

    fn journal(events: usize) -> Journal {
        let mut journal = Journal::default();
        for number in 1..=events {
            journal.record(Duration::from_millis(number as u64), change(&number));
        }
        journal
    }

    fn numbers(reply: &EventsReply) -> Vec<u64> {
        reply.events.iter().map(|event| event.sequence).collect()
    }

    #[test]
    fn events_are_numbered_from_one_and_keep_their_time() {
        let reply = journal(2).last(None);
        assert_eq!(numbers(&reply), [1, 2]);
        assert_eq!((reply.missed, reply.next_sequence), (0, 3));
        assert_eq!(reply.events[1].unix_milliseconds, 2);
        assert_eq!(reply.events[1].to, "2");
    }

    #[test]
    fn the_oldest_makes_room_and_the_journal_never_grows() {
        let journal = journal(CAPACITY + 5);
        assert_eq!(journal.events.len(), CAPACITY);
        assert_eq!(numbers(&journal.last(None))[0], 6);
        assert_eq!(
            numbers(&journal.last(Some(2))),
            [CAPACITY as u64 + 4, CAPACITY as u64 + 5]
        );
        assert_eq!(numbers(&journal.last(Some(0))), [0; 0]);
        assert_eq!(numbers(&journal.last(Some(usize::MAX))).len(), CAPACITY);
    }

    #[test]
    fn a_reader_goes_on_where_it_stopped() {
        let mut journal = journal(3);
        let first = journal.since(2);
        assert_eq!((numbers(&first), first.missed), (vec![2, 3], 0));
        let nothing = journal.since(first.next_sequence);
        assert_eq!((numbers(&nothing), nothing.missed), (vec![], 0));
        journal.record(Duration::ZERO, change(&"Up"));
        assert_eq!(numbers(&journal.since(nothing.next_sequence)), [4]);
    }

    #[test]
    fn a_reader_that_was_too_slow_is_told_how_many_it_missed() {
        let journal = journal(CAPACITY + 10);
        let reply = journal.since(4);
        assert_eq!(reply.missed, 7);
        assert_eq!(numbers(&reply)[0], 11);
        assert_eq!(reply.events.len(), CAPACITY);
    }

    #[test]
    fn what_is_adopted_goes_on_and_what_makes_no_sense_is_left_behind() {
        let told = journal(CAPACITY + 10).last(None).events;
        let mut after = Journal::default();
        after.adopt(told.clone());
        after.record(Duration::ZERO, change(&"Up"));
        assert_eq!(after.last(Some(1)).events[0].sequence, CAPACITY as u64 + 11);
        let mut longer = journal(10).last(None).events;
        longer.extend(told.clone());
        after.adopt(longer);
        assert_eq!(after.events.len(), CAPACITY, "it never grows");
        for sequence in [0, 7, u64::MAX] {
            let mut odd = told.clone();
            odd.last_mut().unwrap().sequence = sequence;
            let mut after = Journal::default();
            after.adopt(odd);
            after.record(Duration::ZERO, change(&"Up"));
            assert_eq!(numbers(&after.since(0)), [1], "{sequence}");
        }
        let mut alone = told;
        alone.truncate(1);
        alone[0].sequence = u64::MAX;
        let mut after = Journal::default();
        after.adopt(alone);
        after.record(Duration::ZERO, change(&"Up"));
    }

    #[test]
    fn a_number_that_is_not_yet_given_out_gets_nothing() {
        let reply = journal(1).since(u64::MAX);
        assert_eq!((numbers(&reply), reply.missed), (vec![], 0));
    }
}
