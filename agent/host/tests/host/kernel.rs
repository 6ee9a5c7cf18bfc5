//! What the kernel does with our routes, and how its own are read.

use crossway_host::Host;
use crossway_host::kernel_routes::{Hop, KernelRoute, RouteKind};
use crossway_host::mirror::mirror;
use crossway_types::prefix::Prefix;

use crate::lab::{Tun, gateway, in_namespace, ip, state_path};
use crate::{TUN, wanted};

#[test]
fn the_kernels_routes_are_read_as_they_are() {
    in_namespace(async || {
        gateway();
        for line in [
            "route add 10.20.0.0/16 nexthop via 10.1.0.8 dev lan nexthop via 198.51.100.8 dev wan",
            "route add blackhole 10.21.0.0/16",
            "route add 10.22.0.0/16 dev lan table 1000 metric 7 src 10.1.0.1 mtu 1300",
            "route add 10.23.0.0/16 via inet6 fe80::8 dev lan",
            "-6 route add 2001:db8:20::/48 via fe80::9 dev wan proto static",
        ] {
            ip(line);
        }
        let host = Host::connect_with_state(state_path()).await.unwrap();
        let lan = Some(host.interface("lan").await.unwrap().index);
        let wan = Some(host.interface("wan").await.unwrap().index);
        let routes = host.kernel_routes().await.unwrap();
        let hop = |interface, gateway: &str| Hop {
            interface,
            gateway: gateway.parse().ok(),
        };

        let default = only(&routes, "0.0.0.0/0");
        assert_eq!(default.hops, [hop(wan, "198.51.100.1")]);
        let own = only(&routes, "10.1.0.1/32");
        assert_eq!((own.kind, own.table), (RouteKind::Local, 255));
        let broadcast = only(&routes, "10.1.0.255/32");
        assert_eq!(broadcast.kind, RouteKind::Broadcast);
        let several = only(&routes, "10.20.0.0/16");
        let expected = [hop(lan, "10.1.0.8"), hop(wan, "198.51.100.8")];
        assert_eq!(several.hops, expected);
        assert_eq!(only(&routes, "10.21.0.0/16").kind, RouteKind::Blackhole);
        let other = only(&routes, "10.22.0.0/16");
        assert_eq!((other.table, other.metric), (1000, 7));
        assert_eq!(other.source, "10.1.0.1".parse().ok());
        assert_eq!(other.mtu, Some(1300));
        assert_eq!(only(&routes, "10.23.0.0/16").hops, [hop(lan, "fe80::8")]);
        let ipv6 = only(&routes, "2001:db8:20::/48");
        assert_eq!((ipv6.protocol, ipv6.metric), (4, 1024));
        assert_eq!(ipv6.hops, [hop(wan, "fe80::9")]);
    });
}

#[test]
fn a_default_route_into_the_tunnel_leaves_the_uplinks_first() {
    in_namespace(async || {
        gateway();
        let mut host = Host::connect_with_state(state_path()).await.unwrap();
        host.claim_tun(TUN).await.unwrap();
        let _tun = Tun::open(TUN);
        let mut wanted = wanted();
        wanted.routes = ["0.0.0.0/0", "::/0"]
            .map(|text| text.parse().unwrap())
            .into();
        host.apply(&wanted).await.unwrap();
        assert!(ip("route get 203.0.113.7").contains("dev wan"));
        // No uplink of IPv6: the tunnel has it.
        assert!(ip("-6 route get 2001:db8:99::7").contains("dev cw-a"));

        let routes = host.kernel_routes().await.unwrap();
        let tun = host.interface(TUN).await.unwrap().index;
        let mirror = mirror(&routes, &wanted.routes, tun);
        let default: Prefix = "0.0.0.0/0".parse().unwrap();
        let ipv6_default: Prefix = "::/0".parse().unwrap();
        assert!(mirror.kernel.contains(&default));
        assert!(!mirror.kernel.contains(&ipv6_default));
        assert_eq!(mirror.warnings.len(), 1, "{mirror:?}");
    });
}

#[test]
fn routes_come_back_without_a_source_when_the_address_that_was_it_is_gone() {
    in_namespace(async || {
        gateway();
        let mut host = Host::connect_with_state(state_path()).await.unwrap();
        host.claim_tun(TUN).await.unwrap();
        let _tun = Tun::open(TUN);
        let mut wanted = wanted();
        wanted.addresses.clear();
        host.apply(&wanted).await.unwrap();
        assert!(ip("route show 10.2.0.0/24").contains("src 10.1.0.1"));

        ip("link set lan down");
        let report = host.apply(&wanted).await.unwrap();
        assert!(report.warnings[0].contains("lan is down"), "{report:?}");
        assert!(ip("route show 10.2.0.0/24").contains("src 10.1.0.1"));

        ip("addr del 10.1.0.1/24 dev lan");
        // The kernel deletes it, and what is left keeps the packets from the default route.
        let route = ip("route show 10.2.0.0/24");
        assert!(
            route.starts_with("unreachable 10.2.0.0/24 proto 198") && !route.contains("dev"),
            "{route}"
        );
        host.apply(&wanted).await.unwrap();
        let route = ip("route show 10.2.0.0/24 proto 199");
        assert!(route.contains("dev cw-a") && !route.contains("src"));
    });
}

fn only<'a>(routes: &'a [KernelRoute], prefix: &str) -> &'a KernelRoute {
    let prefix: Prefix = prefix.parse().unwrap();
    let mut found = routes.iter().filter(|route| route.prefix == prefix);
    let route = found
        .next()
        .unwrap_or_else(|| panic!("{prefix} in {routes:?}"));
    assert_eq!(found.next(), None);
    route
}
