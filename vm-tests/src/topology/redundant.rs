//! Two sites with something to fail over to: several paths between the gateways, or several gateways at
//! the first site.
//!
//! ```text
//!                        ┌─ gateway a1 ─ wan0 ──── path 1 ──── wan0 ─┐
//!   host a ── lan a ─────┤  10.1.0.2     wan1 ──── path 2 ──── wan1 ─┤ gateway b1 ── host b
//!   10.1.0.10            │                            │              │ 10.2.0.1      10.2.0.10
//!                        └─ gateway a2 ─ wan0 ────────┘              │
//!                           10.1.0.3   (to every path)               │
//!
//!   On path p:  gateway a<r>  198.51.<10 p + r>.1/30      gateway b1  203.0.<10 p>.1/30      the path itself .2
//!   With one gateway at site a it is 10.1.0.1; with more, that is the virtual router's address.
//! ```
//! Each box is a network namespace: `<prefix>-host-a`, `<prefix>-lan-a` (a bridge), `<prefix>-gw-a1`,
//! `<prefix>-path-1` (a router), … A gateway has one route over each path: to the other gateways' addresses there.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::{Result, ensure};

use super::build::{End, add_address, address_after, cable};
use super::{Directory, LISTEN_PORT};
use crate::netns::{self, Netns};

const MTU: u16 = 1500;
/// Hosts of site `a` send to it, whichever gateway holds it.
const ROUTER_LAST: u16 = 1;
const HOST_LAST: u16 = 10;

/// Sites `a` and `b`. Dropped, nothing of them is left.
#[derive(Debug)]
pub struct Redundant {
    /// Host of site `a`.
    pub host_a: Netns,
    /// Host of site `b`.
    pub host_b: Netns,
    /// The gateways of site `a`, the first one preferred.
    pub replicas: Vec<Replica>,
    /// The gateway of site `b`.
    pub far: Replica,
    paths: Vec<Netns>,
    lan: Netns,
    prefix: String,
    directory: Directory,
}

/// A gateway.
#[derive(Debug)]
pub struct Replica {
    /// Its namespace, with `lan0`, `wan0`, `wan1`, …
    pub netns: Netns,
    /// Where it is on each path.
    pub wan: Vec<IpAddr>,
    /// Its own address on the LAN.
    pub lan: IpAddr,
    /// Its port on the LAN's bridge and on each path's router.
    port: String,
}

/// Which side of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Near {
    /// Site `a`, its first gateway.
    A,
    /// Site `b`.
    B,
}

impl Replica {
    /// Name of the gateway and of its namespace.
    pub fn name(&self) -> &str {
        self.netns.name()
    }

    /// The path's router as it sees it.
    pub fn next_hop(&self, path: usize) -> IpAddr {
        address_after(self.wan[path])
    }

    /// Its port on the LAN's bridge and on each path's router.
    pub fn port(&self) -> &str {
        &self.port
    }

    /// Where it is dialled on a path, counted from 0.
    pub fn endpoint(&self, path: usize) -> SocketAddr {
        SocketAddr::new(self.wan[path], LISTEN_PORT)
    }
}

impl Redundant {
    /// One gateway at each site, `paths` paths between them.
    pub fn with_paths(prefix: Option<&str>, paths: u8) -> Result<Self> {
        Self::build(prefix, 1, paths)
    }

    /// Two gateways at site `a`, one path.
    pub fn with_pair(prefix: Option<&str>) -> Result<Self> {
        Self::build(prefix, 2, 1)
    }

    /// Any of both; at most eight.
    pub fn build(prefix: Option<&str>, replicas: u8, paths: u8) -> Result<Self> {
        ensure!(
            (1..=8).contains(&replicas) && (1..=8).contains(&paths),
            "one to eight gateways and paths, not {replicas} and {paths}"
        );
        let prefix = prefix.map_or_else(netns::unique_prefix, str::to_owned);
        // First, so that each part built so far is removed when a later one fails.
        let directory = Directory::create(&prefix)?;
        let create = |name: &str| Netns::create(&format!("{prefix}-{name}"));
        let routers = (1..=paths).map(|number| {
            let path = create(&format!("path-{number}"))?;
            path.set_sysctl(FORWARDING, "1")?;
            // What is for a gateway without a carrier vanishes, as behind a switch that nobody asks.
            path.ip("route add blackhole default")?;
            Ok(path)
        });
        let gateways = (1..=replicas).map(|number| {
            let netns = create(&format!("gw-a{number}"))?;
            Ok(replica(netns, number, replicas, paths))
        });
        let built = Self {
            host_a: create("host-a")?,
            host_b: create("host-b")?,
            replicas: gateways.collect::<Result<_>>()?,
            far: far(create("gw-b1")?, paths),
            paths: routers.collect::<Result<_>>()?,
            lan: create("lan-a")?,
            prefix: prefix.clone(),
            directory,
        };
        built.join_lans()?;
        built.join_paths()?;
        Ok(built)
    }

    /// What all its names start with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// A directory for configurations, keys and logs, removed with the topology.
    pub fn directory(&self) -> &Path {
        &self.directory.0
    }

    /// The LAN of site `a`: `patch-<port>` is the bridge to plug a gateway into.
    pub fn lan(&self) -> &Netns {
        &self.lan
    }

    /// The router of a path.
    pub fn path(&self, path: usize) -> &Netns {
        &self.paths[path]
    }

    /// Address of the host of site `a` or `b`.
    pub fn host_address(&self, side: Near) -> IpAddr {
        lan_address(side, HOST_LAST)
    }

    /// Where the hosts of site `a` send what is for another site.
    pub fn virtual_router(&self) -> IpAddr {
        lan_address(Near::A, ROUTER_LAST)
    }

    /// The IPv4 prefix of a site.
    pub fn route(&self, side: Near) -> String {
        format!("10.{}.0.0/24", number_of(side))
    }

    /// Packets on this path vanish; both its ends keep their carriers.
    pub fn cut_path(&self, path: usize) -> Result<()> {
        self.paths[path].set_sysctl(FORWARDING, "0")
    }

    /// They pass again.
    pub fn mend_path(&self, path: usize) -> Result<()> {
        self.paths[path].set_sysctl(FORWARDING, "1")
    }

    /// Takes the carrier from a gateway's WAN interface, by its port on the far end of the cable, or gives it back.
    pub fn set_carrier(&self, gateway: &Replica, path: usize, up: bool) -> Result<()> {
        let (port, state) = (&gateway.port, if up { "up" } else { "down" });
        self.paths[path].ip(&format!("link set {port} {state}"))?;
        Ok(())
    }

    /// Takes the carrier from the LAN interface of a gateway of site `a`, or gives it back.
    pub fn set_lan_carrier(&self, gateway: &Replica, up: bool) -> Result<()> {
        let (port, state) = (&gateway.port, if up { "up" } else { "down" });
        self.lan.ip(&format!("link set {port} {state}"))?;
        Ok(())
    }

    /// Nothing comes from a gateway of site `a` any more and nothing reaches it, all carriers stay up: its machine
    /// hangs, or died behind switches.
    pub fn cut_off(&self, gateway: &Replica) -> Result<()> {
        self.set_lan(gateway, false)?;
        for (path, wan) in self.paths.iter().zip(&gateway.wan) {
            path.set_sysctl(&forwarding_from(gateway), "0")?;
            path.ip(&format!("route add blackhole {wan}/32"))?;
        }
        Ok(())
    }

    /// Undoes [`Self::cut_off`].
    pub fn reconnect(&self, gateway: &Replica) -> Result<()> {
        for (path, wan) in self.paths.iter().zip(&gateway.wan) {
            path.ip(&format!("route delete blackhole {wan}/32"))?;
            path.set_sysctl(&forwarding_from(gateway), "1")?;
        }
        self.set_lan(gateway, true)
    }

    /// Cuts a gateway of site `a` off its LAN alone, all carriers up (split brain), or joins it again.
    pub fn set_lan(&self, gateway: &Replica, joined: bool) -> Result<()> {
        let Replica { port, .. } = gateway;
        let master = if joined {
            format!("master {}", patch_of(gateway))
        } else {
            "nomaster".to_owned()
        };
        self.lan.ip(&format!("link set {port} {master}"))?;
        Ok(())
    }

    fn join_lans(&self) -> Result<()> {
        add_bridge(&self.lan, "br0")?;
        cable(
            End::new(&self.host_a, "eth0", MTU),
            End::new(&self.lan, "host", MTU),
        )?;
        self.lan.ip("link set host master br0")?;
        for gateway in &self.replicas {
            self.join_replica(gateway)?;
        }
        cable(
            End::new(&self.far.netns, "lan0", MTU),
            End::new(&self.host_b, "eth0", MTU),
        )?;
        for gateway in self.gateways() {
            add_address(&gateway.netns, "lan0", gateway.lan, 24)?;
        }
        for (host, side) in [(&self.host_a, Near::A), (&self.host_b, Near::B)] {
            add_address(host, "eth0", self.host_address(side), 24)?;
            let router = lan_address(side, ROUTER_LAST);
            host.ip(&format!("route add default via {router}"))?;
        }
        Ok(())
    }

    /// Through a bridge of its own, so that it can be cut off while the LAN's bridge still believes it there.
    fn join_replica(&self, gateway: &Replica) -> Result<()> {
        let (port, patch) = (&gateway.port, patch_of(gateway));
        add_bridge(&self.lan, &patch)?;
        cable(
            End::new(&gateway.netns, "lan0", MTU),
            End::new(&self.lan, port, MTU),
        )?;
        let (inside, outside) = (format!("{port}-in"), format!("{port}-out"));
        cable(
            End::new(&self.lan, &inside, MTU),
            End::new(&self.lan, &outside, MTU),
        )?;
        for (member, bridge) in [(port, &*patch), (&inside, &patch), (&outside, "br0")] {
            self.lan.ip(&format!("link set {member} master {bridge}"))?;
        }
        Ok(())
    }

    fn join_paths(&self) -> Result<()> {
        for (index, path) in self.paths.iter().enumerate() {
            for gateway in self.gateways() {
                let (own, interface) = (gateway.wan[index], format!("wan{index}"));
                cable(
                    End::new(&gateway.netns, &interface, MTU),
                    End::new(path, &gateway.port, MTU),
                )?;
                add_address(&gateway.netns, &interface, own, 30)?;
                add_address(path, &gateway.port, address_after(own), 30)?;
            }
            for from in self.gateways() {
                let others = self.gateways().filter(|to| to.name() != from.name());
                for to in others.map(|to| to.wan[index]) {
                    let by = from.next_hop(index);
                    from.netns
                        .ip(&format!("route add {to}/32 via {by} dev wan{index}"))?;
                }
            }
        }
        Ok(())
    }

    /// All gateways.
    pub fn gateways(&self) -> impl Iterator<Item = &Replica> {
        self.replicas.iter().chain([&self.far])
    }
}

/// Off, a router drops what it would forward, and tells nobody (`ip_error` in the kernel's net/ipv4/route.c).
const FORWARDING: &str = "net/ipv4/ip_forward";

fn replica(netns: Netns, number: u8, of: u8, paths: u8) -> Replica {
    let own = ROUTER_LAST + u16::from(number);
    let last = if of == 1 { ROUTER_LAST } else { own };
    let wan = (1..=paths).map(|path| Ipv4Addr::new(198, 51, 10 * path + number, 1).into());
    Replica {
        netns,
        wan: wan.collect(),
        lan: lan_address(Near::A, last),
        port: format!("a{number}"),
    }
}

fn far(netns: Netns, paths: u8) -> Replica {
    let wan = (1..=paths).map(|path| Ipv4Addr::new(203, 0, 10 * path, 1).into());
    Replica {
        netns,
        wan: wan.collect(),
        lan: lan_address(Near::B, ROUTER_LAST),
        port: "b1".to_owned(),
    }
}

fn lan_address(side: Near, last: u16) -> IpAddr {
    Ipv4Addr::new(10, number_of(side), 0, last as u8).into()
}

fn number_of(side: Near) -> u8 {
    match side {
        Near::A => 1,
        Near::B => 2,
    }
}

fn add_bridge(netns: &Netns, name: &str) -> Result<()> {
    netns.ip(&format!("link add {name} type bridge mcast_snooping 0"))?;
    netns.ip(&format!("link set {name} up"))?;
    Ok(())
}

/// The bridge between a gateway's cable and the LAN's bridge.
fn patch_of(gateway: &Replica) -> String {
    format!("patch-{}", gateway.port)
}

/// Whether a path forwards what comes from a gateway.
fn forwarding_from(gateway: &Replica) -> String {
    format!("net/ipv4/conf/{}/forwarding", gateway.port)
}
