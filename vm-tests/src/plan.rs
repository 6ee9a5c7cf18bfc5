//! Which gateway talks to which, before any of them runs: the same plan starts Crossway and every
//! other kind of gateway.

use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;

use crate::config::{self, Config, Endpoint, Lanes, Liveness, LivenessMode};
use crate::engine;
use crate::keys::KeyPair;
use crate::topology::{Family, LISTEN_PORT, Topology};
use crate::wait;

/// Who is joined with whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Every gateway with every other.
    FullMesh,
    /// Every gateway with the first, which passes on what is for another.
    Hub,
}

/// One gateway: its keys, interfaces and peers. Change what a test needs changed before the start.
#[derive(Clone, Debug)]
pub struct GatewayPlan {
    /// Name of the gateway and of its namespace.
    pub name: String,
    /// Name of its site.
    pub site: String,
    /// Its keys.
    pub keys: KeyPair,
    /// UDP port.
    pub listen_port: u16,
    /// MTU inside the tunnel; without it, the program's own choice.
    pub mtu: Option<u16>,
    /// Addresses on the tunnel interface, each with its prefix length.
    pub tunnel_addresses: Vec<String>,
    /// The far gateways.
    pub peers: Vec<PeerPlan>,
    /// See [`Self::configure`].
    pub changes: Vec<Change>,
}

/// Changes a configuration.
#[derive(Clone)]
pub struct Change(Arc<dyn Fn(&mut Config) + Send + Sync>);

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a change of the configuration")
    }
}

/// A far gateway as seen from a near one.
#[derive(Clone, Debug)]
pub struct PeerPlan {
    /// Name of its site.
    pub site: String,
    /// Its own name.
    pub gateway: String,
    /// Its public key, base64.
    pub public_key: String,
    /// Where it is dialled; without, only it dials.
    pub endpoint: Option<SocketAddr>,
    /// Prefixes behind it.
    pub routes: Vec<String>,
    /// Seconds between keepalives.
    pub keepalive: Option<u16>,
}

/// Plans for all gateways of a topology, in the order of its sites, dialled over `outer`.
pub fn plan(topology: &Topology, shape: Shape, outer: Family) -> Result<Vec<GatewayPlan>> {
    let keys = topology
        .sites
        .iter()
        .map(|_| KeyPair::generate())
        .collect::<Result<Vec<_>>>()?;
    let plans = (0..topology.sites.len()).map(|own| {
        let site = &topology.sites[own];
        GatewayPlan {
            site: site.name.clone(),
            peers: peers(topology, &keys, shape, outer, own),
            ..GatewayPlan::new(site.gateway.name(), keys[own].clone())
        }
    });
    Ok(plans.collect())
}

impl GatewayPlan {
    /// A plan with a name and keys alone.
    pub fn new(name: &str, keys: KeyPair) -> Self {
        Self {
            name: name.to_owned(),
            site: String::new(),
            keys,
            listen_port: LISTEN_PORT,
            mtu: None,
            tunnel_addresses: Vec::new(),
            peers: Vec::new(),
            changes: Vec::new(),
        }
    }

    /// What Crossway's configuration has beside the plan, such as `config.gateway.fast_path = false`.
    pub fn configure(&mut self, change: impl Fn(&mut Config) + Send + Sync + 'static) {
        self.changes.push(Change(Arc::new(change)));
    }

    /// Has the links to its first peer watched at this pace.
    pub fn watch_each(&mut self, interval_ms: u32, multiplier: u32) {
        let liveness = config::watched_each(interval_ms, multiplier);
        self.configure(move |config| {
            for link in &mut config.sites[0].gateways[0].links {
                link.liveness.clone_from(&liveness);
            }
        });
    }

    /// Has its links watched without BFD.
    pub fn watch_by_wireguard(&mut self) {
        self.configure(|config| {
            let gateways = config.sites.iter_mut().flat_map(|site| &mut site.gateways);
            for link in gateways.flat_map(|gateway| &mut gateway.links) {
                link.liveness.mode = LivenessMode::WireGuard;
            }
        });
    }

    /// Shares the key of a file with its first peer.
    pub fn share_key(&mut self, file: &Path) {
        let file = file.to_owned();
        self.configure(move |config| {
            config.sites[0].gateways[0].preshared_key_file = Some(file.clone().into());
        });
    }

    /// Runs so many lanes, towards a first peer with so many.
    pub fn run_lanes(&mut self, own: u16, far: u16) {
        self.configure(move |config| {
            config.gateway.lanes = Lanes::Count(own);
            config.sites[0].gateways[0].lanes = far;
        });
    }

    /// Dials its first peer at a host's name.
    pub fn dial_by_name(&mut self, host: &str, port: u16) {
        let host = host.to_owned();
        self.configure(move |config| {
            let host = host.clone();
            let endpoint = Endpoint::Name { host, port };
            config.sites[0].gateways[0].links[0].endpoints = vec![endpoint];
        });
    }

    /// Forgets every [`Self::configure`].
    pub fn configure_nothing(&mut self) {
        self.changes.clear();
    }

    /// Crossway's configuration, with a site for each peer.
    pub fn config(&self, key_file: &Path) -> Result<Config> {
        let listen = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), self.listen_port);
        let addresses = self.tunnel_addresses.iter();
        let gateway = config::Gateway {
            tunnel_addresses: addresses
                .map(|text| config::tunnel_address(text))
                .collect::<Result<_>>()?,
            mtu: self.mtu,
            lan: vec![config::Lan::new("lan0")],
            wan: vec![config::Wan::new("wan0")],
            ..config::Gateway::new(&self.name, key_file, listen)
        };
        let sites = self.peers.iter().map(PeerPlan::config);
        let sites = sites.collect::<Result<_>>()?;
        let mut config = Config {
            gateway,
            metrics: None,
            sites,
            flows: config::FlowExport::default(),
            discovery: None,
            policy: config::Policy::default(),
        };
        if let Some(engine) = engine::asked_for() {
            engine::set(&mut config, engine);
        }
        for change in &self.changes {
            change.0(&mut config);
        }
        if wait::is_emulated() {
            be_patient(&mut config);
        }
        Ok(config)
    }
}

/// An emulated machine may do nothing at all for half a second, which is no fault of a link.
fn be_patient(config: &mut Config) {
    let gateways = config.sites.iter_mut().flat_map(|site| &mut site.gateways);
    for link in gateways.flat_map(|gateway| &mut gateway.links) {
        if link.liveness == Liveness::default() {
            link.liveness = config::watched_each(500, 10);
        }
    }
}

impl PeerPlan {
    fn config(&self) -> Result<config::Site> {
        let key = config::public_key(&self.public_key)?;
        let mut gateway = config::RemoteGateway::new(&self.gateway, key);
        gateway.persistent_keepalive = self.keepalive;
        let endpoint = self.endpoint.map(config::Endpoint::Address);
        gateway.links[0].endpoints = endpoint.into_iter().collect();
        let mut site = config::Site::new(&self.site, config::prefixes(&self.routes)?);
        site.gateways.push(gateway);
        Ok(site)
    }
}

/// Gives every gateway an address inside the tunnel of each family ([`crate::topology::Site::tunnel_address`]), which the
/// others' routes to its site hold: it answers from there, for example as a hop of traceroute.
pub fn give_tunnel_addresses(topology: &Topology, plans: &mut [GatewayPlan]) {
    for plan in plans {
        let own = topology.site(&plan.site);
        plan.tunnel_addresses = Family::ALL
            .map(|family| {
                let length = if family == Family::V4 { 32 } else { 128 };
                format!("{}/{length}", own.tunnel_address(family))
            })
            .to_vec();
        for peer in &mut plan.peers {
            let behind = topology.sites.iter();
            let behind = behind.filter(|site| peer.routes.contains(&site.route(Family::V4)));
            // The IPv6 prefix of a site holds its tunnel address already.
            let routes = behind.map(|site| format!("{}/32", site.tunnel_address(Family::V4)));
            let routes: Vec<String> = routes.collect();
            peer.routes.extend(routes);
        }
    }
}

fn peers(
    topology: &Topology,
    keys: &[KeyPair],
    shape: Shape,
    outer: Family,
    own: usize,
) -> Vec<PeerPlan> {
    let spoke_of_hub = shape == Shape::Hub && own != 0;
    let far = (0..topology.sites.len()).filter(|&far| far != own && (!spoke_of_hub || far == 0));
    far.map(|far| {
        let site = &topology.sites[far];
        PeerPlan {
            site: site.name.clone(),
            gateway: site.gateway.name().to_owned(),
            public_key: keys[far].public.clone(),
            endpoint: Some(site.endpoint(outer)),
            routes: if spoke_of_hub {
                routes_of_all_but(topology, own)
            } else {
                site.routes()
            },
            keepalive: None,
        }
    })
    .collect()
}

fn routes_of_all_but(topology: &Topology, own: usize) -> Vec<String> {
    let others = topology.sites.iter().enumerate();
    others
        .filter(|(index, _)| *index != own)
        .flat_map(|(_, site)| site.routes())
        .collect()
}
