//! Counters of sites and flows, with rates.
//!
//! Rates need two looks: sites are looked at each tick; the flow table, which may be large, only when
//! somebody asks, twice.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use datapath_abi::flow::{FlowCounters, FlowKey};
use datapath_abi::site::SiteCounters;
use tokio::sync::oneshot;

use super::RATE_WINDOW;
use crate::config::nearest::did_you_mean;
use crate::control::message::{Flow, FlowsReply, FlowsRequest, Response, Traffic};
use crate::control::{FlowEnds, FlowFilter};
use crate::datapath::Datapath;
use crate::gateway::Gateway;
use crate::gateway::forwarding::Forwarding;
use crate::gateway::plan::Plan;
use crate::ids::SiteId;
use crossway_sys::clock;

/// A `flows` request whose second look is due.
pub(in crate::gateway) struct PendingFlows {
    due: Instant,
    first_look: Instant,
    request: FlowsRequest,
    reply: oneshot::Sender<Response>,
    /// Bytes each way at the first look, of the flows that match.
    before: HashMap<FlowKey, (u64, u64)>,
}

impl PendingFlows {
    /// When the second look is due.
    pub(in crate::gateway) fn due(&self) -> Instant {
        self.due
    }
}

/// Counters of the sites at the last two ticks.
#[derive(Default)]
pub(in crate::gateway) struct Rates {
    looked: Option<Instant>,
    sites: HashMap<SiteId, (SiteCounters, Traffic)>,
}

impl Rates {
    /// A site's number was given to another.
    pub(in crate::gateway) fn forget(&mut self, site: SiteId) {
        self.sites.remove(&site);
    }

    /// Looks at the sites' counters, for their rates.
    pub(in crate::gateway) fn sample(
        &mut self,
        forwarding: &Forwarding,
        plan: &Plan,
        now: Instant,
    ) {
        let Some(datapath) = &forwarding.datapath else {
            return;
        };
        let elapsed = self.looked.map_or(Duration::ZERO, |then| now - then);
        for site in &plan.sites {
            let Ok(counters) = datapath.sites.counters(site.id) else {
                continue;
            };
            let before = self
                .sites
                .get(&site.id)
                .map_or(counters, |(before, _)| *before);
            let mut traffic = to_traffic(counters);
            traffic.to_site_bytes_per_second =
                per_second(counters.to_site_bytes, before.to_site_bytes, elapsed);
            traffic.from_site_bytes_per_second =
                per_second(counters.from_site_bytes, before.from_site_bytes, elapsed);
            self.sites.insert(site.id, (counters, traffic));
        }
        self.looked = Some(now);
    }

    /// Counters of a site now; without the fast path, those of its links.
    pub(super) fn traffic(&self, forwarding: &Forwarding, site: SiteId) -> Traffic {
        let Some(datapath) = &forwarding.datapath else {
            let links = forwarding.links.of_site(site);
            let peers = links.iter().filter_map(|link| link.peer.as_ref());
            return peers.fold(Traffic::default(), |sum, peer| Traffic {
                to_site_packets: sum.to_site_packets + peer.sent_packets,
                to_site_bytes: sum.to_site_bytes + peer.sent_bytes,
                from_site_packets: sum.from_site_packets + peer.received_packets,
                from_site_bytes: sum.from_site_bytes + peer.received_bytes,
                ..sum
            });
        };
        let sampled = self
            .sites
            .get(&site)
            .map(|(_, traffic)| *traffic)
            .unwrap_or_default();
        Traffic {
            to_site_bytes_per_second: sampled.to_site_bytes_per_second,
            from_site_bytes_per_second: sampled.from_site_bytes_per_second,
            ..datapath.sites.counters(site).map_or(sampled, to_traffic)
        }
    }
}

impl Gateway {
    fn has_site(&self, name: &str) -> bool {
        let mut sites = self.desired.plan.sites.iter();
        sites.any(|site| site.config.name == name)
    }

    /// First look at the flow table.
    pub(super) fn begin_flows(
        &mut self,
        request: FlowsRequest,
        reply: oneshot::Sender<Response>,
        now: Instant,
    ) {
        if self.forwarding.datapath.is_none() {
            let _ = reply.send(Response::error(
                "flows are counted by the eBPF programs, and the fast path is off: see the warnings \
                 of `crossway status`, or set fast_path = true",
            ));
            return;
        }
        if let Some(site) = &request.filter.site
            && !self.has_site(site)
        {
            let sites = self.desired.plan.sites.iter();
            let known = sites.map(|site| site.config.name.as_str());
            let meant = did_you_mean(site, known);
            let _ = reply.send(Response::error(format!(
                "there is no site {site} here{meant}{}",
                if meant.is_empty() {
                    ": `crossway sites` lists them"
                } else {
                    ""
                }
            )));
            return;
        }
        let mut before = HashMap::new();
        let looked = self.for_each_flow(&request.filter, |key, counters, _| {
            before.insert(*key, (counters.to_site_bytes, counters.from_site_bytes));
        });
        if let Err(error) = looked {
            let _ = reply.send(Response::error(format!("{error:#}")));
            return;
        }
        self.pending_flows.push(PendingFlows {
            due: now + RATE_WINDOW,
            first_look: now,
            request,
            reply,
            before,
        });
    }

    /// Second look, for every request whose time has come.
    pub(in crate::gateway) fn answer_pending_flows(&mut self, now: Instant) {
        let due = self
            .pending_flows
            .partition_point(|pending| pending.due <= now);
        let pending: Vec<_> = self.pending_flows.drain(..due).collect();
        for pending in pending {
            let response = match self.flows(&pending, now) {
                Ok(reply) => Response::Flows(reply),
                Err(error) => Response::error(format!("{error:#}")),
            };
            let _ = pending.reply.send(response);
        }
    }

    fn flows(&mut self, pending: &PendingFlows, now: Instant) -> Result<FlowsReply> {
        let elapsed_ns = (now - pending.first_look).as_nanos() as u64;
        let now_ns = clock::monotonic_ns();
        let mut flows = Vec::new();
        self.for_each_flow(&pending.request.filter, |key, counters, site| {
            let mut flow = Flow::new(key, counters, (site, "default"), now_ns);
            flow.set_rates(
                pending.before.get(key).copied().unwrap_or_default(),
                elapsed_ns,
            );
            flows.push(flow);
        })?;
        let matched = flows.len() as u64;
        pending
            .request
            .sort
            .keep_top(&mut flows, pending.request.top);
        let (packets, bytes) = self.counted_in_flows()?;
        let sites = self.desired.plan.sites.iter();
        let totals = total(sites.map(|site| self.rates.traffic(&self.forwarding, site.id)));
        let (summary, told) = match &mut self.forwarding.datapath {
            Some(datapath) => (datapath.flows.summary()?, datapath.flows.told()),
            None => Default::default(),
        };
        Ok(FlowsReply {
            flows,
            matched,
            present: summary.present,
            capacity: summary.capacity,
            evicted: summary.evicted,
            evicted_packets: (totals.to_site_packets + totals.from_site_packets)
                .wrapping_add(told.packets)
                .saturating_sub(packets),
            evicted_bytes: (totals.to_site_bytes + totals.from_site_bytes)
                .wrapping_add(told.bytes)
                .saturating_sub(bytes),
            removed_idle: summary.removed,
            filter: pending.request.filter.clone(),
        })
    }

    /// Packets and bytes that the flows in the table have counted.
    fn counted_in_flows(&mut self) -> Result<(u64, u64)> {
        let (mut packets, mut bytes) = (0, 0);
        if let Some(datapath) = &mut self.forwarding.datapath {
            datapath.flows.for_each(|_, counters| {
                packets += counters.to_site_packets + counters.from_site_packets;
                bytes += counters.to_site_bytes + counters.from_site_bytes;
            })?;
        }
        Ok((packets, bytes))
    }

    /// Calls `visit` with each flow that the filter lets through and the name of its site.
    fn for_each_flow(
        &mut self,
        filter: &FlowFilter,
        mut visit: impl FnMut(&FlowKey, &FlowCounters, &str),
    ) -> Result<()> {
        let names: HashMap<u32, &str> = self
            .desired
            .plan
            .sites
            .iter()
            .map(|site| (site.id.0, site.config.name.as_str()))
            .collect();
        let Some(Datapath { flows, .. }) = &mut self.forwarding.datapath else {
            return Ok(());
        };
        flows.for_each(|key, counters| {
            let site = names.get(&counters.site).copied().unwrap_or("(gone)");
            if filter.matches(&FlowEnds::from(key), site) {
                visit(key, counters, site);
            }
        })
    }
}

/// The sum of all.
pub(super) fn total(all: impl Iterator<Item = Traffic>) -> Traffic {
    all.fold(Traffic::default(), |sum, one| Traffic {
        to_site_packets: sum.to_site_packets + one.to_site_packets,
        to_site_bytes: sum.to_site_bytes + one.to_site_bytes,
        from_site_packets: sum.from_site_packets + one.from_site_packets,
        from_site_bytes: sum.from_site_bytes + one.from_site_bytes,
        to_site_bytes_per_second: sum.to_site_bytes_per_second + one.to_site_bytes_per_second,
        from_site_bytes_per_second: sum.from_site_bytes_per_second + one.from_site_bytes_per_second,
    })
}

fn to_traffic(counters: SiteCounters) -> Traffic {
    Traffic {
        to_site_packets: counters.to_site_packets,
        to_site_bytes: counters.to_site_bytes,
        from_site_packets: counters.from_site_packets,
        from_site_bytes: counters.from_site_bytes,
        ..Traffic::default()
    }
}

fn per_second(now: u64, before: u64, elapsed: Duration) -> u64 {
    if elapsed.is_zero() {
        return 0;
    }
    (now.saturating_sub(before) as f64 / elapsed.as_secs_f64()) as u64
}
