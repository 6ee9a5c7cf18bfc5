//! Rows of a pair of gateways on one LAN.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use vm_tests::topology::Redundant;
use vm_tests::wait;

use crate::results::Results;

use super::stream::Stream;
use super::{Args, BFD_100, Contender, HOLD_DOWN, Joined, Row, leave_out, report};

/// A gateway that died is away for a while.
const AWAY: Duration = Duration::from_secs(2);

pub(super) fn measure(results: &mut Results, args: &Args) -> Result<()> {
    for &contender in &args.contenders {
        let rows = [Row::GatewayKilled, Row::PreemptedBack];
        if args.asked(&rows, contender).is_empty() {
            continue;
        }
        let net = Redundant::with_pair(None)?;
        let joined = match contender.start(&net, BFD_100, HOLD_DOWN) {
            Ok(joined) => joined,
            Err(error) => {
                let what = format!("{}, a pair of gateways", contender.name());
                leave_out(results, what, &error);
                continue;
            }
        };
        let mut stream = Stream::start(&net)?;
        for run in 1..=args.runs_of(contender) {
            repeat(results, &net, &*joined, &mut stream, contender)
                .with_context(|| format!("{}, run {run}", contender.name()))?;
        }
    }
    Ok(())
}

/// The first gateway dies, comes back, and takes its role back.
fn repeat(
    results: &mut Results,
    net: &Redundant,
    joined: &dyn Joined,
    stream: &mut Stream,
    contender: Contender,
) -> Result<()> {
    joined.ready()?;
    let first = &net.replicas[0];
    let killed = stream.across(net, || net.cut_off(first))?;
    ensure!(wait::pace(AWAY), "interrupted");
    let back = stream.across(net, || {
        net.reconnect(first)?;
        joined.ready()
    })?;
    for (row, sample) in [(Row::GatewayKilled, killed), (Row::PreemptedBack, back)] {
        report(results, row, contender, &sample);
    }
    Ok(())
}
