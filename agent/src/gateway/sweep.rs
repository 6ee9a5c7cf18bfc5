//! The walk through the flow table that goes on for ever, a step at each tick: what is over leaves the table and is
//! recorded, and the account of what the programs counted is settled at the end of each pass.
//!
//! A flow is taken out of the table, then the account is written down, then its record goes out. An agent that is killed
//! in between has told some flows to nobody, and none twice.

mod account_file;

use std::collections::HashMap;
use std::time::Instant;

use datapath_abi::flow::{FlowCounters, FlowKey, NOT_SEEN_HERE};
use datapath_abi::outcome::Tally;

use super::Gateway;
use super::answer::{name_in, site_names};
use super::desired::Desired;
use super::judge::Judge;
use super::plan::Plan;
use super::warnings::Source;
use crate::control::message::{
    EndReason, EvictedFlows, FinishedFlow, FinishedRecord, LinkState, WallClock,
};
use crate::datapath::{Account, FlowEnd, Flows, Opening, Walk, counted};
use crate::discovery::{self, Discovery};
use crate::export::recent::{CAPACITY, Recent};
use crate::export::{Batch, Export};
use crate::gateway::links::Links;
use crate::ids::SiteId;
use crossway_sys::clock;

/// The last finished flows, that others may read.
pub(super) type SharedRecent = tokio::sync::watch::Sender<Recent>;

/// Ticks between two looks at what was dropped, for the collector.
const DROPS_EACH: u64 = 10;
/// Flows of a batch when the gateway stops.
const BATCH: usize = 4096;

/// The present pass.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    /// What had come before it.
    opening: Option<Opening>,
    present: u64,
    living: Tally,
    /// It has begun.
    under_way: bool,
    steps: u64,
    /// The account as it was written down last.
    written: Option<Account>,
}

/// A flow that was taken out of the table.
type Taken = (FlowKey, FlowCounters, EndReason);

impl Gateway {
    pub(super) fn sweep_flows(&mut self, now: Instant) {
        self.export.configure(&self.desired.config.flows);
        self.configure_discovery();
        if let Some(datapath) = &self.forwarding.datapath
            && self.sweep.opening.is_none()
        {
            self.sweep.opening = datapath.flows.open(self.carried()).ok();
        }
        let mut taken: Vec<Taken> = Vec::new();
        let finish = |key: &FlowKey, counters: &FlowCounters, end: FlowEnd| {
            taken.push((*key, *counters, reason_of(end)));
        };
        let discovers = self.discovery.is_on();
        let mut met = Vec::new();
        let visit = |key: &FlowKey, counters: &FlowCounters| {
            if discovers && Discovery::wants(key, counters) {
                met.push((*key, *counters));
            }
        };
        let (forwarding, plan) = (&mut self.forwarding, &self.desired.plan);
        let swept = self
            .replicas
            .sweep_flows(forwarding, plan, now, visit, finish);
        let began = !std::mem::replace(&mut self.sweep.under_way, !swept.finished);
        if discovers {
            let flows = (met, of_interest(&taken));
            let batch = discovery::batch(flows, (began, swept.finished), names(plan));
            self.discovery.push(batch);
        }
        self.sweep.present += swept.seen.saturating_sub(swept.removed) as u64;
        self.sweep.living += swept.living;
        let evicted = if swept.finished {
            self.settle_pass()
        } else {
            None
        };
        self.write_account();
        self.tell_finished(&taken, evicted);
        self.warnings
            .replace(Source::Export, self.export.warnings());
    }

    /// The end of a pass: what the kernel has evicted since the last one.
    fn settle_pass(&mut self) -> Option<EvictedFlows> {
        let opening = self.sweep.opening.take();
        let present = std::mem::take(&mut self.sweep.present);
        let living = std::mem::take(&mut self.sweep.living);
        let flows = &mut self.forwarding.datapath.as_mut()?.flows;
        flows.settle(&opening?, present, living);
        evicted(flows)
    }

    fn tell_finished(&mut self, taken: &[Taken], evicted: Option<EvictedFlows>) {
        self.sweep.steps += 1;
        // Where nobody keeps them all, the last ones do.
        let wanted = if self.export.is_on() {
            taken
        } else {
            &taken[taken.len().saturating_sub(CAPACITY)..]
        };
        let mut records = records(wanted, &self.desired, &self.forwarding.links);
        records.extend(evicted.map(FinishedRecord::Evicted));
        let look = self.sweep.steps % DROPS_EACH == 1;
        if look {
            records.extend(self.finish_denied());
        }
        if !records.is_empty() {
            self.tell_history_of_flows(&records);
            self.finished.send_modify(|recent| recent.extend(&records));
        }
        if self.export.is_on() {
            let drops = look.then(|| self.drops().ok()).flatten();
            let drops = drops.map_or_else(Vec::new, |reply| reply.drops);
            self.export.push(Batch { records, drops });
        }
    }

    /// The gateway stops, and the programs count no more: every flow is over.
    pub(super) fn finish_flows(&mut self) {
        let carried = self.carried();
        let drops = self
            .drops()
            .map_or_else(|_| Vec::new(), |reply| reply.drops);
        let denied = self.end_denied();
        account_file::remove(&self.desired.config.gateway.name);
        let (desired, links) = (&self.desired, &self.forwarding.links);
        if let Some(datapath) = &mut self.forwarding.datapath
            && (self.export.is_on() || self.discovery.is_on())
        {
            let end = Export::end_of_last_words();
            let told = end_all(&mut datapath.flows, carried, |taken, evicted| {
                let flows = (Vec::new(), of_interest(taken));
                let batch = discovery::batch(flows, (false, false), names(&desired.plan));
                self.discovery.push_waiting(batch, end);
                let mut records = records(taken, desired, links);
                records.extend(evicted.map(FinishedRecord::Evicted));
                let drops = Vec::new();
                self.export.push_waiting(Batch { records, drops }, end);
            });
            if let Err(error) = told {
                tracing::warn!("the last flows could not be told: {error:#}");
            }
            let records = denied;
            self.export.push_waiting(Batch { records, drops }, end);
        }
        self.export.finish();
        self.discovery.finish();
    }

    /// What the programs have counted for all sites.
    pub(super) fn carried(&self) -> Tally {
        let Some(datapath) = &self.forwarding.datapath else {
            return Tally::default();
        };
        let sites = self.desired.plan.sites.iter();
        let counters = sites.filter_map(|site| datapath.sites.counters(site.id).ok());
        counters.map(|counters| counters.total()).sum()
    }

    /// Goes on with the account of an agent that was killed, if it has left one with this table.
    pub(super) fn find_flow_account(&mut self) {
        let carried = self.carried();
        let name = &self.desired.config.gateway.name;
        let Some(datapath) = &mut self.forwarding.datapath else {
            return;
        };
        if !datapath.took_over() {
            account_file::remove(name);
            return;
        }
        let flows = &mut datapath.flows;
        if let Some(account) = account_file::read(name, flows.id()) {
            flows.set_account(account);
        } else if let Err(error) = flows.begin_without_history(carried) {
            tracing::debug!("{error:#}");
        }
    }

    fn write_account(&mut self) {
        let Some(datapath) = &self.forwarding.datapath else {
            return;
        };
        let account = datapath.flows.account();
        if self.sweep.written.as_ref() == Some(account) {
            return;
        }
        let name = &self.desired.config.gateway.name;
        account_file::write(name, datapath.flows.id(), account);
        self.sweep.written = Some(account.clone());
    }
}

/// Shows all flows of the table, and what was evicted.
fn end_all(
    flows: &mut Flows,
    carried: Tally,
    mut tell: impl FnMut(&[Taken], Option<EvictedFlows>),
) -> anyhow::Result<()> {
    let opening = flows.open(carried)?;
    let (mut walk, mut present, mut living) = (Walk::default(), 0, Tally::default());
    loop {
        let mut taken: Vec<Taken> = Vec::new();
        let last = flows.step(&mut walk, BATCH, |key, counters| {
            taken.push((*key, *counters, EndReason::Stopped));
        })?;
        present += taken.len() as u64;
        living += taken.iter().map(|(_, counters, _)| counted(counters)).sum();
        let evicted = if last {
            flows.settle(&opening, present, living);
            evicted(flows)
        } else {
            None
        };
        tell(&taken, evicted);
        if last {
            return Ok(());
        }
    }
}

/// Those that the catalogue of services may learn from.
fn of_interest(taken: &[Taken]) -> Vec<(FlowKey, FlowCounters)> {
    let flows = taken.iter().map(|(key, counters, _)| (*key, *counters));
    flows
        .filter(|(key, counters)| Discovery::wants(key, counters))
        .collect()
}

fn names(plan: &Plan) -> impl Iterator<Item = (u32, &str)> {
    let sites = plan.sites.iter();
    sites.map(|site| (site.id.0, site.config.name.as_str()))
}

fn evicted(flows: &mut Flows) -> Option<EvictedFlows> {
    let (count, counted) = flows.report_evicted()?;
    Some(EvictedFlows {
        unix_milliseconds: clock::since_epoch().as_millis() as u64,
        flows: count,
        packets: counted.packets,
        bytes: counted.bytes,
    })
}

/// Records of the flows that this gateway has seen; the others are the replica's to tell.
fn records(taken: &[Taken], desired: &Desired, links: &Links) -> Vec<FinishedRecord> {
    // As at most ticks; the names of all sites are not gathered for it.
    if taken.is_empty() {
        return Vec::new();
    }
    let names = site_names(&desired.plan);
    let judge = Judge::of(&desired.config.policy);
    let clock = WallClock {
        now_ns: clock::monotonic_ns(),
        unix_milliseconds: clock::since_epoch().as_millis() as u64,
    };
    let mut carriers: HashMap<u32, Vec<String>> = HashMap::new();
    let seen_here = taken
        .iter()
        .filter(|(_, counters, _)| counters.route_generation != NOT_SEEN_HERE);
    let records = seen_here.map(|(key, counters, end)| {
        let site = counters.site;
        let carriers = carriers
            .entry(site)
            .or_insert_with(|| carriers_of(links, SiteId(site)));
        let told = (name_in(&names, site), carriers.as_slice());
        let mut flow = FinishedFlow::new((key, counters), *end, told, clock);
        flow.policy = judge.flow(key, counters);
        FinishedRecord::Flow(Box::new(flow))
    });
    records.collect()
}

/// The links that carry a site's flows now, each once whatever its lanes.
fn carriers_of(links: &Links, site: SiteId) -> Vec<String> {
    let of_site = links.of_site(site);
    let carry = of_site
        .into_iter()
        .filter(|link| link.state == LinkState::Up && links.carries(link));
    let mut names: Vec<String> = carry.map(|link| link.planned.name()).collect();
    names.sort();
    names.dedup();
    names
}

fn reason_of(end: FlowEnd) -> EndReason {
    match end {
        FlowEnd::Idle => EndReason::Idle,
        FlowEnd::Closed => EndReason::Closed,
        FlowEnd::Pressure => EndReason::Pressure,
    }
}
