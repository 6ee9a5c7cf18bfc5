//! Steps that have to do with the eBPF programs and their maps.

use std::time::Instant;

use anyhow::Result;

use crate::control::message::EventKind;
use crate::gateway::Gateway;
use crate::gateway::reconcile::{Dirty, Step};
use crate::gateway::start::without_fast_path;
use crate::gateway::warnings::Source;
use crate::host::{mirror, ways};
use crate::ids::SiteId;
use crate::journal::Change;
use crate::prefix::Prefix;

impl Gateway {
    /// What is told of sites is wiped with the counters.
    pub(in super::super) fn forget_reused_sites(&mut self) -> Result<Dirty> {
        let reused = self.forwarding.reused(&self.desired.plan);
        self.forget_sites(&reused)?;
        Ok(Dirty::from(Step::Sites).when(!reused.is_empty()))
    }

    pub(in super::super) fn forget_free_sites(&mut self) -> Result<Dirty> {
        let free = self.forwarding.free(&self.desired.plan);
        self.forget_sites(&free)?;
        Ok(Dirty::NONE)
    }

    fn forget_sites(&mut self, sites: &[SiteId]) -> Result<()> {
        sites.iter().try_for_each(|site| {
            self.rates.forget(*site);
            self.forwarding.forget_site(*site)
        })
    }

    pub(in super::super) fn write_sites(&mut self) -> Result<Dirty> {
        let mtu = self.host.tun.mtu.mtu;
        self.forwarding.write_sites(&self.desired.plan, mtu)?;
        Ok(Dirty::NONE)
    }

    /// Routes of the sites, and those that the kernel keeps inside them. There is nothing to do if the kernel's
    /// routes are as they were.
    pub(in super::super) async fn write_fast_path_routes(&mut self) -> Result<Dirty> {
        let Some(others) = self.host.other_routes.take() else {
            return Ok(Dirty::NONE);
        };
        let plan = &self.desired.plan;
        let active = self.forwarding.down.active(plan);
        let prefixes: Vec<Prefix> = active.map(|(_, prefix, _)| prefix).collect();
        let endpoints = self.forwarding.links.endpoints();
        // Of all sites: what is withdrawn comes back.
        let all: Vec<Prefix> = plan.routes().map(|(_, prefix, _)| prefix).collect();
        let config = &self.desired.config;
        self.host
            .set_interest(&all, endpoints, &others, config)
            .await;
        let missing = ways::missing(&others, &self.forwarding.links.bound_endpoints());
        self.warnings.replace(Source::Paths, missing);
        let mirror = mirror::mirror(&others, &prefixes, self.host.tun.index);
        self.warnings.replace(Source::Routes, mirror.warnings);
        let config = &self.desired.config;
        let around = self.host.surroundings(config).await;
        let forwarding = &mut self.forwarding;
        // The routes last: they have the flows ask again, for their sources as well.
        let written = around
            .and_then(|around| forwarding.set_surroundings(around))
            .and_then(|()| forwarding.set_local_addresses(mirror::local_addresses(&others)))
            .and_then(|()| forwarding.write_routes(plan, mirror.kernel));
        match written {
            Ok(changes) => tracing::debug!(?changes, "routes of the fast path"),
            Err(error) => {
                self.host.other_routes = Some(others);
                return Err(error);
            }
        }
        Ok(Dirty::NONE)
    }

    pub(in super::super) async fn write_roles(&mut self) -> Result<Dirty> {
        let roles = self.host.roles(&self.desired).await;
        self.forwarding.set_interfaces(&roles)?;
        let vlans = self.host.wan_vlans(&self.desired.config).await;
        self.forwarding.set_wan_vlans(&vlans)?;
        Ok(Dirty::NONE)
    }

    /// A failure leaves the kernel stack forwarding.
    pub(in super::super) fn attach_programs(&mut self, now: Instant) -> Dirty {
        if self.forwarding.datapath.is_none() {
            return Dirty::NONE;
        }
        let lans = self.desired.lans_with(self.host.kernel.virtual_macs());
        let gateway = &self.desired.config.gateway;
        let attached = self.forwarding.attach(gateway, &lans, &self.host.tun);
        let refused = self.forwarding.refused_programs();
        self.warnings.remember(Source::FastPath, refused);
        if let Err(error) = attached {
            self.leave_fast_path(&error, now);
            return Step::Host.into();
        }
        Dirty::NONE
    }

    /// Goes on without the fast path.
    fn leave_fast_path(&mut self, error: &anyhow::Error, now: Instant) {
        self.warnings
            .replace(Source::FastPath, vec![without_fast_path(error)]);
        self.record(Change {
            kind: EventKind::FastPath,
            subject: self.desired.config.gateway.name.clone(),
            from: Some("on".to_owned()),
            to: "off".to_owned(),
            cause: format!("{error:#}"),
        });
        if let Err(error) = self.judge_in_lanes(now) {
            tracing::debug!("{error:#}");
        }
        if let Err(error) = self.forwarding.detach() {
            tracing::warn!("eBPF programs could not be detached: {error:#}");
        }
    }

    /// The lane of a packet is chosen by our program from now on, not by that of the agent before.
    pub(in super::super) fn steer(&mut self) -> Result<Dirty> {
        self.forwarding.steer()?;
        Ok(Dirty::NONE)
    }
}
