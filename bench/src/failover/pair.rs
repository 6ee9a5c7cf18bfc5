//! Rows of a pair of gateways on one LAN.

use std::time::Duration;

use anyhow::{Result, ensure};
use vm_tests::topology::Redundant;
use vm_tests::wait;

use crate::results::Results;

use super::stream::Stream;
use super::{Args, BFD_100, Contender, Joined, Row, report, with};

/// A gateway that died is away for a while.
const AWAY: Duration = Duration::from_secs(2);

pub(super) fn measure(results: &mut Results, args: &Args) -> Result<()> {
    for &contender in &args.contenders {
        let rows = [Row::GatewayKilled, Row::PreemptedBack];
        if args.asked(&rows, contender).is_empty() {
            continue;
        }
        let net = Redundant::with_pair(None)?;
        with(
            results,
            contender,
            "a pair of gateways",
            &net,
            BFD_100,
            |results, joined| play(results, args, &net, joined, contender),
        );
    }
    Ok(())
}

/// The first gateway dies, comes back, and takes its role back, again and again.
fn play(
    results: &mut Results,
    args: &Args,
    net: &Redundant,
    joined: &dyn Joined,
    contender: Contender,
) -> Result<()> {
    let runs = args.runs_of(contender);
    let watches_return = !args.asked(&[Row::PreemptedBack], contender).is_empty();
    let first = &net.replicas[0];
    let mut stream = Stream::start(net)?;
    for run in 1..=runs {
        joined.ready()?;
        let killed = stream.across(net, || net.cut_off(first))?;
        report(results, Row::GatewayKilled, contender, &killed);
        if run == runs && !watches_return {
            break;
        }
        let away = if args.quick { AWAY / 4 } else { AWAY };
        ensure!(wait::pace(away), "interrupted");
        let back = stream.across(net, || {
            net.reconnect(first)?;
            joined.ready()
        })?;
        report(results, Row::PreemptedBack, contender, &back);
    }
    Ok(())
}
