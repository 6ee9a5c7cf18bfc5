//! A path that comes and goes: the flows leave it once, and stay away.

use std::time::Duration;

use anyhow::{Result, ensure};
use vm_tests::topology::Redundant;
use vm_tests::{sys, wait};

use crate::results::{Better, Results};

use super::stream::Stream;
use super::{Args, BFD_100, Contender, HOLD_DOWN, Joined, Row, report, with};

/// The path is away for so long, then there for so long.
const PHASE: Duration = Duration::from_secs(2);
/// Times that it goes and comes: longer than several hold-downs.
const FLAPS: u32 = 8;
/// Between two looks at which path carries.
const LOOK: Duration = Duration::from_millis(50);
/// More switches than the first one and one for each hold-down.
pub(super) const TOO_MANY: &str = "switches too many";

pub(super) fn measure(results: &mut Results, args: &Args) -> Result<()> {
    let row = Row::Flapping;
    for &contender in &args.contenders {
        if args.asked(&[row], contender).is_empty() {
            continue;
        }
        let net = Redundant::with_paths(None, 2)?;
        with(
            results,
            contender,
            row.name(),
            &net,
            BFD_100,
            |results, joined| flap(results, args, &net, joined, contender),
        );
    }
    Ok(())
}

fn flap(
    results: &mut Results,
    args: &Args,
    net: &Redundant,
    joined: &dyn Joined,
    contender: Contender,
) -> Result<()> {
    let mut stream = Stream::start(net)?;
    let mut carriers = Vec::new();
    let flaps = if args.quick { 1 } else { FLAPS };
    let sample = stream.across(net, || {
        for _ in 0..flaps {
            net.cut_path(0)?;
            look(joined, &mut carriers)?;
            net.mend_path(0)?;
            look(joined, &mut carriers)?;
        }
        Ok(())
    })?;
    report(results, Row::Flapping, contender, &sample);
    let switches = carriers.len().saturating_sub(1);
    let span = PHASE * 2 * flaps;
    let allowed = 1 + span.as_millis() as usize / HOLD_DOWN as usize;
    let mut add = |figure, better, value: usize| {
        let (row, contender) = (Row::Flapping.name(), contender.name());
        results.add(row, contender, figure, better, value as f64);
    };
    add("switches", Better::Lower, switches);
    add(TOO_MANY, Better::Neither, switches.saturating_sub(allowed));
    Ok(())
}

/// For one phase: which paths carried, one after the other.
fn look(joined: &dyn Joined, carriers: &mut Vec<String>) -> Result<()> {
    let start = wait::now();
    while start.elapsed() < PHASE {
        ensure!(!sys::stop_requested(), "interrupted");
        let carrier = joined.carrier()?;
        if carriers.last() != Some(&carrier) {
            carriers.push(carrier);
        }
        wait::pace(LOOK);
    }
    Ok(())
}
