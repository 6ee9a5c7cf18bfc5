//! Another network between two gateways, for one direction: packets go one way and answers come another.
//!
//! ```text
//!                 ┌── wan0 ───────── wan (router) ───────── wan0 ──┐
//!  [gateway a] ───┤ 203.0.113.5                       203.0.113.9  ├─── [gateway b]
//!                 └── side0 ◄─────── side (router) ◄────── side0 ──┘
//!                 192.0.2.5      .6            .2      192.0.2.1
//! ```

use anyhow::{Context, Result};

use super::build::{End, add_address, cable};
use super::{Family, Site, Topology};
use crate::netns::Netns;

/// The side network's interface in a gateway.
const SIDE: &str = "side0";
/// The router's, to gateway `from` and to gateway `to`.
const PORTS: [&str; 2] = ["from", "to"];
/// The gateway's address and the router's, on the cable from and on the cable to.
const NETS: [[&str; 2]; 2] = [["192.0.2.1", "192.0.2.2"], ["192.0.2.5", "192.0.2.6"]];

/// The side network, used while this lives.
#[derive(Debug)]
pub struct Detour<'a> {
    from: &'a Site,
    to: &'a Site,
    router: Netns,
}

impl<'a> Detour<'a> {
    /// From now on what gateway `from` sends to the IPv4 address of gateway `to` goes by a router of its own,
    /// from the address that it had.
    pub fn open(topology: &'a Topology, from: &'a Site, to: &'a Site) -> Result<Self> {
        let router = Netns::create(&format!("{}-side", topology.prefix()))?;
        router.set_sysctl("net/ipv4/ip_forward", "1")?;
        let detour = Self { from, to, router };
        for ((site, [ours, theirs]), port) in [from, to].into_iter().zip(NETS).zip(PORTS) {
            let mtu = 1500;
            cable(
                End::new(&site.gateway, SIDE, mtu),
                End::new(&detour.router, port, mtu),
            )?;
            add_address(&site.gateway, SIDE, ours.parse()?, 30)?;
            add_address(&detour.router, port, theirs.parse()?, 30)?;
        }
        let target = to.wan_address(Family::V4);
        let [[_, next_hop], [last_hop, _]] = NETS;
        detour
            .router
            .ip(&format!("route add {target}/32 via {last_hop}"))?;
        let source = from.wan_address(Family::V4);
        from.gateway.ip(&format!(
            "route add {target}/32 via {next_hop} src {source}"
        ))?;
        Ok(detour)
    }

    /// The router and its interface to gateway `to`.
    pub fn way(&self) -> (&Netns, &'static str) {
        (&self.router, PORTS[1])
    }

    /// Packets that it has carried to gateway `to`.
    pub fn carried(&self) -> Result<u64> {
        let (router, port) = self.way();
        let counters = crate::traffic::LinkCounters::of(router, port);
        Ok(counters.context("the detour's counters")?.tx_packets)
    }
}

impl Drop for Detour<'_> {
    fn drop(&mut self) {
        // The routes go with the cables.
        for site in [self.from, self.to] {
            let _ = site.gateway.ip(&format!("link delete {SIDE}"));
        }
    }
}
