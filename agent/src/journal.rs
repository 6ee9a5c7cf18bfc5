//! What has changed of late: the last [`CAPACITY`] changes of state, each with its time and cause, and the last
//! [`ORDERS`] things that people did. What changes most often makes room for the others: a site that flaps cannot
//! push out what happened to another one.
//!
//! The gateway's loop alone records. Readers keep the number of the event they want next and take
//! what is there at their own pace, so none can hold the loop up or make the journal grow; one that
//! was too slow is told how many events it missed.

mod damper;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::control::message::{Event, EventKind, EventsReply};
pub use damper::Damper;

/// Events that are kept: a day of a flapping link at one change a minute and a half, in 300 KiB.
pub const CAPACITY: usize = 1024;
/// Orders, reloads and starts that are kept beside them.
pub const ORDERS: usize = 256;

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

/// Events that share their room.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Group {
    /// What people did.
    Orders,
    /// Those of a site and its links.
    Site(String),
    /// Those of anything else, by kind and name.
    Other(&'static str, String),
}

/// The last events, oldest first.
#[derive(Debug)]
pub struct Journal {
    events: VecDeque<Event>,
    /// How many there are of each group.
    counts: HashMap<Group, usize>,
    /// Number of the event that comes next; the first is 1.
    next: u64,
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            events: VecDeque::new(),
            counts: HashMap::new(),
            next: 1,
        }
    }
}

impl Journal {
    /// Records a change at `since_epoch` of the wall clock. The oldest event of those that there are most of makes
    /// room.
    pub fn record(&mut self, since_epoch: Duration, change: Change) {
        self.push(Event {
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

    fn push(&mut self, event: Event) {
        *self.counts.entry(group_of(&event)).or_default() += 1;
        self.events.push_back(event);
        let orders = self.counts.get(&Group::Orders).copied().unwrap_or_default();
        if orders > ORDERS {
            self.remove_oldest(|group| *group == Group::Orders);
        }
        if self.events.len() - orders.min(ORDERS) > CAPACITY {
            let others = self
                .counts
                .iter()
                .filter(|(group, _)| **group != Group::Orders);
            let most = others.map(|(_, count)| *count).max().unwrap_or_default();
            let counts = self.counts.clone();
            self.remove_oldest(|group| *group != Group::Orders && counts.get(group) == Some(&most));
        }
    }

    fn remove_oldest(&mut self, of: impl Fn(&Group) -> bool) {
        let Some(place) = self.events.iter().position(|event| of(&group_of(event))) else {
            return;
        };
        let Some(event) = self.events.remove(place) else {
            return;
        };
        let group = group_of(&event);
        if let Some(count) = self.counts.get_mut(&group) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&group);
            }
        }
    }

    /// Goes on where the journal of another agent ended. Events whose numbers do not grow are no journal, and are
    /// left behind.
    pub fn adopt(&mut self, events: Vec<Event>) {
        let Some(last) = events.last() else {
            return;
        };
        let mut numbers = events.iter().map(|event| event.sequence);
        let grow = events
            .iter()
            .map(|event| event.sequence)
            .is_sorted_by(|a, b| a < b);
        if !grow || numbers.any(|number| !(1..LARGEST_ADOPTED).contains(&number)) {
            return;
        }
        *self = Self {
            next: last.sequence + 1,
            ..Self::default()
        };
        for event in events {
            self.push(event);
        }
    }

    /// The last `count` events, or all that are kept.
    pub fn last(&self, count: Option<usize>) -> EventsReply {
        let kept = self.events.len();
        let wanted = count.unwrap_or(kept).min(kept);
        self.reply(kept - wanted, 0)
    }

    /// The events from number `sequence` on, and how many of those are no longer kept.
    pub fn since(&self, sequence: u64) -> EventsReply {
        let skipped = self
            .events
            .partition_point(|event| event.sequence < sequence);
        let kept = (self.events.len() - skipped) as u64;
        // The first is number 1.
        let wanted = self.next.saturating_sub(sequence.max(1));
        self.reply(skipped, wanted - kept)
    }

    fn reply(&self, skipped: usize, missed: u64) -> EventsReply {
        EventsReply {
            events: self.events.range(skipped..).cloned().collect(),
            missed,
            next_sequence: self.next,
        }
    }
}

fn group_of(event: &Event) -> Group {
    Group::of(event.kind, &event.subject)
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
        let mut longer = told.clone();
        for number in 1..=10 {
            let last = longer.last().unwrap().clone();
            let sequence = last.sequence + number;
            longer.push(Event { sequence, ..last });
        }
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
    fn what_changes_most_makes_room_and_orders_have_their_own() {
        let record = |journal: &mut Journal, kind, subject: &str| {
            let change = Change {
                kind,
                subject: subject.to_owned(),
                ..change(&"x")
            };
            journal.record(Duration::ZERO, change);
        };
        let mut journal = Journal::default();
        record(&mut journal, EventKind::Order, "paris");
        record(&mut journal, EventKind::Configuration, "a.toml");
        for subject in ["rome/rome-1", "rome", "oslo"] {
            record(&mut journal, EventKind::Link, subject);
        }
        for _ in 0..3 * CAPACITY {
            record(&mut journal, EventKind::Link, "paris/paris-1");
            record(&mut journal, EventKind::Site, "paris");
        }
        let reply = journal.last(None);
        assert_eq!(numbers(&reply)[..5], [1, 2, 3, 4, 5]);
        assert_eq!(reply.events.len(), CAPACITY + 2);
        let missed = journal.since(3).missed;
        assert_eq!(missed, 5 * CAPACITY as u64 + 3);
        assert_eq!(journal.since(reply.next_sequence - 2).missed, 0);

        for _ in 0..2 * ORDERS {
            record(&mut journal, EventKind::Order, "oslo");
        }
        assert_eq!(journal.events.len(), CAPACITY + ORDERS);
        let mut next = Journal::default();
        next.adopt(journal.last(None).events);
        assert_eq!(next.events, journal.events);
        assert_eq!(next.counts, journal.counts);
    }

    #[test]
    fn a_number_that_is_not_yet_given_out_gets_nothing() {
        let reply = journal(1).since(u64::MAX);
        assert_eq!((numbers(&reply), reply.missed), (vec![], 0));
    }
}
