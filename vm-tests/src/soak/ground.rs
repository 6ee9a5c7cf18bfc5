//! Where a soak takes place: [`Redundant`] with two gateways at site `a` and two paths, IPv6 on its LANs, a third
//! site, and a fourth behind a stock WireGuard.
//!
//! ```text
//!             ┌─ [gateway a1] ─┬──── path 1 ────┬─ [gateway b1] ── host b   10.2.0.10   2001:db8:2::10
//!  host a ────┤  virtual router                 │
//!  10.1.0.10  └─ [gateway a2] ─┴──── path 2 ────┼─ [gateway c1] ── host c   10.3.0.10   2001:db8:3::10
//!  2001:db8:1::10                      (path 1) └─ [wireguard-go] ─ host d  10.4.0.10   2001:db8:4::10
//! ```
//! The stock peer knows site `b` alone. What a path does not forward is counted by its firewall.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::netns::Netns;
use crate::topology::{Family, LISTEN_PORT, Near, Redundant, Wire, add_wire, address_after};

/// Paths between the gateways.
pub(super) const PATHS: usize = 2;
/// Gateways that run an agent, in the order of [`Ground::gateways`].
pub(super) const AGENTS: usize = 4;
/// The virtual router of site `a`, as `vrrp` and hosts name it.
pub(super) const VIRTUAL: [&str; 3] = ["10.1.0.1", "fe80::254", "2001:db8:1::254"];
/// Where nobody answers, by path 1.
pub(super) const SILENCE: &str = "198.18.0.1:51820";
const MTU: u16 = 1500;

/// The whole, until dropped.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) net: Redundant,
    /// Sites `c` and `d`.
    more: [Site; 2],
}

/// A site with one gateway.
#[derive(Debug)]
struct Site {
    gateway: Netns,
    host: Netns,
    /// Where its gateway is on each path that it is on.
    wan: Vec<IpAddr>,
}

impl Ground {
    pub(super) fn build(prefix: Option<&str>) -> Result<Self> {
        let net = Redundant::build(prefix, 2, PATHS as u8)?;
        let create = |name: &str| Netns::create(&format!("{}-{name}", net.prefix()));
        let site = |name: &str, number: u8, paths: usize| -> Result<Site> {
            Ok(Site {
                gateway: create(&format!("gw-{name}1"))?,
                host: create(&format!("host-{name}"))?,
                wan: (0..paths).map(|path| wan(number, path)).collect(),
            })
        };
        let more = [site("c", 3, PATHS)?, site("d", 4, 1)?];
        let ground = Self { net, more };
        ground.join_more()?;
        ground.add_ipv6()?;
        ground.count_on_paths()?;
        ground.remember_path_mtus()?;
        Ok(ground)
    }

    /// Those that run an agent: a1, a2, b1, c1.
    pub(super) fn gateways(&self) -> [&Netns; AGENTS] {
        let [a1, a2] = [0, 1].map(|replica| &self.net.replicas[replica].netns);
        [a1, a2, &self.net.far.netns, &self.more[0].gateway]
    }

    /// The one of the stock peer.
    pub(super) fn stock(&self) -> &Netns {
        &self.more[1].gateway
    }

    /// The hosts of the sites `a` to `d`.
    pub(super) fn hosts(&self) -> [&Netns; 4] {
        let [c, d] = &self.more;
        [&self.net.host_a, &self.net.host_b, &c.host, &d.host]
    }

    /// The namespaces whose kernels count what they drop: all but the LAN's bridge, and the paths, which
    /// [`Self::not_forwarded`] is asked for.
    pub(super) fn counting(&self) -> impl Iterator<Item = &Netns> {
        let gateways = self.gateways().into_iter().chain([self.stock()]);
        gateways.chain(self.hosts())
    }

    /// Where a gateway with an agent, or the stock one (the last), is dialled on a path.
    pub(super) fn endpoint(&self, gateway: usize, path: usize) -> SocketAddr {
        let net = &self.net;
        let wan = match gateway {
            0 | 1 => &net.replicas[gateway].wan,
            2 => &net.far.wan,
            _ => &self.more[gateway - 3].wan,
        };
        SocketAddr::new(wan[path], LISTEN_PORT)
    }

    /// Takes the carrier from a gateway's WAN interface or gives it back.
    pub(super) fn set_carrier(&self, gateway: usize, path: usize, up: bool) -> Result<()> {
        match gateway {
            0 | 1 => self.net.set_carrier(&self.net.replicas[gateway], path, up),
            2 => self.net.set_carrier(&self.net.far, path, up),
            _ => {
                let state = if up { "up" } else { "down" };
                let words = format!("link set {} {state}", port(gateway - 3));
                self.net.path(path).ip(&words).map(drop)
            }
        }
    }

    /// WireGuard datagrams that a path did not forward.
    pub(super) fn not_forwarded(&self, path: usize) -> Result<u64> {
        let text = self
            .net
            .path(path)
            .run("nft -j list counters table ip soak")?;
        let answer: Value = serde_json::from_str(&text).context("`nft -j` did not write JSON")?;
        let list = answer["nftables"].as_array().into_iter().flatten();
        let counters = list.map(|entry| &entry["counter"]);
        let count = |name: &str| {
            let mut counters = counters.clone();
            let counter = counters.find(|counter| counter["name"] == name);
            counter.and_then(|counter| counter["packets"].as_u64())
        };
        let (came, left) = count("came").zip(count("left")).context("two counters")?;
        Ok(came.saturating_sub(left))
    }

    fn join_more(&self) -> Result<()> {
        for (index, site) in self.more.iter().enumerate() {
            let number = index as u8 + 3;
            let lan = Wire::new((&site.gateway, "lan0"), (&site.host, "eth0"), MTU);
            let [gateway, host] = [1, 10].map(|last| Ipv4Addr::new(10, number, 0, last).into());
            add_wire(&lan, [gateway, host], 24)?;
            site.host.ip(&format!("route add default via {gateway}"))?;
            for (path, own) in site.wan.iter().enumerate() {
                let (near, port) = (format!("wan{path}"), port(index));
                let wire = Wire::new((&site.gateway, &near), (self.net.path(path), port), MTU);
                add_wire(&wire, [*own, address_after(*own)], 30)?;
            }
        }
        for path in 0..PATHS {
            self.route_over(path)?;
        }
        let silence = SILENCE.split(':').next().unwrap_or_default();
        for (gateway, netns) in self.gateways().into_iter().enumerate() {
            let by = address_after(self.endpoint(gateway, 0).ip());
            netns.ip(&format!("route add {silence}/32 via {by} dev wan0"))?;
        }
        Ok(())
    }

    /// Between the gateways of [`Redundant`] and the others; the former know each other.
    fn route_over(&self, path: usize) -> Result<()> {
        let known = [0, 1, 2];
        let added = [3, 4].into_iter().filter(|gateway| {
            let site = &self.more[gateway - 3];
            path < site.wan.len()
        });
        let all = known.into_iter().chain(added);
        for (from, to) in all.clone().flat_map(|from| {
            let others = all.clone().filter(move |to| *to != from);
            others.map(move |to| (from, to))
        }) {
            if from < 3 && to < 3 {
                continue;
            }
            let [own, far] = [from, to].map(|gateway| self.endpoint(gateway, path).ip());
            let netns = self.gateways().get(from).copied().unwrap_or(self.stock());
            netns.ip(&format!(
                "route add {far}/32 via {} dev wan{path}",
                address_after(own)
            ))?;
        }
        Ok(())
    }

    fn add_ipv6(&self) -> Result<()> {
        let add = |netns: &Netns, interface: &str, site: usize, last: &str| {
            let address = format!("2001:db8:{site}::{last}");
            netns.ip(&format!("address add {address}/64 dev {interface} nodad"))
        };
        for (host, site) in self.hosts().into_iter().zip(1..) {
            add(host, "eth0", site, "10")?;
            let router = match site {
                1 => format!("{} dev eth0", VIRTUAL[1]),
                _ => format!("2001:db8:{site}::1"),
            };
            host.ip(&format!("route add default via {router}"))?;
        }
        let gateways = self.gateways().into_iter().chain([self.stock()]);
        for (gateway, (site, last)) in
            gateways.zip([(1, "2"), (1, "3"), (2, "1"), (3, "1"), (4, "1")])
        {
            add(gateway, "lan0", site, last)?;
        }
        Ok(())
    }

    /// A host forgets after ten minutes what a path takes; then its next large packet is lost, on which it is told again.
    fn remember_path_mtus(&self) -> Result<()> {
        const DAY: &str = "86400";
        self.hosts().into_iter().try_for_each(|host| {
            host.set_sysctl("net/ipv4/route/mtu_expires", DAY)?;
            host.set_sysctl("net/ipv6/route/mtu_expires", DAY)
        })
    }

    fn count_on_paths(&self) -> Result<()> {
        for path in 0..PATHS {
            for line in [
                "add table ip soak",
                "add counter ip soak came",
                "add counter ip soak left",
                "add chain ip soak in { type filter hook prerouting priority -300 ; }",
                "add chain ip soak out { type filter hook postrouting priority 300 ; }",
                "add rule ip soak in udp dport 51820 counter name came",
                "add rule ip soak out udp dport 51820 counter name left",
            ] {
                self.net.path(path).run(&format!("nft {line}"))?;
            }
        }
        Ok(())
    }

    /// The virtual router's master loses its LAN's carrier, or gets it back.
    pub(super) fn set_master_lan(&self, up: bool) -> Result<()> {
        self.net.set_lan_carrier(&self.net.replicas[0], up)
    }

    /// Address of the host of a site, counted from 0.
    pub(super) fn host_address(&self, site: usize, family: Family) -> IpAddr {
        let number = site as u8 + 1;
        match family {
            Family::V4 if site == 0 => self.net.host_address(Near::A),
            Family::V4 => Ipv4Addr::new(10, number, 0, 10).into(),
            Family::V6 => [0x2001, 0xdb8, number.into(), 0, 0, 0, 0, 0x10].into(),
        }
    }
}

fn wan(site: u8, path: usize) -> IpAddr {
    Ipv4Addr::new(203, site, 10 * (path as u8 + 1), 1).into()
}

/// The port of a path's router for one of the added gateways.
fn port(index: usize) -> &'static str {
    ["c1", "d1"][index]
}
