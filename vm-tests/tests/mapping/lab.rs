//! The sites, what they know each other as, and traffic between all of them.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use vm_tests::config::{self, Config};
use vm_tests::crossway::{self, Crossway};
use vm_tests::plan::{self, GatewayPlan, Shape};
use vm_tests::topology::{Builder, Family, Site, Topology};
use vm_tests::traffic::{self, UdpEcho};
use vm_tests::wait;

pub(crate) const LIMIT: Duration = Duration::from_secs(20);
const TRANSFER: u64 = 4 << 20;

/// What a site is shown as; `None` for one that is like no other.
pub(crate) fn shown(site: &str, family: Family) -> Option<String> {
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
pub(crate) fn elsewhere(site: &Site, address: IpAddr) -> IpAddr {
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
pub(crate) fn host(site: &Site, family: Family) -> IpAddr {
    elsewhere(site, site.host_address(family))
}

/// Has a configuration show the routes of a site, which `real` are, as the others know them.
pub(crate) fn show(config: &mut Config, site: &str, real: &[(Family, String)]) {
    let maps = real.iter().filter_map(|(family, real)| {
        let shown = shown(site, *family)?;
        Some(config::mapping(real, &shown).unwrap())
    });
    let maps: Vec<_> = maps.collect();
    let mut sites = config.sites.iter_mut();
    let site = sites.find(|known| known.name == site).unwrap();
    config::show(site, &maps);
}

pub(crate) fn real_routes(site: &Site) -> Vec<(Family, String)> {
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

pub(crate) struct Mesh {
    pub(crate) gateways: Vec<Crossway>,
    pub(crate) plans: Vec<GatewayPlan>,
    pub(crate) topology: Topology,
}

impl Mesh {
    pub(crate) fn start(change: impl Fn(&mut GatewayPlan)) -> Self {
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

    pub(crate) fn sites(&self) -> [&Site; 3] {
        ["a", "b", "c"].map(|name| self.topology.site(name))
    }
}

pub(crate) fn everybody_reaches_everybody(topology: &Topology, pairs: &[[&str; 2]]) {
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

pub(crate) fn nothing_was_dropped(gateways: &[Crossway]) {
    for gateway in gateways {
        assert_eq!(gateway.dropped().unwrap(), [], "{}", gateway.name());
    }
}
