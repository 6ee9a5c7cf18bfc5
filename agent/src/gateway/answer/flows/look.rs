//! The looks at the flow table that a page takes.

use std::collections::HashMap;

use anyhow::{Result, anyhow};
use datapath_abi::flow::{FlowCounters, FlowKey};
use datapath_abi::outcome::Tally;

use super::best::{Best, Candidate, Place};
use crate::control::message::{FlowsRequest, MAX_PAGE};
use crate::control::{FlowEnds, FlowFilter, FlowSort, FlowView, PolicyOfFlow, Wrong};
use crate::datapath::{Flows, Opening, Walk};
use crate::gateway::judge::Judge;

const NANOSECONDS_PER_SECOND: u64 = 1_000_000_000;
/// Flows whose byte counts are remembered between two looks, some 20 MB. More are looked at in turn.
const REGION: usize = 1 << 18;
/// A batch of the table.
const BATCH: usize = 4096;

/// What a step leads to.
pub(super) enum Next {
    /// Another one.
    Step,
    /// Another one, once there is a rate to be seen.
    Wait,
    /// The page.
    Done(Vec<Candidate>),
}

/// What is known of flows beside their table.
pub(super) struct Known<'a, Site> {
    /// Names of the sites by their numbers.
    pub(super) site: Site,
    pub(super) judge: Judge<'a>,
}

/// A page in the making.
pub(super) struct Look {
    sort: FlowSort,
    limit: usize,
    without_rates: bool,
    phase: Phase,
    walk: Walk,
    best: Best,
    /// In the order of the table.
    page: Vec<Candidate>,
    /// What was met by a walk through the whole table.
    met: Met,
    opening: Option<Opening>,
    next: Option<String>,
}

#[derive(Default)]
struct Met {
    matched: u64,
    present: u64,
    counted: Tally,
}

enum Phase {
    /// Walks, and keeps what comes first.
    Gather,
    /// The page is known: a second look at its flows tells their rates.
    Again { page: Vec<Candidate>, then_ns: u64 },
    /// The order depends on rates: remembers a region of the table, from `start` on.
    Remember(Region),
    /// And looks at it again.
    Compare { region: Region, end: Option<Walk> },
}

struct Region {
    start: Walk,
    start_ns: u64,
    before: HashMap<FlowKey, (u64, u64)>,
}

impl Region {
    fn new(start: Walk, start_ns: u64) -> Self {
        Self {
            start,
            start_ns,
            before: HashMap::new(),
        }
    }

    /// Bytes per second, where a flow was met before or has come since.
    fn rates(&self, key: &FlowKey, counters: &FlowCounters, now_ns: u64) -> Option<(u64, u64)> {
        let before = match self.before.get(key) {
            Some(before) => *before,
            None if counters.first_seen_ns >= self.start_ns => (0, 0),
            None => return None,
        };
        Some(rates(
            before,
            counters,
            now_ns.saturating_sub(self.start_ns),
        ))
    }
}

impl Look {
    pub(super) fn begin(request: &FlowsRequest, flows: &Flows, carried: Tally) -> Result<Self> {
        let wrong = || {
            let why =
                "`after` is not where a page of this order ended: write what `next` says there";
            anyhow!(Wrong(why.to_owned()))
        };
        let after = request.after.as_deref();
        let (walk, after) = if request.sort == FlowSort::Table {
            let walk = after.map(str::parse).transpose();
            (walk.map_err(|()| wrong())?.unwrap_or_default(), None)
        } else {
            let place = after.map(|text| Place::parse(text).ok_or_else(wrong));
            (Walk::default(), place.transpose()?)
        };
        let by_rate =
            request.sort == FlowSort::Rate || request.filter.min_bytes_per_second.is_some();
        let by_rate = by_rate && request.sort != FlowSort::Table && !request.without_rates;
        let whole = request.sort != FlowSort::Table;
        let least = if whole { 0 } else { Flows::LEAST_STEP };
        let limit = request.top.unwrap_or(MAX_PAGE).clamp(least, MAX_PAGE);
        Ok(Self {
            sort: request.sort,
            limit,
            without_rates: request.without_rates,
            phase: if by_rate {
                Phase::Remember(Region::new(walk, crossway_sys::clock::monotonic_ns()))
            } else {
                Phase::Gather
            },
            walk,
            best: Best::new(limit, after),
            page: Vec::new(),
            met: Met::default(),
            opening: whole.then(|| flows.open(carried)).transpose()?,
            next: None,
        })
    }

    /// Flows that match, as far as the walk went.
    pub(super) fn matched(&self) -> u64 {
        self.met.matched
    }

    /// Flows in the table, where the whole of it was walked through.
    pub(super) fn present(&self) -> Option<u64> {
        (self.sort != FlowSort::Table).then_some(self.met.present)
    }

    /// Where the next page begins, if there is one.
    pub(super) fn next_page(&self) -> Option<String> {
        self.next.clone()
    }

    /// Reads a batch.
    pub(super) fn step<'a>(
        &mut self,
        flows: &mut Flows,
        filter: &FlowFilter,
        known: &Known<'a, impl Fn(u32) -> &'a str>,
        now_ns: u64,
    ) -> Result<Next> {
        let asks_policy = filter.asks_policy();
        let wanted = |key: &FlowKey, counters: &FlowCounters| {
            let mut flow = view(key, counters, (known.site)(counters.site), now_ns);
            if asks_policy {
                flow.policy = known.judge.view(known.judge.ask_of_entry(key, counters));
            }
            filter.matches(&flow)
        };
        match std::mem::replace(&mut self.phase, Phase::Gather) {
            Phase::Gather if self.sort == FlowSort::Table => {
                self.gather_page(flows, wanted, now_ns)
            }
            Phase::Gather => self.gather(flows, wanted, now_ns),
            Phase::Again { page, then_ns } => {
                Self::look_again(flows, filter, page, now_ns.saturating_sub(then_ns))
            }
            Phase::Remember(region) => self.remember(flows, wanted, region),
            Phase::Compare { region, end } => {
                self.compare(flows, filter, wanted, (region, end), now_ns)
            }
        }
    }

    /// The next flows of the table that match, until there is a page of them.
    fn gather_page(
        &mut self,
        flows: &mut Flows,
        wanted: impl Fn(&FlowKey, &FlowCounters) -> bool,
        now_ns: u64,
    ) -> Result<Next> {
        let count = self.limit.saturating_sub(self.met.matched as usize);
        let (page, met) = (&mut self.page, &mut self.met);
        let last = flows.step(&mut self.walk, count.min(BATCH), |key, counters| {
            if wanted(key, counters) {
                met.matched += 1;
                page.push(Candidate::new(FlowSort::Table, key, counters, (0, 0)));
            }
        })?;
        let left = self.limit.saturating_sub(self.met.matched as usize);
        if !last && left >= Flows::LEAST_STEP {
            return Ok(Next::Step);
        }
        self.next = (!last).then(|| self.walk.to_string());
        let page = std::mem::take(&mut self.page);
        Ok(self.with_page(page, now_ns))
    }

    /// The first flows of the order, from the whole table.
    fn gather(
        &mut self,
        flows: &mut Flows,
        wanted: impl Fn(&FlowKey, &FlowCounters) -> bool,
        now_ns: u64,
    ) -> Result<Next> {
        let (best, met, sort) = (&mut self.best, &mut self.met, self.sort);
        let last = flows.step(&mut self.walk, BATCH, |key, counters| {
            met.meet(counters);
            if wanted(key, counters) {
                met.matched += 1;
                best.push(Candidate::new(sort, key, counters, (0, 0)));
            }
        })?;
        if !last {
            return Ok(Next::Step);
        }
        let page = self.finish(flows);
        Ok(self.with_page(page, now_ns))
    }

    fn with_page(&mut self, page: Vec<Candidate>, then_ns: u64) -> Next {
        if self.without_rates || page.is_empty() {
            return Next::Done(page);
        }
        self.phase = Phase::Again { page, then_ns };
        Next::Wait
    }

    /// A flow that has gone meanwhile is shown as it was.
    fn look_again(
        flows: &Flows,
        filter: &FlowFilter,
        mut page: Vec<Candidate>,
        elapsed_ns: u64,
    ) -> Result<Next> {
        for candidate in &mut page {
            if let Some(counters) = flows.get(&candidate.key)? {
                let before = bytes(&candidate.counters);
                candidate.rates = rates(before, &counters, elapsed_ns);
                candidate.counters = counters;
            }
        }
        page.retain(|candidate| filter.matches_rate(candidate.rates.0 + candidate.rates.1));
        Ok(Next::Done(page))
    }

    fn remember(
        &mut self,
        flows: &mut Flows,
        wanted: impl Fn(&FlowKey, &FlowCounters) -> bool,
        mut region: Region,
    ) -> Result<Next> {
        let met = &mut self.met;
        let last = flows.step(&mut self.walk, BATCH, |key, counters| {
            met.meet(counters);
            if wanted(key, counters) {
                region.before.insert(*key, bytes(counters));
            }
        })?;
        if !last && region.before.len() < REGION {
            self.phase = Phase::Remember(region);
            return Ok(Next::Step);
        }
        let end = (!last).then_some(self.walk);
        self.walk = region.start;
        self.phase = Phase::Compare { region, end };
        Ok(Next::Wait)
    }

    fn compare(
        &mut self,
        flows: &mut Flows,
        filter: &FlowFilter,
        wanted: impl Fn(&FlowKey, &FlowCounters) -> bool,
        (region, end): (Region, Option<Walk>),
        now_ns: u64,
    ) -> Result<Next> {
        let (best, met, sort) = (&mut self.best, &mut self.met, self.sort);
        let last = flows.step(&mut self.walk, BATCH, |key, counters| {
            if !wanted(key, counters) {
                return;
            }
            if let Some(rates) = region.rates(key, counters, now_ns)
                && filter.matches_rate(rates.0.saturating_add(rates.1))
            {
                met.matched += 1;
                best.push(Candidate::new(sort, key, counters, rates));
            }
        })?;
        match end {
            None if last => Ok(Next::Done(self.finish(flows))),
            Some(end) if self.walk >= end || last => {
                self.walk = end;
                self.phase = Phase::Remember(Region::new(end, now_ns));
                Ok(Next::Step)
            }
            _ => {
                self.phase = Phase::Compare { region, end };
                Ok(Next::Step)
            }
        }
    }

    fn finish(&mut self, flows: &mut Flows) -> Vec<Candidate> {
        if let Some(opening) = &self.opening {
            flows.settle(opening, self.met.present, self.met.counted);
        }
        let (page, next) = self.best.finish();
        self.next = next.map(Place::text);
        page
    }
}

impl Met {
    fn meet(&mut self, counters: &FlowCounters) {
        self.present += 1;
        let (to_site, from_site) = bytes(counters);
        self.counted += Tally {
            packets: counters
                .to_site_packets
                .wrapping_add(counters.from_site_packets),
            bytes: to_site.wrapping_add(from_site),
        };
    }
}

fn view<'a>(key: &FlowKey, counters: &FlowCounters, site: &'a str, now_ns: u64) -> FlowView<'a> {
    FlowView {
        ends: FlowEnds::from(key),
        site,
        to_site_packets: counters.to_site_packets,
        from_site_packets: counters.from_site_packets,
        age_seconds: now_ns.saturating_sub(counters.first_seen_ns) / NANOSECONDS_PER_SECOND,
        policy: PolicyOfFlow::default(),
    }
}

fn bytes(counters: &FlowCounters) -> (u64, u64) {
    (counters.to_site_bytes, counters.from_site_bytes)
}

fn rates(before: (u64, u64), counters: &FlowCounters, elapsed_ns: u64) -> (u64, u64) {
    let rate = |now: u64, then: u64| {
        let bytes = u128::from(now.saturating_sub(then)) * u128::from(NANOSECONDS_PER_SECOND);
        u64::try_from(bytes / u128::from(elapsed_ns.max(1))).unwrap_or(u64::MAX)
    };
    (
        rate(counters.to_site_bytes, before.0),
        rate(counters.from_site_bytes, before.1),
    )
}
