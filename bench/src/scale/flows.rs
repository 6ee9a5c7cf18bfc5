//! Ten live flows, or a million: what is carried of datagrams that belong to them by chance, as many as
//! one core sends, and TCP beside a trickle that keeps them live.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use vm_tests::api::FlowsReply;
use vm_tests::crossway::Crossway;
use vm_tests::topology::{Family, Topology};
use vm_tests::traffic::{self, LinkCounters};

use super::Args;
use crate::live_frames::LiveFrames;
use crate::packets::{self, Flow};
use crate::results::{Better, Results};

const LOAD_UDP: &str = "flows, UDP 64 B";
const LOAD_TCP: &str = "flows, TCP";
const UP: Duration = Duration::from_secs(20);
const FEW: u32 = 10;
/// Bytes from the IPv4 header on: 64 of payload.
const PACKET: usize = 92;
/// Datagrams of one measurement, a second's worth or two.
const OFFERED: u32 = 400_000;
/// What arrives later than this counts as lost.
const GRACE: Duration = Duration::from_millis(100);
/// Datagrams a second beside TCP, the same for both variants. Few: those of ten flows are joined on their
/// way and cost less than those of a million, which says nothing of the table.
const TRICKLE: f64 = 1000.0;
/// Of the flows so many must be in the table: by chance some have had no datagram yet.
const LIVE_SHARE: f64 = 0.9;
/// As many flows the table has room for where nothing is said.
const LEAST_TABLE: u32 = 262_144;
/// Rounds of as many frames as there are flows; three reach 95 % of them.
const MOST_ROUNDS: u32 = 12;
const FRAMES_AT_ONCE: u32 = 1 << 18;

pub(super) fn measure(results: &mut Results, args: &Args) -> Result<()> {
    let (topology, mut plans) = super::two_sites()?;
    for plan in &mut plans {
        // The table evicts a little before it is full. Both variants have the same.
        let capacity = (args.flows + args.flows / 4).max(LEAST_TABLE);
        plan.configure(move |config| config.gateway.flows = capacity as usize);
    }
    // Nobody listens for the datagrams, and one answer a second about that is enough.
    let far_host = &topology.sites[1].host;
    far_host.set_sysctl("net/ipv4/icmp_ratelimit", "1000")?;
    for run in 1..=args.runs {
        eprintln!("flows, run {run}/{}", args.runs);
        for count in [FEW, args.flows] {
            let _far = Crossway::start(&topology, &plans[1])?;
            let near = Crossway::start(&topology, &plans[0])?;
            traffic::wait_for_ping(
                &topology.sites[0].host,
                topology.sites[1].host_address(Family::V4),
                UP,
            )?;
            let frames = sender(&topology, count)?;
            let live = make_live(&near, &frames, count)?;
            let variant = format!("{count} flows");
            results.add(
                LOAD_UDP,
                &variant,
                "live flows",
                Better::Neither,
                live as f64,
            );
            beside(&frames, || {
                super::tcp(results, &topology, LOAD_TCP, &variant, args.seconds)
            })?;
            rate(results, &topology, &frames, &variant)?;
        }
    }
    Ok(())
}

fn sender(topology: &Topology, flows: u32) -> Result<LiveFrames<'_>> {
    let site = &topology.sites[0];
    let flow = Flow {
        source: (Ipv4Addr::new(10, 1, 0, 10), 0),
        // The lower byte of this port is part of the flow's number.
        destination: (Ipv4Addr::new(10, 2, 0, 10), 0x2500),
    };
    let packet = packets::udp(flow, PACKET);
    let near = (&site.host, "eth0");
    LiveFrames::new(near, (&site.gateway, "lan0"), &packet, Some(flows))
}

/// Sends until the agent knows nearly all of the flows; how many it knows.
fn make_live(agent: &Crossway, frames: &LiveFrames<'_>, flows: u32) -> Result<u64> {
    let mut present = 0;
    for _ in 0..MOST_ROUNDS {
        let mut left = flows.max(1000);
        while left > 0 {
            let count = left.min(FRAMES_AT_ONCE);
            frames.send_count(count)?;
            left -= count;
        }
        let answer: FlowsReply = agent.ask(&["flows", "--top", "1"])?;
        present = answer.present;
        let capacity = answer.capacity;
        if present as f64 >= f64::from(flows) * LIVE_SHARE {
            return Ok(present);
        }
        if capacity < u64::from(flows) {
            eprintln!("  the flow table takes {capacity}: the {flows} flows displace each other");
            return Ok(present);
        }
    }
    bail!("only {present} of {flows} flows are in the table")
}

/// Runs `work` beside the trickle.
fn beside(frames: &LiveFrames<'_>, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let trickle = scope.spawn(|| {
            let stop = || done.load(Ordering::Relaxed);
            frames.send(Some(TRICKLE), stop)
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        let sent = trickle.join();
        sent.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        result
    })
}

fn rate(
    results: &mut Results,
    topology: &Topology,
    frames: &LiveFrames<'_>,
    variant: &str,
) -> Result<()> {
    let far = &topology.sites[1].host;
    let before = LinkCounters::of(far, "eth0")?.rx_packets;
    let start = crossway::clock::now();
    frames.send_count(OFFERED)?;
    let seconds = start.elapsed().as_secs_f64();
    std::thread::sleep(GRACE);
    let received = LinkCounters::of(far, "eth0")?.rx_packets - before;
    let kpps = received as f64 / seconds / 1e3;
    eprintln!("  {LOAD_UDP}, {variant}: {kpps:.0} kpps");
    results.add(LOAD_UDP, variant, "kpps carried", Better::Higher, kpps);
    let offered = f64::from(OFFERED) / seconds / 1e3;
    results.add(LOAD_UDP, variant, "offered kpps", Better::Neither, offered);
    Ok(())
}
