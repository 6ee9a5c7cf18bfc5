//! Steps that have to do with the LAN: its interfaces, its health, and who is its router.

use std::time::Instant;

use anyhow::{Context, Result};

use crate::gateway::Gateway;
use crate::gateway::reconcile::{Dirty, Step};
use crate::gateway::warnings::Source;
use crate::health::Health;
use crate::journal::Change;

impl Gateway {
    /// Before their devices go.
    pub(in super::super) async fn leave_former_routers(&mut self) -> Dirty {
        self.lan.vrrp.keep(&self.desired.config).await;
        Dirty::NONE
    }

    /// How far gateways are to see this one, by its LAN and its virtual routers.
    pub(in super::super) fn judge_service(&mut self) -> Dirty {
        let service = self.lan.service(&self.desired.config);
        let before = std::mem::replace(&mut self.forwarding.service, service);
        Dirty::from(Step::Ranks).when(before != service)
    }

    /// Records what has changed of the interfaces that the file names.
    pub(in super::super) async fn follow_interfaces(&mut self, now: Instant) -> Dirty {
        let names = self.desired.interfaces();
        let found = self.host.interfaces(&names).await;
        let seen = found.iter();
        let changes: Vec<Change> = seen
            .filter_map(|(name, found)| self.states.follow_interface(name, found.as_ref()))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.states.keep_interfaces(&names);
        for change in changes {
            self.record(change);
        }
        let lan = self.desired.config.gateway.lan.iter();
        let lan = lan.filter_map(|lan| {
            let state = self.states.interface(&lan.interface)?;
            Some((lan.interface.clone(), state))
        });
        let lan = lan.collect();
        self.change_health(|health| health.set_interfaces(lan, now))
    }

    pub(in super::super) fn set_health_targets(&mut self, now: Instant) -> Dirty {
        let was_alive = self.lan.health.lan().alive;
        let changes = self.lan.set_targets(&self.desired.config, now);
        self.take_health(was_alive, changes)
    }

    /// Carries out a change of what is known of the LAN; far gateways are told if it has died or come back.
    pub(in crate::gateway) fn change_health(
        &mut self,
        change: impl FnOnce(&mut Health) -> Vec<Change>,
    ) -> Dirty {
        let was_alive = self.lan.health.lan().alive;
        let changes = change(&mut self.lan.health);
        self.take_health(was_alive, changes)
    }

    fn take_health(&mut self, was_alive: bool, changes: Vec<Change>) -> Dirty {
        for change in changes {
            self.record(change);
        }
        let lan = self.lan.health.lan();
        if was_alive && !lan.alive {
            tracing::warn!(cause = lan.cause, "the LAN is dead");
        }
        Dirty::from(Step::Service).when(was_alive != lan.alive)
    }

    /// Has the virtual routers know how many sites can be reached.
    pub(in super::super) fn tell_reached(&mut self) -> Dirty {
        let (plan, links) = (&self.desired.plan, &self.forwarding.links);
        self.lan.tell_reached(plan, links, &self.desired.config);
        Dirty::NONE
    }

    /// Starts, changes or stops virtual routers as the configuration and the interfaces are now.
    pub(in super::super) async fn run_routers(&mut self) -> Result<Dirty> {
        let config = &self.desired.config;
        let setups = self.lan.vrrp.setups(config, &self.host.kernel).await?;
        let Some((setups, warnings)) = setups else {
            return Ok(Dirty::NONE);
        };
        self.warnings.replace(Source::VirtualRouters, warnings);
        self.lan.vrrp.run(setups).context("a thread for VRRP")?;
        Ok(Step::Service.into())
    }
}
