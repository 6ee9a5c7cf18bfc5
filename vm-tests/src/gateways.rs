//! The gateways of a topology, of any kind.

use anyhow::Result;

use crate::crossway::Crossway;
use crate::engine::Engine;
use crate::peers::{Implementation, StockGateway};
use crate::plan::GatewayPlan;
use crate::topology::Topology;

/// What runs on a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GatewayKind {
    /// This project's agent.
    Crossway,
    /// The same, whose sessions boringtun runs.
    CrosswayOnBoringtun,
    /// A stock WireGuard.
    Stock(Implementation),
}

/// A running gateway. Dropped, it is stopped.
#[derive(Debug)]
pub enum Gateway {
    /// This project's agent.
    Crossway(Box<Crossway>),
    /// A stock WireGuard.
    Stock(StockGateway),
}

impl Gateway {
    /// Starts a gateway of that kind and waits until it answers.
    pub fn start(kind: GatewayKind, topology: &Topology, plan: &GatewayPlan) -> Result<Self> {
        Ok(match kind {
            GatewayKind::Crossway => Self::Crossway(Crossway::start(topology, plan)?.into()),
            GatewayKind::CrosswayOnBoringtun => {
                let mut plan = plan.clone();
                plan.set_engine(Engine::Boringtun);
                Self::Crossway(Crossway::start(topology, &plan)?.into())
            }
            GatewayKind::Stock(implementation) => {
                Self::Stock(StockGateway::start(implementation, topology, plan)?)
            }
        })
    }

    /// The agent, if it is one.
    pub fn crossway(&mut self) -> Option<&mut Crossway> {
        match self {
            Self::Crossway(crossway) => Some(crossway),
            Self::Stock(_) => None,
        }
    }
}

/// Starts one gateway of the same kind for each plan.
pub fn start_all(
    kind: GatewayKind,
    topology: &Topology,
    plans: &[GatewayPlan],
) -> Result<Vec<Gateway>> {
    plans
        .iter()
        .map(|plan| Gateway::start(kind, topology, plan))
        .collect()
}
