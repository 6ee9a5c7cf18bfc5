//! The gateways' configuration files, as a soak wants them at the moment.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Result;

use super::ground::{Ground, PATHS, SILENCE, VIRTUAL};
use crate::config::{self, Config, Endpoint, Gateway, Lan, Link, RemoteGateway, Site, Wan};
use crate::keys::KeyPair;
use crate::plan::{GatewayPlan, PeerPlan};
use crate::topology::{Family, LISTEN_PORT};

/// Prefixes of the routes that come and go: one of them, by its number.
const EXTRA: &str = "10.77";
/// Behind the site that never answers.
pub(super) const GHOST: &str = "10.88.0.9";
/// Of a link: quick enough to be watched, slow enough for a machine that has much else to do.
const INTERVAL_MS: u32 = 200;
const MULTIPLIER: u32 = 8;
const HOLD_DOWN: Duration = Duration::from_millis(1500);
/// Of the virtual router of site `a`.
const ADVERTISEMENTS: Duration = Duration::from_millis(300);

/// What of the gateways' files changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Routes more to site `c`.
    pub(super) extra_routes: u16,
    /// Whether there is a site that never answers.
    pub(super) ghost: bool,
    /// Whether site `c` is left out.
    pub(super) without_c: bool,
}

/// Who is who: the keys of a1, a2, b1, c1 and d1.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) of: Vec<KeyPair>,
    ghost: KeyPair,
}

impl Keys {
    pub(super) fn generate() -> Result<Self> {
        Ok(Self {
            of: (0..5).map(|_| KeyPair::generate()).collect::<Result<_>>()?,
            ghost: KeyPair::generate()?,
        })
    }
}

/// The file of a gateway with an agent.
pub(super) fn file(ground: &Ground, keys: &Keys, gateway: usize, wanted: Wanted) -> Result<Config> {
    let mut sites = Vec::new();
    for (site, gateways) in [("a", 0..2), ("b", 2..3), ("c", 3..4)] {
        if gateways.contains(&gateway) || (site == "c" && wanted.without_c) {
            continue;
        }
        let mut routes = routes(site);
        if site == "c" {
            let more = (0..wanted.extra_routes).map(|extra| format!("{EXTRA}.{extra}.0/24"));
            routes.extend(more);
        }
        let mut site = Site::new(site, config::prefixes(&routes)?);
        site.hold_down = HOLD_DOWN;
        for far in gateways {
            site.gateways.push(agent(ground, keys, far)?);
        }
        sites.push(site);
    }
    if gateway == 2 {
        let (keys, endpoint) = (&keys.of[4], ground.endpoint(4, 0));
        sites.push(stock_site("d", "d1", keys, endpoint, &routes("d"))?);
    }
    if wanted.ghost {
        let routes = ["10.88.0.0/24".to_owned()];
        let endpoint = SILENCE.parse()?;
        sites.push(stock_site(
            "ghost",
            "ghost",
            &keys.ghost,
            endpoint,
            &routes,
        )?);
    }
    Ok(Config {
        gateway: own(ground, keys, gateway)?,
        metrics: None,
        sites,
        flows: config::FlowExport::default(),
        discovery: None,
        policy: config::Policy::default(),
    })
}

fn own(ground: &Ground, keys: &Keys, number: usize) -> Result<Gateway> {
    let name = |gateway: usize| ground.gateways()[gateway].name();
    let listen = (Ipv6Addr::UNSPECIFIED, LISTEN_PORT).into();
    let key_file = format!("{}.key", name(number));
    let mut gateway = Gateway::new(name(number), key_file, listen);
    gateway.lan.push(Lan::new("lan0"));
    let wans = (0..PATHS).map(|path| Wan::new(format!("wan{path}")));
    gateway.wan.extend(wans);
    if number < 2 {
        let addresses = VIRTUAL.map(str::parse);
        let addresses = addresses.into_iter().collect::<Result<Vec<_>, _>>()?;
        let priority = 150 - 50 * number as u8;
        gateway.vrrp = config::virtual_routers(1, priority, ADVERTISEMENTS, &addresses);
        let mate = 1 - number;
        let endpoint = (ground.net.replicas[mate].lan, LISTEN_PORT).into();
        gateway.replicas.push(RemoteGateway::replica(
            name(mate),
            config::public_key(&keys.of[mate].public)?,
            Endpoint::Address(endpoint),
        ));
    }
    Ok(gateway)
}

/// Another gateway with an agent, by all paths.
fn agent(ground: &Ground, keys: &Keys, number: usize) -> Result<RemoteGateway> {
    let key = config::public_key(&keys.of[number].public)?;
    let mut gateway = RemoteGateway::new(ground.gateways()[number].name(), key);
    let links = (0..PATHS).map(|path| Link {
        endpoints: vec![Endpoint::Address(ground.endpoint(number, path))],
        wan: Some(format!("wan{path}")),
        priority: (1000 - 100 * number - path) as u32,
        liveness: config::watched_each(INTERVAL_MS, MULTIPLIER),
        ..Link::new(Some(format!("path-{}", path + 1)))
    });
    gateway.links = links.collect();
    Ok(gateway)
}

fn stock_site(
    name: &str,
    gateway: &str,
    keys: &KeyPair,
    endpoint: SocketAddr,
    routes: &[String],
) -> Result<Site> {
    let mut gateway = RemoteGateway::new(gateway, config::public_key(&keys.public)?);
    gateway.links[0].endpoints.push(Endpoint::Address(endpoint));
    let mut site = Site::new(name, config::prefixes(routes)?);
    site.gateways.push(gateway);
    Ok(site)
}

/// What the stock peer is made from: it knows site `b`.
pub(super) fn stock_plan(ground: &Ground, keys: &Keys) -> GatewayPlan {
    GatewayPlan {
        peers: vec![PeerPlan {
            site: "b".to_owned(),
            gateway: ground.gateways()[2].name().to_owned(),
            public_key: keys.of[2].public.clone(),
            endpoint: Some(ground.endpoint(2, 0)),
            routes: routes("b"),
            keepalive: None,
        }],
        ..GatewayPlan::new(ground.stock().name(), keys.of[4].clone())
    }
}

/// A site's prefixes.
fn routes(site: &str) -> Vec<String> {
    let number = site.bytes().next().unwrap_or(b'a') - b'a' + 1;
    Family::ALL
        .map(|family| match family {
            Family::V4 => format!("10.{number}.0.0/24"),
            Family::V6 => format!("2001:db8:{number}::/48"),
        })
        .to_vec()
}
