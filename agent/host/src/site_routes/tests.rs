use super::*;
use crate::kernel_routes::Hop;

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
