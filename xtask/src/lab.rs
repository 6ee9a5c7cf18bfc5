//! The lab: two sites on this machine, joined by two real agents.
//!
//! ```text
//!   host a ── gateway a ── WAN ── gateway b ── host b        namespaces cw-lab-host-a, cw-lab-gw-a, ...
//! ```

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use vm_tests::cleanup;
use vm_tests::crossway::{self, Crossway};
use vm_tests::plan::{self, Shape};
use vm_tests::sys;
use vm_tests::topology::{Builder, Family, Topology};
use vm_tests::wait;

use crate::span;

mod checks;
mod hints;
mod page;
mod scenario;
mod status;
mod table;

pub(crate) use scenario::Scenario;

/// Names of namespaces and gateways start with it.
pub(crate) const PREFIX: &str = "cw-lab";
/// The word by which `run` starts the lab as root.
pub(crate) const TASK: &str = "lab-as-root";
pub(crate) const PASSED: &str = "Both directions passed traffic with the true source address.";
const LOCK: &str = "crossway-lab";

/// What the user asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// What is played before the live status.
    pub(crate) scenario: Option<Scenario>,
    /// Length of the live status; without, until a signal.
    pub(crate) duration: Option<Duration>,
    /// The agent's program; without, what `cargo xtask build` made.
    pub(crate) agent: Option<PathBuf>,
}

impl Options {
    /// As words of the command line.
    pub(crate) fn words(&self) -> Vec<String> {
        let scenario = self.scenario.map(|it| format!("--scenario={}", it.name()));
        let duration = self.duration.map(|it| format!("--for={}", span::show(it)));
        let agent = self.agent.as_ref();
        let agent = agent.map(|it| format!("--agent={}", it.display()));
        [scenario, duration, agent].into_iter().flatten().collect()
    }
}

/// Runs the lab as root; fails unless traffic passed both ways with its true source.
pub(crate) fn run(options: Options) -> Result<()> {
    ensure!(sys::is_root(), "the lab needs root");
    if let Some(agent) = options.agent {
        crossway::choose_binary(agent);
    }
    let _lock = lock()?;
    sys::watch_stop_signals();
    for line in cleanup::remove_leftovers(PREFIX)? {
        eprintln!("removed what a killed lab left: {line}");
    }
    let outcome = match options.scenario {
        Some(scenario) => scenario::play(scenario, options.duration),
        None => work(options.duration),
    };
    let left = cleanup::remove_leftovers(PREFIX)?;
    for line in &left {
        eprintln!("removed {line}");
    }
    match outcome {
        // A signal ends the live status; that is how the lab is left.
        Ok(()) => println!("The lab is gone; nothing of it is left."),
        Err(_) if sys::stop_requested() => bail!("interrupted before the checks were done"),
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Held while a lab stands or is cleaned up, so that nobody removes another's. An abstract socket
/// (unix(7)) goes with its process, whatever ends it.
pub(crate) fn lock() -> Result<UnixListener> {
    let address = SocketAddr::from_abstract_name(LOCK)?;
    UnixListener::bind_addr(&address).context("a lab is running already: end it with Ctrl-C first")
}

fn work(duration: Option<Duration>) -> Result<()> {
    println!("Building two sites: host a - gateway a - WAN - gateway b - host b");
    let topology = Builder::new(&["a", "b"]).prefix(PREFIX).build()?;
    let gateways = start_gateways(&topology)?;
    println!("Checking traffic both ways");
    if let Err(error) = checks::run(&topology) {
        for gateway in gateways.iter().filter(|_| !sys::stop_requested()) {
            eprintln!(
                "--- log of {}:\n{}",
                gateway.name(),
                gateway.log().trim_end()
            );
        }
        return Err(error);
    }
    println!("{PASSED}\n");
    let _traffic = checks::KeepTalking::start(&topology)?;
    let names: Vec<&str> = gateways.iter().map(Crossway::name).collect();
    status::show(&names, PASSED, &hints::of(&topology), duration);
    drop(gateways);
    Ok(())
}

fn start_gateways(topology: &Topology) -> Result<Vec<Crossway>> {
    let start = wait::now();
    let plans = plan::plan(topology, Shape::FullMesh, Family::V4)?;
    let mut gateways = Vec::new();
    for plan in &plans {
        let gateway = Crossway::start(topology, plan)?;
        println!("  agent {} runs (pid {})", gateway.name(), gateway.pid()?);
        gateways.push(gateway);
    }
    println!("  both answer after {:.1} s", start.elapsed().as_secs_f64());
    Ok(gateways)
}
