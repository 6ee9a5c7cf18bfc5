//! The states of a site or link as a strip. A state is told by how high its bar is, and by its colour: on paper without
//! colour it is the same.

use std::fmt::Write;

use maud::{Markup, html};

use super::facts::{Facts, Sums};
use super::scale::{self, WIDTH};
use super::times;

const HEIGHT: u64 = 24;
/// The least width of what is not as it should be: a second in a day is seen.
const LEAST: f64 = 3.0;

/// A state of the strip: letter, class, height, words.
const STATES: [(char, &str, u64, &str); 6] = [
    ('U', "up", 8, "up"),
    ('G', "degraded", 13, "degraded: some link is down"),
    ('R', "drained", 16, "drained by a person"),
    ('C', "connecting", 19, "connecting"),
    ('D', "down", 24, "down"),
    ('-', "unwatched", 3, "not watched"),
];

/// The strip of a series.
pub(super) fn strip(facts: &Facts<'_>, sums: &Sums<'_>) -> Markup {
    let name = &sums.series.name;
    let runs = runs(&sums.series.states);
    let changes = runs.iter().filter(|run| run.state.0 != 'U');
    let told = match changes.count() {
        0 => "up all the time".to_owned(),
        _ => format!("out for {}", times::lasted(sums.out)),
    };
    html! {
        svg class="strip" viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img" {
            title { (name) ": " (told) }
            (scale::grid(facts, HEIGHT))
            // What matters is drawn last, above its neighbours.
            @for urgent in [false, true] {
                @for run in runs.iter().filter(|run| run.is_urgent() == urgent) {
                    (bar(facts, run))
                }
            }
        }
    }
}

/// What the bars mean.
pub(super) fn legend() -> Markup {
    html! {
        ul class="legend" aria-label="States in the timeline" {
            @for (_, class, height, words) in STATES {
                li {
                    svg viewBox={ "0 0 14 " (HEIGHT) } aria-hidden="true" {
                        rect class=(class) x="0" y=(HEIGHT - height) width="14" height=(height) {}
                    }
                    (words)
                }
            }
        }
    }
}

/// The ground of a chart where its series was down.
pub(super) fn shades(facts: &Facts<'_>, states: &str, height: u64) -> Markup {
    let runs = runs(states);
    html! {
        @for run in runs.iter().filter(|run| run.state.0 == 'D') {
            @let (x, width) = extent(facts, run);
            rect class="shade" x=(x) y="0" width=(width) height=(height) {}
        }
    }
}

/// A strip with a mark where there is a number, as high as its share of the largest one.
pub(super) fn marks(facts: &Facts<'_>, name: &str, numbers: &[u64]) -> Markup {
    let most = numbers.iter().copied().max().unwrap_or(0).max(1);
    let mut path = String::new();
    for (interval, number) in numbers
        .iter()
        .enumerate()
        .filter(|(_, number)| **number > 0)
    {
        let x = scale::place(facts, facts.begin_of(interval));
        let end = scale::place(facts, facts.begin_of(interval + 1));
        let (x, end) = (x.min(WIDTH as f64 - LEAST), end.max(x + LEAST));
        let height = (number * HEIGHT).div_ceil(most).max(4);
        let _ = write!(path, "M{x:.1} {HEIGHT}v-{height}H{end:.1}V{HEIGHT}Z");
    }
    html! {
        svg class="strip" viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img" {
            title { "When " (name) " was counted" }
            (scale::grid(facts, HEIGHT))
            path class="mark" d=(path) {}
        }
    }
}

/// Intervals of one state.
struct Run {
    state: &'static (char, &'static str, u64, &'static str),
    first: usize,
    /// Behind the last.
    end: usize,
}

impl Run {
    fn is_urgent(&self) -> bool {
        !matches!(self.state.0, 'U' | '-')
    }
}

fn runs(states: &str) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (interval, letter) in states.chars().enumerate() {
        let mut known = STATES.iter();
        let state = known.find(|state| state.0 == letter);
        let state = state.unwrap_or(&STATES[STATES.len() - 1]);
        match runs.last_mut() {
            Some(run) if run.state.0 == state.0 => run.end = interval + 1,
            _ => runs.push(Run {
                state,
                first: interval,
                end: interval + 1,
            }),
        }
    }
    runs
}

fn bar(facts: &Facts<'_>, run: &Run) -> Markup {
    let [from, to] = [run.first, run.end].map(|interval| times::time(facts.begin_of(interval)));
    let (x, width) = extent(facts, run);
    let (_, class, height, words) = run.state;
    html! {
        rect class=(class) x=(x) y=(HEIGHT - height) width=(width) height=(height) {
            title { (words) ", " (from) " to " (to) }
        }
    }
}

/// Where it begins, and how wide it is.
fn extent(facts: &Facts<'_>, run: &Run) -> (String, String) {
    let [x, end] =
        [run.first, run.end].map(|interval| scale::place(facts, facts.begin_of(interval)));
    let least = if run.is_urgent() { LEAST } else { 0.0 };
    let width = (end - x).max(least);
    let x = x.min(WIDTH as f64 - width);
    (format!("{x:.1}"), format!("{width:.1}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_states_are_one_bar_and_unknown_letters_are_not_watched() {
        let runs = runs("UUUDD?U");
        let told: Vec<_> = runs
            .iter()
            .map(|run| (run.state.0, run.first, run.end))
            .collect();
        assert_eq!(told, [('U', 0, 3), ('D', 3, 5), ('-', 5, 6), ('U', 6, 7)]);
    }
}
