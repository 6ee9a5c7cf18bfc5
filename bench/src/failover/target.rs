//! What Crossway must hold, and whether it did.

use crate::results::Results;
use crate::table::number;

use super::flap::TOO_MANY;
use super::many::FALSE_ALARMS;
use super::stream::{BROKEN, GAP, LOST};
use super::{CROSSWAY, Row};

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

/// One line for each target that was measured, and how many were missed.
pub(super) fn verdict(results: &Results) -> (String, usize) {
    let mut text = String::from("\nTargets of Crossway (the worst repetition counts)\n");
    let mut missed = 0;
    for target in TARGETS {
        let name = target.row.name();
        let Some(figure) = results.get(name, CROSSWAY, target.figure) else {
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
    use super::*;
    use crate::machine::Machine;
    use crate::results::Better;

    #[test]
    fn the_worst_repetition_decides_and_what_was_not_measured_is_not_judged() {
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
        let (text, missed) = verdict(&results);
        assert_eq!(missed, 1, "{text}");
        assert_eq!(text.matches("held").count(), 1, "{text}");
        assert!(
            text.contains("MISSED  WAN path cut, BFD 100 ms x 3"),
            "{text}"
        );
    }
}
