//! The flows that were denied of late, which are in no flow table: programs and lanes each keep a list of them.

use anyhow::Result;

use crate::control::message::{Flow, FlowsReply, FlowsRequest, MAX_PAGE};
use crate::gateway::Gateway;
use crate::gateway::answer::{name_in, site_names};
use crate::gateway::judge::Judge;
use crossway_sys::clock;

impl Gateway {
    /// A page of them, whole: there are few.
    pub(super) fn denied_flows(&mut self, request: &FlowsRequest) -> Result<FlowsReply> {
        let denied = self.denied()?;
        let filter = &request.filter;
        let names = site_names(&self.desired.plan);
        let judge = Judge::of(&self.desired.config.policy);
        let now_ns = clock::monotonic_ns();
        let flows = denied.iter().map(|(key, counters)| {
            let site = name_in(&names, counters.site);
            let mut flow = Flow::new(key, counters, (site, "default"), now_ns);
            flow.policy = judge.denied(key, counters);
            flow
        });
        let mut flows: Vec<Flow> = flows.filter(|flow| filter.matches(&flow.view())).collect();
        let matched = flows.len() as u64;
        let top = request.top.unwrap_or(MAX_PAGE).min(MAX_PAGE);
        request.sort.keep_top(&mut flows, Some(top));
        Ok(FlowsReply {
            flows,
            matched,
            present: denied.len() as u64,
            capacity: datapath_abi::maps::DENIED_FLOWS as u64,
            filter: filter.clone(),
            ..FlowsReply::default()
        })
    }
}
