//! What the lanes judge by.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use datapath_abi::flow::{FlowCounters, FlowKey};

use crate::clock;
use crate::datapath::{Datapath, Prepared};
use crossway_lane::policy::{FlowsOfLanes, Ruling};
use crossway_policy::Policy;

/// A rule set as lanes have it, with what they know of flows.
#[derive(Clone)]
pub(in crate::gateway) struct LanePolicy {
    pub(in crate::gateway) flows: Arc<FlowsOfLanes>,
    pub(in crate::gateway) ruling: Arc<Ruling>,
}

impl LanePolicy {
    /// For lanes that begin.
    pub(in crate::gateway) fn new(policy: &Policy) -> Self {
        let flows = Arc::new(FlowsOfLanes::new(clock::now()));
        Self::of(policy, 1, flows)
    }

    /// The next one, for the same lanes.
    pub(in crate::gateway) fn next(&self, policy: &Policy) -> Self {
        // Zero is the generation of flows that nobody has judged.
        let generation = self.ruling.generation().wrapping_add(1).max(1);
        Self::of(policy, generation, Arc::clone(&self.flows))
    }

    /// Tells the lanes which flows the programs know, and who has opened them: their answers are to
    /// pass where lanes begin to judge.
    pub(in crate::gateway) fn learn_from(&self, datapath: &mut Datapath, now: Instant) {
        self.learn(now, |learn| datapath.flows.for_each(learn));
    }

    /// The same while the agent before still runs.
    pub(in crate::gateway) fn learn_before(&self, prepared: &Prepared, now: Instant) {
        self.learn(now, |learn| prepared.for_each_flow(learn));
    }

    fn learn(
        &self,
        now: Instant,
        show: impl FnOnce(&mut dyn FnMut(&FlowKey, &FlowCounters)) -> Result<()>,
    ) {
        if !self.ruling.asks() {
            return;
        }
        let flows = &self.flows;
        let told = show(&mut |key, counters| flows.learn(key, counters.opened_by, now));
        if let Err(error) = told {
            tracing::warn!("the lanes do not know the flows of the programs: {error:#}");
        }
    }

    fn of(policy: &Policy, generation: u32, flows: Arc<FlowsOfLanes>) -> Self {
        let ruling = Ruling::new(generation, policy.image(), policy.shadow_image());
        if ruling.asks() {
            flows.prepare();
        }
        Self {
            flows,
            ruling: Arc::new(ruling),
        }
    }
}
