//! Bad weather on the WAN: TCP arrives whole, every datagram is accounted for, and afterwards the agents are
//! as they were.
//!
//! ```text
//!   host a ── gateway a ──── wan1 [ router ] wan2 ──── gateway b ── host b
//!                         back ▲         ▲ there           │
//!                           └──────── [ side router ] ◄────┘ a detour, in one row of the table
//! ```
//! netem stands at `there` and `back`. For guests: it is a module that not every kernel has.

#[path = "guest_weather/account.rs"]
mod account;
#[path = "guest_weather/table.rs"]
mod table;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vm_tests::api::LinkState;
use vm_tests::crossway::{self, Crossway};
use vm_tests::plan::{self, Shape};
use vm_tests::topology::{Builder, Detour, Family, Site, Topology, Wan};
use vm_tests::traffic::{self, SteadyTcp};
use vm_tests::vitals::Vitals;
use vm_tests::weather::Way;
use vm_tests::{process, wait};

use account::Leg;
use table::{ROWS, Row};

/// A handshake and its repetitions.
const UP: Duration = Duration::from_secs(8);
/// By default 300 ms without a packet take a link down; delays that set in and emulated processors stop for longer.
const MIB: u64 = 1 << 20;

#[test]
fn tcp_arrives_whole_and_every_datagram_is_accounted_for_in_any_weather() {
    let (topology, agents) = start();
    let status = agents[0].status().unwrap();
    let ground = Ground {
        topology: &topology,
        agents: &agents,
        fast_path: status.fast_path,
    };
    // The first row also warms up what is kept for later.
    ground.row(&ROWS[0]).unwrap();
    let before = ground.holdings();

    let mut failed = Vec::new();
    for row in &ROWS[1..] {
        if let Err(error) = ground.row(row) {
            eprintln!("{}: {error:#}", row.name);
            failed.push(format!("{}: {error:#}", row.name));
        }
    }
    ground.the_wan_narrows_and_widens_under_traffic();
    assert!(failed.is_empty(), "{failed:#?}");

    ground.nothing_leaked(&before);
    ground.nobody_is_busy_in_the_calm();
}

fn start() -> (Topology, [Crossway; 2]) {
    let topology = Builder::new(&["a", "b"]).wan(Wan::Router).build().unwrap();
    let mut plans = plan::plan(&topology, Shape::FullMesh, Family::V4).unwrap();
    for plan in &mut plans {
        plan.watch_each(500, 10);
    }
    let agents = crossway::start_all(&topology, &plans).unwrap();
    let agents = agents.try_into().expect("two plans");
    (topology, agents)
}

/// Two sites that are joined.
struct Ground<'a> {
    topology: &'a Topology,
    agents: &'a [Crossway; 2],
    fast_path: bool,
}

/// What an agent holds, and how many sessions the programs know.
type Holdings = [(Vitals, Option<usize>); 2];

impl<'a> Ground<'a> {
    fn sites(&self) -> (&'a Site, &'a Site) {
        (&self.topology.sites[0], &self.topology.sites[1])
    }

    /// One kind of weather: datagrams both ways, counted; then TCP both ways, under it as a whole.
    fn row(&self, row: &Row) -> Result<()> {
        let start = wait::now();
        self.is_up()?;
        let (a, b) = self.sites();
        let detour = row.detour.then(|| Detour::open(self.topology, b, a));
        let detour = detour.transpose()?;
        let router = self.topology.router.as_ref().context("a router")?;
        let there = Way::new(router, "wan2");
        let (router, port) = detour.as_ref().map_or((router, "wan1"), Detour::way);
        let back = Way::new(router, port);
        let legs = [
            Leg {
                near: (&self.agents[0], a),
                far: (&self.agents[1], b),
                way: there,
                sky: &row.there,
                flows: self.fast_path,
            },
            Leg {
                near: (&self.agents[1], b),
                far: (&self.agents[0], a),
                way: back,
                sky: &row.back,
                flows: self.fast_path,
            },
        ];
        let accounted = account::datagrams_both_ways(&legs);
        // Also after a failure, which the next row has nothing to do with.
        for leg in &legs {
            leg.way.calm()?;
        }
        let said = accounted?;
        for leg in &legs {
            leg.way.all(leg.sky.netem)?;
        }
        let moved = tcp_both_ways(a, b, row.tcp_kib * 1024);
        for leg in &legs {
            leg.way.calm()?;
        }
        let tcp = moved?;
        if let Some(detour) = &detour {
            ensure!(
                detour.carried()? > 100,
                "the detour carried next to nothing"
            );
        }
        eprintln!(
            "{:<34} {said}; TCP {:.1} s; {:.0} s in all",
            row.name,
            tcp.as_secs_f64(),
            start.elapsed().as_secs_f64()
        );
        Ok(())
    }

    fn is_up(&self) -> Result<()> {
        let (a, b) = self.sites();
        for family in Family::ALL {
            traffic::wait_for_ping(&a.host, b.host_address(family), UP)?;
        }
        wait::try_until("the link to be up", UP, || {
            let links = self.agents[0].links()?;
            Ok((links[0].state == LinkState::Up).then_some(()))
        })
    }

    /// The cable to gateway b, of whose other end gateway a knows nothing.
    fn the_wan_narrows_and_widens_under_traffic(&self) {
        self.is_up().unwrap();
        let (a, b) = self.sites();
        let router = self.topology.router.as_ref().unwrap();
        let flows = [
            SteadyTcp::start(&a.host, &b.host, b.host_address(Family::V4)).unwrap(),
            SteadyTcp::start(&b.host, &a.host, a.host_address(Family::V6)).unwrap(),
        ];
        for (mtu, tunnel) in [(1400, 1320), (1300, 1280), (1500, 1420)] {
            for (netns, interface) in [(router, "wan2"), (&b.gateway, "wan0")] {
                netns
                    .ip(&format!("link set {interface} mtu {mtu}"))
                    .unwrap();
            }
            wait::try_until("the tunnel's MTU to follow", UP, || {
                let status = self.agents[1].status()?;
                Ok((status.tun.mtu_bytes == tunnel).then_some(()))
            })
            .unwrap();
            for flow in &flows {
                flow.goes_on(UP).unwrap();
            }
        }
        let moved = flows.map(|flow| flow.finish().unwrap());
        eprintln!("MTU 1400, 1300, 1500 in mid-flow: {moved:?} bytes");
    }

    fn holdings(&self) -> Holdings {
        self.agents.each_ref().map(|agent| {
            let vitals = Vitals::of(agent.pid().unwrap()).unwrap();
            (vitals, sessions(agent).unwrap())
        })
    }

    fn nothing_leaked(&self, before: &Holdings) {
        let after = self.holdings();
        eprintln!("holdings before {before:?}, after {after:?}");
        for ((then, sessions_then), (now, sessions_now)) in before.iter().zip(&after) {
            // One that answers a query just now has its connection open.
            assert!(now.descriptors <= then.descriptors + 2, "{now:?}");
            assert!(now.memory <= then.memory + 8 * MIB, "{now:?}");
            assert_eq!(sessions_now, sessions_then);
        }
    }

    /// What is sent now is a BFD packet twice a second.
    fn nobody_is_busy_in_the_calm(&self) {
        let busy = || {
            let of = |agent: &Crossway| Vitals::of(agent.pid().unwrap()).unwrap().busy;
            self.agents.each_ref().map(of)
        };
        let (before, start) = (busy(), wait::now());
        wait::pace(Duration::from_secs(2));
        let (after, span) = (busy(), start.elapsed());
        let shares =
            [0, 1].map(|n| after[n].saturating_sub(before[n]).as_secs_f64() / span.as_secs_f64());
        println!("note: agents take {shares:.2?} of a CPU in the calm");
        assert!(shares.iter().all(|share| *share < 0.25), "{shares:?}");
    }
}

/// IPv4 there and IPv6 back at the same time; how long it took.
fn tcp_both_ways(a: &Site, b: &Site, bytes: u64) -> Result<Duration> {
    let start = wait::now();
    // The weather has begun with a pause as long as its delay.
    traffic::wait_for_ping(&a.host, b.host_address(Family::V4), UP)?;
    let moved = std::thread::scope(|scope| {
        let ways = [(a, b, Family::V4), (b, a, Family::V6)];
        let running = ways.map(|(from, to, family)| {
            let target = to.host_address(family);
            scope.spawn(move || traffic::tcp_transfer(&from.host, &to.host, target, bytes))
        });
        running.map(|thread| thread.join().expect("a transfer does not panic"))
    });
    for report in moved {
        report?;
    }
    Ok(start.elapsed())
}

/// Entries of the map in which `wan_guard` finds our sessions; without the fast path there is none.
fn sessions(agent: &Crossway) -> Result<Option<usize>> {
    let status = agent.status()?;
    let map = Path::new(&status.pins).join("SESSIONS");
    if !map.exists() {
        return Ok(None);
    }
    let mut bpftool = Command::new("bpftool");
    let text = process::run(bpftool.args(["-j", "map", "dump", "pinned"]).arg(map))?;
    let dump: Value = serde_json::from_str(&text)?;
    Ok(dump.as_array().map(Vec::len))
}
