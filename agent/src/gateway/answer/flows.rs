//! `flows`: a page of the flow table, which may hold millions.
//!
//! The table is read a batch at a time, a millisecond each, and between two batches the gateway does all else that is
//! due. What is kept is a page, and where all rates must be known, the byte counts of one region of the table at a time.

mod best;
mod denied;
mod look;

use std::collections::HashMap;
use std::time::Instant;

use anyhow::{Result, anyhow};
use tokio::sync::oneshot;

use self::best::Candidate;
use self::look::{Known, Look, Next};
use super::RATE_WINDOW;
use crate::control::message::{Flow, FlowsReply, FlowsRequest, RealEnds, Response};
use crate::control::{FlowFilter, refusal};
use crate::datapath::Flows;
use crate::gateway::Gateway;
use crate::gateway::judge::Judge;
use crate::gateway::plan::Plan;
use crate::ids::SiteId;
use crossway_sys::clock;
use crossway_types::mapping::real_of;

/// A `flows` request that is being answered.
pub(in crate::gateway) struct PendingFlows {
    due: Instant,
    request: FlowsRequest,
    look: Look,
    reply: oneshot::Sender<Response>,
}

impl PendingFlows {
    /// When its next step is due.
    pub(in crate::gateway) fn due(&self) -> Instant {
        self.due
    }
}

impl Gateway {
    pub(super) fn begin_flows(
        &mut self,
        request: FlowsRequest,
        reply: oneshot::Sender<Response>,
        now: Instant,
    ) {
        let carried = self.carried();
        if let Some(wrong) = self.wrong_name(&request.filter) {
            let _ = reply.send(wrong);
            return;
        }
        if request.filter.wants_denied() {
            let response = self.denied_flows(&request);
            let _ = reply.send(response.map_or_else(|error| refusal(&error), Response::Flows));
            return;
        }
        let Some(datapath) = &self.forwarding.datapath else {
            let _ = reply.send(Response::error(
                "flows are counted by the eBPF programs, and the fast path is off: see the warnings \
                 of `crossway status`, or set fast_path = true",
            ));
            return;
        };
        match Look::begin(&request, &datapath.flows, carried) {
            Ok(look) => self.pending_flows.push(PendingFlows {
                due: now,
                request,
                look,
                reply,
            }),
            Err(error) => drop(reply.send(refusal(&error))),
        }
    }

    /// The answer where a filter names what is not there.
    fn wrong_name(&self, filter: &FlowFilter) -> Option<Response> {
        if let Some(site) = &filter.site
            && !self.has_site(site)
        {
            return Some(self.no_site(site));
        }
        let rule = filter.rule.as_ref()?;
        let rules = &self.desired.config.policy.rules;
        let is_there = rules.iter().any(|known| known.name == *rule);
        (!is_there).then(|| self.no_rule(rule))
    }

    /// One step for the request that has waited longest for its turn.
    pub(in crate::gateway) fn answer_pending_flows(&mut self, now: Instant) {
        let pending = self.pending_flows.iter().enumerate();
        let Some((place, _)) = pending.min_by_key(|(_, pending)| pending.due) else {
            return;
        };
        let mut pending = self.pending_flows.remove(place);
        // Who asked has gone.
        if pending.due > now || pending.reply.is_closed() {
            if pending.due > now {
                self.pending_flows.push(pending);
            }
            return;
        }
        let response = match self.step_of(&mut pending) {
            Ok(Next::Step) => {
                pending.due = now;
                self.pending_flows.push(pending);
                return;
            }
            Ok(Next::Wait) => {
                pending.due = now + RATE_WINDOW;
                self.pending_flows.push(pending);
                return;
            }
            Ok(Next::Done(candidates)) => self.flows_reply(&pending, &candidates),
            Err(error) => Err(error),
        };
        let response = response.map_or_else(|error| refusal(&error), Response::Flows);
        let _ = pending.reply.send(response);
    }

    /// When the first step is due.
    pub(in crate::gateway) fn flows_due(&self) -> Option<Instant> {
        self.pending_flows.iter().map(PendingFlows::due).min()
    }

    fn step_of(&mut self, pending: &mut PendingFlows) -> Result<Next> {
        let filter = &pending.request.filter;
        let names = match filter.site {
            Some(_) => site_names(&self.desired.plan),
            None => HashMap::new(),
        };
        let datapath = self.forwarding.datapath.as_mut();
        let flows = &mut datapath
            .ok_or_else(|| anyhow!("the fast path is off now"))?
            .flows;
        let known = Known {
            site: |id: u32| name_in(&names, id),
            judge: Judge::of(&self.desired.config.policy),
        };
        pending
            .look
            .step(flows, filter, &known, clock::monotonic_ns())
    }

    fn flows_reply(
        &mut self,
        pending: &PendingFlows,
        candidates: &[Candidate],
    ) -> Result<FlowsReply> {
        let names = site_names(&self.desired.plan);
        let judge = Judge::of(&self.desired.config.policy);
        let now_ns = clock::monotonic_ns();
        let flows = candidates.iter().map(|candidate| {
            let site = name_in(&names, candidate.counters.site);
            let mut flow = Flow::new(
                &candidate.key,
                &candidate.counters,
                (site, "default"),
                now_ns,
            );
            flow.policy = judge.flow(&candidate.key, &candidate.counters);
            if flow.seen_here {
                (
                    flow.to_site_bytes_per_second,
                    flow.from_site_bytes_per_second,
                ) = candidate.rates;
            }
            flow.real = real_ends(&self.desired.plan, &flow, candidate.counters.site);
            flow
        });
        let flows: Vec<Flow> = flows.collect();
        let summary = match &self.forwarding.datapath {
            Some(datapath) => Totals::of(&datapath.flows)?,
            None => Totals::default(),
        };
        Ok(FlowsReply {
            flows,
            matched: pending.look.matched(),
            present: pending.look.present().unwrap_or(summary.present),
            capacity: summary.capacity,
            evicted: summary.evicted,
            evicted_packets: summary.evicted_packets,
            evicted_bytes: summary.evicted_bytes,
            removed_idle: summary.removed,
            filter: pending.request.filter.clone(),
            next: pending.look.next_page(),
        })
    }
}

/// What the addresses of a flow stand for. Its local end may be in another site, for which this gateway is a hub.
fn real_ends(plan: &Plan, flow: &Flow, site: u32) -> RealEnds {
    let mut sites = plan.sites.iter();
    RealEnds {
        local_real: sites.find_map(|site| real_of(&site.config.maps, flow.local)),
        remote_real: plan.real_address(SiteId(site), flow.remote),
    }
}

/// The table in numbers, by its account.
#[derive(Default)]
struct Totals {
    present: u64,
    capacity: u64,
    evicted: u64,
    evicted_packets: u64,
    evicted_bytes: u64,
    removed: u64,
}

impl Totals {
    fn of(flows: &Flows) -> Result<Self> {
        let (evicted, lost) = flows.account().evicted();
        Ok(Self {
            present: flows.present()?,
            capacity: flows.capacity(),
            evicted,
            evicted_packets: lost.packets,
            evicted_bytes: lost.bytes,
            removed: flows.account().removed(),
        })
    }
}

/// Names of the sites by their numbers.
pub(in crate::gateway) fn site_names(plan: &Plan) -> HashMap<u32, &str> {
    let sites = plan.sites.iter();
    sites
        .map(|site| (site.id.0, site.config.name.as_str()))
        .collect()
}

/// A site's name, also of one that was removed while flows of it are in the table.
pub(in crate::gateway) fn name_in<'a>(names: &HashMap<u32, &'a str>, site: u32) -> &'a str {
    names.get(&site).copied().unwrap_or("(gone)")
}
