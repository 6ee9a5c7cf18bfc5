//! The policy in programs and lanes.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use datapath_abi::flow::FlowKey;

use super::Forwarding;
use crate::datapath::RuleSet;
use crate::gateway::plan::Plan;
use crate::ids::SiteId;
use crate::lane::Command;
use crossway_lane::policy::{FlowsOfLanes, Ruling};
use crossway_lane::refusal::Answer;
use crossway_policy::Policy;

impl Forwarding {
    /// Has programs and lanes judge by a policy, which may be in force already. Each exchanges its rules between two
    /// packets; flows that stay allowed lose none.
    pub(in crate::gateway) async fn set_policy(&mut self, policy: &Policy) -> Result<()> {
        if let Some(datapath) = &mut self.datapath
            && self.policy_of_programs.as_ref() != Some(policy)
        {
            // If one of these fails, the other may be in force: it is not the policy of before.
            self.policy_of_programs = None;
            let shadow = policy.shadow_image();
            datapath.set_policy(RuleSet::Active, &policy.image())?;
            datapath.set_policy(RuleSet::Shadow, shadow.as_deref().unwrap_or_default())?;
            self.policy_of_programs = Some(policy.clone());
        }
        if self.policy_of_lanes != *policy {
            let next = self.lane_policy.next(policy);
            self.lanes.set_ruling(&next.ruling).await?;
            self.lane_policy = next;
            self.policy_of_lanes = policy.clone();
        }
        Ok(())
    }

    /// Tells the lanes which flows the programs know: they begin to judge.
    pub(in crate::gateway) fn tell_lanes_of_flows(&mut self, now: Instant) {
        if let Some(datapath) = &mut self.datapath {
            self.lane_policy.learn_from(datapath, now);
        }
    }

    /// Whether an address is reached by the tunnel.
    pub(in crate::gateway) fn is_of_site(&mut self, address: IpAddr, plan: &Plan) -> bool {
        self.site_of(address, plan).is_some()
    }

    /// The site by whose routes an address is reached.
    pub(in crate::gateway) fn site_of(&mut self, address: IpAddr, plan: &Plan) -> Option<SiteId> {
        let down = &self.down;
        let routes = self
            .routes
            .get_or_insert_with(|| Arc::new(down.lane_routes(plan)));
        routes.site_of(address)
    }

    /// What the lanes know of flows and rules.
    pub(in crate::gateway) fn judged_by_lanes(&self) -> (&FlowsOfLanes, &Ruling) {
        (&self.lane_policy.flows, &self.lane_policy.ruling)
    }

    /// Takes a denied flow off the lists; whether it was on one.
    pub(in crate::gateway) fn forget_denied(&mut self, key: &FlowKey) -> Result<bool> {
        let by_lanes = self.lane_policy.flows.forget_denied(key);
        let by_programs = match &mut self.datapath {
            Some(datapath) => datapath.policy.forget_denied(key)?,
            None => false,
        };
        Ok(by_lanes || by_programs)
    }

    /// Sends an answer into the tunnel. By no device: there it would be judged itself.
    pub(in crate::gateway) fn answer_by_lane(&mut self, answer: Answer) -> Result<()> {
        let own = if answer.receiver().is_ipv4() {
            self.around.answers_from4.map(IpAddr::V4)
        } else {
            self.around.answers_from6.map(IpAddr::V6)
        };
        let packet = answer.into_packet(own);
        let packet = packet.context("no address of this gateway is reached from there")?;
        // Every site has its links on the first lane.
        self.lanes.send(0, Command::SendAnswer(packet))
    }
}
