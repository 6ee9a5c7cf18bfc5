//! What one builds today: wireguard-go for the tunnels, FRR for the routes and BFD, keepalived for the LAN.
//!
//! Every tunnel is an interface with a BGP session over it, whose BFD session runs inside the tunnel. (Static routes
//! that BFD watches came to FRR with 8.5; Debian 12 has 8.4.)

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use vm_tests::frr::{self, Frr, Neighbour, Router};
use vm_tests::keepalived::{self, Keepalived, VirtualRouter};
use vm_tests::keys::KeyPair;
use vm_tests::peers::{Implementation, StockGateway};
use vm_tests::plan::{GatewayPlan, PeerPlan};
use vm_tests::topology::{LISTEN_PORT, Near, Redundant, Replica};
use vm_tests::wait;

use super::{Bfd, Joined};

/// BGP tries again each second and may need a few tries.
const CONVERGED: Duration = Duration::from_secs(40);
/// Of a path that is out of service.
const LEAST: u32 = 1;
const SYSTEM_A: u32 = 65001;
const SYSTEM_B: u32 = 65002;
/// Seconds that a router waits before it takes back its role: its BGP sessions are up by then.
const PREEMPT_DELAY: u32 = 2;

/// Its daemons, until dropped.
pub(super) struct Rival<'a> {
    net: &'a Redundant,
    routers: Vec<Frr>,
    keepaliveds: Vec<Keepalived>,
    tunnels: Vec<StockGateway>,
    links: usize,
}

/// Versions of its parts, or why it cannot run here.
pub(super) fn version() -> Result<String> {
    let (implementation, wireguard) = wireguard()?;
    Ok(format!(
        "{} {wireguard}, FRR {}, keepalived {}",
        implementation.program().unwrap_or("kernel"),
        frr::version()?,
        keepalived::version()?
    ))
}

/// The newest there is.
fn wireguard() -> Result<(Implementation, String)> {
    let newest = Implementation::WireguardGoNewest;
    let old = Implementation::WireguardGo;
    let found = newest.version().map(|version| (newest, version));
    found.or_else(|_| Ok((old, old.version()?)))
}

impl<'a> Rival<'a> {
    /// Between the first gateway of site a and that of site b over each path, or between each gateway of site a
    /// and that of site b over the one path.
    pub(super) fn start(net: &'a Redundant, bfd: Bfd) -> Result<Self> {
        let near = |link: usize| &net.replicas[link.min(net.replicas.len() - 1)];
        let paths = net.far.wan.len();
        let links = paths.max(net.replicas.len());
        let mut rival = Self {
            net,
            routers: Vec::new(),
            keepaliveds: Vec::new(),
            tunnels: Vec::new(),
            links,
        };
        for link in 0..links {
            rival.tunnel(near(link), link, link.min(paths - 1))?;
        }
        for (index, replica) in net.replicas.iter().enumerate() {
            let own = if net.replicas.len() == 1 {
                0..links
            } else {
                index..index + 1
            };
            rival.router(replica, Near::A, own, bfd)?;
        }
        rival.router(&net.far, Near::B, 0..links, bfd)?;
        if net.replicas.len() > 1 {
            rival.virtual_router()?;
        }
        Ok(rival)
    }

    /// One wireguard-go at each end.
    fn tunnel(&mut self, near: &Replica, link: usize, path: usize) -> Result<()> {
        let (implementation, _) = wireguard()?;
        let keys = [KeyPair::generate()?, KeyPair::generate()?];
        let port = LISTEN_PORT + link as u16;
        for (own, gateway, far) in [(0, near, &self.net.far), (1, &self.net.far, near)] {
            let plan = GatewayPlan {
                listen_port: port,
                tunnel_addresses: vec![format!("{}/30", inner(link, own))],
                peers: vec![PeerPlan {
                    site: String::new(),
                    gateway: far.name().to_owned(),
                    public_key: keys[1 - own].public.clone(),
                    endpoint: Some((far.wan[path], port).into()),
                    routes: vec!["0.0.0.0/0".to_owned()],
                    keepalive: Some(25),
                }],
                ..GatewayPlan::new(&format!("{}-wg{link}", gateway.name()), keys[own].clone())
            };
            let directory = self.net.directory();
            let started = StockGateway::start_in(implementation, &gateway.netns, directory, &plan)?;
            self.tunnels.push(started);
        }
        Ok(())
    }

    fn router(
        &mut self,
        gateway: &Replica,
        side: Near,
        links: std::ops::Range<usize>,
        bfd: Bfd,
    ) -> Result<()> {
        let (system, remote, far) = match side {
            Near::A => (SYSTEM_A, SYSTEM_B, 1),
            Near::B => (SYSTEM_B, SYSTEM_A, 0),
        };
        let neighbours = links.map(|link| Neighbour {
            address: inner(link, far),
            system: remote,
            preference: preference(link),
            prepend: 0,
        });
        let router = Router {
            system,
            id: gateway.lan.to_string(),
            announces: vec![self.net.route(side)],
            neighbours: neighbours.collect(),
            bfd_peers: Vec::new(),
            bfd_interval: bfd.interval_ms,
            bfd_multiplier: bfd.multiplier,
        };
        self.routers.push(Frr::start(&gateway.netns, &router)?);
        Ok(())
    }

    fn virtual_router(&mut self) -> Result<()> {
        for (index, replica) in self.net.replicas.iter().enumerate() {
            let router = VirtualRouter {
                interface: "lan0".to_owned(),
                id: 1,
                priority: 150 - 50 * index as u8,
                advert_int: 0.1,
                address: (self.net.virtual_router(), 24),
                preempt_delay: PREEMPT_DELAY,
                healthy: format!(
                    "ip route get {} | grep -q via",
                    self.net.host_address(Near::B)
                ),
            };
            let directory = self.net.directory();
            let started = Keepalived::start(&replica.netns, directory, &router)?;
            self.keepaliveds.push(started);
        }
        Ok(())
    }

    fn converged(&self) -> Result<bool> {
        for router in &self.routers {
            let expected = if self.net.replicas.len() == 1 || router.netns() == self.net.far.name()
            {
                self.links
            } else {
                1
            };
            if router.bfd_up()? < expected || router.bgp_established()? < expected {
                return Ok(false);
            }
        }
        let first = &self.net.replicas[0].netns;
        let ways = [(first, Near::B, 1), (&self.net.far.netns, Near::A, 0)];
        for (netns, to, end) in ways {
            let route = netns.ip(&format!("route show {}", self.net.route(to)))?;
            if !route.contains(&format!("via {} ", inner(0, end))) {
                return Ok(false);
            }
        }
        Ok(self.keepaliveds.is_empty() || Keepalived::holds(first, self.net.virtual_router())?)
    }
}

impl Joined for Rival<'_> {
    fn ready(&self) -> Result<()> {
        ensure!(!self.routers.is_empty(), "no router runs");
        let what = "every BFD and BGP session, and the first gateway as master";
        wait::try_until(what, CONVERGED, || Ok(self.converged()?.then_some(())))
    }

    fn carrier(&self) -> Result<String> {
        let netns = &self.net.replicas[0].netns;
        let routes = netns.ip(&format!("route show {}", self.net.route(Near::B)))?;
        let mut words = routes.split_whitespace();
        words.find(|word| *word == "via");
        Ok(words.next().unwrap_or_default().to_owned())
    }

    fn drain(&self) -> Result<()> {
        self.routers
            .iter()
            .try_for_each(|router| router.prefer(0, LEAST))
    }

    fn undrain(&self) -> Result<()> {
        self.routers
            .iter()
            .try_for_each(|router| router.prefer(0, preference(0)))
    }
}

/// The first link is preferred.
fn preference(link: usize) -> u32 {
    200 - link as u32
}

/// Address of an end (0 of site a, 1 of site b) inside a tunnel.
fn inner(link: usize, end: usize) -> IpAddr {
    [10, 255, link as u8, end as u8 + 1].into()
}
