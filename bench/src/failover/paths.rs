//! Rows of two gateways with two paths between them.

use anyhow::{Context, Result};
use vm_tests::topology::Redundant;

use crate::results::Results;
use crate::table::number;

use super::stream::{Sample, Stream};
use super::{Args, Bfd, Contender, Joined, Row, leave_out};

const PATHS: u8 = 2;
/// The path that carries while everything is up.
const FIRST: usize = 0;

/// The rows, by the timers that they need.
const BY_TIMERS: [(Bfd, &[Row]); 2] = [
    (
        Bfd {
            interval_ms: 100,
            multiplier: 3,
        },
        &[Row::PathCut100, Row::CarrierLost, Row::Drained],
    ),
    (
        Bfd {
            interval_ms: 30,
            multiplier: 3,
        },
        &[Row::PathCut30],
    ),
];

pub(super) fn measure(results: &mut Results, args: &Args) -> Result<()> {
    for (bfd, rows) in BY_TIMERS {
        let rows: Vec<Row> = args
            .rows
            .iter()
            .copied()
            .filter(|row| rows.contains(row))
            .collect();
        if rows.is_empty() {
            continue;
        }
        for &contender in &args.contenders {
            let net = Redundant::with_paths(None, PATHS)?;
            let joined = match contender.start(&net, bfd) {
                Ok(joined) => joined,
                Err(error) => {
                    let what = format!("{}, two paths", contender.name());
                    leave_out(results, what, &error);
                    continue;
                }
            };
            let mut stream = Stream::start(&net)?;
            for &row in &rows {
                for run in 1..=args.runs {
                    repeat(results, &net, &*joined, &mut stream, row, contender).with_context(
                        || format!("{}, {}, run {run}", contender.name(), row.name()),
                    )?;
                }
            }
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
    sample.add(results, row.name(), contender.name());
    eprintln!(
        "  {}, {}: {} ms, {} lost",
        row.name(),
        contender.name(),
        number(sample.gap()),
        sample.lost()
    );
    Ok(())
}
