//! `cargo xtask bench`: traffic between two sites through plain kernel forwarding, through Crossway and
//! through other tunnels; the parts of Crossway's fast path one by one; and two runs compared.

use std::process::ExitCode;

use anyhow::Result;

use crate::args::Task;
use crate::results::Results;

mod allocations;
mod args;
mod chart;
mod compare;
mod contender;
mod cpu;
mod failover;
mod hops;
mod kernel;
mod latency;
mod live_frames;
mod load;
mod machine;
mod micro;
mod packets;
mod rate;
mod ratios;
mod remote;
mod results;
mod scale;
mod sites;
mod summary;
mod table;
mod tcp;
mod udp;

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Exit code 1 is for a comparison that found something worse and for a target that was missed; errors are 2.
fn run() -> Result<ExitCode> {
    match Task::of_command_line()? {
        Task::Sites(args) => sites::run(&args)?,
        Task::Remote(args) => remote::run(&args)?,
        Task::Micro { json } => micro::run(json.as_deref())?,
        Task::Scale(args) => scale::run(&args)?,
        Task::Failover(args) => return failover::run(&args),
        Task::Compare(before, after) => {
            let (before, after) = (Results::read(&before)?, Results::read(&after)?);
            let comparison = compare::compare(&before, &after);
            print!("{comparison}");
            if comparison.is_empty() || comparison.regressions() > 0 {
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
