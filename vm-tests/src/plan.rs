//! Which gateway talks to which, before any of them runs: the same plan starts Crossway and every
//! other kind of gateway.

use std::net::SocketAddr;

use anyhow::Result;

use crate::keys::KeyPair;
use crate::topology::{Family, LISTEN_PORT, Topology};

/// Who is joined with whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Every gateway with every other.
    FullMesh,
    /// Every gateway with the first, which passes on what is for another.
    Hub,
}

/// One gateway: its keys, interfaces and peers. Change what a test needs changed before the start.
#[derive(Clone, Debug)]
pub struct GatewayPlan {
    /// Name of the gateway and of its namespace.
    pub name: String,
    /// Name of its site.
    pub site: String,
    /// Its keys.
    pub keys: KeyPair,
    /// UDP port.
    pub listen_port: u16,
    /// MTU inside the tunnel; without it, the program's own choice.
    pub mtu: Option<u16>,
    /// Addresses on the tunnel interface, each with its prefix length.
    pub tunnel_addresses: Vec<String>,
    /// The far gateways.
    pub peers: Vec<PeerPlan>,
    /// More lines for Crossway's `[gateway]` table, such as `fast_path = false`.
    pub gateway_lines: Vec<String>,
    /// More lines for Crossway's `[[gateway.wan]]` table, such as `xdp = "generic"`.
    pub wan_lines: Vec<String>,
}

/// A far gateway as seen from a near one.
#[derive(Clone, Debug)]
pub struct PeerPlan {
    /// Name of its site.
    pub site: String,
    /// Its own name.
    pub gateway: String,
    /// Its public key, base64.
    pub public_key: String,
    /// Where it is dialled; without, only it dials.
    pub endpoint: Option<SocketAddr>,
    /// Prefixes behind it.
    pub routes: Vec<String>,
    /// Seconds between keepalives.
    pub keepalive: Option<u16>,
    /// More lines for Crossway's `[[site.gateway]]` table, such as `endpoints = ["name:51820"]`.
    pub lines: Vec<String>,
}

/// Plans for all gateways of a topology, in the order of its sites, dialled over `outer`.
pub fn plan(topology: &Topology, shape: Shape, outer: Family) -> Result<Vec<GatewayPlan>> {
    let keys = topology
        .sites
        .iter()
        .map(|_| KeyPair::generate())
        .collect::<Result<Vec<_>>>()?;
    let plans = (0..topology.sites.len()).map(|own| GatewayPlan {
        name: topology.sites[own].gateway.name().to_owned(),
        site: topology.sites[own].name.clone(),
        keys: keys[own].clone(),
        listen_port: LISTEN_PORT,
        mtu: None,
        tunnel_addresses: Vec::new(),
        peers: peers(topology, &keys, shape, outer, own),
        gateway_lines: Vec::new(),
        wan_lines: Vec::new(),
    });
    Ok(plans.collect())
}

/// Gives every gateway an address inside the tunnel of each family ([`crate::topology::Site::tunnel_address`]), which the
/// others' routes to its site hold: it answers from there, for example as a hop of traceroute.
pub fn give_tunnel_addresses(topology: &Topology, plans: &mut [GatewayPlan]) {
    for plan in plans {
        let own = topology.site(&plan.site);
        plan.tunnel_addresses = Family::ALL
            .map(|family| {
                let length = if family == Family::V4 { 32 } else { 128 };
                format!("{}/{length}", own.tunnel_address(family))
            })
            .to_vec();
        for peer in &mut plan.peers {
            let behind = topology.sites.iter();
            let behind = behind.filter(|site| peer.routes.contains(&site.route(Family::V4)));
            // The IPv6 prefix of a site holds its tunnel address already.
            let routes = behind.map(|site| format!("{}/32", site.tunnel_address(Family::V4)));
            let routes: Vec<String> = routes.collect();
            peer.routes.extend(routes);
        }
    }
}

fn peers(
    topology: &Topology,
    keys: &[KeyPair],
    shape: Shape,
    outer: Family,
    own: usize,
) -> Vec<PeerPlan> {
    let spoke_of_hub = shape == Shape::Hub && own != 0;
    let far = (0..topology.sites.len()).filter(|&far| far != own && (!spoke_of_hub || far == 0));
    far.map(|far| {
        let site = &topology.sites[far];
        PeerPlan {
            site: site.name.clone(),
            gateway: site.gateway.name().to_owned(),
            public_key: keys[far].public.clone(),
            endpoint: Some(site.endpoint(outer)),
            routes: if spoke_of_hub {
                routes_of_all_but(topology, own)
            } else {
                site.routes()
            },
            keepalive: None,
            lines: Vec::new(),
        }
    })
    .collect()
}

fn routes_of_all_but(topology: &Topology, own: usize) -> Vec<String> {
    let others = topology.sites.iter().enumerate();
    others
        .filter(|(index, _)| *index != own)
        .flat_map(|(_, site)| site.routes())
        .collect()
}
