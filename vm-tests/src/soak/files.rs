//! The gateways' configuration files, as a soak wants them at the moment.

use std::fmt::Write as _;

use super::ground::{Ground, PATHS, SILENCE, VIRTUAL};
use crate::keys::KeyPair;
use crate::plan::{GatewayPlan, PeerPlan};
use crate::topology::{Family, LISTEN_PORT};

/// Prefixes of the routes that come and go: one of them, by its number.
const EXTRA: &str = "10.77";
/// Behind the site that never answers.
pub(super) const GHOST: &str = "10.88.0.9";
/// Of a link: quick enough to be watched, slow enough for a machine that has much else to do.
const BFD: &str = "{ interval_ms = 200, multiplier = 8 }";
const HOLD_DOWN_MS: u32 = 1500;

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
    pub(super) fn generate() -> anyhow::Result<Self> {
        Ok(Self {
            of: (0..5)
                .map(|_| KeyPair::generate())
                .collect::<anyhow::Result<_>>()?,
            ghost: KeyPair::generate()?,
        })
    }
}

/// The file of a gateway with an agent.
pub(super) fn file(ground: &Ground, keys: &Keys, gateway: usize, wanted: Wanted) -> String {
    let mut text = String::new();
    let mut line = |words: &str| {
        let _ = writeln!(text, "{words}");
    };
    let name = |gateway: usize| ground.gateways()[gateway].name();
    line("[gateway]");
    line(&format!("name = {:?}", name(gateway)));
    line(&format!("private_key_file = \"{}.key\"", name(gateway)));
    line(&format!("listen = \"[::]:{LISTEN_PORT}\""));
    line("[[gateway.lan]]\ninterface = \"lan0\"");
    for path in 0..PATHS {
        line(&format!("[[gateway.wan]]\ninterface = \"wan{path}\""));
    }
    if gateway < 2 {
        let mate = 1 - gateway;
        line(&format!(
            "[[gateway.vrrp]]\ninterface = \"lan0\"\nid = 1\naddresses = {VIRTUAL:?}\n\
             priority = {}\nadvertisement_interval = 300",
            150 - 50 * gateway
        ));
        line(&format!(
            "[[gateway.replica]]\nname = {:?}\npublic_key = {:?}\nendpoint = \"{}:{LISTEN_PORT}\"",
            name(mate),
            keys.of[mate].public,
            ground.net.replicas[mate].lan
        ));
    }
    for (site, gateways) in [("a", 0..2), ("b", 2..3), ("c", 3..4)] {
        if gateways.contains(&gateway) || (site == "c" && wanted.without_c) {
            continue;
        }
        let mut routes = routes(site);
        if site == "c" {
            let more = (0..wanted.extra_routes).map(|extra| format!("{EXTRA}.{extra}.0/24"));
            routes.extend(more);
        }
        line(&format!("[[site]]\nname = {site:?}\nroutes = {routes:?}"));
        line(&format!("hold_down_ms = {HOLD_DOWN_MS}"));
        for far in gateways {
            line(&format!("  [[site.gateway]]\n  name = {:?}", name(far)));
            line(&format!("  public_key = {:?}", keys.of[far].public));
            line(&format!("  bfd = {BFD}"));
            for path in 0..PATHS {
                line(&format!(
                    "    [[site.gateway.link]]\n    name = \"path-{}\"\n    endpoint = \"{}\"\n    \
                     wan = \"wan{path}\"\n    priority = {}",
                    path + 1,
                    ground.endpoint(far, path),
                    1000 - 100 * far - path
                ));
            }
        }
    }
    if gateway == 2 {
        line(&format!(
            "[[site]]\nname = \"d\"\nroutes = {:?}\n  [[site.gateway]]\n  name = \"d1\"\n  \
             public_key = {:?}\n  endpoints = [\"{}\"]",
            routes("d"),
            keys.of[4].public,
            ground.endpoint(4, 0)
        ));
    }
    if wanted.ghost {
        line(&format!(
            "[[site]]\nname = \"ghost\"\nroutes = [\"10.88.0.0/24\"]\n  [[site.gateway]]\n  \
             name = \"ghost\"\n  public_key = {:?}\n  endpoints = [\"{SILENCE}\"]",
            keys.ghost.public
        ));
    }
    text
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
            lines: Vec::new(),
        }],
        ..plan(ground.stock().name(), keys.of[4].clone())
    }
}

/// A plan with a name and keys alone.
pub(super) fn plan(name: &str, keys: KeyPair) -> GatewayPlan {
    GatewayPlan {
        name: name.to_owned(),
        site: String::new(),
        keys,
        listen_port: LISTEN_PORT,
        mtu: None,
        tunnel_addresses: Vec::new(),
        peers: Vec::new(),
        gateway_lines: Vec::new(),
        wan_lines: Vec::new(),
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
