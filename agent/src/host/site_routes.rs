//! The sites' routes in the kernel's main table: what is missing is added, what differs is
//! replaced, and only then what is left over is removed, so that a start after kill -9 leaves no gap.

use std::collections::HashMap;
use std::net::IpAddr;

use futures::{StreamExt, TryStreamExt, stream};
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteMetric, RouteProtocol,
    RouteScope, RouteType,
};
use rtnetlink::{Handle, RouteMessageBuilder};

use super::error::HostError;
use super::kernel_routes::{KernelRoute, MAIN_TABLE};
use crate::ids::IfIndex;
use crate::prefix::Prefix;

/// Marks our routes (`ip route show proto 199`). No number of iproute2's `rt_protos`.
pub const PROTOCOL: u8 = 199;

/// Metric of our routes: behind every route that people, DHCP (100 to 1024), the kernel (0, 256),
/// or NetworkManager (up to 20,000 more on an interface without Internet) make, so that a route
/// that was there for the very same prefix keeps its traffic. It also keeps NLM_F_REPLACE off
/// foreign routes, since the kernel takes prefix and metric for a route's identity.
pub const METRIC: u32 = 30_199;

/// Requests in flight: enough to hide the round trip to the connection's task.
const IN_FLIGHT: usize = 64;

/// A route into the tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SiteRoute {
    /// Destinations behind the site.
    pub prefix: Prefix,
    /// Source of the gateway's own packets, ICMP errors included.
    pub source: Option<IpAddr>,
    /// Limit on packet size below the TUN's, bytes.
    pub mtu: Option<u32>,
}

/// What has to be done to the kernel's routes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Not there yet.
    pub add: Vec<SiteRoute>,
    /// There with another source or MTU.
    pub replace: Vec<SiteRoute>,
    /// Ours, and wanted no more.
    pub remove: Vec<KernelRoute>,
}

/// Whether `route` is one that this agent, or a killed one before it, made on `tun`.
pub fn is_ours(route: &KernelRoute, tun: IfIndex) -> bool {
    route.protocol == PROTOCOL && route.table == MAIN_TABLE && route.leaves_by(tun)
}

/// Compares what is wanted with what is there.
pub fn difference(wanted: &[SiteRoute], present: &[KernelRoute], tun: IfIndex) -> Difference {
    let mut ours: HashMap<Prefix, &KernelRoute> = HashMap::new();
    let mut difference = Difference::default();
    for route in present.iter().filter(|route| is_ours(route, tun)) {
        if route.metric == METRIC {
            ours.insert(route.prefix, route);
        } else {
            difference.remove.push(route.clone());
        }
    }
    for route in wanted {
        match ours.remove(&route.prefix) {
            None => difference.add.push(*route),
            Some(there) if (there.source, there.mtu) == (route.source, route.mtu) => {}
            Some(_) => difference.replace.push(*route),
        }
    }
    difference.remove.extend(ours.into_values().cloned());
    difference
}

/// Makes the kernel's routes as wanted: adds and replaces before it removes.
pub async fn settle(
    handle: &Handle,
    tun: IfIndex,
    difference: Difference,
) -> Result<(), HostError> {
    let Difference {
        add,
        replace,
        remove,
    } = difference;
    let replace = replace.into_iter().map(|route| (route, true));
    let add = add.into_iter().map(|route| (route, false));
    stream::iter(replace.chain(add))
        .map(|(route, replace)| install(handle.clone(), tun, route, replace))
        .buffer_unordered(IN_FLIGHT)
        .try_collect::<()>()
        .await?;
    stream::iter(remove)
        .map(|route| uninstall(handle.clone(), tun, route))
        .buffer_unordered(IN_FLIGHT)
        .try_collect()
        .await
}

async fn install(
    handle: Handle,
    tun: IfIndex,
    route: SiteRoute,
    replace: bool,
) -> Result<(), HostError> {
    let mut message = message(route.prefix, tun, METRIC);
    if let Some(source) = route.source {
        let source = RouteAttribute::PrefSource(address(source));
        message.attributes.push(source);
    }
    if let Some(mtu) = route.mtu {
        let metrics = RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)]);
        message.attributes.push(metrics);
    }
    let request = handle.route().add(message);
    let request = if replace { request.replace() } else { request };
    let what = format!("to add the route {}", route.prefix);
    match request
        .execute()
        .await
        .map_err(|error| HostError::netlink(what, error))
    {
        Err(error) if error.errno() == Some(libc::EEXIST) => Err(HostError::RouteTaken {
            prefix: route.prefix,
        }),
        other => other,
    }
}

async fn uninstall(handle: Handle, tun: IfIndex, route: KernelRoute) -> Result<(), HostError> {
    let request = handle.route().del(message(route.prefix, tun, route.metric));
    let what = format!("to remove the route {}", route.prefix);
    match request
        .execute()
        .await
        .map_err(|error| HostError::netlink(what, error))
    {
        // Someone else has removed it since.
        Err(error) if error.errno() == Some(libc::ESRCH) => Ok(()),
        other => other,
    }
}

/// The part of a route that is its identity.
fn message(prefix: Prefix, tun: IfIndex, metric: u32) -> RouteMessage {
    let mut message = RouteMessageBuilder::<IpAddr>::new()
        .protocol(RouteProtocol::Other(PROTOCOL))
        .output_interface(tun.0)
        .priority(metric)
        .build();
    message.header = RouteHeader {
        address_family: if prefix.is_ipv4() {
            AddressFamily::Inet
        } else {
            AddressFamily::Inet6
        },
        destination_prefix_length: prefix.length(),
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: RouteProtocol::Other(PROTOCOL),
        // IPv4 wants link scope where there is no next hop; IPv6 ignores it.
        scope: RouteScope::Link,
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    };
    let destination = RouteAttribute::Destination(address(prefix.address()));
    message.attributes.push(destination);
    message
}

fn address(address: IpAddr) -> RouteAddress {
    match address {
        IpAddr::V4(v4) => RouteAddress::Inet(v4),
        IpAddr::V6(v6) => RouteAddress::Inet6(v6),
    }
}

#[cfg(test)]
mod tests {
    use super::super::kernel_routes::{Hop, RouteKind};
    use super::*;

    const TUN: IfIndex = IfIndex(7);

    fn wanted(prefix: &str, source: Option<&str>) -> SiteRoute {
        SiteRoute {
            prefix: prefix.parse().unwrap(),
            source: source.map(|text| text.parse().unwrap()),
            mtu: None,
        }
    }

    fn present(prefix: &str, protocol: u8, interface: u32) -> KernelRoute {
        KernelRoute {
            prefix: prefix.parse().unwrap(),
            table: MAIN_TABLE,
            protocol,
            kind: RouteKind::Unicast,
            metric: METRIC,
            source: None,
            mtu: None,
            hops: vec![Hop {
                interface: Some(IfIndex(interface)),
                gateway: None,
            }],
            dead: false,
        }
    }

    #[test]
    fn only_differences_are_touched_and_foreign_routes_never() {
        let present = [
            present("10.2.0.0/24", PROTOCOL, 7),
            present("10.3.0.0/24", PROTOCOL, 7),
            present("10.4.0.0/24", PROTOCOL, 7),
            present("10.5.0.0/24", PROTOCOL, 8),
            present("10.6.0.0/24", 4, 7),
        ];
        let wanted = [
            wanted("10.2.0.0/24", None),
            wanted("10.3.0.0/24", Some("10.255.0.1")),
            wanted("10.9.0.0/24", None),
        ];
        let difference = difference(&wanted, &present, TUN);
        assert_eq!(difference.add, [wanted[2]]);
        assert_eq!(difference.replace, [wanted[1]]);
        assert_eq!(difference.remove, [present[2].clone()]);
    }
}
