//! `bench micro`: nanoseconds for one packet in each part of the fast path, each part alone.
//!
//! What else the machine does shows in the range of a figure's samples, not in its median.

use std::path::Path;

use anyhow::{Result, bail};
use vm_tests::netns::{self, Netns};
use vm_tests::sys;

use crate::machine::Machine;
use crate::results::{Better, Results};
use crate::{allocations, table};

mod doors;
mod mapping;
mod offload;
mod programs;
mod tunnel;

/// Samples of each figure.
const SAMPLES: usize = 5;
/// Under this name all parts stand in the results.
const CONTENDER: &str = "crossway";

pub(crate) fn run(json: Option<&Path>) -> Result<()> {
    sys::watch_stop_signals();
    let mut results = Results::new(Machine::here());
    results.machine.warn_if_busy();
    results.settings.insert(
        "programs".into(),
        "BPF_PROG_TEST_RUN, less an empty program of the same type on the same frame in the same sample".into(),
    );
    results
        .versions
        .insert(CONTENDER.into(), env!("CARGO_PKG_VERSION").into());

    // Offloads, sessions, routes: nothing of this host's is touched.
    let netns = Netns::create(&netns::unique_prefix())?;
    netns.enter(|| -> Result<()> {
        offload::measure(&mut results)?;
        mapping::measure(&mut results)?;
        tunnel::measure(&mut results)?;
        doors::measure(&mut results, &netns)?;
        programs::measure(&mut results, &netns)
    })??;

    results.finish();
    print!("{}", table::list(&results));
    if let Some(file) = json {
        results.write(file)?;
        println!("\nWritten to {}", file.display());
    }
    Ok(())
}

/// Adds a time, in nanoseconds for one packet.
fn add(results: &mut Results, load: &str, nanoseconds: f64) {
    results.add(load, CONTENDER, "ns/packet", Better::Lower, nanoseconds);
}

/// Runs `work`, which must not allocate.
///
/// # Errors
/// How often it did.
fn without_allocation<T>(what: &str, work: impl FnOnce() -> T) -> Result<T> {
    let before = allocations::count();
    let value = work();
    match allocations::count() - before {
        0 => Ok(value),
        count => bail!("{what} allocated {count} times; on the fast path nothing may"),
    }
}

/// Stops between two parts when asked to.
fn check_stop() -> Result<()> {
    if sys::stop_requested() {
        bail!("interrupted");
    }
    Ok(())
}
