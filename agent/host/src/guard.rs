//! Refuses site routes that would swallow the tunnel's own packets: those to a peer's endpoint, or
//! to the router that leads there. Pure: it looks at lists, not at the host.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use super::kernel_routes::{Hop, KernelRoute, RouteKind};
use crossway_types::ids::IfIndex;
use crossway_types::prefix::{Prefix, PrefixIndex};

/// A route of a site, as the configuration has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedRoute<'a> {
    /// The site's name.
    pub site: &'a str,
    /// Destinations behind it.
    pub prefix: Prefix,
}

/// An address that tunnel packets are sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedEndpoint<'a> {
    /// Name of the site it leads to; empty where it leads to a replica of this gateway.
    pub site: &'a str,
    /// Name of the remote gateway.
    pub gateway: &'a str,
    /// Its address.
    pub address: IpAddr,
}

/// A WAN interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedInterface<'a> {
    /// Name.
    pub name: &'a str,
    /// Index.
    pub index: IfIndex,
}

/// A route that must not be installed, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Name of the site whose route it is.
    pub site: String,
    /// The route.
    pub prefix: Prefix,
    /// What it would swallow.
    pub swallowed: IpAddr,
    /// The whole message: what, why, and the mend.
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// All refusals. `kernel` are the host's routes without ours. Of equally long prefixes the site's
/// counts as the winner: the kernel's may go at any time.
pub fn refusals(
    kernel: &[KernelRoute],
    sites: &[NamedRoute<'_>],
    endpoints: &[NamedEndpoint<'_>],
    wans: &[NamedInterface<'_>],
) -> Vec<Refusal> {
    let sites = PrefixIndex::new(sites.iter().map(|route| (route.prefix, *route)));
    let routers = next_hops(kernel, wans);
    // Most are in no site's routes: those of the kernel, of which there may be a million, need no look then.
    let mut addresses = endpoints.iter().map(|endpoint| endpoint.address);
    let mut of_routers = routers.iter().map(|(gateway, _)| *gateway);
    let in_a_site = |address| sites.longest_match(address).is_some();
    if !addresses.any(in_a_site) && !of_routers.any(in_a_site) {
        return Vec::new();
    }
    let kernel = KernelTables::new(kernel);
    let of_endpoints = endpoints.iter().filter_map(|endpoint| {
        let swallower = swallower(&kernel, &sites, endpoint.address)?;
        Some(refuse_endpoint(&kernel, swallower, endpoint))
    });
    let of_uplinks = routers.into_iter().filter_map(|(gateway, wan)| {
        let swallower = swallower(&kernel, &sites, gateway)?;
        Some(refuse_uplink(swallower, gateway, wan))
    });
    of_endpoints.chain(of_uplinks).collect()
}

/// A warning for each name server that the host could not ask while a site is down: then nobody learns where the
/// site's gateways are, if they are named.
pub fn swallowed_servers(
    kernel: &[KernelRoute],
    sites: &[NamedRoute<'_>],
    servers: &[IpAddr],
) -> Vec<String> {
    let sites = PrefixIndex::new(sites.iter().map(|route| (route.prefix, *route)));
    if !servers
        .iter()
        .any(|server| sites.longest_match(*server).is_some())
    {
        return Vec::new();
    }
    let kernel = KernelTables::new(kernel);
    let swallowed = servers.iter().filter_map(|server| {
        let NamedRoute { site, prefix } = swallower(&kernel, &sites, *server)?;
        let (own_route, via) = (Prefix::host(*server), via_of(&kernel, *server));
        Some(format!(
            "site {site}: route {prefix} leads the questions to the name server {server} into the tunnel: while the \
             site is down, no name of a gateway can be looked up; add a more specific kernel route to the name server \
             (ip route add {own_route} via {via}), or write addresses as endpoints"
        ))
    });
    swallowed.collect()
}

/// The site route that would take packets to `address` from the kernel's.
fn swallower<'a, 's>(
    kernel: &KernelTables<'_>,
    sites: &'a PrefixIndex<NamedRoute<'s>>,
    address: IpAddr,
) -> Option<&'a NamedRoute<'s>> {
    let (_, site) = sites.longest_match(address)?;
    let kept = kernel.best(address).is_some_and(|route| {
        route.kind == RouteKind::Local || route.prefix.length() > site.prefix.length()
    });
    (!kept).then_some(site)
}

/// The kernel's routes, and of each prefix the one that packets find first: it may have as many as
/// the Internet, and there may be thousands of endpoints.
struct KernelTables<'a> {
    live: PrefixIndex<&'a KernelRoute>,
}

impl<'a> KernelTables<'a> {
    fn new(all: &'a [KernelRoute]) -> Self {
        let live = all.iter();
        let live = live.filter(|route| route.is_in_default_tables() && !route.dead);
        let mut live: Vec<_> = live.map(|route| (route.prefix, route)).collect();
        // An index answers with the first of equal prefixes: the local table is looked up first.
        live.sort_by_key(|(prefix, route)| (*prefix, Reverse(route.table), route.metric));
        Self {
            live: PrefixIndex::new(live),
        }
    }

    /// The kernel's own choice for `address`.
    fn best(&self, address: IpAddr) -> Option<&'a KernelRoute> {
        self.live.longest_match(address).map(|(_, route)| *route)
    }
}

/// Routers that a WAN's routes lead to, each once.
fn next_hops<'a>(
    kernel: &[KernelRoute],
    wans: &[NamedInterface<'a>],
) -> Vec<(IpAddr, NamedInterface<'a>)> {
    let mut found: Vec<(IpAddr, NamedInterface<'a>)> = Vec::new();
    let live = kernel.iter().filter(|route| !route.dead);
    for hop in live.flat_map(|route| &route.hops) {
        let wan = wans.iter().find(|wan| hop.interface == Some(wan.index));
        if let (Some(gateway), Some(wan)) = (hop.gateway, wan)
            && !found.iter().any(|(known, _)| *known == gateway)
        {
            found.push((gateway, *wan));
        }
    }
    found
}

/// The routers that routes over these interfaces lead to, each once.
pub fn routers_of(kernel: &[KernelRoute], wans: &[IfIndex]) -> Vec<IpAddr> {
    let hops = kernel.iter().flat_map(|route| &route.hops);
    let by_wan = hops.filter(|hop| hop.interface.is_some_and(|index| wans.contains(&index)));
    let routers: BTreeSet<IpAddr> = by_wan.filter_map(|hop| hop.gateway).collect();
    routers.into_iter().collect()
}

fn refuse_endpoint(
    kernel: &KernelTables<'_>,
    route: &NamedRoute<'_>,
    endpoint: &NamedEndpoint<'_>,
) -> Refusal {
    let NamedRoute { site, prefix } = *route;
    let NamedEndpoint {
        gateway, address, ..
    } = *endpoint;
    let whose = if endpoint.site == site {
        format!("of its own gateway {gateway}")
    } else if endpoint.site.is_empty() {
        format!("of this gateway's replica {gateway}")
    } else {
        format!("of gateway {gateway} of site {}", endpoint.site)
    };
    let own_route = Prefix::host(address);
    let mend = if prefix == own_route {
        "take this route out of the site".to_owned()
    } else {
        let via = via_of(kernel, address);
        format!(
            "narrow the route, or add a more specific kernel route to the endpoint \
             (ip route add {own_route} via {via})"
        )
    };
    Refusal {
        site: site.to_owned(),
        prefix,
        swallowed: address,
        message: format!(
            "site {site}: route {prefix} would swallow the endpoint {address} {whose}: packets to \
             it would go into the tunnel; {mend}"
        ),
    }
}

fn refuse_uplink(route: &NamedRoute<'_>, gateway: IpAddr, wan: NamedInterface<'_>) -> Refusal {
    let NamedRoute { site, prefix } = *route;
    let own_route = Prefix::host(gateway);
    let mend = if prefix == own_route {
        "take this route out of the site".to_owned()
    } else {
        let name = wan.name;
        format!(
            "narrow the route, or add a more specific kernel route to the router \
             (ip route add {own_route} dev {name})"
        )
    };
    Refusal {
        site: site.to_owned(),
        prefix,
        swallowed: gateway,
        message: format!(
            "site {site}: route {prefix} would swallow {gateway}, the router behind the uplink \
             {}: every tunnel packet would go into the tunnel; {mend}",
            wan.name
        ),
    }
}

/// The router that leads to `address` today, if one does.
fn via_of(kernel: &KernelTables<'_>, address: IpAddr) -> String {
    let hop = kernel.best(address).and_then(|route| route.hops.first());
    match hop {
        Some(Hop {
            gateway: Some(gateway),
            ..
        }) => gateway.to_string(),
        _ => "<your uplink's router>".to_owned(),
    }
}

#[cfg(test)]
mod tests;
