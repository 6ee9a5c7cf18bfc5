//! All contenders under all loads on one topology. Runs are interleaved (A B A B), so that a change of
//! the machine's mood meets all of them alike.

use anyhow::{Context, Result, ensure};
use vm_tests::sys;
use vm_tests::topology::{Builder, Topology};

use crate::args::Args;
use crate::contender::Contender;
use crate::load::Load;
use crate::machine::Machine;
use crate::results::Results;
use crate::table;
use crate::tcp;

pub(crate) fn run(args: &Args) -> Result<()> {
    sys::watch_stop_signals();
    let mut results = Results::new(Machine::here());
    results.machine.warn_if_busy();
    describe(&mut results, args);
    let contenders = present(&mut results, &args.contenders);
    ensure!(!contenders.is_empty(), "no contender can run here");

    let topology = Builder::new(&["a", "b"]).build()?;
    if args.offloads {
        let_super_packets_pass(&topology)?;
    }
    for round in 1..=args.runs {
        for &contender in &contenders {
            eprintln!("run {round}/{}: {}", args.runs, contender.name());
            one_run(&mut results, &topology, contender, args)
                .with_context(|| format!("run {round} of {}", contender.name()))?;
        }
    }
    results.finish();
    print!("{}", table::table(&results));
    if let Some(file) = &args.json {
        results.write(file)?;
        println!("\nWritten to {}", file.display());
    }
    Ok(())
}

/// Starts the contender and puts each load on it.
fn one_run(
    results: &mut Results,
    topology: &Topology,
    contender: Contender,
    args: &Args,
) -> Result<()> {
    let running = contender.start(topology)?;
    for &load in &args.loads {
        match load {
            Load::Tcp(_) | Load::TcpBoth => {
                tcp::measure(results, topology, contender, load, args.seconds)?;
            }
            _ => unreachable!(),
        }
    }
    drop(running);
    Ok(())
}

/// Those that can run here; the others go into the results with the reason.
fn present(results: &mut Results, contenders: &[Contender]) -> Vec<Contender> {
    let mut present = Vec::new();
    for &contender in contenders {
        let name = contender.name().to_owned();
        match contender.version() {
            Ok(version) => {
                results.versions.insert(name, version);
                present.push(contender);
            }
            Err(error) => {
                let reason = format!("{error:#}").replace('\n', " ");
                eprintln!("leaving out {name}: {reason}");
                results.skipped.insert(name, reason);
            }
        }
    }
    present
}

fn describe(results: &mut Results, args: &Args) {
    let cables = if args.offloads {
        "veth that carries super-packets (tso on gso on gro on)"
    } else {
        "wire-like veth (tso off gso off gro on)"
    };
    let settings = [
        (
            "topology",
            format!(
                "host a - gateway a - gateway b - host b, one machine, {cables}, MTU 1500, IPv4 in IPv4"
            ),
        ),
        ("order", format!("{} runs, interleaved", args.runs)),
        ("TCP", format!("iperf3, {} s", args.seconds)),
        (
            "CPU",
            "busy time of the whole machine, softirq included".to_owned(),
        ),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value));
    results.settings.extend(settings);
}

fn let_super_packets_pass(topology: &Topology) -> Result<()> {
    for site in &topology.sites {
        for (netns, interface) in [
            (&site.host, "eth0"),
            (&site.gateway, "lan0"),
            (&site.gateway, "wan0"),
        ] {
            netns.run(&format!("ethtool -K {interface} tso on gso on"))?;
        }
    }
    Ok(())
}
