use super::super::kernel_routes::{LOCAL_TABLE, MAIN_TABLE};
use super::*;

const WAN: NamedInterface<'static> = NamedInterface {
    name: "eth0",
    index: IfIndex(2),
};

fn route(prefix: &str, via: Option<&str>) -> KernelRoute {
    KernelRoute {
        prefix: prefix.parse().unwrap(),
        table: MAIN_TABLE,
        protocol: 4,
        kind: RouteKind::Unicast,
        metric: 0,
        source: None,
        mtu: None,
        hops: vec![Hop {
            interface: Some(WAN.index),
            gateway: via.map(|text| text.parse().unwrap()),
        }],
        dead: false,
    }
}

/// A gateway at 198.51.100.2/24 (2001:db8:f::2/64) whose uplink router is .1.
fn uplink() -> Vec<KernelRoute> {
    let mut own = route("198.51.100.2/32", None);
    own.table = LOCAL_TABLE;
    own.kind = RouteKind::Local;
    vec![
        route("0.0.0.0/0", Some("198.51.100.1")),
        route("198.51.100.0/24", None),
        route("::/0", Some("fe80::1")),
        route("2001:db8:f::/64", None),
        own,
    ]
}

fn check(kernel: &[KernelRoute], site_routes: &[&str], endpoint: &str) -> Vec<String> {
    let sites: Vec<_> = site_routes
        .iter()
        .map(|text| NamedRoute {
            site: "paris",
            prefix: text.parse().unwrap(),
        })
        .collect();
    let endpoint = NamedEndpoint {
        site: "paris",
        gateway: "paris-1",
        address: endpoint.parse().unwrap(),
    };
    refusals(kernel, &sites, &[endpoint], &[WAN])
        .into_iter()
        .map(|refusal| refusal.to_string())
        .collect()
}

#[test]
fn routes_beside_the_uplink_are_welcome() {
    for site_routes in [
        &["10.2.0.0/24", "2001:db8:2::/48"][..],
        &["203.0.113.8/29"],
        // Shorter than the uplink's own, and not towards the endpoint.
        &["198.0.0.0/8"],
        &[],
    ] {
        let refused = check(&uplink(), site_routes, "203.0.113.7");
        assert!(refused.is_empty(), "{site_routes:?}: {refused:?}");
    }
}

#[test]
fn a_route_over_the_own_endpoint_is_refused_with_the_mend() {
    let refused = check(&uplink(), &["203.0.113.0/24"], "203.0.113.7");
    assert_eq!(
        refused,
        [
            "site paris: route 203.0.113.0/24 would swallow the endpoint 203.0.113.7 of its own \
             gateway paris-1: packets to it would go into the tunnel; narrow the route, or add a \
             more specific kernel route to the endpoint (ip route add 203.0.113.7/32 via \
             198.51.100.1)"
        ]
    );
}

#[test]
fn a_more_specific_kernel_route_makes_it_welcome() {
    let mut kernel = uplink();
    kernel.push(route("203.0.113.7/32", Some("198.51.100.1")));
    assert!(check(&kernel, &["203.0.113.0/24"], "203.0.113.7").is_empty());
    // As long as the site's is not enough, nor is one that the kernel skips.
    assert_eq!(check(&kernel, &["203.0.113.7/32"], "203.0.113.7").len(), 1);
    kernel.last_mut().unwrap().dead = true;
    assert_eq!(check(&kernel, &["203.0.113.0/24"], "203.0.113.7").len(), 1);
}

#[test]
fn a_default_route_into_the_tunnel_is_refused_while_the_uplinks_is_no_longer() {
    let refused = check(&uplink(), &["0.0.0.0/0"], "203.0.113.7");
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(refused[0].contains("0.0.0.0/0 would swallow the endpoint"));
    let refused = check(&uplink(), &["::/0"], "2001:db8:9::7");
    assert_eq!(refused.len(), 2, "endpoint and router: {refused:?}");
}

#[test]
fn a_route_over_the_uplinks_router_is_refused() {
    for swallowing in ["198.51.100.0/24", "198.51.100.0/28"] {
        let refused = check(&uplink(), &[swallowing], "203.0.113.7");
        assert_eq!(
            refused,
            [format!(
                "site paris: route {swallowing} would swallow 198.51.100.1, the router behind the \
                 uplink eth0: every tunnel packet would go into the tunnel; narrow the route, or \
                 add a more specific kernel route to the router (ip route add 198.51.100.1/32 \
                 dev eth0)"
            )]
        );
    }
}

#[test]
fn an_endpoint_of_another_site_is_named_with_its_site() {
    let sites = [NamedRoute {
        site: "rome",
        prefix: "203.0.113.0/24".parse().unwrap(),
    }];
    let endpoint = NamedEndpoint {
        site: "paris",
        gateway: "paris-1",
        address: "203.0.113.7".parse().unwrap(),
    };
    let refused = refusals(&uplink(), &sites, &[endpoint], &[WAN]);
    assert_eq!(refused.len(), 1);
    assert!(
        refused[0]
            .message
            .contains("site rome: route 203.0.113.0/24")
    );
    assert!(refused[0].message.contains("gateway paris-1 of site paris"));
}

#[test]
fn a_neighbour_endpoint_and_our_own_address_are_safe() {
    assert!(check(&uplink(), &["198.51.0.0/16"], "198.51.100.9").is_empty());
    assert!(check(&uplink(), &["198.51.100.2/32"], "198.51.100.2").is_empty());
    let refused = check(&uplink(), &["198.51.100.8/29"], "198.51.100.9");
    assert_eq!(refused.len(), 1);
    assert!(refused[0].contains("via <your uplink's router>"));
}

#[test]
fn an_endpoint_that_is_itself_the_route_can_only_be_taken_out() {
    let refused = check(&uplink(), &["203.0.113.7/32"], "203.0.113.7");
    assert!(refused[0].ends_with("take this route out of the site"));
}

#[test]
fn a_name_server_in_a_route_of_a_site_is_warned_of_with_the_mend() {
    let sites = ["0.0.0.0/1", "128.0.0.0/1", "10.2.0.0/16"].map(|text| NamedRoute {
        site: "paris",
        prefix: text.parse().unwrap(),
    });
    let warned = |kernel: &[KernelRoute], servers: &[&str]| {
        let servers: Vec<IpAddr> = servers.iter().map(|text| text.parse().unwrap()).collect();
        swallowed_servers(kernel, &sites, &servers)
    };
    let mut kernel = uplink();
    let warnings = warned(&kernel, &["192.0.2.53", "10.2.0.53"]);
    assert_eq!(warnings.len(), 2);
    let mend = "(ip route add 192.0.2.53/32 via 198.51.100.1)";
    assert!(
        warnings[0].contains("128.0.0.0/1") && warnings[0].contains(mend),
        "{warnings:?}"
    );
    assert!(warnings[1].contains("10.2.0.0/16"), "{warnings:?}");
    // Of this host, of the uplink's network, and of another family.
    assert_eq!(
        warned(
            &kernel,
            &["198.51.100.2", "198.51.100.53", "2001:db8:f::53"]
        ),
        [""; 0]
    );
    kernel.push(route("192.0.2.53/32", Some("198.51.100.1")));
    assert_eq!(warned(&kernel, &["192.0.2.53"]), [""; 0]);
}
