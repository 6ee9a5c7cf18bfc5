//! What happens to the host while a gateway runs on it.
//!
//! ```text
//!  host a ── lan0 [gateway a: interfaces, addresses, routes and the TUN change] wan0 ── wan0 [gateway b] ── host b
//!            10.1.0.1                                                203.0.113.1                   10.2.0.10
//!            2001:db8:1::1                                           fd00:113::1              2001:db8:2::10
//! ```

use std::path::PathBuf;
use std::time::Duration;

use vm_tests::api::RouteKind;
use vm_tests::crossway::Crossway;
use vm_tests::host_state::{HostState, files_of};
use vm_tests::pair::Pair;
use vm_tests::plan::{self, Shape};
use vm_tests::topology::{Builder, Family};
use vm_tests::traffic;
use vm_tests::wait;

const UP: Duration = Duration::from_secs(10);

#[test]
fn a_lan_interface_goes_down_and_comes_back() {
    let pair = Pair::start(|_| ()).unwrap();
    let gateway = &pair.site_a().gateway;
    for round in 0..3 {
        gateway.ip("link set lan0 down").unwrap();
        wait::until("the warning", UP, || {
            let status = pair.a.status().unwrap();
            let warnings = status.warnings.join(
                "
",
            );
            warnings.contains("lan0 is down").then_some(())
        })
        .unwrap();
        gateway.ip("link set lan0 up").unwrap();
        // The kernel forgets IPv6 addresses of an interface that goes down.
        let address = pair.site_a().gateway_address(Family::V6);
        gateway
            .ip(&format!("address add {address}/64 dev lan0 nodad"))
            .unwrap();
        pair.wait_until_up().unwrap();
        wait::until("the warning to go", UP, || {
            let status = pair.a.status().unwrap();
            status.warnings.is_empty().then_some(())
        })
        .unwrap();
        assert!(
            to_site_grows(&pair),
            "round {round}: the fast path counts again"
        );
    }
}

/// The kernel deletes IPv4 routes together with the address that is their source.
#[test]
fn a_lan_address_goes_and_comes_back() {
    let mut pair = Pair::start(|_| ()).unwrap();
    let gateway = &pair.site_a().gateway;
    for family in Family::ALL {
        let address = pair.site_a().gateway_address(family);
        let (length, nodad) = match family {
            Family::V4 => (24, ""),
            Family::V6 => (64, "nodad"),
        };
        let show = match family {
            Family::V4 => "-4 route show proto 199",
            Family::V6 => "-6 route show proto 199",
        };
        let source = format!("src {address}");
        assert!(gateway.ip(show).unwrap().contains(&source));
        gateway
            .ip(&format!("address delete {address}/{length} dev lan0"))
            .unwrap();
        wait::until("a route without the address", UP, || {
            let routes = gateway.ip(show).ok()?;
            (routes.contains(&pair.site_b().route(family)) && !routes.contains(&source))
                .then_some(())
        })
        .unwrap();
        gateway
            .ip(&format!("address add {address}/{length} dev lan0 {nodad}"))
            .unwrap();
        wait::until("a route with the address", UP, || {
            gateway.ip(show).ok()?.contains(&source).then_some(())
        })
        .unwrap();
    }
    pair.wait_until_up().unwrap();
    assert!(pair.a.stop().unwrap().success());
}

/// The fast path decides as the kernel would: a foreign route that is more specific than a site's wins.
#[test]
fn a_more_specific_foreign_route_takes_its_packets_until_it_goes() {
    let pair = Pair::start(|_| ()).unwrap();
    let (host, gateway) = (&pair.site_a().host, &pair.site_a().gateway);
    for family in Family::ALL {
        let far = pair.far(family);
        for (route, what) in [("blackhole", ""), ("unreachable", ""), ("", "dev wan0")] {
            let route = format!("{route} {far} {what}");
            gateway.ip(&format!("route add {route}")).unwrap();
            let answer = |kind: RouteKind| {
                wait::until(&format!("{far} to be of the {kind:?}"), UP, || {
                    let answer = pair.a.route(far).unwrap();
                    (answer.kind == Some(kind)).then_some(answer)
                })
                .unwrap()
            };
            answer(RouteKind::Kernel);
            assert_eq!(traffic::ping(host, far, 1).unwrap().received, 0, "{route}");
            gateway.ip(&format!("route delete {route}")).unwrap();
            let site = answer(RouteKind::Site);
            assert_eq!(site.site.as_deref(), Some("b"), "{site:?}");
            traffic::wait_for_ping(host, far, UP).unwrap();
        }
    }
    assert!(to_site_grows(&pair));
}

#[test]
fn site_routes_that_somebody_deletes_come_back() {
    let pair = Pair::start(|_| ()).unwrap();
    let gateway = &pair.site_a().gateway;
    gateway.ip("route flush proto 199").unwrap();
    gateway.ip("-6 route flush proto 199").unwrap();
    wait::until("the routes to come back", UP, || {
        let v4 = gateway.ip("route show proto 199").ok()?;
        let v6 = gateway.ip("-6 route show proto 199").ok()?;
        let [b4, b6] = Family::ALL.map(|family| pair.site_b().route(family));
        (v4.contains(&b4) && v6.contains(&b6)).then_some(())
    })
    .unwrap();
    // The gateway's own packets take the kernel's route.
    let far = pair.far(Family::V4);
    traffic::wait_for_ping(gateway, far, UP).unwrap();
}

#[test]
fn a_deleted_tunnel_ends_the_agent_with_a_message_and_the_host_as_it_was() {
    let topology = Builder::new(&["a", "b"]).build().unwrap();
    let plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
    let gateway = &topology.sites[0].gateway;
    let before = HostState::settled(gateway).unwrap();
    let mut a = Crossway::start(&topology, &plans[0]).unwrap();
    let status = a.status().unwrap();
    let tun = status.tun.name;
    gateway.ip(&format!("link delete {tun}")).unwrap();
    let ended = a.wait_for_end(UP).unwrap();
    assert_eq!(ended.code(), Some(1), "{}", a.log());
    let log = a.log();
    let expected = format!("its TUN {tun} or its socket failed (was the device deleted?)");
    assert!(log.contains(&expected), "{log}");
    let after = HostState::of(gateway).unwrap();
    assert_eq!(before.difference(&after), "");
    assert_eq!(files_of(a.name()), Vec::<PathBuf>::new());
    a.start_again().unwrap();
}

/// As where DHCP is slow at boot.
#[test]
fn a_gateway_may_listen_on_an_address_that_comes_later() {
    let mut pair = Pair::start(|plans| {
        plans[0].configure(|config| {
            config.gateway.listen = "203.0.113.1:51820".parse().unwrap();
        });
    })
    .unwrap();
    assert!(pair.a.stop().unwrap().success());
    let on_gateway = |pair: &Pair, words: &str| {
        pair.site_a().gateway.ip(words).unwrap();
    };
    on_gateway(&pair, "address delete 203.0.113.1/24 dev wan0");
    pair.a.start_again().unwrap();
    let deaf = |there: bool| {
        wait::until("the warning of the address", UP, || {
            let warnings = pair.a.status().ok()?.warnings;
            let told = warnings
                .iter()
                .any(|it| it.contains("203.0.113.1 of `listen`"));
            (told == there).then_some(())
        })
        .unwrap();
    };
    deaf(true);
    on_gateway(&pair, "address add 203.0.113.1/24 dev wan0");
    deaf(false);
    pair.wait_until_up().unwrap();
}

#[test]
fn a_smaller_wan_mtu_is_followed() {
    let pair = Pair::start(|_| ()).unwrap();
    let mtu = || pair.a.status().unwrap().tun.mtu_bytes;
    let before = mtu();
    for site in [pair.site_a(), pair.site_b()] {
        site.gateway.ip("link set wan0 mtu 1400").unwrap();
    }
    wait::until("a smaller tunnel", UP, || {
        (mtu() + 100 == before).then_some(())
    })
    .unwrap();
    let (a, b) = (&pair.site_a().host, &pair.site_b().host);
    traffic::tcp_transfer(a, b, pair.far(Family::V4), 4 << 20).unwrap();
    traffic::tcp_transfer(a, b, pair.far(Family::V6), 4 << 20).unwrap();
}

/// Whether gateway a's eBPF counts what host a sends.
fn to_site_grows(pair: &Pair) -> bool {
    let count = || {
        let sites = pair.a.sites().unwrap();
        sites[0].traffic.to_site_packets
    };
    let before = count();
    let report = traffic::ping(&pair.site_a().host, pair.far(Family::V4), 5).unwrap();
    count() >= before + u64::from(report.received) && report.received == 5
}
