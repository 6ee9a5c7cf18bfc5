//! The eBPF programs, each over the packets that it meets.
//!
//! "hot" repeats one packet; "spread" takes another flow or destination each time, as a gateway with
//! many hosts does, so that the maps' memory is not in the cache.

mod datapath;
mod frames;
mod rules;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result, ensure};
use datapath_abi::maps;
use datapath_abi::settings::Role;
use vm_tests::netns::Netns;

use self::datapath::Datapath;
use self::frames::Spread;
use super::{SAMPLES, add, check_stop};
use crate::kernel::{self, Kind};
use crate::packets;
use crate::results::{Better, Results};

/// How often a sample repeats a frame.
#[derive(Clone, Copy)]
struct Hot {
    calls: usize,
    /// Repetitions of one call.
    repeat: u32,
}

/// Fewer repetitions than the TTL, of which each takes one.
const HOT_TC: Hot = Hot {
    calls: 60,
    repeat: 200,
};
/// Few calls: in each the kernel waits for all CPUs twice (`bpf_prog_change_xdp`), some 10 ms.
const HOT_XDP: Hot = Hot {
    calls: 5,
    repeat: 5000,
};
/// Calls of one sample, each with another frame.
const SPREAD_CALLS: usize = 3000;

const ROUTES: [usize; 5] = [1, 100, 10_000, 100_000, 1_000_000];
const FLOWS: [usize; 3] = [1, 10_000, 1_000_000];
/// Routes while flows are measured.
const FEW: usize = 100;
/// Known flows while routes are measured.
const SPREAD_FLOWS: usize = 1000;

// Verdicts as the kernel numbers them.
const TC_NEXT: i32 = -1;
const TC_REDIRECT: i32 = 7;
const XDP_DROP: i32 = 1;
const XDP_PASS: i32 = 2;

pub(super) fn measure(results: &mut Results, netns: &Netns) -> Result<()> {
    let empty = Empty {
        tc: kernel::load_empty(Kind::Tc).context("loading an empty program, as root")?,
        xdp: kernel::load_empty(Kind::Xdp)?,
    };
    frames::prepare(netns)?;
    cases(results, &empty)?;
    routes(results, &empty)?;
    policy(results, &empty)?;
    flows(results, &empty)
}

struct Empty {
    tc: OwnedFd,
    xdp: OwnedFd,
}

/// What is run over which frames, and what it must say.
struct Case<'a> {
    name: String,
    program: BorrowedFd<'a>,
    base: BorrowedFd<'a>,
    verdict: i32,
}

impl Case<'_> {
    /// The same frame over and over.
    fn hot(&self, results: &mut Results, frame: &[u8], how: Hot) -> Result<()> {
        let (mut ours, mut base) = (Vec::new(), Vec::new());
        for _ in 0..how.calls {
            ours.push(self.run(self.program, frame, how.repeat, Some(self.verdict))?);
            base.push(self.run(self.base, frame, how.repeat, None)?);
        }
        self.add(results, ours, base);
        Ok(())
    }

    /// Another frame each time.
    fn spread(&self, results: &mut Results, mut next: impl FnMut(usize) -> Vec<u8>) -> Result<()> {
        let (mut ours, mut base) = (Vec::new(), Vec::new());
        for call in 0..SPREAD_CALLS {
            let frame = next(call);
            ours.push(self.run(self.program, &frame, 1, Some(self.verdict))?);
            base.push(self.run(self.base, &frame, 1, None)?);
        }
        self.add(results, ours, base);
        Ok(())
    }

    fn run(
        &self,
        program: BorrowedFd<'_>,
        frame: &[u8],
        repeat: u32,
        verdict: Option<i32>,
    ) -> Result<u32> {
        let run = kernel::test_run(program, frame, repeat)
            .with_context(|| format!("running {}", self.name))?;
        ensure!(
            verdict.is_none_or(|verdict| verdict == run.verdict),
            "{} said {} where {} was expected",
            self.name,
            run.verdict,
            self.verdict
        );
        Ok(run.nanoseconds)
    }

    fn add(&self, results: &mut Results, ours: Vec<u32>, base: Vec<u32>) {
        let base = middle(base);
        add(results, &self.name, middle(ours) - base);
        // Tells how much of it the clock and the loop are.
        results.add(
            &self.name,
            "empty program",
            "ns/packet",
            Better::Neither,
            base,
        );
    }
}

/// Mean of the middle half: interrupts and other processes' turns are not the program's.
fn middle(mut times: Vec<u32>) -> f64 {
    times.sort_unstable();
    let quarter = times.len() / 4;
    let middle = &times[quarter..times.len() - quarter];
    middle.iter().map(|time| f64::from(*time)).sum::<f64>() / middle.len() as f64
}

/// Every program over every kind of packet, with few routes and flows.
fn cases(results: &mut Results, empty: &Empty) -> Result<()> {
    let mut lan = Datapath::load(maps::DEFAULT_FLOWS)?;
    lan.grow_routes(0, FEW)?;
    let mut tunnel = Datapath::load(maps::DEFAULT_FLOWS)?;
    tunnel.grow_routes(0, FEW)?;
    tunnel.set_role(Role::Tun)?;
    for sample in 0..SAMPLES {
        check_stop()?;
        lan_cases(results, empty, &lan, sample)?;
        tunnel_cases(results, empty, &tunnel)?;
        for (name, frame, verdict) in frames::for_the_wan() {
            let case = Case {
                name: format!("wan_guard, {name}"),
                program: lan.fd(maps::WAN_GUARD)?,
                base: empty.xdp.as_fd(),
                verdict,
            };
            case.hot(results, &frame, HOT_XDP)?;
        }
    }
    Ok(())
}

fn lan_cases(
    results: &mut Results,
    empty: &Empty,
    datapath: &Datapath,
    sample: usize,
) -> Result<()> {
    let program = datapath.fd(maps::LAN_INGRESS)?;
    let case = |what: &str, verdict| Case {
        name: format!("lan_ingress, {what}"),
        program,
        base: empty.tc.as_fd(),
        verdict,
    };
    let known = packets::ethernet(&packets::udp(frames::KNOWN, 128));
    let unrouted = packets::ethernet(&packets::udp(frames::UNROUTED, 128));
    case("known flow, hot", TC_REDIRECT).hot(results, &known, HOT_TC)?;
    case("no route", TC_NEXT).hot(results, &unrouted, HOT_TC)?;
    case("ARP", TC_NEXT).hot(results, &frames::arp(), HOT_TC)?;
    case("new flow", TC_REDIRECT).spread(results, |call| {
        frames::new_flow(frames::KNOWN, sample * SPREAD_CALLS + call)
    })
}

fn tunnel_cases(results: &mut Results, empty: &Empty, datapath: &Datapath) -> Result<()> {
    let from_site = packets::udp(frames::FROM_SITE, 128);
    let to_site = packets::udp(frames::KNOWN, 128);
    let case = |name: &str, program, verdict| -> Result<Case<'_>> {
        Ok(Case {
            name: format!("{name}, known flow"),
            program: datapath.fd(program)?,
            base: empty.tc.as_fd(),
            verdict,
        })
    };
    // The packet that leaves has another header, or a mark that says that it is counted: one run each.
    case("tun_ingress", maps::TUN_INGRESS, TC_REDIRECT)?.spread(results, |_| from_site.clone())?;
    case("tun_egress", maps::TUN_EGRESS, TC_NEXT)?.spread(results, |_| to_site.clone())
}

/// With more and more routes: the known flow, known flows to destinations all over the table, the first
/// packets of flows to them (a lookup each), and a destination that has no route.
fn routes(results: &mut Results, empty: &Empty) -> Result<()> {
    let mut datapath = Datapath::load(maps::DEFAULT_FLOWS)?;
    let mut there = 0;
    let mut first = 0;
    for count in ROUTES {
        datapath.grow_routes(there, count)?;
        there = count;
        let case = |what: &str, verdict| -> Result<Case<'_>> {
            Ok(Case {
                name: format!("lan_ingress, {count} routes, {what}"),
                program: datapath.fd(maps::LAN_INGRESS)?,
                base: empty.tc.as_fd(),
                verdict,
            })
        };
        let known = packets::ethernet(&packets::udp(frames::KNOWN, 128));
        let unrouted = packets::ethernet(&packets::udp(frames::UNROUTED, 128));
        // As many flows with few routes as with many: what differs is the routes.
        let mut spread = Spread::new(SPREAD_FLOWS, count);
        let warm = case("warm-up", TC_REDIRECT)?;
        for index in 0..SPREAD_FLOWS {
            warm.run(warm.program, spread.route(index), 1, Some(TC_REDIRECT))?;
        }
        for _ in 0..SAMPLES {
            check_stop()?;
            case("known flow, hot", TC_REDIRECT)?.hot(results, &known, HOT_TC)?;
            case("known flows, spread", TC_REDIRECT)?.spread(results, |_| spread.next_route())?;
            case("no route", TC_NEXT)?.hot(results, &unrouted, HOT_TC)?;
        }
        // Apart, because they push the known ones out of the caches.
        for _ in 0..SAMPLES {
            check_stop()?;
            case("new flows, spread", TC_REDIRECT)?.spread(results, |_| {
                first += 1;
                spread.first_on_route(first)
            })?;
        }
    }
    Ok(())
}

/// With all open and with many rules, a known flow and the first packets of flows, which are judged: to one destination,
/// and to any, for each of which other memory of the image is read.
fn policy(results: &mut Results, empty: &Empty) -> Result<()> {
    let mut first = 0;
    let closed = format!("{} rules, {} prefixes", rules::RULES, rules::PREFIXES);
    for (what, image) in [("all open", Vec::new()), (closed.as_str(), rules::image())] {
        let mut datapath = Datapath::load(maps::DEFAULT_FLOWS)?;
        datapath.grow_routes(0, rules::PREFIXES)?;
        datapath.set_rules(&image)?;
        let case = |which: &str| -> Result<Case<'_>> {
            Ok(Case {
                name: format!("lan_ingress, {what}, {which}"),
                program: datapath.fd(maps::LAN_INGRESS)?,
                base: empty.tc.as_fd(),
                verdict: TC_REDIRECT,
            })
        };
        let known = packets::ethernet(&packets::udp(frames::KNOWN, 128));
        let mut spread = Spread::new(SPREAD_FLOWS, rules::PREFIXES);
        for _ in 0..SAMPLES {
            check_stop()?;
            case("known flow, hot")?.hot(results, &known, HOT_TC)?;
            case("new flow")?.spread(results, |_| {
                first += 1;
                frames::new_flow(frames::KNOWN, first)
            })?;
            case("new flows, spread")?.spread(results, |_| {
                first += 1;
                spread.first_on_route(first)
            })?;
        }
    }
    Ok(())
}

/// Flows all over the table, with more and more of them.
fn flows(results: &mut Results, empty: &Empty) -> Result<()> {
    results.settings.insert(
        "flow table".into(),
        format!(
            "{} entries as shipped; 2^20 where a million flows are measured",
            maps::DEFAULT_FLOWS
        ),
    );
    for count in FLOWS {
        let entries = maps::DEFAULT_FLOWS.max(count.next_power_of_two());
        let mut datapath = Datapath::load(entries)?;
        datapath.grow_routes(0, FEW)?;
        let case = Case {
            name: format!("lan_ingress, {count} known flows, spread"),
            program: datapath.fd(maps::LAN_INGRESS)?,
            base: empty.tc.as_fd(),
            verdict: TC_REDIRECT,
        };
        let mut spread = Spread::new(count, FEW);
        for index in 0..count {
            if index % 65_536 == 0 {
                check_stop()?;
            }
            let frame = spread.flow(index);
            case.run(case.program, frame, 1, Some(TC_REDIRECT))?;
        }
        for _ in 0..SAMPLES {
            check_stop()?;
            case.spread(results, |_| spread.next_flow())?;
        }
    }
    Ok(())
}
