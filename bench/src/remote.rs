//! From this host to one in another site, through whatever joins them: one's own gateways, or a tunnel
//! to compare them with. The far host runs `iperf3 -s` and answers pings.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use vm_tests::traffic::{Iperf3, round_trips};

use crate::args::RemoteArgs;
use crate::cpu;
use crate::load::Load;
use crate::machine::Machine;
use crate::results::{Better, Results};
use crate::summary::percentile;
use crate::table;
use crate::tcp::Total;

/// Between two pings: ping allows less to root alone.
const PING_INTERVAL: Duration = Duration::from_millis(2);

pub(crate) fn run(args: &RemoteArgs) -> Result<()> {
    let mut results = Results::new(Machine::here());
    describe(&mut results, args);
    for round in 1..=args.runs {
        eprintln!(
            "run {round}/{}: {} to {}",
            args.runs, args.label, args.server
        );
        for load in [Load::Tcp(1), Load::Tcp(4), Load::Tcp(16), Load::TcpBoth] {
            transfer(&mut results, args, load).with_context(|| {
                let server = &args.server;
                format!("{} to {server} (does `iperf3 -s` run there?)", load.name())
            })?;
        }
        pings(&mut results, args)?;
    }
    results.finish();
    print!("{}", table::table(&results));
    if let Some(file) = &args.json {
        results.write(file)?;
        println!("\nWritten to {}", file.display());
    }
    Ok(())
}

fn transfer(results: &mut Results, args: &RemoteArgs, load: Load) -> Result<()> {
    let iperf3 = Iperf3 {
        streams: load.streams(),
        seconds: args.seconds,
    };
    let before = cpu::busy_seconds()?;
    let reports = iperf3.run_here(&args.server, load == Load::TcpBoth)?;
    let busy = cpu::busy_seconds()? - before;
    let total = Total::of(&reports);
    ensure!(total.gigabytes > 0.0, "nothing arrived");
    let mut add = |figure, better, sample| {
        results.add(load.name(), &args.label, figure, better, sample);
    };
    add("Gbit/s", Better::Higher, total.gbit_per_second);
    // Of this host only: it says what the tunnel takes where this host is a gateway too.
    add("CPU s/GB here", Better::Neither, busy / total.gigabytes);
    add("retransmits", Better::Neither, total.retransmits);
    Ok(())
}

fn pings(results: &mut Results, args: &RemoteArgs) -> Result<()> {
    let count = args.seconds * 1000 / PING_INTERVAL.as_millis() as u32;
    let times = round_trips(&args.server, count, PING_INTERVAL)?;
    let mut times: Vec<u64> = times.iter().map(|ms| (ms * 1e6) as u64).collect();
    let lost = f64::from(count) - times.len() as f64;
    times.sort_unstable();
    let at = |share| percentile(&times, share) as f64 / 1e3;
    let load = Load::LatencyIdle.name();
    let mut add = |figure, better, sample| {
        results.add(load, &args.label, figure, better, sample);
    };
    add("p50 us", Better::Lower, at(0.5));
    add("p99 us", Better::Lower, at(0.99));
    add("lost", Better::Neither, lost);
    Ok(())
}

fn describe(results: &mut Results, args: &RemoteArgs) {
    let settings = [
        ("topology", format!("this host to {}", args.server)),
        ("order", format!("{} runs", args.runs)),
        ("TCP", format!("iperf3, {} s", args.seconds)),
        (
            "latency",
            format!("ping, 56 bytes, every {} ms", PING_INTERVAL.as_millis()),
        ),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value));
    results.settings.extend(settings);
}
