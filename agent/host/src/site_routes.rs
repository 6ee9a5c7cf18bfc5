//! The sites' routes in the kernel's main table: what is missing is added, what differs is
//! replaced, and only then what is left over is removed, so that a start after kill -9 leaves no gap.
//! So is the route of a site that goes down or comes back: the kernel swaps it in one step.

use std::collections::HashSet;
use std::net::IpAddr;

use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_core::{ErrorMessage, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteMetric, RouteProtocol,
    RouteScope, RouteType,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use super::error::HostError;
use super::kernel_routes::{KernelRoute, MAIN_TABLE, RouteKind};
use super::route_socket::{RouteRequest, RouteSocket};
use crossway_types::ids::IfIndex;
use crossway_types::prefix::Prefix;

/// Marks our routes (`ip route show proto 199`). No number of iproute2's `rt_protos`.
pub const PROTOCOL: u8 = 199;

/// Metric of our routes: behind every route that people, DHCP (100 to 1024), the kernel (0, 256),
/// or NetworkManager (up to 20,000 more on an interface without Internet) make, so that a route
/// that was there for the very same prefix keeps its traffic. It also keeps NLM_F_REPLACE off
/// foreign routes, since the kernel takes prefix and metric for a route's identity.
pub const METRIC: u32 = 30_199;

/// Marks the backstops (`ip route show proto 198`): a route for each prefix of a site that makes it unreachable, and
/// that the kernel looks at only when there is no other for that prefix. The routes into the tunnel may go at any
/// time: with the address that is their source, or with the TUN when somebody sets it down. Until they are put back,
/// the default route would take the packets for the site, in the clear.
pub const BACKSTOP_PROTOCOL: u8 = 198;

/// With more prefixes than this there are no backstops: they would be removed one by one at a stop, which a clean
/// one has seconds for.
pub const MOST_BACKSTOPS: usize = 16_384;

/// Metric of the backstops of the gateway whose TUN has this name: behind [`METRIC`], and its own, since nothing else
/// in such a route says which gateway of this host made it.
pub fn backstop_metric(tun: &str) -> u32 {
    // FNV-1a.
    let hash = tun.bytes().fold(0x811c_9dc5, |hash: u32, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    1 << 30 | hash >> 2
}

/// Where the kernel sends packets for a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// Into the tunnel.
    Tunnel,
    /// Nowhere, and the sender is told by ICMP: the site is down.
    Unreachable,
    /// Nowhere, without a word: the site is down.
    Blackhole,
}

/// A route of a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SiteRoute {
    /// Destinations behind the site.
    pub prefix: Prefix,
    /// Where they are reached. Only a way into the tunnel has a source or MTU.
    pub way: Way,
    /// Source of the gateway's own packets, ICMP errors included.
    pub source: Option<IpAddr>,
    /// Limit on packet size below the TUN's, bytes.
    pub mtu: Option<u32>,
}

/// One that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OwnRoute {
    /// Destinations it is for.
    pub prefix: Prefix,
    /// [`METRIC`], if this version of the agent made it.
    pub metric: u32,
    /// Where it leads.
    pub way: Way,
    /// Its source.
    pub source: Option<IpAddr>,
    /// Its own limit on packet size, bytes.
    pub mtu: Option<u32>,
}

/// What has to be done to the kernel's routes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Not there yet.
    pub add: Vec<SiteRoute>,
    /// There with another way, source or MTU.
    pub replace: Vec<SiteRoute>,
    /// Ours, and wanted no more.
    pub remove: Vec<OwnRoute>,
    /// Backstops that are not there yet.
    pub add_backstops: Vec<Prefix>,
    /// Backstops that are wanted no more.
    pub remove_backstops: Vec<Prefix>,
    /// Their metric; without one, they are left alone.
    pub backstop: Option<u32>,
}

/// Whether `route` is one that this agent, or a killed one before it, made on `tun`.
pub fn is_ours(route: &KernelRoute, tun: IfIndex) -> bool {
    route.protocol == PROTOCOL && route.table == MAIN_TABLE && route.leaves_by(tun)
}

/// How to tell the routes of this agent, or of a killed one before it, from all others.
#[derive(Clone, Debug)]
pub struct Ours {
    /// Index of its TUN.
    pub tun: IfIndex,
    /// The prefixes that it made unreachable or a blackhole: nothing in such a route says whose it
    /// is, and another agent may run on this host.
    pub discarded: HashSet<Prefix>,
    /// Metric of its backstops.
    pub backstop: Option<u32>,
}

impl Ours {
    /// Whether the route is one of our backstops.
    pub fn is_backstop(&self, route: &KernelRoute) -> bool {
        route.protocol == BACKSTOP_PROTOCOL
            && route.table == MAIN_TABLE
            && route.kind == RouteKind::Unreachable
            && Some(route.metric) == self.backstop
    }

    /// The route as one of ours, if it is.
    pub fn claim(&self, route: &KernelRoute) -> Option<OwnRoute> {
        let way = match route.kind {
            RouteKind::Unreachable => Way::Unreachable,
            RouteKind::Blackhole => Way::Blackhole,
            _ => Way::Tunnel,
        };
        let ours = match way {
            Way::Tunnel => is_ours(route, self.tun),
            Way::Unreachable | Way::Blackhole => {
                route.protocol == PROTOCOL
                    && route.table == MAIN_TABLE
                    && self.discarded.contains(&route.prefix)
            }
        };
        // The kernel shows loopback's MTU and the like with what leads nowhere.
        let tunnel = way == Way::Tunnel;
        ours.then_some(OwnRoute {
            prefix: route.prefix,
            metric: route.metric,
            way,
            source: route.source.filter(|_| tunnel),
            mtu: route.mtu.filter(|_| tunnel),
        })
    }
}

impl OwnRoute {
    fn is_as(&self, wanted: &SiteRoute) -> bool {
        (self.way, self.source, self.mtu) == (wanted.way, wanted.source, wanted.mtu)
    }
}

/// Compares what is wanted with what is there: routes, and backstops.
pub fn difference(
    mut wanted: Vec<SiteRoute>,
    mut present: Vec<OwnRoute>,
    backstops: Vec<Prefix>,
    present_backstops: Vec<Prefix>,
) -> Difference {
    let mut difference = Difference::default();
    let (backstops, there): (HashSet<_>, HashSet<_>) = (
        backstops.into_iter().collect(),
        present_backstops.into_iter().collect(),
    );
    difference.add_backstops = backstops.difference(&there).copied().collect();
    difference.remove_backstops = there.difference(&backstops).copied().collect();
    let foreign_metric = |route: &mut OwnRoute| route.metric != METRIC;
    difference.remove = present.extract_if(.., foreign_metric).collect();
    wanted.sort_unstable_by_key(|route| route.prefix);
    wanted.dedup_by_key(|route| route.prefix);
    present.sort_unstable();
    let mut present = present.into_iter().peekable();
    for route in wanted {
        while let Some(gone) = present.next_if(|there| there.prefix < route.prefix) {
            difference.remove.push(gone);
        }
        match present.next_if(|there| there.prefix == route.prefix) {
            None => difference.add.push(route),
            Some(there) if there.is_as(&route) => {}
            Some(_) => difference.replace.push(route),
        }
    }
    difference.remove.extend(present);
    difference
}

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

#[cfg(test)]
mod tests {
    use super::super::kernel_routes::{Hop, RouteKind};
    use super::*;

    const TUN: IfIndex = IfIndex(7);

    fn wanted(prefix: &str, source: Option<&str>) -> SiteRoute {
        SiteRoute {
            prefix: prefix.parse().unwrap(),
            way: Way::Tunnel,
            source: source.map(|text| text.parse().unwrap()),
            mtu: None,
        }
    }

    fn own(prefix: &str, metric: u32) -> OwnRoute {
        OwnRoute {
            prefix: prefix.parse().unwrap(),
            metric,
            way: Way::Tunnel,
            source: None,
            mtu: None,
        }
    }

    #[test]
    fn only_routes_of_our_protocol_into_the_tunnel_are_ours() {
        let route = |protocol, interface| KernelRoute {
            prefix: "10.2.0.0/24".parse().unwrap(),
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
        };
        assert!(is_ours(&route(PROTOCOL, 7), TUN));
        assert!(!is_ours(&route(PROTOCOL, 8), TUN));
        assert!(!is_ours(&route(4, 7), TUN));
    }

    fn routes_only(wanted: Vec<SiteRoute>, present: Vec<OwnRoute>) -> Difference {
        difference(wanted, present, Vec::new(), Vec::new())
    }

    #[test]
    fn backstops_are_told_by_kind_protocol_and_the_metric_of_their_gateway() {
        let backstop = KernelRoute {
            prefix: "10.2.0.0/24".parse().unwrap(),
            table: MAIN_TABLE,
            protocol: BACKSTOP_PROTOCOL,
            kind: RouteKind::Unreachable,
            metric: backstop_metric("cw-a"),
            source: None,
            mtu: None,
            hops: Vec::new(),
            dead: false,
        };
        let ours = |name| Ours {
            tun: TUN,
            discarded: HashSet::new(),
            backstop: Some(backstop_metric(name)),
        };
        assert!(ours("cw-a").is_backstop(&backstop));
        assert!(!ours("cw-b").is_backstop(&backstop));
        assert!(backstop.metric > METRIC);
        let foreign = KernelRoute {
            protocol: 4,
            ..backstop
        };
        assert!(!ours("cw-a").is_backstop(&foreign));
    }

    #[test]
    fn backstops_come_and_go_with_the_prefixes() {
        let [b, c, d]: [Prefix; 3] =
            ["10.2.0.0/24", "10.3.0.0/24", "10.4.0.0/24"].map(|text| text.parse().unwrap());
        let difference = difference(Vec::new(), Vec::new(), vec![b, c], vec![c, d]);
        assert_eq!(difference.add_backstops, [b]);
        assert_eq!(difference.remove_backstops, [d]);
    }

    #[test]
    fn only_differences_are_touched() {
        let present = [
            own("10.5.0.0/24", METRIC),
            own("10.2.0.0/24", METRIC),
            own("10.3.0.0/24", METRIC),
            own("10.4.0.0/24", METRIC),
            own("10.2.0.0/24", 7),
        ];
        let wanted = [
            wanted("10.9.0.0/24", None),
            wanted("10.3.0.0/24", Some("10.255.0.1")),
            wanted("10.2.0.0/24", None),
        ];
        let difference = routes_only(wanted.into(), present.into());
        assert_eq!(difference.add, [wanted[0]]);
        assert_eq!(difference.replace, [wanted[1]]);
        assert_eq!(difference.remove, [present[4], present[3], present[0]]);
    }

    #[test]
    fn a_site_that_goes_down_or_comes_back_has_its_routes_replaced_and_not_removed() {
        let up = wanted("10.2.0.0/24", None);
        let down = SiteRoute {
            way: Way::Unreachable,
            ..up
        };
        let present = own("10.2.0.0/24", METRIC);
        let goes = routes_only(vec![down], vec![present]);
        assert_eq!((goes.replace, goes.remove), (vec![down], vec![]));
        let present = OwnRoute {
            way: Way::Unreachable,
            ..present
        };
        assert_eq!(
            routes_only(vec![down], vec![present]),
            Difference::default()
        );
        let comes = routes_only(vec![up], vec![present]);
        assert_eq!((comes.replace, comes.add), (vec![up], vec![]));
    }

    #[test]
    fn what_leads_nowhere_is_ours_only_where_we_remember_it() {
        let ours = Ours {
            tun: TUN,
            discarded: HashSet::from(["10.2.0.0/24".parse().unwrap()]),
            backstop: None,
        };
        let route = |prefix: &str, protocol, kind| KernelRoute {
            prefix: prefix.parse().unwrap(),
            table: MAIN_TABLE,
            protocol,
            kind,
            metric: METRIC,
            source: None,
            mtu: Some(1500),
            hops: Vec::new(),
            dead: false,
        };
        let claimed = ours.claim(&route("10.2.0.0/24", PROTOCOL, RouteKind::Blackhole));
        let expected = OwnRoute {
            way: Way::Blackhole,
            ..own("10.2.0.0/24", METRIC)
        };
        assert_eq!(claimed, Some(expected));
        for other in [
            route("10.3.0.0/24", PROTOCOL, RouteKind::Blackhole),
            route("10.2.0.0/24", 4, RouteKind::Unreachable),
            route("10.2.0.0/24", PROTOCOL, RouteKind::Prohibit),
        ] {
            assert_eq!(ours.claim(&other), None);
        }
    }
}
