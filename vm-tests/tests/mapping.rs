//! Sites that have the same prefixes, each reached under a prefix of its own.
//!
//! ```text
//!   host a ── gateway a ═╗   10.1.0.0/24, 2001:db8:1::/48   elsewhere 10.101.0.0/24, fd00:101::/48
//!                        ╠══ router ══ gateway c ── host c  10.3.0.0/24, 2001:db8:3::/48
//!   host b ── gateway b ═╝   10.1.0.0/24, 2001:db8:1::/48   elsewhere 10.102.0.0/24, fd00:102::/48
//! ```
//! Hosts a and b have the same addresses. Every gateway shows the other sites as above; nobody teaches a host anything.

#[path = "mapping/lab.rs"]
mod lab;

use vm_tests::api::{Explained, LinkState};
use vm_tests::config;
use vm_tests::crossway::{self, Crossway};
use vm_tests::engine::Engine;
use vm_tests::peers::{Implementation, StockGateway};
use vm_tests::plan::{self, Shape};
use vm_tests::topology::{Builder, Family};
use vm_tests::traffic::{self, Probe, SteadyTcp};
use vm_tests::{wait, with_either_engine};

use lab::{
    LIMIT, Mesh, elsewhere, everybody_reaches_everybody, host, nothing_was_dropped, real_routes,
    show, shown,
};

with_either_engine!(
    sites_with_one_prefix_are_reached_at_once_and_reach_each_other,
    a_hub_alone_can_tell_its_spokes_apart,
    a_stock_peer_is_reached_though_it_knows_nothing_of_the_map,
);

fn sites_with_one_prefix_are_reached_at_once_and_reach_each_other(engine: Engine) {
    for fast_path in [true, false] {
        let mesh = Mesh::start(|plan| {
            plan.set_engine(engine);
            plan.configure(move |config| config.gateway.fast_path = fast_path);
        });
        let pairs = [["c", "a"], ["c", "b"], ["a", "b"]];
        everybody_reaches_everybody(&mesh.topology, &pairs);
        nothing_was_dropped(&mesh.gateways);
    }
}

/// Only the hub maps; to the spokes all is behind the hub.
fn a_hub_alone_can_tell_its_spokes_apart(engine: Engine) {
    for fast_path in [true, false] {
        a_hub_tells_them_apart(engine, fast_path);
    }
}

fn a_hub_tells_them_apart(engine: Engine, fast_path: bool) {
    let topology = Builder::new(&["c", "a", "b"])
        .alike(&["a", "b"])
        .build()
        .unwrap();
    let mut plans = plan::plan(&topology, Shape::Hub, Family::V6).unwrap();
    for name in ["a", "b"] {
        let real = real_routes(topology.site(name));
        plans[0].configure(move |config| show(config, name, &real));
    }
    for (spoke, other) in [(1, "b"), (2, "a")] {
        let routes = &mut plans[spoke].peers[0].routes;
        *routes = topology.site("c").routes();
        routes.extend(Family::ALL.map(|family| shown(other, family).unwrap()));
    }
    for plan in &mut plans {
        plan.set_engine(engine);
        plan.watch_by_wireguard();
        plan.configure(move |config| config.gateway.fast_path = fast_path);
    }
    let gateways = crossway::start_all(&topology, &plans).unwrap();
    everybody_reaches_everybody(&topology, &[["a", "b"], ["a", "c"], ["c", "b"]]);
    nothing_was_dropped(&gateways);
}

/// Gateway a maps both sites: the stock peer b has routes to what a shows its own site as.
fn a_stock_peer_is_reached_though_it_knows_nothing_of_the_map(engine: Engine) {
    let topology = Builder::new(&["a", "b"])
        .alike(&["a", "b"])
        .build()
        .unwrap();
    let mut plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
    let real = real_routes(topology.site("b"));
    plans[0].set_engine(engine);
    plans[0].watch_by_wireguard();
    plans[0].configure(move |config| {
        show(config, "b", &real);
        let own = real.iter().map(|(family, real)| {
            let shown = shown("a", *family).unwrap();
            config::mapping(real, &shown).unwrap()
        });
        config.gateway.lan[0].maps = own.collect();
    });
    plans[1].peers[0].routes = Family::ALL
        .map(|family| shown("a", family).unwrap())
        .to_vec();
    let far = StockGateway::start(Implementation::WireguardGo, &topology, &plans[1]).unwrap();
    let gateway = Crossway::start(&topology, &plans[0]).unwrap();
    everybody_reaches_everybody(&topology, &[["a", "b"]]);
    nothing_was_dropped(&[gateway]);
    drop(far);
}

#[test]
fn routers_on_the_way_show_addresses_that_can_be_reached_from_here() {
    let mesh = Mesh::start(|_| ());
    let [a, b, c] = mesh.sites();
    for family in Family::ALL {
        for (from, to) in [(c, a), (c, b), (a, b)] {
            let target = host(to, family);
            traffic::wait_for_ping(&from.host, target, LIMIT).unwrap();
            let way = [
                from.gateway_address(family),
                elsewhere(to, to.tunnel_address(family)),
                target,
            ];
            for probe in [Probe::Udp, Probe::Icmp] {
                let hops = traffic::traceroute(&from.host, target, probe).unwrap();
                assert_eq!(hops, way, "{probe:?} from {} to {}", from.name, to.name);
            }
            assert_eq!(traffic::mtr(&from.host, target).unwrap(), way);
        }
    }
}

#[test]
fn a_sender_believes_what_a_far_router_says_of_the_size() {
    for fast_path in [true, false] {
        let mesh = Mesh::start(move |plan| {
            plan.configure(move |config| config.gateway.fast_path = fast_path);
        });
        let [a, _, c] = mesh.sites();
        // Behind the far gateway less fits than through the tunnel: the far gateway says so, and quotes real addresses.
        a.gateway.ip("link set lan0 mtu 1300").unwrap();
        for family in Family::ALL {
            let target = host(a, family);
            traffic::wait_for_ping(&c.host, target, LIMIT).unwrap();
            let headers = if family == Family::V4 { 28 } else { 48 };
            wait::until("the host to know the size", LIMIT, || {
                let size = 1400 - headers;
                let _ = c
                    .host
                    .run(&format!("ping -n -c 1 -W 1 -M do -s {size} {target}"));
                let route = c.host.ip(&format!("route get {target}")).ok()?;
                route.contains("mtu 1300").then_some(())
            })
            .unwrap();
            // What fits passes.
            let size = 1300 - headers;
            let ping = format!("ping -n -c 1 -W 5 -M do -s {size} {target}");
            c.host.run(&ping).unwrap();
        }
    }
}

#[test]
fn what_the_gateway_itself_says_of_the_size_quotes_what_the_sender_sent() {
    let mesh = Mesh::start(|_| ());
    let [a, b, c] = mesh.sites();
    for (from, to) in [(c, a), (a, b)] {
        for family in Family::ALL {
            let target = host(to, family);
            traffic::wait_for_ping(&from.host, target, LIMIT).unwrap();
            wait::until("the host to know the size", LIMIT, || {
                let _ = from
                    .host
                    .run(&format!("ping -n -c 1 -W 1 -M do -s 1452 {target}"));
                let route = from.host.ip(&format!("route get {target}")).ok()?;
                route.contains(" mtu 14").then_some(())
            })
            .unwrap();
        }
    }
}

/// A host of the far LAN must answer, which is named by the address that it is shown under.
#[test]
fn a_probe_asks_for_the_real_host() {
    let mesh = Mesh::start(|plan| {
        if plan.site == "c" {
            plan.configure(|config| {
                for site in &mut config.sites {
                    let shown = shown(&site.name, Family::V4).unwrap();
                    let host = shown.replace("0/24", "10").parse().unwrap();
                    site.gateways[0].links[0].liveness.probe = Some(host);
                }
            });
        }
    });
    let [a, _, _] = mesh.sites();
    let until = |site: usize, state: LinkState| {
        wait::until("the link to follow its probe", LIMIT, || {
            let link = mesh.gateways[2].links().ok()?.into_iter().nth(site)?;
            (link.state == state).then_some(())
        })
        .unwrap();
    };
    until(0, LinkState::Up);
    until(1, LinkState::Up);
    a.host.ip("link set eth0 down").unwrap();
    until(0, LinkState::Down);
    until(1, LinkState::Up);
    a.host.ip("link set eth0 up").unwrap();
    for family in Family::ALL {
        let gateway = a.gateway_address(family);
        // An interface that goes down loses its routes; the host needs one of its LAN's gateway again.
        let _ = a.host.ip(&format!("route replace default via {gateway}"));
    }
    until(0, LinkState::Up);
}

#[test]
fn both_addresses_are_shown() {
    let mesh = Mesh::start(|_| ());
    let [a, _, c] = mesh.sites();
    let gateway = &mesh.gateways[2];
    for family in Family::ALL {
        let (target, real) = (host(a, family), a.host_address(family));
        traffic::exchange_mapped((c, host(c, family)), (a, target), 1000).unwrap();
        let route = gateway.route(target).unwrap();
        assert_eq!((route.site.as_deref(), route.real), (Some("a"), Some(real)));
        let flows = gateway.flows(&["--address", &target.to_string()]).unwrap();
        assert!(!flows.is_empty());
        for (flow, _) in flows {
            assert_eq!((flow.remote, flow.real.remote_real), (target, Some(real)));
            assert_eq!(flow.real.local_real, None);
        }
        let (from, to) = (c.host_address(family).to_string(), target.to_string());
        let explained: Explained = gateway.ask(&["explain", &from, &to]).unwrap();
        assert_eq!(explained.mapped_destination, Some(real), "{explained:?}");
        let explained: Explained = gateway
            .ask(&["explain", &to, &from, "--from", "tunnel"])
            .unwrap();
        assert_eq!(explained.mapped_source, Some(real), "{explained:?}");
    }
    let site = gateway.sites().unwrap().remove(0);
    assert_eq!(site.maps[0].shown, "10.101.0.0/24");
    assert_eq!(site.maps[0].real, "10.1.0.0/24");
    let text = gateway.command(&["routes", "list"]).unwrap();
    assert!(text.contains("10.102.0.0/24 (10.1.0.0/24)"), "{text}");
}

#[test]
fn another_map_is_put_in_force_and_the_flows_of_other_sites_go_on() {
    let mut mesh = Mesh::start(|_| ());
    let [a, b, c] = mesh.sites();
    let (to_a, to_b) = (host(a, Family::V4), host(b, Family::V4));
    for target in [to_a, to_b] {
        traffic::wait_for_ping(&c.host, target, LIMIT).unwrap();
    }
    let steady = SteadyTcp::start(&a.host, &c.host, c.host_address(Family::V4)).unwrap();
    steady.goes_on(LIMIT).unwrap();
    let mut plan = mesh.plans[2].clone();
    plan.configure(|config| {
        let other = config::mapping("10.1.0.0/24", "10.110.0.0/24").unwrap();
        let site = config.sites.iter_mut().find(|site| site.name == "b");
        let site = site.unwrap();
        let old = site.maps.remove(0);
        let mut routes = site.routes.iter_mut();
        *routes.find(|route| **route == old.shown()).unwrap() = other.shown();
        site.maps.push(other);
    });
    mesh.gateways[2].write_config(&plan).unwrap();
    mesh.gateways[2].command(&["reload"]).unwrap();
    let moved = "10.110.0.10".parse().unwrap();
    let [_, b, c] = ["a", "b", "c"].map(|name| mesh.topology.site(name));
    traffic::wait_for_ping(&c.host, moved, LIMIT).unwrap();
    assert_eq!(traffic::ping(&c.host, to_b, 1).unwrap().received, 0);
    traffic::exchange_mapped((c, host(c, Family::V4)), (b, moved), 1000).unwrap();
    steady.goes_on(LIMIT).unwrap();
    // One agent after the other maps as the one before did: whoever takes over loses nothing.
    assert!(mesh.gateways[2].take_over().unwrap().success());
    steady.goes_on(LIMIT).unwrap();
    assert!(steady.is_alive());
    let echoes = traffic::ping(&mesh.topology.site("c").host, moved, 3).unwrap();
    assert_eq!(echoes.received, 3);
    mesh.gateways[2].stop().unwrap();
    mesh.gateways[2].start_again().unwrap();
    traffic::wait_for_ping(&c.host, moved, LIMIT).unwrap();
    traffic::wait_for_ping(&c.host, to_a, LIMIT).unwrap();
}
