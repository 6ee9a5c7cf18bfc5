//! What carries packets: the lanes with their links, and the eBPF programs with their maps.
//!
//! Each function here brings one of them to what is wanted, touching only what differs, and may be called
//! again after a failure. Who calls them, and in which order: [`reconcile`](super::reconcile).

mod links;
mod policy;
mod sites;

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use anyhow::{Context, Result};
use datapath_abi::outcome::{DropReason, Tally};

use super::judging::LanePolicy;
use super::lanes::Lanes;
use super::links::Links;
use super::names::lookups::Lookups;
use super::on_down::DownSites;
use super::plan::Numbers;
use crate::datapath::{Datapath, Surroundings};
use crate::ids::SiteId;
use crate::io::tun;
use crate::routes::RouteTable;
use crate::tunnel::link_bfd::LanRole;
use crossway_policy::Policy;
pub(super) use links::spec_of;

/// The lanes, their links and the programs.
pub(super) struct Forwarding {
    pub(super) lanes: Lanes,
    pub(super) links: Links,
    lookups: Lookups,
    /// `None` where the fast path is off; then the kernel stack forwards everything.
    pub(super) datapath: Option<Datapath>,
    /// What far gateways are told of this one.
    pub(super) service: LanRole,
    /// The sites that count as down.
    pub(super) down: DownSites,
    /// The lanes that may carry each site's flows, a bit each.
    lanes_up: HashMap<SiteId, u32>,
    /// Names of the links that carried a site's flows on a lane last.
    carriers: HashMap<(SiteId, u16), String>,
    /// Whose flows each number's counters have counted.
    counted: HashMap<SiteId, String>,
    /// See [`Self::spread_by_another`].
    spread_by_another: Option<OwnedFd>,
    /// What the lanes judge by, and the policy that it is made of.
    lane_policy: LanePolicy,
    policy_of_lanes: Policy,
    /// What the programs judge by, as far as this agent has told them.
    policy_of_programs: Option<Policy>,
    /// What is around the gateway, as far as it was told.
    around: Surroundings,
    /// The routes that the lanes have.
    routes: Option<Arc<RouteTable>>,
}

impl Forwarding {
    pub(super) fn new(
        lanes: Lanes,
        links: Links,
        lookups: Lookups,
        datapath: Option<Datapath>,
        (policy_of_lanes, lane_policy): (Policy, LanePolicy),
    ) -> Self {
        Self {
            lanes,
            links,
            lookups,
            datapath,
            service: LanRole::default(),
            down: DownSites::default(),
            lanes_up: HashMap::new(),
            carriers: HashMap::new(),
            counted: HashMap::new(),
            spread_by_another: None,
            lane_policy,
            policy_of_lanes,
            policy_of_programs: None,
            around: Surroundings::default(),
            routes: None,
        }
    }

    /// The counters are those of the sites that had `numbers` in the agent before.
    pub(super) fn continue_counting(&mut self, numbers: &Numbers) {
        self.counted = numbers.site_names();
    }

    /// The queue of a TUN whose packets the program of an agent before spreads over the lanes.
    pub(super) fn spread_by_another(&mut self, queue: OwnedFd) {
        self.spread_by_another = Some(queue);
    }

    /// Has our program choose the lane of a packet.
    pub(super) fn steer(&mut self) -> Result<()> {
        if let (Some(datapath), Some(queue)) = (&self.datapath, &self.spread_by_another)
            && self.lanes.count() > 1
        {
            tun::steer(queue.as_fd(), datapath.steering()?)
                .context("to let eBPF choose the lane")?;
        }
        self.spread_by_another = None;
        Ok(())
    }

    /// What the programs have dropped: it is forgotten when they are detached.
    pub(super) fn dropped_by_programs(&self) -> Vec<(DropReason, Tally)> {
        let tallies = self.datapath.as_ref().map(|datapath| &datapath.tallies);
        tallies
            .and_then(|tallies| tallies.drops().ok())
            .unwrap_or_default()
    }

    /// Takes the programs from their hooks. What they have counted stays.
    pub(super) fn stop_counting(&mut self) -> Result<()> {
        self.datapath
            .as_mut()
            .map_or(Ok(()), Datapath::detach_programs)
    }

    /// Takes the programs from their hooks, and their maps away.
    pub(super) fn detach(&mut self) -> Result<()> {
        self.datapath.take().map_or(Ok(()), Datapath::detach)
    }
}
