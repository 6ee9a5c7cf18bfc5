//! What has to be done to the kernel's routes, as requests of rtnetlink.

use std::net::IpAddr;

use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_core::{ErrorMessage, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteMetric, RouteProtocol,
    RouteScope, RouteType,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{BACKSTOP_PROTOCOL, Difference, METRIC, OwnRoute, PROTOCOL, SiteRoute, Way};
use crate::error::HostError;
use crate::route_socket::{RouteRequest, RouteSocket};
use crossway_types::ids::IfIndex;
use crossway_types::prefix::Prefix;

/// Makes the kernel's routes as wanted: adds and replaces before it removes. What the kernel refuses
/// is told, the first of it as the error, and then nothing is removed.
pub fn settle(
    socket: &mut RouteSocket,
    tun: IfIndex,
    difference: &Difference,
) -> Result<(), HostError> {
    let Difference {
        add,
        replace,
        remove,
        add_backstops,
        remove_backstops,
        backstop,
    } = difference;
    let backstops = |prefixes: &[Prefix], change: fn(RouteMessage) -> RouteRequest| {
        let metric = *backstop;
        let requests = prefixes
            .iter()
            .filter_map(move |prefix| Some(change(backstop_message(*prefix, metric?))));
        requests.collect::<Vec<_>>()
    };
    let write = |flag| move |route: &SiteRoute| install(route, tun, NLM_F_CREATE | flag);
    let change = |socket: &mut RouteSocket, flag, routes: &[SiteRoute]| {
        let requests = routes.iter().map(write(flag));
        carry_out(socket, requests, |at, error| {
            Some(refused_to_add(routes[at].prefix, error))
        })
    };
    let requests = backstops(add_backstops, |message| RouteRequest {
        message: RouteNetlinkMessage::NewRoute(message),
        flags: NLM_F_CREATE | NLM_F_REPLACE,
    });
    carry_out(socket, requests.into_iter(), |at, error| {
        Some(refused_to_add(add_backstops[at], error))
    })?;
    change(socket, NLM_F_REPLACE, replace)?;
    change(socket, NLM_F_EXCL, add)?;
    // From the end: behind each removal the kernel looks through the node of its trie for the next
    // route from the node's start on (`update_suffix` in net/ipv4/fib_trie.c), which of a hundred
    // thousand removed from the start are all gone.
    let requests = remove.iter().rev().map(|route| uninstall(route, tun));
    carry_out(socket, requests, |at, error| {
        refused_to_remove(remove[remove.len() - 1 - at].prefix, error)
    })?;
    let requests = backstops(remove_backstops, |message| RouteRequest {
        message: RouteNetlinkMessage::DelRoute(message),
        flags: 0,
    });
    carry_out(socket, requests.into_iter(), |at, error| {
        refused_to_remove(remove_backstops[at], error)
    })
}

fn backstop_message(prefix: Prefix, metric: u32) -> RouteMessage {
    // No interface: it leads nowhere.
    let mut message = message(prefix, Way::Unreachable, IfIndex(0), metric);
    message.header.protocol = RouteProtocol::Other(BACKSTOP_PROTOCOL);
    message
}

fn carry_out(
    socket: &mut RouteSocket,
    requests: impl Iterator<Item = RouteRequest>,
    refused: impl Fn(usize, &ErrorMessage) -> Option<HostError>,
) -> Result<(), HostError> {
    let mut first = None;
    let sent = socket.change(requests, |at, error| {
        let Some(error) = refused(at, error) else {
            return;
        };
        if first.is_some() {
            tracing::warn!("{error}");
        } else {
            first = Some(error);
        }
    });
    match first {
        Some(error) => Err(error),
        None => sent.map_err(|error| HostError::Netlink {
            what: "to change routes".to_owned(),
            error,
        }),
    }
}

fn install(route: &SiteRoute, tun: IfIndex, flags: u16) -> RouteRequest {
    let mut message = message(route.prefix, route.way, tun, METRIC);
    if let Some(source) = route.source {
        let source = RouteAttribute::PrefSource(address(source));
        message.attributes.push(source);
    }
    if let Some(mtu) = route.mtu {
        let metrics = RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)]);
        message.attributes.push(metrics);
    }
    RouteRequest {
        message: RouteNetlinkMessage::NewRoute(message),
        flags,
    }
}

fn refused_to_add(prefix: Prefix, answer: &ErrorMessage) -> HostError {
    let error = HostError::of_errno(format!("to add the route {prefix}"), answer);
    match error.errno() {
        Some(libc::EEXIST) => HostError::RouteTaken { prefix },
        _ => error,
    }
}

fn uninstall(route: &OwnRoute, tun: IfIndex) -> RouteRequest {
    RouteRequest {
        message: RouteNetlinkMessage::DelRoute(message(route.prefix, route.way, tun, route.metric)),
        flags: 0,
    }
}

fn refused_to_remove(prefix: Prefix, answer: &ErrorMessage) -> Option<HostError> {
    let error = HostError::of_errno(format!("to remove the route {prefix}"), answer);
    // Someone else has removed it since.
    (error.errno() != Some(libc::ESRCH)).then_some(error)
}

/// The part of a route that is its identity.
fn message(prefix: Prefix, way: Way, tun: IfIndex, metric: u32) -> RouteMessage {
    let mut builder = RouteMessageBuilder::<IpAddr>::new()
        .protocol(RouteProtocol::Other(PROTOCOL))
        .priority(metric);
    // What leads nowhere has no interface, and the kernel refuses one.
    if way == Way::Tunnel {
        builder = builder.output_interface(tun.0);
    }
    let mut message = builder.build();
    let (kind, scope) = match way {
        // IPv4 wants link scope where there is no next hop; IPv6 ignores it.
        Way::Tunnel => (RouteType::Unicast, RouteScope::Link),
        Way::Unreachable => (RouteType::Unreachable, RouteScope::Universe),
        Way::Blackhole => (RouteType::BlackHole, RouteScope::Universe),
    };
    message.header = RouteHeader {
        address_family: if prefix.is_ipv4() {
            AddressFamily::Inet
        } else {
            AddressFamily::Inet6
        },
        destination_prefix_length: prefix.length(),
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: RouteProtocol::Other(PROTOCOL),
        scope,
        kind,
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
