//! What it costs to be scraped: TCP while both gateways' metrics are read, and the processor time of a scrape by itself.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use vm_tests::config::{Metrics, MetricsDoor};
use vm_tests::prometheus;
use vm_tests::topology::{Family, Topology};
use vm_tests::{traffic, wait};

use super::Args;
use crate::results::{Better, Results};

const LOAD: &str = "metrics are read";
const UP: Duration = Duration::from_secs(20);
/// Scrapes of a gateway at rest, for their processor time.
const SCRAPES: u32 = 20;
/// Apart, so that none gets the text of the one before.
const APART: Duration = Duration::from_millis(300);

/// Time between two scrapes, if there are any. Prometheus' own default is a minute.
const VARIANTS: [(&str, Option<Duration>); 2] = [
    ("never", None),
    ("each second", Some(Duration::from_secs(1))),
];

pub(super) fn measure(results: &mut Results, args: &Args) -> Result<()> {
    let (topology, mut plans) = super::two_sites()?;
    for plan in &mut plans {
        plan.configure(|config| {
            let door = MetricsDoor::Address {
                listen: address(),
                tls: None,
            };
            config.metrics = Some(Metrics { door });
        });
    }
    let _agents = vm_tests::crossway::start_all(&topology, &plans)?;
    let to = topology.sites[1].host_address(Family::V4);
    traffic::wait_for_ping(&topology.sites[0].host, to, UP)?;
    for run in 1..=args.runs {
        eprintln!("metrics, run {run}/{}", args.runs);
        for (variant, every) in VARIANTS {
            one(results, &topology, variant, every, args.seconds)?;
        }
        a_scrape(results, &topology)?;
    }
    Ok(())
}

fn address() -> SocketAddr {
    ([127, 0, 0, 1], 19586).into()
}

fn one(
    results: &mut Results,
    topology: &Topology,
    variant: &str,
    every: Option<Duration>,
    seconds: u32,
) -> Result<()> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| -> Result<()> {
            let Some(every) = every else { return Ok(()) };
            while !done.load(Ordering::Relaxed) {
                for site in &topology.sites {
                    prometheus::scrape(&site.gateway, address())?;
                }
                wait::pace(every);
            }
            Ok(())
        });
        let result = super::tcp(results, topology, LOAD, variant, seconds);
        done.store(true, Ordering::Relaxed);
        let read = reader.join();
        result.and(read.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// Processor time of one scrape, by what the gateway itself tells of its process.
fn a_scrape(results: &mut Results, topology: &Topology) -> Result<()> {
    let gateway = &topology.sites[0].gateway;
    let used = || -> Result<f64> {
        let text = prometheus::scrape(gateway, address())?;
        let mut lines = text.lines();
        let line = lines.find_map(|line| line.strip_prefix("process_cpu_seconds_total "));
        Ok(line.context("no processor time")?.parse()?)
    };
    let before = used()?;
    for _ in 0..SCRAPES {
        wait::pace(APART);
        prometheus::scrape(gateway, address())?;
    }
    wait::pace(APART);
    let scraped = used()? - before;
    // The agent works at rest, too: the same time without scrapes is taken off.
    let before = used()?;
    wait::pace(APART * (SCRAPES + 1));
    let rest = used()? - before;
    let each = (scraped - rest).max(0.0) / f64::from(SCRAPES);
    results.add(LOAD, "a scrape", "CPU ms", Better::Neither, each * 1e3);
    Ok(())
}
