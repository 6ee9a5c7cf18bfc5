//! Whether the kernel has a way to an endpoint over the interface that its link is bound to. Pure.

use std::net::IpAddr;

use super::kernel_routes::{KernelRoute, RouteKind};
use crossway_types::ids::IfIndex;

/// The endpoint of a link that is bound to an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundEndpoint {
    /// Name of the link, with its site.
    pub link: String,
    /// Name of the interface.
    pub wan: String,
    /// Its index.
    pub index: IfIndex,
    /// The endpoint's address.
    pub address: IpAddr,
}

/// A warning for each endpoint that no route over its interface leads to: the kernel would look for it as a
/// neighbour there, in vain.
pub fn missing(kernel: &[KernelRoute], endpoints: &[BoundEndpoint]) -> Vec<String> {
    let has_way = |endpoint: &&BoundEndpoint| {
        // Of whatever table: rules of the administrator's may lead there.
        kernel.iter().any(|route| {
            route.kind == RouteKind::Unicast
                && route.prefix.contains(endpoint.address)
                && route.leaves_by(endpoint.index)
        })
    };
    let without = endpoints.iter().filter(|endpoint| !has_way(endpoint));
    without
        .map(|endpoint| {
            let BoundEndpoint {
                link, wan, address, ..
            } = endpoint;
            format!(
                "link {link}: no route to {address} leaves by {wan}, which it is bound to: add one, such as \
                 `ip route add default via ROUTER dev {wan} metric 2000`"
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::kernel_routes::{Hop, MAIN_TABLE};
    use super::*;

    fn route(prefix: &str, interface: u32) -> KernelRoute {
        KernelRoute {
            prefix: prefix.parse().unwrap(),
            table: MAIN_TABLE,
            protocol: 3,
            kind: RouteKind::Unicast,
            metric: 0,
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
    fn an_endpoint_needs_a_route_over_the_interface_of_its_link() {
        let endpoint = BoundEndpoint {
            link: "paris/paris-1/isp-b".to_owned(),
            wan: "eth2".to_owned(),
            index: IfIndex(3),
            address: "203.0.113.7".parse().unwrap(),
        };
        let others = [route("0.0.0.0/0", 2), route("198.51.100.0/24", 3)];
        let told = missing(&others, std::slice::from_ref(&endpoint));
        assert_eq!(told.len(), 1);
        assert!(told[0].contains("no route to 203.0.113.7 leaves by eth2"));
        for way in ["0.0.0.0/0", "203.0.113.0/24"] {
            let routes = [route("0.0.0.0/0", 2), route(way, 3)];
            assert!(missing(&routes, std::slice::from_ref(&endpoint)).is_empty());
        }
    }
}
