//! Junk at the WAN port, all that one core can send: what is left of TCP, with `wan_guard` and without.
//!
//! The sender and the kernel's handing over of its frames take a core whatever becomes of the frames, so
//! "dropped at once" (frames for another link-layer address, gone at the first look) says what a flood
//! costs that costs the gateway nothing. The guard can be judged against that and against none.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use vm_tests::config::XdpChoice;
use vm_tests::crossway::Crossway;
use vm_tests::topology::{Family, LISTEN_PORT, Topology};
use vm_tests::traffic;

use super::Args;
use crate::live_frames::LiveFrames;
use crate::packets::{self, Flow};
use crate::results::{Better, Results};

const LOAD: &str = "junk at the WAN port";
const UP: Duration = Duration::from_secs(20);
/// Bytes from the IPv4 header on: a data message of 100 bytes.
const PACKET: usize = 128;
/// Where the datagram's payload starts.
const PAYLOAD: usize = 28;

/// What is sent beside TCP.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flood {
    None,
    DroppedAtOnce,
    Junk,
}

const VARIANTS: [(&str, XdpChoice, Flood); 7] = [
    ("calm, guard off", XdpChoice::Off, Flood::None),
    ("calm, generic", XdpChoice::Generic, Flood::None),
    ("calm, native", XdpChoice::Native, Flood::None),
    ("dropped at once", XdpChoice::Off, Flood::DroppedAtOnce),
    ("junk, guard off", XdpChoice::Off, Flood::Junk),
    ("junk, generic", XdpChoice::Generic, Flood::Junk),
    ("junk, native", XdpChoice::Native, Flood::Junk),
];

pub(super) fn measure(results: &mut Results, args: &Args) -> Result<()> {
    let (topology, mut plans) = super::two_sites()?;
    for run in 1..=args.runs {
        eprintln!("flood, run {run}/{}", args.runs);
        for (variant, xdp, flood) in VARIANTS {
            plans[1].configure(move |config| config.gateway.wan[0].xdp = xdp);
            let agents = vm_tests::crossway::start_all(&topology, &plans)?;
            let to = topology.sites[1].host_address(Family::V4);
            traffic::wait_for_ping(&topology.sites[0].host, to, UP)?;
            one(results, &topology, variant, flood, args.seconds)?;
            dropped(results, variant, &agents[1])?;
        }
    }
    Ok(())
}

fn one(
    results: &mut Results,
    topology: &Topology,
    variant: &str,
    flood: Flood,
    seconds: u32,
) -> Result<()> {
    if flood == Flood::None {
        return super::tcp(results, topology, LOAD, variant, seconds);
    }
    let mut frames = junk(topology)?;
    if flood == Flood::DroppedAtOnce {
        frames = frames.for_nobody();
    }
    let done = AtomicBool::new(false);
    let start = crossway::clock::now();
    let sent = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let stop = || done.load(Ordering::Relaxed);
            frames.send(None, stop)
        });
        let result = super::tcp(results, topology, LOAD, variant, seconds);
        done.store(true, Ordering::Relaxed);
        let sent = sender.join();
        let sent = sent.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        result.and(sent)
    })?;
    let kpps = sent as f64 / start.elapsed().as_secs_f64() / 1e3;
    results.add(LOAD, variant, "flood kpps", Better::Neither, kpps);
    Ok(())
}

/// Data messages for no session, from the router's side of gateway b's cable.
fn junk(topology: &Topology) -> Result<LiveFrames<'_>> {
    let site = &topology.sites[1];
    let router = topology.router.as_ref().context("no router")?;
    let flow = Flow {
        source: (Ipv4Addr::new(198, 51, 100, 77), 4500),
        destination: match site.wan_address(Family::V4) {
            std::net::IpAddr::V4(address) => (address, LISTEN_PORT),
            std::net::IpAddr::V6(_) => unreachable!("asked for IPv4"),
        },
    };
    let mut packet = packets::udp(flow, PACKET);
    packet[PAYLOAD..PAYLOAD + 4].copy_from_slice(&[4, 0, 0, 0]);
    // Of UDP over IPv4, no checksum is a good one.
    packet[PAYLOAD - 2..PAYLOAD].fill(0);
    let port = format!("wan{}", site.number);
    LiveFrames::new((router, &port), (&site.gateway, "wan0"), &packet, None)
}

/// What the gateway dropped, and that it was the guard if it was on.
fn dropped(results: &mut Results, variant: &str, agent: &Crossway) -> Result<()> {
    let drops = agent.drops()?.drops;
    for (reason, name) in [
        ("wan-unknown-receiver", "guard dropped"),
        ("no-session", "lane dropped"),
    ] {
        let count = drops.iter().find(|drop| drop.reason == reason);
        let packets = count.map_or(0.0, |drop| drop.packets as f64);
        results.add(LOAD, variant, name, Better::Neither, packets);
    }
    Ok(())
}
