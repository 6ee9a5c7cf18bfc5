//! `bench scale`: what stays of the throughput, and how long changes take, where there is much of
//! everything: routes, sites, flows, junk, handshakes, readers of metrics.
//!
//! Each measurement runs its variants in turn (A B A B …). Only ratios of what ran side by side are claimed.

mod changes;
mod flood;
mod flows;
mod handshakes;
mod metrics;
mod routes;
mod sites;

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use vm_tests::plan::{self, GatewayPlan, Shape};
use vm_tests::sys;
use vm_tests::topology::{Builder, Family, Topology, Wan};
use vm_tests::traffic::Iperf3;

use crate::cpu;
use crate::machine::Machine;
use crate::results::{Better, Results};
use crate::table;

/// What to measure, and how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Args {
    pub(crate) parts: Vec<Part>,
    pub(crate) runs: u32,
    /// Seconds of each transfer.
    pub(crate) seconds: u32,
    /// Flows of the larger variant.
    pub(crate) flows: u32,
    /// Sites of the larger variant.
    pub(crate) sites: u16,
    /// Routes that are replaced at once.
    pub(crate) routes: Vec<u32>,
    pub(crate) json: Option<PathBuf>,
}

/// One of the measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Routes,
    Changes,
    Sites,
    Flows,
    Flood,
    Handshakes,
    Metrics,
}

const NAMED: [(&str, Part); 7] = [
    ("routes", Part::Routes),
    ("changes", Part::Changes),
    ("sites", Part::Sites),
    ("flows", Part::Flows),
    ("flood", Part::Flood),
    ("handshakes", Part::Handshakes),
    ("metrics", Part::Metrics),
];

impl Part {
    pub(crate) fn all() -> Vec<Self> {
        NAMED.map(|(_, part)| part).to_vec()
    }

    pub(crate) fn from_name(name: &str) -> Result<Self> {
        match NAMED.iter().find(|(known, _)| *known == name) {
            Some((_, part)) => Ok(*part),
            None => bail!(
                "there is no measurement {name:?} of scale: known are {}",
                NAMED.map(|(name, _)| name).join(", ")
            ),
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    sys::watch_stop_signals();
    let mut results = Results::new(Machine::here());
    results.machine.warn_if_busy();
    let settings = [
        (
            "topology",
            "host a - gateway a - router - gateway b - host b, one machine, veth wire-like, MTU 1500"
                .to_owned(),
        ),
        ("order", format!("{} runs, variants in turn", args.runs)),
        ("TCP", format!("iperf3, 4 streams, {} s", args.seconds)),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value));
    results.settings.extend(settings);
    for part in &args.parts {
        match part {
            Part::Routes => routes::measure(&mut results, args).context("routes")?,
            Part::Changes => changes::measure(&mut results, args).context("changes")?,
            Part::Sites => sites::measure(&mut results, args).context("sites")?,
            Part::Flows => flows::measure(&mut results, args).context("flows")?,
            Part::Flood => flood::measure(&mut results, args).context("flood")?,
            Part::Handshakes => handshakes::measure(&mut results, args).context("handshakes")?,
            Part::Metrics => metrics::measure(&mut results, args).context("metrics")?,
        }
    }
    results.finish();
    keep_ratios_to_first(&mut results);
    print!("{}", table::table(&results));
    if let Some(file) = &args.json {
        results.write(file)?;
        println!("\nWritten to {}", file.display());
    }
    Ok(())
}

/// The first variant of a load is what the others are measured against.
fn keep_ratios_to_first(results: &mut Results) {
    let mut first = HashMap::new();
    for figure in &mut results.figures {
        let load = figure.load.clone();
        let first: &String = first
            .entry(load)
            .or_insert_with(|| figure.contender.clone());
        figure.ratio_to.retain(|other, _| other == first);
    }
}

/// Two sites with a router between them, and the plans of their gateways.
fn two_sites() -> Result<(Topology, Vec<GatewayPlan>)> {
    let topology = Builder::new(&["a", "b"]).wan(Wan::Router).build()?;
    let plans = plan::plan(&topology, Shape::FullMesh, Family::V4)?;
    Ok((topology, plans))
}

/// TCP from host a to host b.
fn tcp(
    results: &mut Results,
    topology: &Topology,
    load: &str,
    variant: &str,
    seconds: u32,
) -> Result<()> {
    let (from, to) = (&topology.sites[0], &topology.sites[1]);
    let iperf3 = Iperf3 {
        streams: 4,
        seconds,
    };
    let before = cpu::busy_seconds()?;
    let report = iperf3.run(topology, from, to, to.host_address(Family::V4))?;
    let busy = cpu::busy_seconds()? - before;
    let rate = report.gbit_per_second;
    eprintln!("  {load}, {variant}: {} Gbit/s", table::number(rate));
    results.add(load, variant, "Gbit/s", Better::Higher, rate);
    let of_machine = busy / (report.bytes / 1e9);
    results.add(load, variant, "CPU s/GB", Better::Neither, of_machine);
    Ok(())
}
