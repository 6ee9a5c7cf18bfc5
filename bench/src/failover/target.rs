//! What Crossway must hold, and whether it did.

use std::fmt::Write as _;

use crate::results::Results;
use crate::table::number;

use super::flap::TOO_MANY;
use super::many::FALSE_ALARMS;
use super::stream::{BROKEN, GAP, LOST};
use super::{Args, CROSSWAY, Contender, Row};

/// The highest that any repetition of a row may show.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Target {
    pub(super) row: Row,
    pub(super) figure: &'static str,
    pub(super) at_most: f64,
}

const fn target(row: Row, figure: &'static str, at_most: f64) -> Target {
    Target {
        row,
        figure,
        at_most,
    }
}

/// All of them, in the order of the table.
pub(super) const TARGETS: &[Target] = &[
    target(Row::PathCut100, GAP, 400.0),
    target(Row::PathCut100, BROKEN, 0.0),
    target(Row::PathCut30, GAP, 150.0),
    target(Row::PathCut30, BROKEN, 0.0),
    target(Row::CarrierLost, GAP, 50.0),
    target(Row::Drained, LOST, 0.0),
    target(Row::GatewayKilled, GAP, 1000.0),
    target(Row::GatewayKilled, BROKEN, 0.0),
    target(Row::PreemptedBack, LOST, 0.0),
    target(Row::HandedOver, GAP, 10.0),
    target(Row::HandedOver, BROKEN, 0.0),
    target(Row::KilledAndRestarted, GAP, 1000.0),
    target(Row::Flapping, TOO_MANY, 0.0),
    target(Row::ManyLinks, FALSE_ALARMS, 0.0),
];

/// One line for each target of what was asked for, and how many were missed. What could not be measured was not
/// held.
pub(super) fn verdict(results: &Results, args: &Args) -> (String, usize) {
    if !args.contenders.contains(&Contender::Crossway) {
        return (String::new(), 0);
    }
    let mut text = String::from("\nTargets of Crossway (the worst repetition counts)\n");
    let mut missed = 0;
    for target in TARGETS
        .iter()
        .filter(|target| args.rows.contains(&target.row))
    {
        let name = target.row.name();
        let Some(figure) = results.get(name, CROSSWAY, target.figure) else {
            missed += 1;
            let _ = writeln!(text, "  MISSED  {name:<36} {} not measured", target.figure);
            continue;
        };
        let held = figure.max <= target.at_most;
        missed += usize::from(!held);
        text += &line(held, name, target, figure.max, figure.samples.len());
    }
    (text, missed)
}

fn line(held: bool, row: &str, target: &Target, worst: f64, of: usize) -> String {
    format!(
        "  {:<7} {row:<36} {} {} of {of}, at most {}\n",
        if held { "held" } else { "MISSED" },
        target.figure,
        number(worst),
        number(target.at_most),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::machine::Machine;
    use crate::results::Better;

    #[test]
    fn the_worst_repetition_decides_and_what_was_not_measured_was_not_held() {
        let mut results = Results::new(Machine::default());
        for gap in [310.0, 390.0, 420.0] {
            results.add(Row::PathCut100.name(), CROSSWAY, GAP, Better::Lower, gap);
            results.add(
                Row::PathCut30.name(),
                CROSSWAY,
                GAP,
                Better::Lower,
                gap / 4.0,
            );
        }
        results.add(
            Row::CarrierLost.name(),
            "another",
            GAP,
            Better::Lower,
            900.0,
        );
        results.finish();
        let mut args = Args {
            rows: vec![Row::PathCut100, Row::PathCut30],
            contenders: Contender::all(),
            runs: 3,
            quick: false,
            soak: Duration::ZERO,
            json: None,
            svg: None,
        };
        let (text, missed) = verdict(&results, &args);
        // Of both rows, whether TCP broke was not measured.
        assert_eq!(missed, 3, "{text}");
        assert_eq!(text.matches("held").count(), 1, "{text}");
        let line = "MISSED  WAN path cut, BFD 100 ms x 3         gap ms 420 of 3";
        assert!(text.contains(line), "{text}");
        args.contenders = vec![Contender::Rival];
        assert_eq!(verdict(&results, &args), (String::new(), 0));
    }
}
