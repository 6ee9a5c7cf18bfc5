//! The kernel's routes as plain data: what guard and mirror reason about.

use std::net::IpAddr;

use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteNextHopFlags,
    RouteType, RouteVia,
};

use super::error::HostError;
use super::route_socket::RouteSocket;
use super::site_routes::{Ours, OwnRoute};
use crossway_types::ids::IfIndex;
use crossway_types::prefix::Prefix;

/// The table of routes that people and routing daemons write.
pub const MAIN_TABLE: u32 = 254;
/// The table of the host's own addresses; looked up before the main table.
pub const LOCAL_TABLE: u32 = 255;

/// A route of the kernel's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelRoute {
    /// Destinations it is for.
    pub prefix: Prefix,
    /// Table number.
    pub table: u32,
    /// Who made it (`/etc/iproute2/rt_protos`).
    pub protocol: u8,
    /// What it does.
    pub kind: RouteKind,
    /// Of equal prefixes in one table the lowest metric wins.
    pub metric: u32,
    /// Source of the host's own packets over it.
    pub source: Option<IpAddr>,
    /// Its own limit on packet size, bytes.
    pub mtu: Option<u32>,
    /// Ways out; none for blackholes and their like.
    pub hops: Vec<Hop>,
    /// The kernel skips it, its interface being down.
    pub dead: bool,
}

/// One way out of a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hop {
    /// Interface the packet leaves by.
    pub interface: Option<IfIndex>,
    /// Router it is handed to; `None` where the destination is a neighbour.
    pub gateway: Option<IpAddr>,
}

/// What a route does with a packet (RTN_*, linux/rtnetlink.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteKind {
    /// Forwards it.
    Unicast,
    /// Delivers it to this host.
    Local,
    /// Delivers it to this host as a broadcast.
    Broadcast,
    /// Delivers it to this host as one of several.
    Anycast,
    /// Sends it to a group.
    Multicast,
    /// Drops it without a word.
    Blackhole,
    /// Drops it and answers that the host or network is unreachable.
    Unreachable,
    /// Drops it and answers that it is prohibited.
    Prohibit,
    /// Goes on with the next rule.
    Throw,
    /// Anything else.
    Other(u8),
}

impl KernelRoute {
    /// Whether one of its ways out is `interface`.
    pub fn leaves_by(&self, interface: IfIndex) -> bool {
        self.hops.iter().any(|hop| hop.interface == Some(interface))
    }

    /// Whether packets find it without a policy rule of the administrator's.
    pub fn is_in_default_tables(&self) -> bool {
        matches!(self.table, MAIN_TABLE | LOCAL_TABLE)
    }
}

/// The kernel's routes of both families and all tables, those of this agent apart: there may be a
/// million of them, and of these little is to be known.
#[derive(Clone, Debug, Default)]
pub struct KernelRoutes {
    /// Routes that this agent, or a killed one before it, made.
    pub own: Vec<OwnRoute>,
    /// Prefixes of its backstops: see [`super::site_routes::backstop_metric`].
    pub backstops: Vec<Prefix>,
    /// All the others.
    pub others: Vec<KernelRoute>,
}

/// Reads them. Without `ours`, all count as others.
pub fn list(socket: &mut RouteSocket, ours: Option<&Ours>) -> Result<KernelRoutes, HostError> {
    let mut routes = KernelRoutes::default();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut request = RouteMessageBuilder::<IpAddr>::new();
        request.get_mut().header.address_family = family;
        let add = |message: &RouteMessage| {
            if let Some(route) = parse(message) {
                if ours.is_some_and(|ours| ours.is_backstop(&route)) {
                    routes.backstops.push(route.prefix);
                    return;
                }
                match ours.and_then(|ours| ours.claim(&route)) {
                    Some(own) => routes.own.push(own),
                    None => routes.others.push(route),
                }
            }
        };
        let listed = socket.dump(request.build(), add);
        listed.map_err(|error| HostError::Netlink {
            what: "to list routes".to_owned(),
            error,
        })?;
    }
    tracing::debug!(
        own = routes.own.len(),
        others = routes.others.len(),
        "listed the kernel's routes"
    );
    tracing::debug!(
        own = routes.own.len() + routes.backstops.len(),
        others = routes.others.len(),
        "read the kernel's routes"
    );
    Ok(routes)
}

fn parse(message: &RouteMessage) -> Option<KernelRoute> {
    // A cached exception of a route (path MTU, redirect), not a route.
    if message.header.flags.contains(RouteFlags::Cloned) {
        return None;
    }
    parse_way(message)
}

/// A route, or the kernel's choice for one packet, which counts as a cached one.
pub(super) fn parse_way(message: &RouteMessage) -> Option<KernelRoute> {
    let header = &message.header;
    let any = match header.address_family {
        AddressFamily::Inet => IpAddr::from([0; 4]),
        AddressFamily::Inet6 => IpAddr::from([0; 16]),
        _ => return None,
    };
    let mut destination = any;
    let mut first = Hop::default();
    let mut route = KernelRoute {
        prefix: Prefix::host(any),
        table: header.table.into(),
        protocol: header.protocol.into(),
        kind: kind(header.kind),
        metric: 0,
        source: None,
        mtu: None,
        hops: Vec::new(),
        dead: header.flags.contains(RouteFlags::Dead),
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(found) => destination = ip(found)?,
            RouteAttribute::Table(table) => route.table = *table,
            RouteAttribute::Priority(metric) => route.metric = *metric,
            RouteAttribute::PrefSource(found) => route.source = ip(found),
            RouteAttribute::Oif(index) => first.interface = Some(IfIndex(*index)),
            RouteAttribute::Gateway(found) => first.gateway = ip(found),
            RouteAttribute::Via(via) => first.gateway = ip_of_via(via),
            RouteAttribute::Metrics(metrics) => route.mtu = metrics.iter().find_map(mtu),
            RouteAttribute::MultiPath(hops) => {
                route.dead = hops
                    .iter()
                    .all(|hop| hop.flags.contains(RouteNextHopFlags::Dead));
                route.hops = hops
                    .iter()
                    .map(|hop| Hop {
                        interface: Some(IfIndex(hop.interface_index)),
                        gateway: hop.attributes.iter().find_map(gateway),
                    })
                    .collect();
            }
            _ => {}
        }
    }
    if first != Hop::default() {
        route.hops.push(first);
    }
    route.prefix = Prefix::containing(destination, header.destination_prefix_length);
    Some(route)
}

fn kind(kind: RouteType) -> RouteKind {
    match kind {
        RouteType::Unicast => RouteKind::Unicast,
        RouteType::Local => RouteKind::Local,
        RouteType::Broadcast => RouteKind::Broadcast,
        RouteType::Anycast => RouteKind::Anycast,
        RouteType::Multicast => RouteKind::Multicast,
        RouteType::BlackHole => RouteKind::Blackhole,
        RouteType::Unreachable => RouteKind::Unreachable,
        RouteType::Prohibit => RouteKind::Prohibit,
        RouteType::Throw => RouteKind::Throw,
        other => RouteKind::Other(other.into()),
    }
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}

fn ip_of_via(via: &RouteVia) -> Option<IpAddr> {
    match via {
        RouteVia::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteVia::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}

fn gateway(attribute: &RouteAttribute) -> Option<IpAddr> {
    match attribute {
        RouteAttribute::Gateway(found) => ip(found),
        RouteAttribute::Via(via) => ip_of_via(via),
        _ => None,
    }
}

fn mtu(metric: &RouteMetric) -> Option<u32> {
    match metric {
        RouteMetric::Mtu(mtu) => Some(*mtu),
        _ => None,
    }
}
