//! Steps that have to do with links and the lanes' routes.

use std::time::Instant;

use anyhow::Result;

use crate::config::PathMtuMode;
use crate::gateway::Gateway;
use crate::gateway::links::PathLimits;
use crate::gateway::links::sources::{Source, Way};
use crate::gateway::on_down::DownSites;
use crate::gateway::reconcile::{Dirty, Step};

/// What follows links whose state may be another.
const LINKS_MAY_HAVE_CHANGED: Dirty = Dirty::of(&[Step::Ranks, Step::States, Step::Dials]);

impl Gateway {
    pub(in super::super) fn set_sessions(&mut self) -> Result<Dirty> {
        self.forwarding.set_sessions(&self.desired.plan)?;
        Ok(Dirty::NONE)
    }

    /// New links have to know their interface before they are dialled.
    pub(in super::super) fn set_links(&mut self, now: Instant) -> Result<Dirty> {
        let set = self.forwarding.set_links(&self.desired, now);
        // Those that could be made are there also when another could not.
        self.agenda.mark(LINKS_MAY_HAVE_CHANGED | Step::Wans);
        set.map(|()| Dirty::NONE)
    }

    /// Interfaces may have come, gone, lost their carrier, or have another MTU.
    pub(in super::super) async fn follow_wans(&mut self, now: Instant) -> Result<Dirty> {
        let wans = self.host.wans(&self.desired.config).await;
        self.forwarding.set_wans(&wans, now)?;
        let gateway = &self.desired.config.gateway;
        let limits = PathLimits {
            tunnel: self.host.tun.mtu.mtu,
            chosen: gateway.mtu.is_some(),
            probes: gateway.path_mtu == PathMtuMode::Auto,
        };
        self.forwarding.set_paths(&wans, limits)?;
        Ok(LINKS_MAY_HAVE_CHANGED)
    }

    /// A link whose way has moved to another uplink speaks from an address of that one from now on.
    pub(in super::super) async fn follow_sources(&mut self) -> Result<Dirty> {
        let sources = self.forwarding.links.poll_sources();
        if sources.is_empty() {
            return Ok(Dirty::NONE);
        }
        let addresses = self.host.kernel.addresses().await?;
        let wans = self.host.wans(&self.desired.config).await;
        for source in sources {
            let Source { remote, local, .. } = source;
            let out = self.host.kernel.way_out(remote, local).await?;
            let homes = addresses.iter().filter(|own| own.address.address == local);
            let homes: Vec<_> = homes.map(|own| own.interface).collect();
            self.forwarding
                .follow_way(source, Way::of(out, &homes, &wans))?;
        }
        Ok(Dirty::NONE)
    }

    pub(in super::super) fn tell_ranks(&mut self, now: Instant) -> Result<Dirty> {
        for change in self.forwarding.tell_ranks(&self.desired.plan, now)? {
            self.record(change);
        }
        Ok(Dirty::NONE)
    }

    /// Records what has changed of links and sites, and takes which sites are down.
    pub(in super::super) fn follow_states(&mut self, now: Instant) -> Dirty {
        let plan = &self.desired.plan;
        let links = &mut self.forwarding.links;
        for change in self.states.follow(plan, links, now) {
            self.record(change);
        }
        let (plan, links) = (&self.desired.plan, &self.forwarding.links);
        let reached = self.lan.tell_lost(plan, links, &self.desired.config);
        let down = DownSites::of(plan, &self.states);
        self.forwarding.set_down(down) | Dirty::from(Step::Reached).when(reached)
    }

    pub(in super::super) async fn set_lane_routes(&mut self) -> Result<Dirty> {
        self.forwarding.set_lane_routes(&self.desired.plan).await?;
        Ok(Dirty::NONE)
    }

    pub(in super::super) fn dial_due(&mut self, now: Instant) -> Result<Dirty> {
        self.forwarding.dial_due(now)?;
        Ok(Dirty::NONE)
    }
}
