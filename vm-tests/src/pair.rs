//! Two sites joined by two agents: where most tests of one agent's life begin.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::Result;

use crate::crossway::Crossway;
use crate::plan::{self, GatewayPlan, Shape};
use crate::topology::{Builder, Family, Site, Topology};
use crate::traffic::{self, SteadyPing, SteadyTcp};

/// A handshake takes milliseconds; a lost one is repeated after five seconds.
const UP: Duration = Duration::from_secs(10);

/// Site `a` with the agent under test, site `b` with another. The fields are dropped in this order.
#[derive(Debug)]
pub struct Pair {
    /// The agent of site `a`.
    pub a: Crossway,
    /// The agent of site `b`.
    pub b: Crossway,
    /// Their plans.
    pub plans: Vec<GatewayPlan>,
    /// Where they run.
    pub topology: Topology,
}

impl Pair {
    /// Builds the sites and starts both agents with plans as `adjust` leaves them; returns when a ping has
    /// passed in both families.
    pub fn start(adjust: impl FnOnce(&mut [GatewayPlan])) -> Result<Self> {
        let topology = Builder::new(&["a", "b"]).build()?;
        let mut plans = plan::plan(&topology, Shape::FullMesh, Family::V4)?;
        adjust(&mut plans);
        let pair = Self {
            a: Crossway::start(&topology, &plans[0])?,
            b: Crossway::start(&topology, &plans[1])?,
            plans,
            topology,
        };
        pair.wait_until_up()?;
        Ok(pair)
    }

    /// Site `a`.
    pub fn site_a(&self) -> &Site {
        &self.topology.sites[0]
    }

    /// Site `b`.
    pub fn site_b(&self) -> &Site {
        &self.topology.sites[1]
    }

    /// The host of site `b`.
    pub fn far(&self, family: Family) -> IpAddr {
        self.site_b().host_address(family)
    }

    /// Waits for a ping from host `a` to host `b` in both families.
    pub fn wait_until_up(&self) -> Result<()> {
        for family in Family::ALL {
            traffic::wait_for_ping(&self.site_a().host, self.far(family), UP)?;
        }
        Ok(())
    }

    /// Pings from host `a` to host `b` without an end.
    pub fn steady_ping(&self, family: Family) -> Result<SteadyPing> {
        let directory = self.topology.directory();
        SteadyPing::start(&self.site_a().host, self.far(family), directory)
    }

    /// TCP from host `a` to host `b` without an end.
    pub fn steady_tcp(&self, family: Family) -> Result<SteadyTcp> {
        let (from, to) = (&self.site_a().host, &self.site_b().host);
        SteadyTcp::start(from, to, self.far(family))
    }
}
