//! What carries the traffic between the sites.

use std::time::Duration;

use anyhow::{Result, bail};
use vm_tests::gateways::{self, Gateway, GatewayKind};
use vm_tests::peers::Implementation;
use vm_tests::plan::{self, Shape};
use vm_tests::topology::{Family, PlainForwarding, Topology};
use vm_tests::traffic;

const UP_LIMIT: Duration = Duration::from_secs(15);

/// One way to join the sites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    /// Kernel routes, no tunnel: the ceiling.
    Plain,
    /// The same kind of gateway on both sides.
    Tunnel(GatewayKind),
}

/// A contender that is up, until dropped.
#[expect(dead_code, reason = "held for what their drop does")]
pub(crate) enum Running<'a> {
    Plain(PlainForwarding<'a>),
    Tunnel(Vec<Gateway>),
}

impl Contender {
    pub(crate) const CROSSWAY: Self = Self::Tunnel(GatewayKind::Crossway);
    const WIREGUARD_GO: Self = Self::Tunnel(GatewayKind::Stock(Implementation::WireguardGo));
    const BORINGTUN: Self = Self::Tunnel(GatewayKind::Stock(Implementation::BoringtunCli));
    const ALL: [Self; 4] = [
        Self::Plain,
        Self::CROSSWAY,
        Self::WIREGUARD_GO,
        Self::BORINGTUN,
    ];

    /// The name in options, the table and the JSON file.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Tunnel(GatewayKind::Crossway) => "crossway",
            Self::Tunnel(GatewayKind::Stock(Implementation::WireguardGo)) => "wireguard-go",
            Self::Tunnel(GatewayKind::Stock(Implementation::BoringtunCli)) => "boringtun",
        }
    }

    pub(crate) fn from_name(name: &str) -> Result<Self> {
        match Self::ALL.iter().find(|contender| contender.name() == name) {
            Some(contender) => Ok(*contender),
            None => bail!(
                "there is no contender {name:?}: known are {}",
                Self::ALL.map(Self::name).join(", ")
            ),
        }
    }

    /// Starts it and waits until the hosts reach each other.
    pub(crate) fn start(self, topology: &Topology) -> Result<Running<'_>> {
        let running = match self {
            Self::Plain => Running::Plain(topology.forward_plainly()?),
            Self::Tunnel(kind) => {
                let plans = plan::plan(topology, Shape::FullMesh, Family::V4)?;
                Running::Tunnel(gateways::start_all(kind, topology, &plans)?)
            }
        };
        let (from, to) = (&topology.sites[0], &topology.sites[1]);
        traffic::wait_for_ping(&from.host, to.host_address(Family::V4), UP_LIMIT)?;
        Ok(running)
    }
}
