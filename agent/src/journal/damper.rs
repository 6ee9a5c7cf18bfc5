//! Keeps the log and the journal readable while something changes all the time: what a site, or anything else, does
//! more often than [`MOST_IN_A_SECOND`] is counted and told now and then. Pure.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use super::{Change, Group};
use crate::control::message::EventKind;

/// Changes of one group that are told within a second.
const MOST_IN_A_SECOND: u32 = 10;
const SECOND: Duration = Duration::from_secs(1);
/// How often it is told of what was not told.
const SUMMARY_AFTER: Duration = Duration::from_secs(5);

/// What was told of late, and what was not.
#[derive(Debug, Default)]
pub struct Damper {
    groups: HashMap<Group, Told>,
}

#[derive(Debug)]
struct Told {
    /// When the second began.
    began: Instant,
    in_second: u32,
    suppressed: BTreeMap<(&'static str, String), Suppressed>,
    /// Since when there is anything in `suppressed`.
    since: Instant,
}

/// Changes of one subject that were not told.
#[derive(Debug)]
struct Suppressed {
    count: u64,
    last: Change,
}

impl Damper {
    /// The change, if it is to be told now.
    pub fn admit(&mut self, change: Change, now: Instant) -> Option<Change> {
        let group = Group::of(change.kind, &change.subject);
        if group == Group::Orders {
            return Some(change);
        }
        let told = self.groups.entry(group).or_insert_with(|| Told {
            began: now,
            in_second: 0,
            suppressed: BTreeMap::new(),
            since: now,
        });
        if now >= told.began + SECOND {
            (told.began, told.in_second) = (now, 0);
        }
        let key = (change.kind.as_str(), change.subject.clone());
        // What has been suppressed is told first, all in one.
        if told.in_second < MOST_IN_A_SECOND && !told.suppressed.contains_key(&key) {
            told.in_second += 1;
            return Some(change);
        }
        if told.suppressed.is_empty() {
            told.since = now;
        }
        let count = told.suppressed.get(&key).map_or(0, |before| before.count);
        let suppressed = Suppressed {
            count: count + 1,
            last: change,
        };
        told.suppressed.insert(key, suppressed);
        None
    }

    /// What is to be told of changes that were not, one line for each that has changed.
    pub fn poll(&mut self, now: Instant) -> Vec<Change> {
        let mut summaries = Vec::new();
        self.groups.retain(|_, told| {
            if now >= told.since + SUMMARY_AFTER {
                let suppressed = std::mem::take(&mut told.suppressed).into_values();
                summaries.extend(suppressed.map(Suppressed::summary));
            }
            !told.suppressed.is_empty() || now < told.began + SECOND
        });
        summaries.sort_by(|a, b| a.subject.cmp(&b.subject));
        summaries
    }
}

impl Suppressed {
    fn summary(self) -> Change {
        let Self { count, last } = self;
        let cause = format!(
            "flapping, {count} changes suppressed; the last: {}",
            last.cause
        );
        Change {
            from: None,
            cause,
            ..last
        }
    }
}

impl Group {
    /// That of a change.
    pub(super) fn of(kind: EventKind, subject: &str) -> Self {
        match kind {
            EventKind::Order | EventKind::Configuration | EventKind::Gateway => Self::Orders,
            EventKind::Link | EventKind::Site => {
                let site = subject.split('/').next().unwrap_or(subject);
                Self::Site(site.to_owned())
            }
            _ => Self::Other(kind.as_str(), subject.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossway_sys::clock;

    fn change(kind: EventKind, subject: &str, to: &str) -> Change {
        Change {
            kind,
            subject: subject.to_owned(),
            from: Some("before".to_owned()),
            to: to.to_owned(),
            cause: "BFD".to_owned(),
        }
    }

    #[test]
    fn a_site_that_flaps_is_told_of_a_few_times_a_second_and_then_summed_up() {
        let (mut damper, start) = (Damper::default(), clock::now());
        let mut told = 0;
        for at in 0..1000 {
            let now = start + SECOND * at / 500;
            for (kind, subject) in [
                (EventKind::Link, "paris/paris-1"),
                (EventKind::Site, "paris"),
            ] {
                let to = if at % 2 == 0 { "Down" } else { "Up" };
                told += u32::from(damper.admit(change(kind, subject, to), now).is_some());
            }
            assert_eq!(damper.poll(now), []);
        }
        assert!(
            (MOST_IN_A_SECOND..=2 * MOST_IN_A_SECOND).contains(&told),
            "{told}"
        );
        let later = start + SUMMARY_AFTER * 2;
        let summaries = damper.poll(later);
        let subjects: Vec<&str> = summaries.iter().map(|sum| sum.subject.as_str()).collect();
        assert_eq!(subjects, ["paris", "paris/paris-1"]);
        assert_eq!(summaries[0].to, "Up", "how it is now");
        let cause = &summaries[1].cause;
        assert!(
            cause.starts_with("flapping, ") && cause.contains(" changes suppressed"),
            "{cause}"
        );
        assert_eq!(damper.poll(later), []);
        assert!(damper.groups.is_empty());
    }

    #[test]
    fn nobody_else_is_kept_quiet_by_it_and_orders_never_are() {
        let (mut damper, now) = (Damper::default(), clock::now());
        for _ in 0..100 {
            damper.admit(change(EventKind::Link, "paris/paris-1", "Up"), now);
        }
        assert!(
            damper
                .admit(change(EventKind::Site, "paris", "Up"), now)
                .is_none()
        );
        for (kind, subject) in [
            (EventKind::Link, "rome/rome-1"),
            (EventKind::Host, "paris"),
            (EventKind::Order, "paris/paris-1"),
        ] {
            assert!(
                damper.admit(change(kind, subject, "Up"), now).is_some(),
                "{subject}"
            );
        }
        for _ in 0..100 {
            let reload = change(EventKind::Configuration, "a.toml", "applied");
            assert!(damper.admit(reload, now).is_some());
        }
    }
}
