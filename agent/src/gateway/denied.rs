//! Flows that no rule allows. They are in no flow table, so that none of those gives way to them; programs and lanes each
//! keep a list of the last ones. Here they are as entries of a table would be.

use anyhow::Result;
use datapath_abi::flow::{FlowCounters, FlowKey, OpenedBy};
use datapath_abi::policy::Denied;

use super::Gateway;
use super::answer::{name_in, site_names};
use super::judge::Judge;
use crate::control::FlowEnds;
use crate::control::message::{EndReason, FinishedFlow, FinishedRecord, WallClock};
use crate::ids::SiteId;
use crossway_lane::policy::DeniedFlow as ByLanes;
use crossway_sys::clock;

/// Silence after which a denied flow is over, as that of an allowed one: nanoseconds.
const IDLE_NS: u64 = 300 * 1_000_000_000;

/// A denied flow, as an entry of the flow table.
pub(super) type DeniedFlow = (FlowKey, FlowCounters);

impl Gateway {
    /// All that are known.
    pub(super) fn denied(&mut self) -> Result<Vec<DeniedFlow>> {
        let mut denied: Vec<DeniedFlow> = Vec::new();
        if let Some(datapath) = &self.forwarding.datapath {
            let by_programs = datapath.policy.denied()?.into_iter();
            denied.extend(by_programs.map(|(key, entry)| (key, counters(&entry))));
        }
        let (by_lanes, _) = self.forwarding.judged_by_lanes();
        for flow in by_lanes.denied() {
            let far = FlowEnds::from(&flow.key).remote;
            let site = self.forwarding.site_of(far, &self.desired.plan);
            denied.push((flow.key, counters(&entry_of(&flow, site))));
        }
        Ok(denied)
    }

    /// Takes those off the lists that have been silent for long; a record of each.
    pub(super) fn finish_denied(&mut self) -> Vec<FinishedRecord> {
        let now_ns = clock::monotonic_ns();
        let denied = self.denied().unwrap_or_default();
        let is_over =
            |counters: &FlowCounters| now_ns.saturating_sub(counters.last_seen_ns) > IDLE_NS;
        let mut over: Vec<DeniedFlow> = denied;
        over.retain(|(_, counters)| is_over(counters));
        // One that could not be taken off is told of the next time.
        over.retain(|(key, _)| self.forwarding.forget_denied(key).unwrap_or(false));
        self.records_of_denied(&over, EndReason::Idle)
    }

    /// Records of all of them: the gateway stops.
    pub(super) fn end_denied(&mut self) -> Vec<FinishedRecord> {
        let denied = self.denied().unwrap_or_default();
        self.records_of_denied(&denied, EndReason::Stopped)
    }

    fn records_of_denied(&self, denied: &[DeniedFlow], end: EndReason) -> Vec<FinishedRecord> {
        if denied.is_empty() {
            return Vec::new();
        }
        let names = site_names(&self.desired.plan);
        let judge = Judge::of(&self.desired.config.policy);
        let clock = WallClock {
            now_ns: clock::monotonic_ns(),
            unix_milliseconds: clock::since_epoch().as_millis() as u64,
        };
        let records = denied.iter().map(|(key, counters)| {
            let told = (name_in(&names, counters.site), &[][..]);
            let mut flow = FinishedFlow::new((key, counters), end, told, clock);
            flow.policy = judge.denied(key, counters);
            FinishedRecord::Flow(Box::new(flow))
        });
        records.collect()
    }
}

/// What the lanes have denied, as the programs note it.
fn entry_of(flow: &ByLanes, site: Option<SiteId>) -> Denied {
    Denied {
        first_seen_ns: flow.first_seen_ns,
        last_seen_ns: flow.last_seen_ns,
        packets: flow.packets,
        bytes: flow.bytes,
        site: site.map_or(u32::MAX, |site| site.0),
        opened_by: flow.opened_by as u8,
        ..Denied::default()
    }
}

/// What was denied, as an entry of the flow table.
fn counters(denied: &Denied) -> FlowCounters {
    let one_way = FlowCounters {
        first_seen_ns: denied.first_seen_ns,
        last_seen_ns: denied.last_seen_ns,
        site: denied.site,
        opened_by: denied.opened_by,
        ..FlowCounters::default()
    };
    let (packets, bytes) = (denied.packets, denied.bytes);
    if denied.opened_by == OpenedBy::Remote as u8 {
        FlowCounters {
            from_site_packets: packets,
            from_site_bytes: bytes,
            ..one_way
        }
    } else {
        FlowCounters {
            to_site_packets: packets,
            to_site_bytes: bytes,
            ..one_way
        }
    }
}
