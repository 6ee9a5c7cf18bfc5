//! What the lanes judge by.

use std::sync::Arc;

use crate::clock;
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
