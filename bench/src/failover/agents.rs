//! Rows of one agent that is replaced: by a hand-over, or by its supervisor after SIGKILL.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use vm_tests::crossway::Gap;
use vm_tests::failover::Gateways;
use vm_tests::topology::{Near, Redundant};
use vm_tests::wait;

use crate::results::{Better, Results};
use crate::udp::Udp;
use crate::udp::pattern::Pattern;

use super::stream::Stream;
use super::{Args, BFD_100, Contender, Row, leave_out, ours, report};

/// Datagrams a second that are tried, the first that passes is taken.
const RATES: [f64; 6] = [100e3, 70e3, 50e3, 35e3, 20e3, 10e3];
const TRIAL: Duration = Duration::from_millis(300);
/// A rate passes with less loss.
const MOST_LOSS: f64 = 0.005;
/// Of the rate that passes: the machine's other half sends and receives it.
const SHARE: f64 = 0.8;
/// Time of the control beside each hand-over, in which nothing happens.
const A_HAND_OVER_TAKES: Duration = Duration::from_millis(400);
/// What a supervisor waits before it starts an agent again: as the unit file says.
const UNIT: &str = include_str!("../../../agent/packaging/crossway@.service");

pub(super) fn measure(results: &mut Results, args: &Args) -> Result<()> {
    let rows = [Row::HandedOver, Row::KilledAndRestarted];
    let rows = args.asked(&rows, Contender::Crossway);
    if rows.is_empty() || !args.contenders.contains(&Contender::Crossway) {
        return Ok(());
    }
    let net = Redundant::with_paths(None, 1)?;
    let mut ours = match Gateways::start(&net, &ours::settings(BFD_100)) {
        Ok(ours) => ours,
        Err(error) => {
            leave_out(results, "crossway, one path".to_owned(), &error);
            return Ok(());
        }
    };
    let mut stream = Stream::start(&net)?;
    for row in rows {
        if let Err(error) = one_row(results, args, &net, &mut ours, &mut stream, row) {
            leave_out(results, format!("crossway, {}", row.name()), &error);
        }
    }
    Ok(())
}

fn one_row(
    results: &mut Results,
    args: &Args,
    net: &Redundant,
    ours: &mut Gateways,
    stream: &mut Stream,
    row: Row,
) -> Result<()> {
    if row == Row::KilledAndRestarted {
        let pause = restart_pause().context("the unit file has no RestartSec")?;
        for _ in 0..args.runs {
            let sample = stream.across(net, || {
                ours.replica(0).kill()?;
                ensure!(wait::pace(pause), "interrupted");
                ours.replica(0).start_again()
            })?;
            report(results, row, Contender::Crossway, &sample);
        }
        return Ok(());
    }
    let from = (&net.host_a, net.host_address(Near::A));
    let to = (&net.host_b, net.host_address(Near::B));
    let mut udp = Udp::between(from, to)?;
    let rate = sustained(&mut udp)?;
    for _ in 0..args.runs {
        let (without, sample) = udp.beside(Pattern::BACKGROUND, rate, || {
            let without = stream.across(net, || {
                ensure!(wait::pace(A_HAND_OVER_TAKES), "interrupted");
                Ok(())
            })?;
            Ok((without, stream.across(net, || hand_over(ours))?))
        })?;
        report(results, row, Contender::Crossway, &sample);
        let name = Contender::Crossway.name();
        results.add(row.name(), name, "beside kpps", Better::Neither, rate / 1e3);
        // What the machine itself costs a probe under this load.
        let without = without.gap();
        results.add(row.name(), name, "without ms", Better::Neither, without);
        let gaps = ours.replica(0).gaps();
        let gap = gaps.last().context("the agent did not log its gap")?;
        for (part, time) in parts(gap) {
            let ms = time.as_secs_f64() * 1e3;
            results.add(row.name(), name, part, Better::Neither, ms);
        }
    }
    Ok(())
}

/// What the agent says of a hand-over: how long no lane ran, and of that, what it was spent on.
fn parts(gap: &Gap) -> [(&'static str, Duration); 5] {
    [
        ("parked ms", gap.whole),
        ("stopping ms", gap.stopping),
        ("carrying ms", gap.carrying),
        ("filling ms", gap.filling),
        ("starting ms", gap.starting),
    ]
}

/// To another process of the same program.
fn hand_over(ours: &mut Gateways) -> Result<()> {
    let status = ours.replica(0).take_over()?;
    ensure!(status.success(), "the agent before ended with {status}");
    Ok(())
}

/// Datagrams a second that the machine carries beside the stream, with some room.
fn sustained(udp: &mut Udp) -> Result<f64> {
    for rate in RATES {
        let trial = udp.trial(Pattern::BACKGROUND, rate, TRIAL)?;
        if trial.loss() < MOST_LOSS {
            return Ok(trial.offered() * SHARE);
        }
    }
    anyhow::bail!("no rate of datagrams passes without loss")
}

fn restart_pause() -> Option<Duration> {
    let value = UNIT
        .lines()
        .find_map(|line| line.strip_prefix("RestartSec="))?;
    let milliseconds = match value.strip_suffix("ms") {
        Some(number) => number.parse().ok()?,
        None => value.trim_end_matches('s').parse::<f64>().ok()? * 1e3,
    };
    Some(Duration::from_secs_f64(milliseconds / 1e3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_of_the_supervisor_is_that_of_the_unit_file() {
        let pause = restart_pause().unwrap();
        assert!(pause <= Duration::from_secs(1), "{pause:?}");
    }
}
