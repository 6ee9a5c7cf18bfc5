//! The first flows of an order, of however many are shown.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use datapath_abi::flow::{FlowCounters, FlowKey};

use crate::control::FlowSort;

/// A flow that may be on the page.
#[derive(Clone, Copy, Debug)]
pub(in crate::gateway) struct Candidate {
    pub(super) key: FlowKey,
    pub(super) counters: FlowCounters,
    /// Bytes per second to the site, and from it.
    pub(super) rates: (u64, u64),
    place: Place,
}

/// Where a flow comes in the order: the heaviest first, and among equals by a hash, which no two pages see otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(Reverse<u64>, u64);

impl Place {
    /// `5000-9a3f`, as [`Self::parse`] reads it.
    pub(super) fn text(self) -> String {
        format!("{}-{:x}", self.0.0, self.1)
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let (weight, hash) = text.split_once('-')?;
        let hash = u64::from_str_radix(hash, 16).ok()?;
        Some(Self(Reverse(weight.parse().ok()?), hash))
    }
}

impl Candidate {
    pub(super) fn new(
        sort: FlowSort,
        key: &FlowKey,
        counters: &FlowCounters,
        rates: (u64, u64),
    ) -> Self {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let sum = |to: u64, from: u64| to.saturating_add(from);
        // Of times, those that do not change from page to page.
        let weight = match sort {
            FlowSort::Bytes => sum(counters.to_site_bytes, counters.from_site_bytes),
            FlowSort::Packets => sum(counters.to_site_packets, counters.from_site_packets),
            FlowSort::Rate => sum(rates.0, rates.1),
            FlowSort::Age => u64::MAX - counters.first_seen_ns,
            FlowSort::Idle => u64::MAX - counters.last_seen_ns,
            FlowSort::Table => 0,
        };
        Self {
            key: *key,
            counters: *counters,
            rates,
            place: Place(Reverse(weight), hasher.finish()),
        }
    }
}

/// Keeps the first `limit` flows of those it is shown, behind `after`.
#[derive(Debug)]
pub(super) struct Best {
    limit: usize,
    after: Option<Place>,
    found: Vec<Candidate>,
    /// Whether there are more than it keeps.
    more: bool,
}

impl Best {
    pub(super) fn new(limit: usize, after: Option<Place>) -> Self {
        Self {
            limit,
            after,
            found: Vec::new(),
            more: false,
        }
    }

    pub(super) fn push(&mut self, candidate: Candidate) {
        if self.after.is_some_and(|after| candidate.place <= after) {
            return;
        }
        self.found.push(candidate);
        // Twice as many, so that to select costs little for each.
        if self.found.len() >= 2 * self.limit.max(64) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        if self.found.len() > self.limit {
            self.found
                .select_nth_unstable_by_key(self.limit, |candidate| candidate.place);
            self.found.truncate(self.limit);
            self.more = true;
        }
    }

    /// The flows in their order, each once, and where the next page begins, if there is one.
    pub(super) fn finish(&mut self) -> (Vec<Candidate>, Option<Place>) {
        self.cut();
        let mut found = std::mem::take(&mut self.found);
        found.sort_unstable_by_key(|candidate| candidate.place);
        let mut seen = HashSet::new();
        found.retain(|candidate| seen.insert(candidate.key));
        let last = found.last().map(|candidate| candidate.place);
        (found, last.filter(|_| self.more))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(number: u16) -> Candidate {
        let key = FlowKey {
            local_port: number.to_be_bytes(),
            ..FlowKey::default()
        };
        let counters = FlowCounters {
            // Many are alike.
            to_site_bytes: u64::from(number % 50),
            ..FlowCounters::default()
        };
        Candidate::new(FlowSort::Bytes, &key, &counters, (0, 0))
    }

    #[test]
    fn pages_hold_every_flow_once_and_heavier_ones_first() {
        let (mut after, mut weights, mut keys) = (None, Vec::new(), HashSet::new());
        loop {
            let mut best = Best::new(70, after);
            (0..1000).for_each(|number| best.push(flow(number)));
            let (page, next) = best.finish();
            assert!(page.len() <= 70);
            weights.extend(page.iter().map(|flow| flow.counters.to_site_bytes));
            keys.extend(page.iter().map(|flow| flow.key));
            let Some(next) = next else { break };
            after = Place::parse(&next.text());
            assert_eq!(after, Some(next));
        }
        assert_eq!((weights.len(), keys.len()), (1000, 1000));
        assert!(weights.is_sorted_by(|a, b| a >= b));
    }

    #[test]
    fn a_page_of_nothing_and_a_place_that_is_none() {
        let mut best = Best::new(0, None);
        best.push(flow(1));
        assert!(best.finish().0.is_empty());
        for wrong in ["", "-", "1", "x-1", "1-x", "1-1-1"] {
            assert_eq!(Place::parse(wrong), None, "{wrong}");
        }
    }
}
