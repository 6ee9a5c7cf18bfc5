//! Of the conversations that have ended, those with the most bytes, hour by hour.

use std::cmp::Reverse;
use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::control::message::{FinishedFlow, FinishedRecord};

/// Conversations of an hour, and of an answer.
pub(super) const MOST: usize = 10;
const HOUR_MS: u64 = 3_600_000;
/// A day, and the hour under way.
const HOURS: usize = 25;

/// Those of one hour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Hour {
    /// By the clock that counts since boot.
    began: u64,
    /// The heaviest first.
    flows: Vec<FinishedFlow>,
}

/// Those of the last day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Heaviest {
    hours: VecDeque<Hour>,
}

impl Heaviest {
    /// Takes what has ended.
    pub(super) fn extend(&mut self, records: &[FinishedRecord], now: u64) {
        let flows = records.iter().filter_map(|record| match record {
            FinishedRecord::Flow(flow) => Some(flow.as_ref()),
            FinishedRecord::Evicted(_) => None,
        });
        for flow in flows {
            let hour = self.hour(now);
            let place = hour
                .flows
                .partition_point(|other| bytes(other) >= bytes(flow));
            if place < MOST {
                hour.flows.insert(place, flow.clone());
                hour.flows.truncate(MOST);
            }
        }
    }

    fn hour(&mut self, now: u64) -> &mut Hour {
        let last = self.hours.back();
        if last.is_none_or(|hour| now >= hour.began + HOUR_MS) {
            let flows = Vec::new();
            self.hours.push_back(Hour { began: now, flows });
        }
        while self.hours.len() > HOURS {
            self.hours.pop_front();
        }
        let last = self.hours.len() - 1;
        &mut self.hours[last]
    }

    /// The heaviest that ended since a time of the wall clock, of a site if one is given.
    pub(super) fn since(&self, unix_milliseconds: u64, site: Option<&str>) -> Vec<FinishedFlow> {
        let flows = self.hours.iter().flat_map(|hour| &hour.flows);
        let wanted = flows.filter(|flow| {
            flow.last_seen_unix_milliseconds >= unix_milliseconds
                && site.is_none_or(|site| flow.site == site)
        });
        let mut wanted: Vec<FinishedFlow> = wanted.cloned().collect();
        wanted.sort_by_key(|flow| Reverse(bytes(flow)));
        wanted.truncate(MOST);
        wanted
    }
}

fn bytes(flow: &FinishedFlow) -> u64 {
    flow.to_site_bytes.saturating_add(flow.from_site_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::message::{EndReason, WallClock};

    fn flow(bytes: u64, at: u64) -> FinishedRecord {
        let clock = WallClock {
            now_ns: 0,
            unix_milliseconds: at,
        };
        let counters = datapath_abi::flow::FlowCounters {
            to_site_bytes: bytes,
            ..Default::default()
        };
        let key = datapath_abi::flow::FlowKey::default();
        let of = ("paris", &[][..]);
        let flow = FinishedFlow::new((&key, &counters), EndReason::Idle, of, clock);
        FinishedRecord::Flow(Box::new(flow))
    }

    #[test]
    fn the_heaviest_of_each_hour_stay_and_an_answer_has_the_heaviest_of_all() {
        let mut heaviest = Heaviest::default();
        for hour in 0..100 {
            let now = hour * HOUR_MS;
            let flows: Vec<_> = (0..50).map(|bytes| flow(hour * 100 + bytes, now)).collect();
            heaviest.extend(&flows, now);
        }
        assert_eq!(heaviest.hours.len(), HOURS);
        assert!(heaviest.hours.iter().all(|hour| hour.flows.len() == MOST));
        let told: Vec<u64> = heaviest.since(0, None).iter().map(bytes).collect();
        assert_eq!(told.len(), MOST);
        assert_eq!((told[0], told[9]), (9949, 9940));
        assert!(heaviest.since(0, Some("rome")).is_empty());
        assert!(heaviest.since(u64::MAX, None).is_empty());
    }
}
