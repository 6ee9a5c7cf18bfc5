//! The gateway's virtual routers: the thread that runs them, what it is told, and what it tells.
//!
//! [`setup`] says where each can run, [`report`] what people are told.

mod report;
mod setup;

use std::io;
use std::time::Instant;

use tokio::sync::mpsc;

use super::links::{Links, site_state};
use super::plan::Plan;
use crate::config::Config;
use crate::control::message::{self, SiteState};
use crate::host::Host;
use crate::host::error::HostError;
use crate::vrrp::router::State;
use crate::vrrp::service::Service;
use crate::vrrp::status::{Event, Key, Setup, Status};
use crate::vrrp::track::Health;
pub(super) use report::{change, warnings_of};

/// The virtual routers of a running gateway.
pub(super) struct Vrrp {
    events: mpsc::UnboundedSender<Event>,
    /// There from the first virtual router on.
    service: Option<Service>,
    health: Option<Health>,
    /// Master in the agent before us, which handed over: they go on at once.
    resumed: Vec<Key>,
}

impl Vrrp {
    /// None yet; changes of state will come out of the other end of `events`.
    pub(super) fn new(events: mpsc::UnboundedSender<Event>) -> Self {
        Self {
            events,
            service: None,
            health: None,
            resumed: Vec::new(),
        }
    }

    /// Whether there are any, or were.
    pub(super) fn is_running(&self) -> bool {
        self.service.is_some()
    }

    /// Hands every virtual router over to its mate.
    pub(super) async fn stop(&mut self) {
        if let Some(service) = self.service.take() {
            service.stop().await;
        }
    }

    /// For a hand-over: leaves everything running as it is but the advertisements, which the next agent must
    /// go on with before three of them are missed. It gets what this returns for [`Self::resume`], and calls
    /// [`Host::keep_virtual_macs`] before it brings up anything.
    pub(super) async fn leave(&mut self) -> Vec<Key> {
        match self.service.take() {
            Some(service) => service.leave().await,
            None => Vec::new(),
        }
    }

    /// Has these go on as masters when they are started.
    pub(super) fn resume(&mut self, masters: Vec<Key>) {
        self.resumed = masters;
    }

    /// Hands over the virtual routers that the file does not name, while their devices are there.
    pub(super) async fn keep(&self, config: &Config) {
        if let Some(service) = &self.service {
            let wanted = config.gateway.vrrp.iter();
            service.keep(wanted.map(setup::key).collect()).await;
        }
    }

    /// What is to run on the host as it is now, with warnings; `None` if there are no virtual routers and
    /// were none.
    pub(super) async fn setups(
        &self,
        config: &Config,
        host: &Host,
    ) -> Result<Option<(Vec<Setup>, Vec<String>)>, HostError> {
        let routers = &config.gateway.vrrp;
        if routers.is_empty() && self.service.is_none() {
            return Ok(None);
        }
        let addresses = host.addresses().await?;
        let mut setups = Vec::with_capacity(routers.len());
        let mut warnings = Vec::new();
        for router in routers {
            let lan = host.interface(&router.interface).await;
            let lan = lan.as_ref().map_err(ToString::to_string);
            let (setup, outside) = setup::of(router, lan, host.virtual_macs(), &addresses);
            setups.push(setup);
            warnings.extend(outside);
        }
        Ok(Some((setups, warnings)))
    }

    /// Starts, changes or stops virtual routers, so that these run.
    pub(super) fn run(&mut self, setups: Vec<Setup>) -> io::Result<()> {
        let service = match &mut self.service {
            Some(service) => service,
            none => none.insert(Service::start(self.events.clone())?),
        };
        if let Some(health) = self.health {
            service.set_health(health);
        }
        service.resume(setups, std::mem::take(&mut self.resumed));
        Ok(())
    }

    /// Tells them how many sites can be reached, where that has changed.
    pub(super) fn set_health(&mut self, health: Health) {
        if self.health.replace(health) != Some(health)
            && let Some(service) = &self.service
        {
            service.set_health(health);
        }
    }

    /// Sites that can be reached, as they were told.
    pub(super) fn usable_sites(&self) -> u32 {
        self.health.map_or(0, |health| health.usable)
    }

    /// Whether another gateway is, or should be, the router of one of our LANs: the far sites should send
    /// there too, if they can.
    pub(super) fn is_standby(&self, config: &Config) -> bool {
        let statuses = self.statuses().into_iter();
        let masters = statuses.filter(|status| status.state == State::Master);
        masters.count() < config.gateway.vrrp.len()
    }

    /// For `status`; their warnings are also among those of the whole gateway.
    pub(super) fn describe(&self, now: Instant) -> Vec<message::VirtualRouter> {
        let statuses = self.statuses().into_iter();
        statuses
            .map(|status| report::describe(status, now))
            .collect()
    }

    fn statuses(&self) -> Vec<Status> {
        self.service
            .as_ref()
            .map(Service::statuses)
            .unwrap_or_default()
    }
}

/// How many sites can be reached.
pub(super) fn reached(plan: &Plan, links: &Links) -> Health {
    let by_site = links.by_site();
    let usable = plan.sites.iter().filter(|site| {
        let links = by_site.get(&site.id);
        links.is_some_and(|links| site_state(links).0 != SiteState::Down)
    });
    Health {
        usable: usable.count() as u32,
        all: plan.sites.len() as u32,
    }
}
