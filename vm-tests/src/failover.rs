//! Crossway on every gateway of a [`Redundant`] topology.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::api::{self, LinkState, WatchedBy};
use crate::config::{
    self, Config, Endpoint, Gateway, HealthTarget, Lan, Link, RemoteGateway, Site, Wan,
};
use crate::crossway::{self, Crossway, link_name};
use crate::keys::KeyPair;
use crate::plan::GatewayPlan;
use crate::topology::{LISTEN_PORT, Near, Redundant, Replica};
use crate::wait;

/// Handshakes of every link and BFD's first packets.
const UP: Duration = Duration::from_secs(20);
/// Between two advertisements of the virtual router.
const ADVERTISEMENTS: Duration = Duration::from_millis(100);

/// What differs from row to row.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Milliseconds between two BFD packets.
    pub interval_ms: u32,
    /// Lost packets after which a link is dead.
    pub multiplier: u32,
    /// Milliseconds that a link must be up again before it takes flows back.
    pub hold_down_ms: u32,
    /// Health targets of every replica of site `a`.
    pub health: Vec<HealthTarget>,
    /// The replicas of site `a` are one virtual router to its hosts, the first one with the highest priority.
    pub virtual_router: bool,
    /// So many links between two gateways, over one path, each with addresses of its own ([`link_address`]); without,
    /// one over each path.
    pub links: Option<u8>,
    /// The paths to a gateway have one priority: they share the flows.
    pub sharing: bool,
    /// Whether the replicas of site `a` keep their flows in step, over the LAN.
    pub in_step: bool,
    /// Rules of the replicas of site `a`, as the file has them.
    pub rules: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            interval_ms: 100,
            multiplier: 3,
            hold_down_ms: 5000,
            health: Vec::new(),
            virtual_router: false,
            links: None,
            sharing: false,
            in_step: false,
            rules: String::new(),
        }
    }
}

/// The agents, until dropped.
#[derive(Debug)]
pub struct Gateways {
    agents: Vec<Crossway>,
}

impl Gateways {
    /// Starts an agent on every gateway, and waits until all links are up.
    pub fn start(net: &Redundant, settings: &Settings) -> Result<Self> {
        let mut plans = Vec::new();
        for gateway in net.gateways() {
            let plan = GatewayPlan::new(gateway.name(), KeyPair::generate()?);
            plans.push((gateway, plan));
        }
        let mut agents = Vec::new();
        for (own, (gateway, plan)) in plans.iter().enumerate() {
            let mut agent = Crossway::prepare_in(&gateway.netns, net.directory(), plan)?;
            let config = config(net, &plans, own, settings, &agent.key_file())?;
            let rules = if own + 1 < plans.len() {
                settings.rules.as_str()
            } else {
                ""
            };
            agent.write_config_text(&format!("{config}\n{rules}"))?;
            accepts(agent.config())?;
            agent.start_again()?;
            agents.push(agent);
        }
        let gateways = Self { agents };
        gateways.wait_until_up()?;
        Ok(gateways)
    }

    /// All of them: those of site `a`, then that of site `b`.
    pub fn all(&self) -> impl Iterator<Item = &Crossway> {
        self.agents.iter()
    }

    /// A gateway of site `a`.
    pub fn replica(&mut self, index: usize) -> &mut Crossway {
        &mut self.agents[index]
    }

    /// The gateway of site `b`.
    pub fn far(&self) -> &Crossway {
        &self.agents[self.agents.len() - 1]
    }

    /// What the gateway of site `b` calls its link over a path to the first gateway of site `a`.
    pub fn name_of_link(&self, path: usize) -> String {
        format!("a/{}/path-{}", self.agents[0].name(), path + 1)
    }

    /// Waits until every link of every agent is up, and watched by BFD.
    pub fn wait_until_up(&self) -> Result<()> {
        wait::try_until("every link to be up", UP, || {
            for agent in &self.agents {
                let links = agent.links()?;
                let up = |link: &api::Link| {
                    link.state == LinkState::Up && link.watched_by == WatchedBy::Bfd
                };
                if links.is_empty() || !links.iter().all(up) {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
    }

    /// Waits until all links are up, the first ones carry the flows, and the first replica is the master of its
    /// virtual routers. Hold-downs are cut short.
    pub fn wait_until_ready(&self) -> Result<()> {
        self.wait_until_up()?;
        self.order_first("promote")?;
        wait::try_until("the first links to carry the flows", UP, || {
            for agent in &self.agents {
                let links = agent.links()?;
                if links.first().is_none_or(|link| !link.carries_flows) {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })?;
        wait::try_until("the first gateway to be master", UP, || {
            let routers = self.agents[0].status()?.virtual_routers;
            let master = routers.iter().all(|router| router.state == "master");
            Ok(master.then_some(()))
        })
    }

    /// Gives an order about the first link of every gateway, such as `drain`.
    pub fn order_first(&self, order: &str) -> Result<()> {
        for agent in &self.agents {
            let links = agent.links()?;
            let first = links.first().context("a gateway without links")?;
            agent.command(&[order, &link_name(first)])?;
        }
        Ok(())
    }

    /// Names of the links that carry the flows from the first gateway to site `b`.
    pub fn carriers(&self) -> Result<Vec<String>> {
        let links = self.agents[0].links()?.into_iter();
        let carry = links.filter(|link| link.carries_flows);
        Ok(carry.filter_map(|link| link.link).collect())
    }
}

/// A build that does not know a key says so, and the error is that.
fn accepts(config: &Path) -> Result<()> {
    let mut check = Command::new(crossway::binary());
    let check = check.arg("check").arg(config).output()?;
    let said = [check.stdout, check.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let first = said.lines().next().unwrap_or_default();
    ensure!(
        check.status.success(),
        "this build refuses the configuration: {first}"
    );
    Ok(())
}

/// Where the gateway of a site is for one of many links, counted from 1.
pub fn link_address(side: Near, number: u8) -> Ipv4Addr {
    let site = match side {
        Near::A => 1,
        Near::B => 2,
    };
    Ipv4Addr::new(198, 18, site, number)
}

/// The first path and the first replica have the highest priority.
fn config(
    net: &Redundant,
    plans: &[(&Replica, GatewayPlan)],
    own: usize,
    settings: &Settings,
    key: &Path,
) -> Result<Config> {
    let far = plans.len() - 1;
    let (near, plan) = &plans[own];
    let listen = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), LISTEN_PORT);
    let mut gateway = Gateway::new(&plan.name, key, listen);
    gateway.lan.push(Lan::new("lan0"));
    let wans = (0..near.wan.len()).map(|wan| Wan::new(format!("wan{wan}")));
    gateway.wan.extend(wans);
    let (name, side, peers) = if own == far {
        ("a", Near::A, 0..far)
    } else {
        gateway.health.clone_from(&settings.health);
        if settings.virtual_router {
            let priority = 150 - 50 * own as u8;
            let address = net.virtual_router();
            gateway.vrrp = config::virtual_routers(1, priority, ADVERTISEMENTS, &[address]);
        }
        let mates = plans[..far]
            .iter()
            .filter(|(mate, _)| mate.name() != plan.name);
        for (mate, plan) in mates.filter(|_| settings.in_step) {
            let key = config::public_key(&plan.keys.public)?;
            let endpoint = Endpoint::Address((mate.lan, LISTEN_PORT).into());
            let replica = RemoteGateway::replica(&plan.name, key, endpoint);
            gateway.replicas.push(replica);
        }
        ("b", Near::B, far..far + 1)
    };
    let mut site = Site::new(name, config::prefixes(&[net.route(side)])?);
    site.hold_down = Duration::from_millis(settings.hold_down_ms.into());
    for peer in peers {
        let (replica, plan) = &plans[peer];
        let key = config::public_key(&plan.keys.public)?;
        let mut remote = RemoteGateway::new(&plan.name, key);
        remote.links = match settings.links {
            Some(count) => links_of_one_path(side, count, settings),
            None => links_of_each_path(near, replica, 1000 - 100 * peer as u32, settings),
        };
        site.gateways.push(remote);
    }
    Ok(Config {
        gateway,
        metrics: None,
        sites: vec![site],
        flows: config::FlowExport::default(),
        discovery: None,
        policy: config::Policy::default(),
    })
}

/// So many links over the one path.
fn links_of_one_path(side: Near, count: u8, settings: &Settings) -> Vec<Link> {
    let links = (1..=count).map(|number| {
        let endpoint = (link_address(side, number), LISTEN_PORT).into();
        link(format!("link-{number}"), endpoint, settings)
    });
    links.collect()
}

/// A link over each path; the first has the priority `highest`.
fn links_of_each_path(
    near: &Replica,
    far: &Replica,
    highest: u32,
    settings: &Settings,
) -> Vec<Link> {
    let links = (0..near.wan.len()).map(|wan| {
        let rank = if settings.sharing { 0 } else { wan as u32 };
        Link {
            wan: Some(format!("wan{wan}")),
            priority: highest - rank,
            ..link(format!("path-{}", wan + 1), far.endpoint(wan), settings)
        }
    });
    links.collect()
}

fn link(name: String, endpoint: SocketAddr, settings: &Settings) -> Link {
    Link {
        endpoints: vec![Endpoint::Address(endpoint)],
        liveness: config::watched_each(settings.interval_ms, settings.multiplier),
        ..Link::new(Some(name))
    }
}
