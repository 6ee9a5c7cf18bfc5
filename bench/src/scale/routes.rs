//! All routes of a site replaced by others while pings and TCP cross to it: how long that takes, what
//! is lost, and what it costs in memory.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use crossway::clock;
use vm_tests::crossway::Crossway;
use vm_tests::topology::Family;
use vm_tests::traffic::{self, SteadyPing};

use super::Args;
use crate::results::{Better, Results};

const UP: Duration = Duration::from_secs(20);
const MB: f64 = 1e6;
const VARIANT: &str = "crossway";

pub(super) fn measure(results: &mut Results, args: &Args) -> Result<()> {
    for count in &args.routes {
        let load = format!("routes-{count}");
        for run in 1..=args.runs {
            eprintln!("{load}, run {run}/{}", args.runs);
            replace(results, &load, *count)?;
        }
    }
    Ok(())
}

fn replace(results: &mut Results, load: &str, count: u32) -> Result<()> {
    let (topology, mut plans) = super::two_sites()?;
    let stays = plans[0].peers[0].routes.clone();
    let far = Crossway::start(&topology, &plans[1])?;
    let kernel_before = kernel_bytes()?;
    // From 11.0.0.0 and from 64.0.0.0 on, neither of which is used here.
    plans[0].peers[0].routes.extend(prefixes(11, count));
    let start = clock::now();
    let mut near = Crossway::start(&topology, &plans[0])?;
    let started = start.elapsed();
    let (host, target) = (
        &topology.sites[0].host,
        topology.sites[1].host_address(Family::V4),
    );
    traffic::wait_for_ping(host, target, UP)?;
    let kernel = (kernel_bytes()? - kernel_before).max(0.0);
    let resident = memory_of(near.pid()?, "VmRSS")?;

    let ping = SteadyPing::start(host, target, topology.directory())?;
    plans[0].peers[0].routes = stays;
    plans[0].peers[0].routes.extend(prefixes(64, count));
    near.write_config(&plans[0])?;
    let start = clock::now();
    let said = near.command(&["reload"])?;
    let took = start.elapsed();
    let replies = ping.finish(UP)?;
    ensure!(said.contains("in force"), "reload said: {said}");
    let answer = near.route("64.0.0.1")?;
    ensure!(
        answer.site.as_deref() == Some("b"),
        "after the reload: {answer:?}"
    );

    let mut add = |figure, better, sample| results.add(load, VARIANT, figure, better, sample);
    add("replaced in s", Better::Lower, took.as_secs_f64());
    add("lost pings", Better::Neither, replies.lost() as f64);
    let gap = replies.longest_gap().as_secs_f64() * 1e3;
    add("longest gap ms", Better::Neither, gap);
    add("started in s", Better::Neither, started.as_secs_f64());
    add("resident MB", Better::Neither, resident / MB);
    let peak = memory_of(near.pid()?, "VmHWM")?;
    add("at most MB", Better::Neither, peak / MB);
    add("kernel MB", Better::Neither, kernel / MB);
    let start = clock::now();
    near.stop()?;
    add(
        "stopped in s",
        Better::Neither,
        start.elapsed().as_secs_f64(),
    );
    drop(far);
    Ok(())
}

/// As many /25 prefixes from `network`.0.0.0 on.
pub(super) fn prefixes(network: u32, count: u32) -> impl Iterator<Item = String> {
    (0..count).map(move |number| {
        let [a, b, c, d] = ((network << 24) + (number << 7)).to_be_bytes();
        format!("{a}.{b}.{c}.{d}/25")
    })
}

/// A line of `/proc/<pid>/status`, in bytes (proc(5)).
pub(super) fn memory_of(pid: u32, line: &str) -> Result<f64> {
    sum(&format!("/proc/{pid}/status"), &[line])
}

/// What the kernel holds for itself: its trie of routes and the maps are among it.
fn kernel_bytes() -> Result<f64> {
    sum("/proc/meminfo", &["Slab", "VmallocUsed", "Percpu"])
}

/// The sum of lines such as `VmRSS:  1234 kB`, in bytes.
fn sum(file: &str, names: &[&str]) -> Result<f64> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
    let values = text.lines().filter_map(|line| {
        let (name, rest) = line.split_once(':')?;
        let value = rest.split_whitespace().next()?.parse::<f64>().ok()?;
        names.contains(&name).then_some(value * 1024.0)
    });
    Ok(values.sum())
}
