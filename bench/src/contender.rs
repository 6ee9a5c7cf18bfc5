//! What carries the traffic between the sites.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use vm_tests::gateways::{self, Gateway, GatewayKind};
use vm_tests::peers::Implementation;
use vm_tests::plan::{self, Shape};
use vm_tests::topology::{Family, PlainForwarding, Topology};
use vm_tests::{crossway, process, traffic};

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

const fn stock(implementation: Implementation) -> Contender {
    Contender::Tunnel(GatewayKind::Stock(implementation))
}

/// Every contender under its name, in the order of the table.
const NAMED: [(&str, Contender); 8] = [
    ("plain", Contender::Plain),
    ("crossway", Contender::CROSSWAY),
    (
        "crossway-boringtun",
        Contender::Tunnel(GatewayKind::CrosswayOnBoringtun),
    ),
    ("wireguard-go", stock(Implementation::WireguardGoNewest)),
    ("wireguard-go-debian", stock(Implementation::WireguardGo)),
    ("gotatun", stock(Implementation::GotatunCli)),
    ("boringtun", stock(Implementation::BoringtunCli)),
    ("kernel-wireguard", stock(Implementation::Kernel)),
];

impl Contender {
    pub(crate) const CROSSWAY: Self = Self::Tunnel(GatewayKind::Crossway);

    pub(crate) fn all() -> impl Iterator<Item = Self> {
        NAMED.iter().map(|(_, contender)| *contender)
    }

    /// The name in options, the table and the JSON file.
    pub(crate) fn name(self) -> &'static str {
        let named = NAMED.iter().find(|(_, contender)| *contender == self);
        named.map_or("unnamed", |(name, _)| name)
    }

    pub(crate) fn from_name(name: &str) -> Result<Self> {
        match NAMED.iter().find(|(known, _)| *known == name) {
            Some((_, contender)) => Ok(*contender),
            None => bail!(
                "there is no contender {name:?}: known are {}",
                NAMED.map(|(name, _)| name).join(", ")
            ),
        }
    }

    /// Its version.
    ///
    /// # Errors
    /// Why it cannot run here.
    pub(crate) fn version(self) -> Result<String> {
        match self {
            Self::Plain => Ok("the kernel's".to_owned()),
            Self::Tunnel(GatewayKind::Stock(implementation)) => implementation.version(),
            Self::Tunnel(GatewayKind::Crossway | GatewayKind::CrosswayOnBoringtun) => {
                let binary = crossway::binary();
                ensure!(
                    Path::new(&binary).exists(),
                    "{} does not exist: run `cargo xtask build`",
                    binary.display()
                );
                let text = process::run(Command::new(binary).arg("version"))?;
                Ok(text.lines().next().unwrap_or_default().to_owned())
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_contender_is_found_by_its_name() {
        for contender in Contender::all() {
            assert_eq!(Contender::from_name(contender.name()).unwrap(), contender);
        }
        let message = Contender::from_name("openvpn").unwrap_err().to_string();
        assert!(message.contains("boringtun"), "{message}");
    }
}
