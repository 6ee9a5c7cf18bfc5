//! `cargo xtask bench`: TCP between two sites through plain kernel forwarding, through Crossway, and on
//! request through other tunnels. Same topology, runs interleaved (A B A B), so that a change of the
//! machine's mood meets all of them alike.

use std::fs;

use anyhow::{Context, Result};
use vm_tests::sys;
use vm_tests::topology::Builder;

use crate::args::Args;
use crate::measure::{Sample, measure};
use crate::report::Report;

mod args;
mod contender;
mod cpu;
mod measure;
mod report;

fn main() -> Result<()> {
    let args = Args::parse(std::env::args().skip(1))?;
    sys::watch_stop_signals();
    let load_average = report::load_average();
    if load_average > 0.5 {
        eprintln!(
            "others are at work here (load average {load_average}): the figures will be too low"
        );
    }
    let samples = run(&args)?;
    let report = Report::new(&args, &samples, load_average);
    print!("{}", report.table());
    if let Some(file) = &args.json {
        fs::write(file, format!("{:#}\n", report.json()))
            .with_context(|| format!("cannot write {}", file.display()))?;
        println!("\nWritten to {}", file.display());
    }
    Ok(())
}

fn run(args: &Args) -> Result<Vec<Sample>> {
    let topology = Builder::new(&["a", "b"]).build()?;
    let mut samples = Vec::new();
    for round in 1..=args.runs {
        for &contender in &args.contenders {
            let running = contender
                .start(&topology)
                .with_context(|| format!("cannot start {}", contender.name()))?;
            for &streams in &args.streams {
                let sample = measure(&topology, contender, streams, args.seconds)?;
                eprintln!(
                    "run {round}/{}  {:<13} TCP x{streams}  {:6.3} Gbit/s  {:6.2} CPU s/GB",
                    args.runs,
                    contender.name(),
                    sample.gbit_per_second,
                    sample.cpu_seconds_per_gb
                );
                samples.push(sample);
            }
            drop(running);
        }
    }
    Ok(samples)
}
