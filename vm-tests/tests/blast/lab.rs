//! The attacked pair, its traffic, and everything that watches it.

use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use crossway::keys;
use vm_tests::crossway::Crossway;
use vm_tests::packet_socket::{Buffers, PacketSocket};
use vm_tests::plan::{self, GatewayPlan, Shape};
use vm_tests::topology::{Builder, Family, LISTEN_PORT, Site, Topology, Wan};
use vm_tests::traffic::handshake::Forger;
use vm_tests::traffic::wire::{self, ETHERNET};
use vm_tests::traffic::{self, SteadyPing, SteadyTcp};
use vm_tests::wait;

use super::TUN_ROOM;
use super::attacks::{Material, nobody};
use super::hostile_peer::HostilePeer;
use super::sinks::{Known, Sinks};

const UP: Duration = Duration::from_secs(20);
/// Real messages and packets that are kept.
const KEPT: usize = 2000;
/// Of an inner packet with its addresses and ports.
const SHORTEST_PACKET: usize = 52;
const LONGEST_PACKET: usize = 1420;

pub(crate) struct Lab {
    pub(crate) ping: SteadyPing,
    pub(crate) tcp: SteadyTcp,
    pub(crate) sinks: Sinks,
    pub(crate) known: Known,
    pub(crate) hostile: HostilePeer,
    pub(crate) wan: PacketSocket,
    pub(crate) lan: PacketSocket,
    pub(crate) material: Material,
    pub(crate) gateways: Vec<Crossway>,
    pub(crate) topology: Topology,
}

impl Lab {
    pub(crate) fn build() -> Result<Self> {
        let topology = Builder::new(&["a", "b", "c"]).wan(Wan::Router).build()?;
        let mut plans = plan::plan(&topology, Shape::FullMesh, Family::V4)?;
        plan::give_tunnel_addresses(&topology, &mut plans);
        // Gateway c is no gateway: only b knows it, and waits for it.
        plans[0].peers.retain(|peer| peer.site != "c");
        plans[1].peers[1].endpoint = None;
        // A machine that is busy with all of this shall not pass for a dead link.
        for plan in &mut plans {
            plan.watch_by_wireguard();
        }
        let router = topology.router.as_ref().context("no router")?;
        router.ip("route add blackhole default")?;
        router.ip("-6 route add blackhole default")?;
        let [a, b, c] = [0, 1, 2].map(|site| &topology.sites[site]);
        for site in [a, b] {
            know_neighbours(site)?;
            // So that captures see what the wire carries.
            site.host.run("ethtool -K eth0 gro off")?;
        }
        let gateways = [0, 1]
            .map(|site| Crossway::start(&topology, &plans[site]))
            .into_iter()
            .collect::<Result<Vec<_>>>()?;
        for gateway in &gateways {
            let status = gateway.status()?;
            let tun = status.tun.name;
            let netns = &topology.sites[usize::from(gateway.name() == plans[1].name)].gateway;
            netns.ip(&format!("link set {tun} txqueuelen {TUN_ROOM}"))?;
        }
        let hostile = HostilePeer::connect(
            &c.gateway,
            LISTEN_PORT,
            key(&plans[2].keys.private)?,
            key(&plans[1].keys.public)?,
            b.endpoint(Family::V4),
        )?;
        traffic::wait_for_ping(&a.host, b.host_address(Family::V4), UP)?;
        let material = material(&topology, &plans)?;
        let known = known(&topology);
        let places = [
            (&a.host, "eth0"),
            (&b.host, "eth0"),
            (router, "wan1"),
            (router, "wan2"),
        ];
        Ok(Self {
            ping: SteadyPing::start(&b.host, a.host_address(Family::V6), topology.directory())?,
            tcp: SteadyTcp::start(&a.host, &b.host, b.host_address(Family::V4))?,
            sinks: Sinks::watch(&places, known.clone())?,
            known,
            hostile,
            wan: PacketSocket::sender(router, "wan2")?,
            lan: PacketSocket::sender(&a.host, "eth0")?,
            material,
            gateways,
            topology,
        })
    }

    /// Whether what arrives at the gateways is joined. A joined packet is one for the kernel's counters, and the agent
    /// counts each of its datagrams.
    pub(crate) fn join_arrivals(&self, joined: bool) -> Result<()> {
        let state = if joined { "on" } else { "off" };
        for site in &self.topology.sites[..2] {
            for interface in ["wan0", "lan0"] {
                let command = format!("ethtool -K {interface} gro {state}");
                site.gateway.run(&command)?;
            }
        }
        Ok(())
    }
}

fn key(text: &str) -> Result<[u8; 32]> {
    let key = keys::parse_public_key(text);
    key.ok().context("a key that `wg` has made")
}

/// Hosts and those that are not there need no neighbour discovery: its frames would count as well.
fn know_neighbours(site: &Site) -> Result<()> {
    let host = mac(wire::mac_of(&site.host, "eth0")?);
    let gateway = mac(wire::mac_of(&site.gateway, "lan0")?);
    for family in Family::ALL {
        for address in [
            site.host_address(family),
            nobody(family == Family::V4, site.number),
        ] {
            site.gateway.ip(&format!(
                "neigh replace {address} lladdr {host} dev lan0 nud permanent"
            ))?;
        }
        let address = site.gateway_address(family);
        site.host.ip(&format!(
            "neigh replace {address} lladdr {gateway} dev eth0 nud permanent"
        ))?;
    }
    Ok(())
}

fn mac(address: wire::Mac) -> String {
    address.map(|byte| format!("{byte:02x}")).join(":")
}

fn known(topology: &Topology) -> Known {
    let mut known = Known::default();
    for site in &topology.sites {
        for family in Family::ALL {
            known.hosts.push(site.host_address(family));
            let own: [IpAddr; 3] = [
                site.gateway_address(family),
                site.wan_address(family),
                site.tunnel_address(family),
            ];
            known.gateways.extend(own);
        }
    }
    known
}

/// Records real traffic on the WAN and at a host.
fn material(topology: &Topology, plans: &[GatewayPlan]) -> Result<Material> {
    let [a, b] = [&topology.sites[0], &topology.sites[1]];
    let router = topology.router.as_ref().context("no router")?;
    let wan = PacketSocket::receiver(router, "wan1")?;
    let lan = PacketSocket::receiver(&b.host, "eth0")?;
    for family in Family::ALL {
        traffic::exchange(a, b, family, 1 << 19)?;
    }
    let (mut messages, mut packets) = (Vec::new(), Vec::new());
    let mut buffers = Buffers::default();
    wait::try_until("real traffic", UP, || {
        wan.receive(&mut buffers, |frame| {
            let message = frame.get(ETHERNET + 28..).unwrap_or_default();
            let is_one = matches!(message.first(), Some(1..=4));
            if is_one && messages.len() < KEPT && message.len() <= LONGEST_PACKET + 100 {
                messages.push(message.to_vec());
            }
        })?;
        lan.receive(&mut buffers, |frame| {
            let packet = &frame[ETHERNET..];
            let is_one = match packet[0] {
                0x45 => packet[9] == 6,
                0x60 => packet[6] == 6,
                _ => false,
            };
            let fits = (SHORTEST_PACKET..=LONGEST_PACKET).contains(&packet.len());
            if is_one && fits && packets.len() < KEPT && !is_syn(packet) {
                packets.push(packet.to_vec());
            }
        })?;
        Ok((messages.len() > 20 && packets.len() > 20).then_some(()))
    })?;
    let ends = [Family::V4, Family::V6];
    Ok(Material {
        wan: (
            wire::mac_of(router, "wan2")?,
            wire::mac_of(&b.gateway, "wan0")?,
        ),
        lan: (
            wire::mac_of(&a.host, "eth0")?,
            wire::mac_of(&a.gateway, "lan0")?,
        ),
        messages,
        packets,
        forger: Forger::new(&plans[1].keys.public)?,
        a: ends.map(|family| a.endpoint(family)),
        b: ends.map(|family| b.endpoint(family)),
    })
}

/// Says how long segments may be, which gateways bring down.
fn is_syn(packet: &[u8]) -> bool {
    let tcp = if packet[0] >> 4 == 4 { 20 } else { 40 };
    packet[tcp + 13] & 2 != 0
}

/// What an agent holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) pid: u32,
    /// Bytes that are resident.
    pub(crate) memory: u64,
    pub(crate) descriptors: usize,
}

impl Held {
    pub(crate) fn by(gateway: &mut Crossway) -> Result<Self> {
        ensure!(gateway.is_running(), "{} has ended", gateway.name());
        let status = gateway.status()?;
        let pid = gateway.pid()?;
        Ok(Self {
            pid: status.pid,
            memory: status.memory_rss_bytes,
            descriptors: fs::read_dir(format!("/proc/{pid}/fd"))?.count(),
        })
    }
}
