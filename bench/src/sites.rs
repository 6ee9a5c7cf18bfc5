//! All contenders under all loads on one topology. Runs are interleaved (A B A B), so that a change of
//! the machine's mood meets all of them alike.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use vm_tests::sys;
use vm_tests::topology::{Builder, Topology};

use crate::args::{Args, Cable};
use crate::contender::Contender;
use crate::load::Load;
use crate::machine::Machine;
use crate::results::{Better, Results};
use crate::udp::Udp;
use crate::udp::pattern::Pattern;
use crate::udp::search;
use crate::{chart, hops, latency, rate, ratios, table, tcp};

/// Datagrams a second beside [`Load::LatencyEqual`]: what every tunnel here carries with ease.
const EQUAL_RATE: f64 = 5000.0;
/// At least this much is beside [`Load::LatencyHalf`], also where the search found nothing.
const LEAST_RATE: f64 = 250.0;

pub(crate) fn run(args: &Args) -> Result<()> {
    sys::watch_stop_signals();
    let mut results = Results::new(Machine::here());
    results.machine.warn_if_busy();
    describe(&mut results, args);
    let contenders = present(&mut results, &args.contenders);
    ensure!(!contenders.is_empty(), "no contender can run here");

    let topology = Builder::new(&["a", "b"]).build()?;
    lay_cables(&topology, args.cable)?;
    check_the_sender(&mut results, &topology, args)?;
    for round in 1..=args.runs {
        for &contender in &contenders {
            eprintln!("run {round}/{}: {}", args.runs, contender.name());
            one_run(&mut results, &topology, contender, args)
                .with_context(|| format!("run {round} of {}", contender.name()))?;
        }
    }
    if args.cable != Cable::Wire {
        hops::forget_losses(&mut results);
    }
    results.finish();
    if results.machine.emulated {
        print!("{}", ratios::ratios(&results, Contender::CROSSWAY.name()));
    } else {
        print!("{}", table::table(&results));
    }
    if let Some(file) = &args.json {
        results.write(file)?;
        println!("\nWritten to {}", file.display());
    }
    if let Some(file) = &args.svg {
        std::fs::write(file, chart::svg(&results))
            .with_context(|| format!("cannot write {}", file.display()))?;
        println!("Drawn in {}", file.display());
    }
    Ok(())
}

/// How fast the sender is with nothing behind the first cable: a rate near this says more about the
/// sender than about a contender.
fn check_the_sender(results: &mut Results, topology: &Topology, args: &Args) -> Result<()> {
    let mut udp = None;
    let mut rates = Vec::new();
    for &load in &args.loads {
        let Some(pattern) = rate::pattern(load) else {
            continue;
        };
        let rate = open(&mut udp, topology)?.sender_alone(pattern, args.trial)?;
        rates.push(format!("{} {:.0} kpps", load.name(), rate / 1e3));
    }
    if !rates.is_empty() {
        let rates = rates.join(", ");
        results.checks.insert("sender alone".into(), rates);
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
    let span = Duration::from_secs(args.seconds.into());
    let mut udp = None;
    for &load in &args.loads {
        match load {
            Load::Tcp(_) | Load::TcpBoth => {
                tcp::measure(results, topology, contender, load, args.seconds)?;
            }
            Load::Udp(_) | Load::UdpImix => {
                let udp = open(&mut udp, topology)?;
                rate::measure(results, topology, udp, contender, load, args.trial)?;
            }
            Load::LatencyIdle => latency::measure(results, topology, contender, load, span)?,
            Load::LatencyHalf | Load::LatencyEqual => {
                let udp = open(&mut udp, topology)?;
                let rate = if load == Load::LatencyHalf {
                    half(results, udp, contender, args)?
                } else {
                    EQUAL_RATE
                };
                let (name, kpps) = (load.name(), rate / 1e3);
                results.add(name, contender.name(), "beside kpps", Better::Neither, kpps);
                udp.beside(Pattern::BACKGROUND, rate, || {
                    latency::measure(results, topology, contender, load, span)
                })?;
            }
        }
        progress(results, contender, load);
    }
    drop(running);
    Ok(())
}

/// Sockets are opened when the first load needs them.
fn open<'a>(udp: &'a mut Option<Udp>, topology: &Topology) -> Result<&'a mut Udp> {
    if udp.is_none() {
        *udp = Some(Udp::open(topology)?);
    }
    udp.as_mut().context("just opened")
}

/// Half of the highest rate of datagrams of 512 bytes, in datagrams a second: that of this run, or
/// searched for now.
fn half(results: &Results, udp: &mut Udp, contender: Contender, args: &Args) -> Result<f64> {
    let load = Load::Udp(512);
    if let Some(figure) = results.get(load.name(), contender.name(), "kpps")
        && let Some(kpps) = figure.samples.last()
    {
        return Ok((kpps * 1e3 / 2.0).max(LEAST_RATE));
    }
    let found = search::highest(|rate| udp.trial(Pattern::BACKGROUND, rate, args.trial))?;
    let rate = found.map_or(0.0, |found| found.trial.offered() / 2.0);
    Ok(rate.max(LEAST_RATE))
}

/// The sample that was just added.
fn progress(results: &Results, contender: Contender, load: Load) {
    let mut figures = results.figures.iter();
    let headline = figures.find(|figure| {
        figure.load == load.name()
            && figure.contender == contender.name()
            && figure.better != Better::Neither
    });
    if let Some((figure, sample)) = headline.and_then(|f| Some((f, f.samples.last()?))) {
        eprintln!(
            "  {:<14} {} {}",
            figure.load,
            table::number(*sample),
            figure.name
        );
    }
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
    let cables = format!("veth ({})", args.cable.features());
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
            "UDP",
            format!(
                "4 flows (IMIX: one for each of its 3 sizes), bytes of payload, highest rate with under {} % loss by binary search, trials of {} ms",
                search::MOST_LOSS * 100.0,
                args.trial.as_millis()
            ),
        ),
        (
            "latency",
            format!(
                "64 bytes of payload there and back by UDP, one at a time, {} s; half: beside 512-byte datagrams at half of the contender's highest rate; equal: beside {} kpps of them",
                args.seconds,
                EQUAL_RATE / 1e3
            ),
        ),
        (
            "CPU",
            "busy time of the whole machine, softirq included".to_owned(),
        ),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value));
    results.settings.extend(settings);
}

fn lay_cables(topology: &Topology, cable: Cable) -> Result<()> {
    for site in &topology.sites {
        for (netns, interface) in [
            (&site.host, "eth0"),
            (&site.gateway, "lan0"),
            (&site.gateway, "wan0"),
        ] {
            netns.run(&format!("ethtool -K {interface} {}", cable.features()))?;
        }
    }
    Ok(())
}
