//! Outages of sites and links, bounded. Those of what fails most often make room: one that flaps cannot push out
//! what happened to another.

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::control::message::SeriesKind;

/// Outages that are kept, some 200 KiB.
pub(super) const CAPACITY: usize = 1024;
/// Characters of a cause.
const LONGEST_CAUSE: usize = 200;

/// One of them, by the clock that counts since boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) kind: SeriesKind,
    pub(super) name: String,
    pub(super) site: String,
    pub(super) began: u64,
    pub(super) ended: Option<u64>,
    pub(super) cause: String,
}

/// The last outages, by when they began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Outages {
    pub(super) kept: VecDeque<Kept>,
    pub(super) left_out: u64,
}

impl Outages {
    pub(super) fn begin(
        &mut self,
        (kind, name, site): (SeriesKind, &str, &str),
        now: u64,
        cause: &str,
    ) {
        if self.kept.len() >= CAPACITY {
            self.make_room();
        }
        self.kept.push_back(Kept {
            kind,
            name: name.to_owned(),
            site: site.to_owned(),
            began: now,
            ended: None,
            cause: shortened(cause, LONGEST_CAUSE),
        });
    }

    pub(super) fn end(&mut self, kind: SeriesKind, name: &str, now: u64) {
        let mut of_it = self.kept.iter_mut().rev();
        let open = of_it.find(|kept| kept.kind == kind && kept.name == name);
        if let Some(open) = open.filter(|kept| kept.ended.is_none()) {
            open.ended = Some(now);
        }
    }

    /// Forgets what ended before.
    pub(super) fn expire(&mut self, before: u64) {
        self.kept
            .retain(|kept| kept.ended.is_none_or(|ended| ended >= before));
    }

    fn make_room(&mut self) {
        let mut counts: HashMap<(SeriesKind, &str), usize> = HashMap::new();
        for kept in self.kept.iter().filter(|kept| kept.ended.is_some()) {
            *counts.entry((kept.kind, &kept.name)).or_default() += 1;
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count);
        let oldest = most.and_then(|((kind, name), _)| {
            let mut kept = self.kept.iter();
            kept.position(|kept| kept.kind == kind && kept.name == name && kept.ended.is_some())
        });
        self.kept.remove(oldest.unwrap_or(0));
        self.left_out += 1;
    }
}

/// At most so many characters of a text.
pub(super) fn shortened(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_most_often_makes_room() {
        let mut outages = Outages::default();
        outages.begin((SeriesKind::Site, "rome", "rome"), 1, "no answer");
        outages.end(SeriesKind::Site, "rome", 2);
        for number in 0..3 * CAPACITY as u64 {
            outages.begin((SeriesKind::Link, "paris/p", "paris"), number, "flaps");
            outages.end(SeriesKind::Link, "paris/p", number + 1);
        }
        assert_eq!(outages.kept.len(), CAPACITY);
        assert_eq!(outages.kept[0].name, "rome");
        assert_eq!(outages.left_out, 2 * CAPACITY as u64 + 1);
        // All that go on: the oldest goes.
        for number in 0..2 * CAPACITY {
            let name = number.to_string();
            outages.begin((SeriesKind::Link, &name, "x"), 9, "");
        }
        assert_eq!(outages.kept.len(), CAPACITY);
        outages.expire(u64::MAX);
        assert_eq!(outages.kept.len(), CAPACITY, "they go on");
    }

    #[test]
    fn only_the_last_one_of_a_link_ends_and_long_causes_are_cut() {
        let mut outages = Outages::default();
        let of = |name: &'static str| (SeriesKind::Link, name, "s");
        outages.begin(of("a"), 1, &"ä".repeat(1000));
        outages.begin(of("b"), 2, "b");
        outages.end(SeriesKind::Link, "a", 3);
        outages.end(SeriesKind::Link, "a", 9);
        outages.end(SeriesKind::Link, "c", 9);
        let ends: Vec<_> = outages.kept.iter().map(|kept| kept.ended).collect();
        assert_eq!(ends, [Some(3), None]);
        assert_eq!(outages.kept[0].cause.chars().count(), LONGEST_CAUSE + 1);
        outages.expire(4);
        assert_eq!(outages.kept.len(), 1);
    }
}
