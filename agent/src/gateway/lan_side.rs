//! The LAN behind the gateway: whether it is alive, and whether this gateway is its router.

use std::time::Instant;

use tokio::sync::mpsc;

use super::links::Links;
use super::plan::Plan;
use super::vrrp::Vrrp;
use crate::config::Config;
use crate::health::probe::Probers;
use crate::health::{Health, Outcome};
use crate::journal::Change;
use crate::tunnel::heartbeat::Service;
use crate::vrrp::status::Event;

/// The health of the LAN and the virtual routers on it.
pub(super) struct LanSide {
    pub(super) health: Health,
    probers: Probers,
    pub(super) vrrp: Vrrp,
}

impl LanSide {
    pub(super) fn new(
        probed: mpsc::Sender<Outcome>,
        vrrp_events: mpsc::UnboundedSender<Event>,
        now: Instant,
    ) -> Self {
        Self {
            health: Health::new(now),
            probers: Probers::new(probed),
            vrrp: Vrrp::new(vrrp_events),
        }
    }

    /// Probes the targets that the file names; what changes by that.
    pub(super) fn set_targets(&mut self, config: &Config, now: Instant) -> Vec<Change> {
        let targets = &config.gateway.health;
        self.probers.set_targets(targets);
        self.health.set_targets(targets, now)
    }

    /// How this gateway serves its LAN.
    pub(super) fn service(&self, config: &Config) -> Service {
        if !self.health.lan().alive {
            Service::LanDown
        } else if self.vrrp.is_standby(config) {
            Service::Standby
        } else {
            Service::Active
        }
    }

    /// Tells the virtual routers how many sites can be reached.
    pub(super) fn tell_reached(&mut self, plan: &Plan, links: &Links, config: &Config) {
        if !config.gateway.vrrp.is_empty() {
            self.vrrp.set_health(super::vrrp::reached(plan, links));
        }
    }
}
