//! The ceiling that tunnels are measured against: the same sites, joined by kernel routes.

use std::net::IpAddr;

use anyhow::Result;

use super::build::router_address;
use super::{Family, Site, Topology};
use crate::netns::Netns;

const FORWARDING: [&str; 2] = ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"];

/// Forwarding through the gateways without a tunnel; dropped, the gateways are as before.
#[derive(Debug)]
pub struct PlainForwarding<'a> {
    topology: &'a Topology,
}

impl<'a> PlainForwarding<'a> {
    pub(super) fn start(topology: &'a Topology) -> Result<Self> {
        let guard = Self { topology };
        for site in &topology.sites {
            for key in FORWARDING {
                site.gateway.set_sysctl(key, "1")?;
            }
        }
        for (netns, prefix, next_hop) in routes(topology) {
            netns.ip(&format!("route add {prefix} via {next_hop}"))?;
        }
        Ok(guard)
    }
}

impl Drop for PlainForwarding<'_> {
    fn drop(&mut self) {
        // What was not set up before a failure cannot be removed; the namespaces end soon anyway.
        for (netns, prefix, next_hop) in routes(self.topology) {
            let _ = netns.ip(&format!("route delete {prefix} via {next_hop}"));
        }
        for site in &self.topology.sites {
            for key in FORWARDING {
                let _ = site.gateway.set_sysctl(key, "0");
            }
        }
    }
}

/// Every route: where, to what, by which next hop.
fn routes(topology: &Topology) -> Vec<(&Netns, String, IpAddr)> {
    let mut routes = Vec::new();
    for family in Family::ALL {
        for to in &topology.sites {
            let prefix = to.route(family);
            if let Some(router) = &topology.router {
                routes.push((router, prefix.clone(), to.wan_address(family)));
            }
            for from in topology.sites.iter().filter(|from| from.name != to.name) {
                let next_hop = next_hop(topology, from, to, family);
                routes.push((&from.gateway, prefix.clone(), next_hop));
            }
        }
    }
    routes
}

fn next_hop(topology: &Topology, from: &Site, to: &Site, family: Family) -> IpAddr {
    if topology.router.is_some() {
        router_address(from, family)
    } else {
        to.wan_address(family)
    }
}
