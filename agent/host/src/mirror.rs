//! Which kernel routes the datapath must know so that it decides as the kernel would: those inside
//! a site's prefix, where the kernel would not use the tunnel. Pure.

use std::collections::BTreeSet;

use super::kernel_routes::{KernelRoute, LOCAL_TABLE, MAIN_TABLE, RouteKind};
use super::site_routes::{METRIC, is_ours};
use crossway_types::ids::IfIndex;
use crossway_types::prefix::{Prefix, PrefixIndex};

/// What to put into ROUTES4 and ROUTES6 as SITE_KERNEL, after the sites' own routes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mirror {
    /// Prefixes that the kernel keeps, sorted; equal to a site's route they take its place.
    pub kernel: Vec<Prefix>,
    /// Site routes that never get a packet, each with its reason.
    pub warnings: Vec<String>,
}

/// Looks for kernel routes, of any type, in the tables that every host looks up (local and main)
/// that are inside a site's route; routes of ours on `tun` are none. Of equal prefixes the kernel's
/// wins by its lower metric. A route of the local table wins even if it is shorter than the site's,
/// because that table is looked up first.
pub fn mirror(kernel: &[KernelRoute], sites: &[Prefix], tun: IfIndex) -> Mirror {
    let sites = PrefixIndex::new(sites.iter().map(|prefix| (*prefix, ())));
    let mut prefixes: BTreeSet<Prefix> = BTreeSet::new();
    let mut warnings = Vec::new();
    for route in kernel.iter().filter(|route| !is_ours(route, tun)) {
        match route.table {
            LOCAL_TABLE => {
                for (site, ()) in sites.inside(route.prefix) {
                    if prefixes.insert(*site) {
                        warnings.push(warning(site, route));
                    }
                }
            }
            MAIN_TABLE if sites.get(&route.prefix).is_some() => {
                // Behind ours, or dead until its interface comes up.
                if route.metric >= METRIC || route.dead {
                    continue;
                }
                if prefixes.insert(route.prefix) {
                    warnings.push(warning(&route.prefix, route));
                }
            }
            MAIN_TABLE => {}
            _ => continue,
        }
        if sites.longest_cover(&route.prefix).is_some() {
            prefixes.insert(route.prefix);
        }
    }
    Mirror {
        kernel: prefixes.into_iter().collect(),
        warnings,
    }
}

/// The addresses that the host takes for its own, and the prefixes of which it takes every address.
pub fn local_addresses(kernel: &[KernelRoute]) -> Vec<Prefix> {
    kernel
        .iter()
        .filter(|route| route.table == LOCAL_TABLE && route.kind == RouteKind::Local)
        .map(|route| route.prefix)
        .collect()
}

fn warning(site: &Prefix, route: &KernelRoute) -> String {
    let table = if route.table == LOCAL_TABLE {
        "the local table (ip route show table local)"
    } else {
        "the main table"
    };
    format!(
        "site route {site} gets no packets: the kernel has {} with metric {} in {table} and \
         prefers it; remove that route, or take {site} out of the site",
        route.prefix, route.metric
    )
}

#[cfg(test)]
mod tests {
    use super::super::kernel_routes::Hop;
    use super::super::site_routes::PROTOCOL;
    use super::*;

    const TUN: IfIndex = IfIndex(7);

    fn route(text: &str) -> KernelRoute {
        KernelRoute {
            prefix: text.parse().unwrap(),
            table: MAIN_TABLE,
            protocol: 4,
            kind: RouteKind::Unicast,
            metric: 0,
            source: None,
            mtu: None,
            hops: vec![Hop {
                interface: Some(IfIndex(2)),
                gateway: None,
            }],
            dead: false,
        }
    }

    fn ours(text: &str) -> KernelRoute {
        let mut ours = route(text);
        ours.protocol = PROTOCOL;
        ours.metric = METRIC;
        ours.hops[0].interface = Some(TUN);
        ours
    }

    fn mirrored(kernel: &[KernelRoute], sites: &[&str]) -> (Vec<String>, usize) {
        let sites: Vec<_> = sites.iter().map(|text| text.parse().unwrap()).collect();
        let mirror = mirror(kernel, &sites, TUN);
        let kernel = mirror.kernel.iter().map(ToString::to_string).collect();
        (kernel, mirror.warnings.len())
    }

    #[test]
    fn only_kernel_routes_inside_a_site_are_mirrored() {
        let mut own = route("10.1.0.1/32");
        own.table = LOCAL_TABLE;
        own.kind = RouteKind::Local;
        let mut other_table = route("10.9.0.0/16");
        other_table.table = 100;
        let kernel = [
            route("0.0.0.0/0"),
            route("10.1.0.0/24"),
            route("192.168.0.0/16"),
            route("2001:db8:1::/64"),
            other_table,
            own,
            ours("10.0.0.0/8"),
        ];
        let (kernel, warnings) = mirrored(&kernel, &["10.0.0.0/8", "2001:db8::/32"]);
        let expected = ["10.1.0.0/24", "10.1.0.1/32", "2001:db8:1::/64"];
        assert_eq!((kernel, warnings), (expected.map(str::to_owned).into(), 0));
    }

    #[test]
    fn of_equal_prefixes_the_lower_metric_wins_and_a_warning_says_so() {
        let mut behind = route("10.3.0.0/24");
        behind.metric = u32::MAX;
        let kernel = [
            route("10.2.0.0/24"),
            behind,
            ours("10.2.0.0/24"),
            ours("10.3.0.0/24"),
        ];
        let (kernel, warnings) = mirrored(&kernel, &["10.2.0.0/24", "10.3.0.0/24"]);
        assert_eq!((kernel, warnings), (vec!["10.2.0.0/24".to_owned()], 1));
    }

    #[test]
    fn the_local_table_wins_over_longer_routes() {
        let mut any_ip = route("10.0.0.0/8");
        any_ip.table = LOCAL_TABLE;
        let (kernel, warnings) = mirrored(&[any_ip], &["10.2.0.0/24", "10.3.0.0/24"]);
        assert_eq!(kernel, ["10.2.0.0/24", "10.3.0.0/24"]);
        assert_eq!(warnings, 2);
    }

    #[test]
    fn own_addresses_are_those_of_the_local_table_but_not_broadcast_ones() {
        let with = |text, table, kind| KernelRoute {
            table,
            kind,
            ..route(text)
        };
        let kernel = [
            with("10.1.0.1/32", LOCAL_TABLE, RouteKind::Local),
            with("10.1.0.255/32", LOCAL_TABLE, RouteKind::Broadcast),
            with("192.0.2.0/24", LOCAL_TABLE, RouteKind::Local),
            with("10.1.0.0/24", MAIN_TABLE, RouteKind::Unicast),
        ];
        let own: Vec<String> = local_addresses(&kernel)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(own, ["10.1.0.1/32", "192.0.2.0/24"]);
    }

    #[test]
    fn routes_of_another_connector_are_the_kernels() {
        let mut foreign = ours("10.2.3.0/24");
        foreign.hops[0].interface = Some(IfIndex(8));
        let (kernel, _) = mirrored(&[foreign], &["10.2.0.0/16"]);
        assert_eq!(kernel, ["10.2.3.0/24"]);
    }
}
