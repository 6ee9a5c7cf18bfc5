//! The catalogue: every service that has answered, with what was counted for it and what people have decided.
//!
//! It is filled from passes through the flow table and owns no time and no file: the [`store`](crate::store) keeps what has
//! changed.

mod answer;
mod entry;
mod orders;
mod running;

use std::collections::{BTreeMap, HashMap};

use crossway_api::filter::FlowEnds;
use crossway_api::message::WallClock;
use datapath_abi::flow::{FlowCounters, FlowKey};

pub use self::entry::{Entry, Review, ServiceKey};
pub use self::orders::{Refused, Undo};
pub use self::running::{Counts, Running};
use crate::scope::Scope;
use crate::side::{Reason, Side, Verdict, judge};

/// A flow as the table has it.
pub type Flow = (FlowKey, FlowCounters);

/// What a step of the walk through the flow table has shown.
#[derive(Debug)]
pub struct Batch {
    /// Flows that it met.
    pub living: Vec<Flow>,
    /// Flows that were taken out of the table.
    pub ended: Vec<Flow>,
    /// Whether it was the first of a pass.
    pub pass_began: bool,
    /// Whether the pass is through.
    pub pass_ended: bool,
    /// Now.
    pub clock: WallClock,
    /// Names of the sites that flows are of.
    pub sites: HashMap<u32, String>,
}

/// All that is in the database, as it was kept.
#[derive(Debug, Default)]
pub struct Kept {
    /// The services.
    pub services: Vec<(ServiceKey, Entry)>,
    /// Notes of the groups, by their names.
    pub groups: BTreeMap<String, String>,
    /// See [`Catalogue::unanswered`].
    pub unanswered: Running,
    /// See [`Catalogue::not_entered`].
    pub not_entered: Running,
}

/// The services that have answered.
#[derive(Debug, Default)]
pub struct Catalogue {
    scope: Scope,
    bound: usize,
    services: HashMap<ServiceKey, Entry>,
    groups: BTreeMap<String, String>,
    /// Flows that nobody answered.
    unanswered: Running,
    /// Flows to services for which there was no room.
    not_entered: Running,
    /// The present pass was followed from its start.
    whole: bool,
    /// Forgotten, and perhaps still in the database.
    forgotten: Vec<ServiceKey>,
    groups_changed: bool,
}

impl Catalogue {
    /// An empty one, for so many services at most.
    pub fn new(scope: Scope, bound: usize) -> Self {
        Self {
            scope,
            bound,
            ..Self::default()
        }
    }

    /// Whether services were left out because there was no room.
    pub fn is_full(&self) -> bool {
        self.services.len() >= self.bound && self.not_entered.living.flows > 0
    }

    /// Takes in what a step of the walk has shown.
    pub fn take(&mut self, batch: &Batch) {
        if batch.pass_began {
            self.counts().for_each(Running::pass_over);
            self.whole = true;
        }
        for flow in &batch.living {
            self.take_flow(flow, batch, false);
        }
        for flow in &batch.ended {
            self.take_flow(flow, batch, true);
        }
        if batch.pass_ended {
            self.end_pass();
        }
    }

    /// A step of the walk was missed: the pass says nothing of what lives.
    pub fn miss(&mut self) {
        self.whole = false;
    }

    fn counts(&mut self) -> impl Iterator<Item = &mut Running> {
        let counts = self.services.values_mut().map(|entry| &mut entry.counts);
        counts.chain([&mut self.unanswered, &mut self.not_entered])
    }

    fn end_pass(&mut self) {
        if !std::mem::take(&mut self.whole) {
            return;
        }
        for entry in self.services.values_mut() {
            entry.since.is_new = false;
            entry.since.changed |= entry.counts.settle();
        }
        self.unanswered.settle_lower();
        self.not_entered.settle_lower();
    }

    fn take_flow(&mut self, (key, counters): &Flow, batch: &Batch, ended: bool) {
        let ends = FlowEnds::from(key);
        let service_at = |side| service_at(key, &ends, side);
        let known = |side| self.services.contains_key(&service_at(side));
        match judge(key, counters, known) {
            Verdict::Nothing => {}
            Verdict::Unanswered(side) => {
                let in_scope = |side| self.scope.contains(service_at(side).address);
                if side.map_or_else(|| in_scope(Side::Local) || in_scope(Side::Remote), in_scope) {
                    count(
                        &mut self.unanswered,
                        one_flow(counters, Side::Remote),
                        ended,
                    );
                }
            }
            Verdict::Service(side, reason) => {
                let service = service_at(side);
                let counts = one_flow(counters, side);
                if !self.scope.contains(service.address) {
                    return;
                }
                let full = self.services.len() >= self.bound;
                if full && !self.services.contains_key(&service) {
                    count(&mut self.not_entered, counts, ended);
                    return;
                }
                let fresh = || {
                    let mut entry = Entry::new(service.address);
                    entry.guessed = reason == Reason::Port;
                    entry.since.is_new = true;
                    entry.since.changed = true;
                    entry.since.clients_changed = true;
                    entry
                };
                let entry = self.services.entry(service).or_insert_with(fresh);
                count(&mut entry.counts, counts, ended);
                entry.since.changed |= ended;
                entry.see(counters, batch.clock, reason);
                let client = service_at(side.other()).address;
                let site = batch.sites.get(&counters.site);
                entry.place(side, client, site.map(String::as_str));
            }
        }
    }

    /// Goes on from what was kept. What was kept comes first where there is no room for all.
    pub fn go_on_from(&mut self, kept: Kept) {
        let since = std::mem::take(&mut self.services);
        self.services = kept.services.into_iter().collect();
        for (key, entry) in since {
            if let Some(own) = self.services.get_mut(&key) {
                own.go_on_with(entry);
            } else if self.services.len() < self.bound {
                self.services.insert(key, entry);
            } else {
                let total = entry.counts.total();
                self.not_entered.end(total);
            }
        }
        self.groups = kept.groups;
        self.groups_changed = false;
        self.unanswered.go_on_from(kept.unanswered);
        self.not_entered.go_on_from(kept.not_entered);
    }

    /// What is not in the database yet.
    pub fn changes(&self) -> Changes<'_> {
        let services = self.services.iter();
        let changed = |entry: &Entry| entry.since.changed || entry.since.clients_changed;
        Changes {
            services: services.filter(|(_, entry)| changed(entry)).collect(),
            forgotten: &self.forgotten,
            groups: self.groups_changed.then_some(&self.groups),
            unanswered: self.unanswered,
            not_entered: self.not_entered,
        }
    }

    /// All of it, for a database that has nothing.
    pub fn mark_everything(&mut self) {
        for entry in self.services.values_mut() {
            entry.since.changed = true;
            entry.since.clients_changed = true;
        }
        self.groups_changed = true;
    }

    /// All changes were written.
    pub fn on_written(&mut self) {
        for entry in self.services.values_mut() {
            entry.since.changed = false;
            entry.since.clients_changed = false;
        }
        self.forgotten.clear();
        self.groups_changed = false;
    }
}

/// What is to be written.
#[derive(Debug)]
pub struct Changes<'a> {
    /// Services of which something has changed.
    pub services: Vec<(&'a ServiceKey, &'a Entry)>,
    /// Services that are gone, unless they have come again.
    pub forgotten: &'a [ServiceKey],
    /// All groups, if any has changed.
    pub groups: Option<&'a BTreeMap<String, String>>,
    /// Flows that nobody answered.
    pub unanswered: Running,
    /// Flows to services for which there was no room.
    pub not_entered: Running,
}

impl Entry {
    /// A flow of it was met, or has ended.
    fn see(&mut self, counters: &FlowCounters, clock: WallClock, reason: Reason) {
        if self.guessed && reason == Reason::Spoken {
            self.guessed = false;
            self.since.changed = true;
        }
        // Later, a clock that was set would make it older than it is.
        if self.since.is_new {
            self.first_seen = self.first_seen.min(clock.at(counters.first_seen_ns));
        }
        if counters.last_seen_ns > self.since.last_seen_ns {
            self.since.last_seen_ns = counters.last_seen_ns;
            self.last_seen = clock.at(counters.last_seen_ns);
        }
    }

    /// Where it is, and where its client is; `site` is that of the far end.
    fn place(&mut self, side: Side, client: std::net::IpAddr, site: Option<&str>) {
        self.since.clients_changed |= self.clients.add(client);
        match side {
            Side::Remote => {
                if self.site.as_deref() != site {
                    self.site = site.map(str::to_owned);
                    self.since.changed = true;
                }
                self.since.changed |= !std::mem::replace(&mut self.clients_here, true);
            }
            Side::Local => {
                self.since.changed |= self.site.take().is_some();
                if let Some(site) = site
                    && self.knows_client_sites()
                    && !self.client_sites.contains(site)
                {
                    self.client_sites.insert(site.to_owned());
                    self.since.changed = true;
                }
            }
        }
    }

    /// Takes in what `later` has seen since this was kept.
    fn go_on_with(&mut self, later: Self) {
        let mut counts = later.counts;
        counts.go_on_from(self.counts);
        self.counts = counts;
        self.clients.merge(later.clients);
        self.clients_here |= later.clients_here;
        for site in later.client_sites {
            if self.knows_client_sites() {
                self.client_sites.insert(site);
            }
        }
        self.first_seen = self.first_seen.min(later.first_seen);
        self.last_seen = later.last_seen;
        self.guessed &= later.guessed;
        self.site = later.site;
        self.since = later.since;
        self.since.is_new = false;
        self.since.changed = true;
        self.since.clients_changed = true;
    }
}

/// The service that would be at this end of a flow.
fn service_at(key: &FlowKey, ends: &FlowEnds, side: Side) -> ServiceKey {
    let (address, port) = match side {
        Side::Local => (ends.local, ends.local_port),
        Side::Remote => (ends.remote, ends.remote_port),
    };
    ServiceKey {
        vnet: key.vnet,
        address,
        port,
        protocol: key.protocol,
    }
}

/// What one flow has counted for a service at this end.
fn one_flow(counters: &FlowCounters, service: Side) -> Counts {
    let (to_bytes, from_bytes) = match service {
        Side::Remote => (counters.to_site_bytes, counters.from_site_bytes),
        Side::Local => (counters.from_site_bytes, counters.to_site_bytes),
    };
    Counts {
        flows: 1,
        to_bytes,
        from_bytes,
    }
}

fn count(running: &mut Running, flow: Counts, ended: bool) {
    if ended {
        running.end(flow);
    } else {
        running.meet(flow);
    }
}

#[cfg(test)]
mod tests;
