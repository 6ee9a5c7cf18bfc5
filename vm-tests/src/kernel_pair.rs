//! Crossway joined with the kernel's WireGuard: where tests of the two together begin.

use std::time::Duration;

use crate::api::{Link, LinkState};
use anyhow::{Result, ensure};

use crate::crossway::Crossway;
use crate::peers::{Implementation, StockGateway};
use crate::plan::{self, GatewayPlan, Shape};
use crate::topology::{Builder, Family, Site, Topology};
use crate::{traffic, wait};

/// A handshake, or data without an answer (15 s) and then one.
const UP: Duration = Duration::from_secs(20);
/// What TCP moves in each nesting and direction.
const BYTES: u64 = 1 << 20;

/// Who has the other's endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dials {
    /// Crossway, which begins.
    Crossway,
    /// The kernel.
    Kernel,
}

/// Crossway at site `a`, the kernel at site `b`. The fields are dropped in this order.
#[derive(Debug)]
pub struct KernelPair {
    /// The agent of site `a`.
    pub agent: Crossway,
    /// The gateway of site `b`.
    pub kernel: StockGateway,
    /// Their plans.
    pub plans: Vec<GatewayPlan>,
    /// Where they run.
    pub topology: Topology,
}

impl KernelPair {
    /// Builds the sites and starts both; no packet has passed yet.
    pub fn start(outer: Family, dials: Dials) -> Result<Self> {
        Self::start_adjusted(outer, dials, |_| ())
    }

    /// As [`Self::start`], with plans as `adjust` leaves them.
    pub fn start_adjusted(
        outer: Family,
        dials: Dials,
        adjust: impl FnOnce(&mut [GatewayPlan]),
    ) -> Result<Self> {
        let topology = Builder::new(&["a", "b"]).build()?;
        let mut plans = plan::plan(&topology, Shape::FullMesh, outer)?;
        let dialled = usize::from(dials == Dials::Crossway);
        plans[dialled].peers[0].endpoint = None;
        adjust(&mut plans);
        let kernel = StockGateway::start(Implementation::Kernel, &topology, &plans[1])?;
        let agent = Crossway::start(&topology, &plans[0])?;
        Ok(Self {
            agent,
            kernel,
            plans,
            topology,
        })
    }

    /// The sites.
    pub fn sites(&self) -> (&Site, &Site) {
        (&self.topology.sites[0], &self.topology.sites[1])
    }

    /// Both forget what they know of each other; one of them learns where the other is.
    pub fn begin_anew(&mut self, outer: Family, dials: Dials) -> Result<()> {
        let crossway_dials = dials == Dials::Crossway;
        let (a, b) = (&self.topology.sites[0], &self.topology.sites[1]);
        self.plans[0].peers[0].endpoint = crossway_dials.then(|| b.endpoint(outer));
        let key = &self.plans[0].keys.public;
        let routes = self.plans[1].peers[0].routes.join(",");
        self.kernel.set(&format!("peer {key} remove"))?;
        let endpoint = if crossway_dials {
            String::new()
        } else {
            format!("endpoint {}", a.endpoint(outer))
        };
        let anew = format!("peer {key} allowed-ips {routes} {endpoint}");
        self.kernel.set(&anew)?;
        self.agent.write_config(&self.plans[0])?;
        self.agent.command(&["reload"])?;
        Ok(())
    }

    /// The side that dials opens the way.
    pub fn first_packet(&self) -> Result<()> {
        let (a, b) = self.sites();
        let crossway_dials = self.plans[0].peers[0].endpoint.is_some();
        let (from, to) = if crossway_dials { (a, b) } else { (b, a) };
        traffic::wait_for_ping(&from.host, to.host_address(Family::V4), UP)
    }

    /// Ping and TCP in both families and both directions.
    pub fn talks(&self) -> Result<()> {
        self.first_packet()?;
        let (a, b) = self.sites();
        for family in Family::ALL {
            for (from, to) in [(a, b), (b, a)] {
                traffic::exchange(from, to, family, BYTES)?;
            }
        }
        let link = self.link()?;
        ensure!(link.state == LinkState::Up, "the link is not up: {link:?}");
        Ok(())
    }

    fn link(&self) -> Result<Link> {
        Ok(self.agent.links()?.swap_remove(0))
    }

    /// Waits until the agent knows the kernel there.
    pub fn agent_sends_to(&self, endpoint: &str) -> Result<()> {
        wait::until(&format!("the agent to send to {endpoint}"), UP, || {
            (self.link().ok()?.endpoint.as_deref() == Some(endpoint)).then_some(())
        })
    }

    /// Waits until the kernel knows the agent there.
    pub fn kernel_sends_to(&self, endpoint: &str) -> Result<()> {
        wait::until(&format!("the kernel to send to {endpoint}"), UP, || {
            let said = self.kernel.show("endpoints").ok()?;
            said.trim_end().ends_with(endpoint).then_some(())
        })
    }
}
