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
use crate::tunnel::link_bfd::LanRole;
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
    pub(super) fn service(&self, config: &Config) -> LanRole {
        if !self.health.lan().alive {
            LanRole::LanDown
        } else if self.vrrp.is_standby(config) {
            LanRole::Standby
        } else {
            LanRole::Active
        }
    }

    /// Tells the virtual routers where fewer sites can be reached; whether more can, which [`Self::tell_reached`] tells
    /// them when the routes to those are there.
    pub(super) fn tell_lost(&mut self, plan: &Plan, links: &Links, config: &Config) -> bool {
        if config.gateway.vrrp.is_empty() {
            return false;
        }
        let reached = super::vrrp::reached(plan, links);
        let more = reached.usable > self.vrrp.usable_sites();
        if !more {
            self.vrrp.set_health(reached);
        }
        more
    }

    /// Tells the virtual routers how many sites can be reached.
    pub(super) fn tell_reached(&mut self, plan: &Plan, links: &Links, config: &Config) {
        if !config.gateway.vrrp.is_empty() {
            self.vrrp.set_health(super::vrrp::reached(plan, links));
        }
    }
}
