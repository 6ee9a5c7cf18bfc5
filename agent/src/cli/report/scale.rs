//! Where a time is on a chart, and what stands at its edge. A chart is [`WIDTH`] wide whatever the window is: it is
//! stretched, and words stand beside it, so that they stay as large as all others.

use std::fmt::Write;

use maud::{Markup, html};

use super::facts::Facts;
use super::times;

/// Units of a chart.
pub(super) const WIDTH: u64 = 1000;
/// Steps between two ticks that people read well, in minutes.
const STEPS: [u64; 10] = [1, 2, 5, 10, 15, 30, 60, 120, 180, 240];
/// Ticks that have room on a telephone.
const MOST_TICKS: u64 = 6;
const MINUTE_MS: u64 = 60_000;

/// Where a time is, in tenths of a unit.
pub(super) fn place(facts: &Facts<'_>, at: u64) -> f64 {
    let since = at.clamp(facts.begin, facts.end) - facts.begin;
    let tenths = since * WIDTH * 10 / facts.span().max(1);
    tenths as f64 / 10.0
}

/// Times below a chart.
pub(super) fn ticks(facts: &Facts<'_>) -> Markup {
    html! {
        div class="ticks" aria-hidden="true" {
            @for at in times_of_ticks(facts) {
                span style={ "left:" (place(facts, at) * 100.0 / WIDTH as f64) "%" } {
                    (times::hour_and_minute(at))
                }
            }
        }
    }
}

/// Lines through a chart at the ticks.
pub(super) fn grid(facts: &Facts<'_>, height: u64) -> Markup {
    let mut lines = String::new();
    for at in times_of_ticks(facts) {
        let _ = write!(lines, "M{} 0V{height}", place(facts, at));
    }
    html! { path class="grid" d=(lines) {} }
}

/// Round times within the report, none so near to an edge that its words would be cut.
fn times_of_ticks(facts: &Facts<'_>) -> Vec<u64> {
    let mut steps = STEPS.iter().map(|minutes| minutes * MINUTE_MS);
    let step = steps.find(|step| facts.span() / step <= MOST_TICKS);
    let step = step.unwrap_or(360 * MINUTE_MS);
    let margin = facts.span() / 25;
    let first = (facts.begin + margin).div_ceil(step) * step;
    let mut ticks = Vec::new();
    let mut at = first;
    while at + margin <= facts.end {
        ticks.push(at);
        at += step;
    }
    ticks
}
