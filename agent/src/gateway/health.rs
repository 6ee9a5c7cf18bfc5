//! The health of the LAN as the gateway keeps it: who is probed, what was found, and the verdict.

use std::time::Instant;

use super::Gateway;
use crate::health::{Health, Lan, Outcome};
use crate::journal::Change;
use crossway_sys::clock;

impl Gateway {
    /// The verdict on the LAN behind this gateway. Each change of it is in the journal, and is
    /// followed by a call of [`Self::on_lan_health`].
    pub(super) fn lan_health(&self) -> &Lan {
        self.health.lan()
    }

    /// The LAN has died or come back: far gateways are told, and use their other ways to it.
    fn on_lan_health(&mut self) {
        let lan = self.lan_health();
        if !lan.alive {
            tracing::warn!(cause = lan.cause, "the LAN is dead");
        }
        // A lane that has ended is found, and told, by the loop's next tick.
        if let Err(error) = self.follow_service() {
            tracing::debug!("{error:#}");
        }
    }

    /// Probes the targets that the file names.
    pub(super) fn follow_health_targets(&mut self) {
        let targets = self.config.gateway.health.clone();
        self.probers.set_targets(&targets);
        self.change_health(|health, now| health.set_targets(&targets, now));
    }

    /// Takes what came of a probe.
    pub(super) fn on_probed(&mut self, outcome: Outcome) {
        self.change_health(|health, now| health.on_outcome(outcome, now));
    }

    /// Takes the carrier of the LAN interfaces as it was last seen.
    pub(super) fn follow_lan_interfaces(&mut self) {
        let lan = self.config.gateway.lan.iter();
        let interfaces = lan
            .filter_map(|lan| {
                let state = self.states.interface(&lan.interface)?;
                Some((lan.interface.clone(), state))
            })
            .collect();
        self.change_health(|health, now| health.set_interfaces(interfaces, now));
    }

    fn change_health(&mut self, change: impl FnOnce(&mut Health, Instant) -> Vec<Change>) {
        let was_alive = self.lan_health().alive;
        for change in change(&mut self.health, clock::now()) {
            self.record(change);
        }
        if self.lan_health().alive != was_alive {
            self.on_lan_health();
        }
    }
}
