//! Sites that have the same prefixes, each reached under a prefix of its own.
//!
//! ```text
//!   host a ── gateway a ═╗   10.1.0.0/24, 2001:db8:1::/48   elsewhere 10.101.0.0/24, fd00:101::/48
//!                        ╠══ router ══ gateway c ── host c  10.3.0.0/24, 2001:db8:3::/48
//!   host b ── gateway b ═╝   10.1.0.0/24, 2001:db8:1::/48   elsewhere 10.102.0.0/24, fd00:102::/48
//! ```
//! Hosts a and b have the same addresses. Every gateway shows the other sites as above; nobody teaches a host anything.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use vm_tests::api::Explained;
use vm_tests::config::{self, Config};
use vm_tests::crossway::{self, Crossway};
use vm_tests::engine::Engine;
use vm_tests::peers::{Implementation, StockGateway};
use vm_tests::plan::{self, GatewayPlan, Shape};
use vm_tests::topology::{Builder, Family, Site, Topology};
use vm_tests::traffic::{self, Probe, SteadyTcp, UdpEcho};
use vm_tests::{wait, with_either_engine};

const LIMIT: Duration = Duration::from_secs(20);
const TRANSFER: u64 = 4 << 20;

with_either_engine!(
    sites_with_one_prefix_are_reached_at_once_and_reach_each_other,
    a_hub_alone_can_tell_its_spokes_apart,
    a_stock_peer_is_reached_though_it_knows_nothing_of_the_map,
);

/// What a site is shown as; `None` for one that is like no other.
fn shown(site: &str, family: Family) -> Option<String> {
    let number = match site {
        "a" => 101,
        "b" => 102,
        _ => return None,
    };
    Some(match family {
        Family::V4 => format!("10.{number}.0.0/24"),
        Family::V6 => format!("fd00:{number}::/48"),
    })
}

/// An address of a site as the others know it.
fn elsewhere(site: &Site, address: IpAddr) -> IpAddr {
    let family = if address.is_ipv4() {
        Family::V4
    } else {
        Family::V6
    };
    let shown = shown(&site.name, family);
    let shown = shown.and_then(|shown| {
        let map = config::mapping(&site.route(family), &shown).unwrap();
        map.to_shown(address)
    });
    shown.unwrap_or(address)
}

/// The host of a site as the others know it.
fn host(site: &Site, family: Family) -> IpAddr {
    elsewhere(site, site.host_address(family))
}

/// Has a configuration show the routes of a site, which `real` are, as the others know them.
fn show(config: &mut Config, site: &str, real: &[(Family, String)]) {
    let maps = real.iter().filter_map(|(family, real)| {
        let shown = shown(site, *family)?;
        Some(config::mapping(real, &shown).unwrap())
    });
    let maps: Vec<_> = maps.collect();
    let mut sites = config.sites.iter_mut();
    let site = sites.find(|known| known.name == site).unwrap();
    config::show(site, &maps);
}

fn real_routes(site: &Site) -> Vec<(Family, String)> {
    Family::ALL
        .map(|family| (family, site.route(family)))
        .to_vec()
}

/// Gives each gateway a tunnel address, which the others' routes hold.
fn tunnel_addresses(topology: &Topology, plans: &mut [GatewayPlan]) {
    for plan in plans {
        let own = topology.site(&plan.site);
        plan.tunnel_addresses = vec![
            format!("{}/32", own.tunnel_address(Family::V4)),
            format!("{}/128", own.tunnel_address(Family::V6)),
        ];
        for peer in &mut plan.peers {
            let far = topology.site(&peer.site);
            let route = format!("{}/32", far.tunnel_address(Family::V4));
            peer.routes.push(route);
        }
    }
}

struct Mesh {
    gateways: Vec<Crossway>,
    plans: Vec<GatewayPlan>,
    topology: Topology,
}

impl Mesh {
    fn start(change: impl Fn(&mut GatewayPlan)) -> Self {
        let topology = Builder::new(&["a", "b", "c"])
            .alike(&["a", "b"])
            .build()
            .unwrap();
        let mut plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
        tunnel_addresses(&topology, &mut plans);
        for plan in &mut plans {
            for peer in plan.peers.clone() {
                let real = real_routes(topology.site(&peer.site));
                plan.configure(move |config| show(config, &peer.site, &real));
            }
            // Who watches links by the millisecond is others' affair.
            plan.watch_by_wireguard();
            change(plan);
        }
        let gateways = crossway::start_all(&topology, &plans).unwrap();
        Self {
            gateways,
            plans,
            topology,
        }
    }

    fn sites(&self) -> [&Site; 3] {
        ["a", "b", "c"].map(|name| self.topology.site(name))
    }
}

fn everybody_reaches_everybody(topology: &Topology, pairs: &[[&str; 2]]) {
    for [one, other] in pairs {
        let (one, other) = (topology.site(one), topology.site(other));
        for family in Family::ALL {
            for (from, to) in [(one, other), (other, one)] {
                let (from, to) = ((from, host(from, family)), (to, host(to, family)));
                traffic::exchange_mapped(from, to, TRANSFER).unwrap();
                large_datagrams_pass(from.0, to);
            }
        }
    }
}

/// In fragments, of which the later ones have no ports.
fn large_datagrams_pass(from: &Site, (to, target): (&Site, IpAddr)) {
    let family = if target.is_ipv4() {
        Family::V4
    } else {
        Family::V6
    };
    let echo = UdpEcho::start(&to.host, to.host_address(family)).unwrap();
    let server = SocketAddr::new(target, echo.address().port());
    // Of IPv6 the first ones are lost: the sender is told what fits, and fragments them itself.
    wait::until("large datagrams to pass", LIMIT, || {
        let gap = Duration::from_millis(2);
        let report = traffic::udp_echo(&from.host, server, 5, 4000, gap).ok()?;
        (report.received == 5).then_some(())
    })
    .unwrap();
}

fn nothing_was_dropped(gateways: &[Crossway]) {
    for gateway in gateways {
        assert_eq!(gateway.dropped().unwrap(), [], "{}", gateway.name());
    }
}

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
    assert!(steady.is_alive());
    // An agent that starts anew maps as the one before did.
    mesh.gateways[2].stop().unwrap();
    mesh.gateways[2].start_again().unwrap();
    traffic::wait_for_ping(&c.host, moved, LIMIT).unwrap();
    traffic::wait_for_ping(&c.host, to_a, LIMIT).unwrap();
}
