//! The walk through the flow table that goes on for ever, a step at each tick: what is over leaves the table, and the
//! account of what the programs counted is settled at the end of each pass.

use std::time::Instant;

use datapath_abi::outcome::Tally;

use super::Gateway;
use crate::datapath::Opening;

/// The present pass.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    /// What had come before it.
    opening: Option<Opening>,
    present: u64,
    living: Tally,
}

impl Gateway {
    pub(super) fn sweep_flows(&mut self, now: Instant) {
        let carried = self.carried();
        if let Some(datapath) = &self.forwarding.datapath
            && self.sweep.opening.is_none()
        {
            self.sweep.opening = datapath.flows.open(carried).ok();
        }
        let (forwarding, plan) = (&mut self.forwarding, &self.desired.plan);
        let swept = self
            .replicas
            .sweep_flows(forwarding, plan, now, |_, _, _| ());
        self.sweep.present += swept.seen.saturating_sub(swept.removed) as u64;
        self.sweep.living += swept.living;
        if swept.finished {
            let Sweep {
                opening,
                present,
                living,
            } = std::mem::take(&mut self.sweep);
            if let (Some(datapath), Some(opening)) = (&mut self.forwarding.datapath, opening) {
                datapath.flows.settle(&opening, present, living);
            }
        }
    }

    /// What the programs have counted for all sites.
    pub(super) fn carried(&self) -> Tally {
        let Some(datapath) = &self.forwarding.datapath else {
            return Tally::default();
        };
        let sites = self.desired.plan.sites.iter();
        let counters = sites.filter_map(|site| datapath.sites.counters(site.id).ok());
        counters.map(|counters| counters.total()).sum()
    }
}
