//! Routes of others on the gateway's host, of which some change all the time: what following them costs the agent.

use std::fmt::Write as _;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use crossway::clock;
use vm_tests::crossway::Crossway;
use vm_tests::netns::Netns;
use vm_tests::process;
use vm_tests::topology::{Family, Topology};
use vm_tests::traffic;
use vm_tests::wait;

use super::Args;
use super::routes::prefixes;
use crate::cpu;
use crate::results::{Better, Results};

/// Routes of others, and changes a second.
const LOADS: [(u32, u32); 2] = [(200_000, 20), (1_000_000, 100)];
/// So many times the seconds of a transfer: where there are many routes, the agent looks at them every few seconds.
const TRANSFERS: u32 = 10;
const UP: Duration = Duration::from_secs(20);

/// Which route changes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Changed {
    Nothing,
    /// One that leads nowhere near a site, a far gateway or an uplink's router.
    NoConcern,
    /// One in a site's prefix.
    InASite,
}

const VARIANTS: [(&str, Changed); 3] = [
    ("none changes", Changed::Nothing),
    ("of no concern", Changed::NoConcern),
    ("in a site's prefix", Changed::InASite),
];

pub(super) fn measure(results: &mut Results, args: &Args) -> Result<()> {
    for (routes, rate) in LOADS {
        let (topology, plans) = super::two_sites()?;
        let gateway = &topology.sites[0].gateway;
        add(&topology, gateway, routes)?;
        let _far = Crossway::start(&topology, &plans[1])?;
        let near = Crossway::start(&topology, &plans[0])?;
        let to = topology.sites[1].host_address(Family::V4);
        traffic::wait_for_ping(&topology.sites[0].host, to, UP)?;
        let load = format!("{routes} routes of others, {rate} changes a second");
        let span = Duration::from_secs((args.seconds * TRANSFERS).into());
        for run in 1..=args.runs {
            eprintln!("{load}, run {run}/{}", args.runs);
            for (variant, changed) in VARIANTS {
                let prefix = match changed {
                    Changed::Nothing => None,
                    Changed::NoConcern => Some("198.51.100.0/24".to_owned()),
                    Changed::InASite => Some(format!("{to}/32")),
                };
                let share = share_of_a_core(&near, gateway, prefix.as_deref(), rate, span)?;
                eprintln!("  {variant}: {share:.1} % of a core");
                results.add(&load, variant, "CPU % of a core", Better::Lower, share);
            }
        }
    }
    Ok(())
}

/// What the agent takes of a core while a route to `prefix` comes and goes, so many times a second.
fn share_of_a_core(
    agent: &Crossway,
    gateway: &Netns,
    prefix: Option<&str>,
    rate: u32,
    span: Duration,
) -> Result<f64> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let changes = prefix.map(|prefix| {
            let over = &over;
            scope.spawn(move || change(gateway, prefix, rate, over))
        });
        let measured = measure_agent(agent, span);
        over.store(true, Ordering::Relaxed);
        if let Some(changes) = changes {
            changes
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        measured
    })
}

fn measure_agent(agent: &Crossway, span: Duration) -> Result<f64> {
    let pid = agent.pid()?;
    let (start, before) = (clock::now(), cpu::seconds_of(pid)?);
    ensure!(wait::pace(span), "interrupted");
    let seconds = cpu::seconds_of(pid)? - before;
    Ok(100.0 * seconds / start.elapsed().as_secs_f64())
}

/// Adds the route and takes it away in turn, by one process of `ip`, until it is over.
fn change(gateway: &Netns, prefix: &str, rate: u32, over: &AtomicBool) -> Result<()> {
    let mut ip = ip_batch(gateway, "-")
        .stdin(Stdio::piped())
        .spawn()
        .context("cannot start ip")?;
    let told = tell(&mut ip, prefix, rate, over);
    // Without its input it ends.
    drop(ip.stdin.take());
    let status = ip.wait()?;
    told?;
    ensure!(status.success(), "ip ended with {status}");
    Ok(())
}

fn tell(ip: &mut Child, prefix: &str, rate: u32, over: &AtomicBool) -> Result<()> {
    use std::io::Write as _;
    let mut to = ip.stdin.as_ref().context("ip has no input")?;
    let start = clock::now();
    // An even number: it is gone at the end.
    for number in 0.. {
        let word = if number % 2 == 0 { "add" } else { "del" };
        writeln!(to, "route {word} {prefix} dev wan0")?;
        let due = start + Duration::from_secs(1) * (number + 1) / rate;
        std::thread::sleep(due.saturating_duration_since(clock::now()));
        if word == "del" && over.load(Ordering::Relaxed) {
            break;
        }
    }
    Ok(())
}

/// Routes that have nothing to do with the sites.
fn add(topology: &Topology, gateway: &Netns, count: u32) -> Result<()> {
    let mut lines = String::new();
    for prefix in prefixes(64, count) {
        writeln!(lines, "route add {prefix} dev wan0")?;
    }
    let file = topology.directory().join("routes-of-others.batch");
    fs::write(&file, lines)?;
    process::run(&mut ip_batch(gateway, &file.to_string_lossy()))?;
    Ok(())
}

fn ip_batch(gateway: &Netns, file: &str) -> Command {
    let mut ip = Command::new("ip");
    ip.args(["-n", gateway.name(), "-batch", file]);
    ip
}
