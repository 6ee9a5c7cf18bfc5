//! Flows told to the replicas of this gateway, and taken from them.

use std::collections::HashMap;
use std::time::Instant;

use datapath_abi::flow::{FlowCounters, FlowKey};
use datapath_abi::outcome::{DropReason, Tally};

use super::answer::describe_link;
use super::forwarding::Forwarding;
use super::links::Links;
use super::plan::Plan;
use crate::control::message::{Link, LinkState, ReplicaFlows};
use crate::datapath::{FlowEnd, Flows, IdleLimits, Swept, Told};
use crate::ids::LinkId;
use crate::lane::{Command, FromReplica};
use crate::tunnel::link_bfd::LanRole;
use crossway_sys::clock;
use crossway_tunnel::replica::datagram::{self, Datagram};
use crossway_tunnel::replica::merge::{localise, merge};
use crossway_tunnel::replica::outbox::Outbox;
use crossway_tunnel::replica::pass::Pass;

/// What is known of the replicas.
#[derive(Debug, Default)]
pub(super) struct Replicas {
    pass: Pass,
    outbox: Outbox,
    /// By their links.
    mates: HashMap<LinkId, Mate>,
    drops: HashMap<DropReason, Tally>,
}

#[derive(Debug, Default)]
struct Mate {
    flows: ReplicaFlows,
    /// Since when its link is up.
    up_since: Option<Instant>,
}

impl Replicas {
    /// When datagrams are due.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.outbox.next_timeout()
    }

    /// What was dropped here for a reason.
    pub(super) fn drops(&self, reason: DropReason) -> Tally {
        self.drops.get(&reason).copied().unwrap_or_default()
    }

    /// Looks which replicas are there; whether any is. One that has come, or come again, knows nothing.
    fn follow(&mut self, links: &Links) -> bool {
        let links = links.to_replicas();
        self.mates
            .retain(|id, _| links.iter().any(|link| link.planned.id == *id));
        for link in links {
            let mate = self.mates.entry(link.planned.id).or_default();
            let up_since = (link.state == LinkState::Up).then_some(link.since);
            if up_since.is_some() && mate.up_since != up_since {
                self.pass.tell_everything();
            }
            mate.up_since = up_since;
        }
        let any = self.mates.values().any(|mate| mate.up_since.is_some());
        if !any {
            self.outbox.clear();
        }
        any
    }

    /// Takes flows to be told, with the numbers of their sites, of which `names` has the names.
    fn tell(
        &mut self,
        mut flows: Vec<(u32, FlowKey, FlowCounters)>,
        names: &HashMap<u32, &str>,
        now: Instant,
    ) {
        flows.sort_by_key(|(site, ..)| *site);
        let count = flows.len() as u64;
        let named = flows.iter().filter_map(|(site, key, counters)| {
            // Flows of a site that has gone are of no use to anybody.
            Some((*names.get(site)?, *key, *counters))
        });
        let written = datagram::write(named, self.pass.raises());
        let refused = self.outbox.push(written, now);
        self.count_drops(DropReason::ReplicaQueueFull, refused);
        let up = self.mates.values_mut();
        for mate in up.filter(|mate| mate.up_since.is_some()) {
            mate.flows.flows_sent += count;
        }
    }

    fn count_drops(&mut self, reason: DropReason, more: Tally) {
        *self.drops.entry(reason).or_default() += more;
    }
}

impl Replicas {
    /// Takes a step through the flow table: removes what is idle and hands it to `finish`, shows the rest to `visit`, and
    /// tells the replicas what was forwarded here.
    pub(super) fn sweep_flows(
        &mut self,
        forwarding: &mut Forwarding,
        plan: &Plan,
        now: Instant,
        mut visit: impl FnMut(&FlowKey, &FlowCounters),
        finish: impl FnMut(&FlowKey, &FlowCounters, FlowEnd),
    ) -> Swept {
        let any = self.follow(&forwarding.links);
        let Some(datapath) = &mut forwarding.datapath else {
            return Swept::default();
        };
        let now_ns = clock::monotonic_ns();
        let standby = forwarding.service == LanRole::Standby;
        let telling = self.pass.begin_step(standby, now_ns) && any;
        let pass = self.pass;
        let mut flows = Vec::new();
        let show = |key: &FlowKey, counters: &FlowCounters| {
            visit(key, counters);
            if telling && pass.wants(counters) {
                flows.push((counters.site, *key, *counters));
            }
        };
        let swept = datapath
            .flows
            .sweep_and_show(now_ns, &IdleLimits::default(), show, finish)
            .unwrap_or_else(|error| {
                tracing::warn!("idle flows could not be removed: {error:#}");
                Swept::default()
            });
        self.pass.end_step(swept.finished);
        if !flows.is_empty() {
            let sites = plan.sites.iter();
            let names = sites.map(|site| (site.id.0, site.config.name.as_str()));
            self.tell(flows, &names.collect(), now);
        }
        swept
    }

    /// Hands the datagrams that are due to the lanes of the replicas that are there. A lane that has ended is
    /// noticed at the end of the turn.
    pub(super) fn send_due(&mut self, forwarding: &mut Forwarding, now: Instant) {
        let burst = self.outbox.poll(now, clock::monotonic_ns());
        if burst.is_empty() {
            return;
        }
        let mates = self.mates.iter();
        let there = mates.filter(|(_, mate)| mate.up_since.is_some());
        for (id, _) in there {
            if let Some(link) = forwarding.links.get(*id) {
                let command = Command::SendToReplica(*id, burst.clone());
                drop(forwarding.lanes.send(link.planned.lane, command));
            }
        }
    }

    /// A replica tells of flows.
    pub(super) fn on_datagram(
        &mut self,
        from: &FromReplica,
        forwarding: &mut Forwarding,
        plan: &Plan,
    ) {
        let now_ns = clock::monotonic_ns();
        if let Ok(datagram) = datagram::read(&from.payload) {
            self.take_flows((from.link, datagram), forwarding, plan, now_ns);
        } else {
            let bytes = from.payload.len() as u64;
            let one = Tally { packets: 1, bytes };
            self.count_drops(DropReason::ReplicaMalformed, one);
        }
    }

    fn take_flows(
        &mut self,
        (link, datagram): (LinkId, Datagram<'_>),
        forwarding: &mut Forwarding,
        plan: &Plan,
        now_ns: u64,
    ) {
        let (Some(datapath), Some(mate)) = (&mut forwarding.datapath, self.mates.get_mut(&link))
        else {
            return;
        };
        let mut unknown = Tally::default();
        for section in datagram.sections {
            mate.flows.flows_received += section.flows.len() as u64;
            let mut sites = plan.sites.iter();
            let Some(site) = sites.find(|site| site.config.name == section.site) else {
                unknown.packets += section.flows.len() as u64;
                unknown.bytes += section.length as u64;
                continue;
            };
            for (key, told) in section.flows {
                let key = FlowKey {
                    vnet: site.vnet.0,
                    ..key
                };
                let told = localise(told, datagram.sent_ns, now_ns);
                let told = (&key, &told, datagram.raises);
                take_flow(&mut datapath.flows, &mut mate.flows, told, site.id.0);
            }
        }
        self.count_drops(DropReason::ReplicaUnknownSite, unknown);
    }

    /// The links to replicas, as `links` shows them.
    pub(super) fn describe(&self, links: &Links, now: Instant) -> Vec<Link> {
        let to_replicas = links.to_replicas().into_iter();
        let describe = to_replicas.map(|link| {
            let mate = self.mates.get(&link.planned.id);
            Link {
                replica: Some(mate.map(|mate| mate.flows).unwrap_or_default()),
                ..describe_link(link, links, now)
            }
        });
        describe.collect()
    }
}

fn take_flow(
    flows: &mut Flows,
    counts: &mut ReplicaFlows,
    (key, told, raises): (&FlowKey, &FlowCounters, bool),
    site: u32,
) {
    match flows.tell(key, |own| merge(own, told, site, raises)) {
        Ok(Told::Entered) => counts.flows_entered += 1,
        Ok(Told::Updated) => counts.flows_updated += 1,
        Ok(Told::Kept) => {}
        Err(error) => tracing::debug!("a flow of a replica's could not be written: {error:#}"),
    }
}
