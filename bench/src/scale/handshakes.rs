//! Handshake initiations with a right first code from many addresses at the WAN port: what is left of TCP into the
//! same gateway.
//!
//! The same frames to nobody's link-layer address ("dropped at once") cost the sender and the kernel's handing over as
//! much and the gateway nothing: what is less than that is the gateway's doing.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use vm_tests::crossway;
use vm_tests::packet_socket::{Frames, PacketSocket};
use vm_tests::plan::GatewayPlan;
use vm_tests::topology::{Family, Topology};
use vm_tests::traffic::handshake::Forger;
use vm_tests::traffic::wire::{self, Mac};
use vm_tests::traffic::{self, Flood};

use super::Args;
use crate::results::{Better, Results};

/// Initiations a second: what 30 and 75 Mbit/s of an attacker's uplink hold.
const RATES: [u32; 2] = [20_000, 50_000];
const SOURCES: u32 = 50_000;
const NOBODY: Mac = [0x02, 0, 0, 0, 0, 0xfe];
const UP: std::time::Duration = std::time::Duration::from_secs(20);

/// What is sent beside TCP; the first is what the others are measured against.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sent {
    ToNobody,
    Nothing,
    Initiations,
}

const VARIANTS: [(&str, Sent); 3] = [
    ("dropped at once", Sent::ToNobody),
    ("calm", Sent::Nothing),
    ("flood", Sent::Initiations),
];

pub(super) fn measure(results: &mut Results, args: &Args) -> Result<()> {
    let (topology, plans) = super::two_sites()?;
    let router = topology.router.as_ref().context("no router")?;
    // Where nobody is, cookies vanish as they do on the Internet.
    router.ip("route add blackhole default")?;
    let agents = crossway::start_all(&topology, &plans)?;
    let to = topology.sites[1].host_address(Family::V4);
    traffic::wait_for_ping(&topology.sites[0].host, to, UP)?;
    for run in 1..=args.runs {
        eprintln!("handshakes, run {run}/{}", args.runs);
        for rate in RATES {
            let load = format!("{} k initiations/s", rate / 1000);
            for (variant, sent) in VARIANTS {
                let flood = (sent != Sent::Nothing)
                    .then(|| start(&topology, &plans, sent, rate))
                    .transpose()?;
                let begun = ::crossway::clock::now();
                let before = cookies(&agents[1])?;
                super::tcp(results, &topology, &load, variant, args.seconds)?;
                let seconds = begun.elapsed().as_secs_f64();
                let answered = (cookies(&agents[1])? - before) as f64 / seconds / 1e3;
                results.add(&load, variant, "cookies k/s", Better::Neither, answered);
                flood.map(Flood::finish).transpose()?;
            }
        }
    }
    Ok(())
}

fn cookies(agent: &crossway::Crossway) -> Result<u64> {
    let dropped = agent.dropped()?;
    let cookies = dropped.iter().find(|(name, _)| name == "cookie-demanded");
    Ok(cookies.map_or(0, |(_, packets)| *packets))
}

fn start(topology: &Topology, plans: &[GatewayPlan], sent: Sent, rate: u32) -> Result<Flood> {
    let router = topology.router.as_ref().context("no router")?;
    let site = &topology.sites[1];
    let port = format!("wan{}", site.number);
    let from = wire::mac_of(router, &port)?;
    let to = match sent {
        Sent::ToNobody => NOBODY,
        _ => wire::mac_of(&site.gateway, "wan0")?,
    };
    let forger = Forger::new(&plans[1].keys.public)?;
    let mut frames = Frames::default();
    for number in 0..SOURCES {
        // 198.18.0.0/15 is for measurements (RFC 2544).
        let source = Ipv4Addr::from(0xc612_0000 + number * 2);
        let message = forger.initiation(number);
        let packet = wire::udp((source, 4500).into(), site.endpoint(Family::V4), &message);
        frames.push(&wire::frame(from, to, &packet));
    }
    let socket = PacketSocket::sender(router, &port)?;
    Ok(Flood::start(socket, &frames, rate))
}
