//! Rows of two gateways with two paths between them.

use anyhow::{Context, Result};
use vm_tests::topology::Redundant;

use crate::results::Results;

use super::stream::{Sample, Stream};
use super::{Args, BFD_100, Bfd, Contender, Joined, Row, report, with};

const PATHS: u8 = 2;
/// The path that carries while everything is up.
const FIRST: usize = 0;

const BFD_30: Bfd = Bfd {
    interval_ms: 30,
    multiplier: 3,
};
/// The rows, by the timers that they need.
const BY_TIMERS: [(Bfd, &[Row]); 2] = [
    (BFD_100, &[Row::PathCut100, Row::CarrierLost, Row::Drained]),
    (BFD_30, &[Row::PathCut30]),
];

pub(super) fn measure(results: &mut Results, args: &Args) -> Result<()> {
    for (bfd, rows) in BY_TIMERS {
        for &contender in &args.contenders {
            let rows = args.asked(rows, contender);
            if rows.is_empty() {
                continue;
            }
            let net = Redundant::with_paths(None, PATHS)?;
            with(
                results,
                contender,
                "two paths",
                &net,
                bfd,
                |results, joined| {
                    let mut stream = Stream::start(&net)?;
                    for &row in &rows {
                        for run in 1..=args.runs_of(contender) {
                            repeat(results, &net, joined, &mut stream, row, contender)
                                .with_context(|| format!("{}, run {run}", row.name()))?;
                        }
                    }
                    Ok(())
                },
            );
        }
    }
    Ok(())
}

fn repeat(
    results: &mut Results,
    net: &Redundant,
    joined: &dyn Joined,
    stream: &mut Stream,
    row: Row,
    contender: Contender,
) -> Result<()> {
    joined.ready()?;
    let gateway = &net.replicas[0];
    let sample: Sample = match row {
        Row::CarrierLost => stream.across(net, || net.set_carrier(gateway, FIRST, false))?,
        Row::Drained => stream.across(net, || joined.drain())?,
        _ => stream.across(net, || net.cut_path(FIRST))?,
    };
    match row {
        Row::CarrierLost => net.set_carrier(gateway, FIRST, true)?,
        Row::Drained => joined.undrain()?,
        _ => net.mend_path(FIRST)?,
    }
    report(results, row, contender, &sample);
    Ok(())
}
