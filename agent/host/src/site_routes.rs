//! The sites' routes in the kernel's main table: what is missing is added, what differs is
//! replaced, and only then what is left over is removed, so that a start after kill -9 leaves no gap.
//! So is the route of a site that goes down or comes back: the kernel swaps it in one step.

mod settle;

use std::collections::HashSet;
use std::net::IpAddr;

use super::kernel_routes::{KernelRoute, MAIN_TABLE, RouteKind};
use crossway_types::ids::IfIndex;
use crossway_types::prefix::Prefix;
pub use settle::settle;

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

#[cfg(test)]
mod tests;
