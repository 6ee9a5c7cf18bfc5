//! A site by itself: what it carried, and how each of its links did.

use maud::{Markup, html};

use super::chart::{Chart, Line, round_up};
use super::facts::{Extreme, Facts, SiteFacts, Sums};
use super::lists::head;
use super::times;
use crate::cli::units::{bytes, count, rate};

/// Sites that have charts.
pub(super) const MOST: usize = 50;
/// Links of a site that have.
const MOST_LINKS: usize = 8;
/// A chart of losses shows at least so many hundredths of a percent: a few are not drawn like a catastrophe.
const LEAST_LOSS: f64 = 100.0;

pub(super) fn site(facts: &Facts<'_>, number: usize, site: &SiteFacts<'_>) -> Markup {
    let name = &site.site.series.name;
    html! {
        section class="of-site" id={ "site-" (number) } {
            h2 { "Site " (name) }
            div class="figure" {
                h3 { "Traffic" }
                (rates(facts, &site.site))
                (rates_table(facts, &site.site))
            }
            @for link in site.links.iter().take(MOST_LINKS) {
                div class="figure" {
                    h3 { "Link " (link.series.name) }
                    @if link.watched == 0 {
                        p class="note" { "It was not watched." }
                    } @else {
                        (round_trips(facts, link))
                        @if link.worst_loss.value > 0 { (losses(facts, link)) }
                        (link_table(facts, link))
                    }
                }
            }
            @if site.links.len() > MOST_LINKS {
                p class="note" {
                    (site.links.len() - MOST_LINKS) " more links of this site have no charts here; see "
                    a href="#overview" { "all sites" } "."
                }
            }
        }
    }
}

fn rates(facts: &Facts<'_>, sums: &Sums<'_>) -> Markup {
    let series = sums.series;
    let most = sums.to_site_peak.value.max(sums.from_site_peak.value);
    if most == 0 {
        return html! { p class="note" { "Nothing passed." } };
    }
    let top = round_up(most as f64 * 8.0);
    let bits = |numbers: &[u64]| {
        known(facts, series.watched(), numbers, |_, peak| {
            peak as f64 * 8.0
        })
    };
    let mean = |numbers: &[u64]| {
        known(facts, series.watched(), numbers, |length, bytes| {
            bytes as f64 * 8000.0 / length.max(1) as f64
        })
    };
    let line = |class, numbers| Line { class, numbers };
    let edge = rate((top / 8.0) as u64);
    let title = format!("Traffic of site {}", series.name);
    let description = format!(
        "To the site {}, at most {}. From the site {}, at most {}.",
        bytes(sums.to_site),
        rate(sums.to_site_peak.value),
        bytes(sums.from_site),
        rate(sums.from_site_peak.value),
    );
    let chart = Chart {
        states: &series.states,
        bottom: format!("↓ from site, {edge}"),
        areas: vec![line("to-site", mean(&series.to_site_bytes))],
        lines: vec![line("to-site-peak", bits(&series.to_site_peak))],
        mirrored_areas: vec![line("from-site", mean(&series.from_site_bytes))],
        mirrored_lines: vec![line("from-site-peak", bits(&series.from_site_peak))],
        ..Chart::new(title, description, (top, format!("↑ to site, {edge}")))
    };
    chart.draw(facts)
}

fn rates_table(facts: &Facts<'_>, sums: &Sums<'_>) -> Markup {
    let seconds = (sums.watched / 1000).max(1);
    let row = |direction: &str, carried: u64, peak: Extreme| {
        html! {
            tr {
                th scope="row" { (direction) }
                td class="number" data-label="all" { (bytes(carried)) }
                td class="number" data-label="mean" { (rate(carried / seconds)) }
                td class="number" data-label="fastest second" { (rate(peak.value)) (at(facts, peak)) }
            }
        }
    };
    html! {
        table class="numbers" {
            (head(&[
                ("Traffic", None),
                ("All", Some("number")),
                ("Mean", Some("number")),
                ("Fastest second", Some("number")),
            ]))
            tbody {
                (row("To site", sums.to_site, sums.to_site_peak))
                (row("From site", sums.from_site, sums.from_site_peak))
            }
        }
    }
}

fn round_trips(facts: &Facts<'_>, sums: &Sums<'_>) -> Markup {
    let series = sums.series;
    let Some(trips) = &sums.round_trip else {
        return html! { p class="note" { "No round trip was measured: there was no handshake, and there is no BFD." } };
    };
    let numbers = |numbers: &[u32]| -> Vec<Option<f64>> {
        let numbers = numbers.iter();
        // What is measured every few minutes is a line all the same.
        filled(numbers.map(|number| (*number > 0).then_some(f64::from(*number))))
    };
    let top = round_up(trips.max.value as f64);
    let title = format!("Round trip of link {}", series.name);
    let description = format!(
        "From {} to {}, {} in the mean.",
        times::round_trip(trips.min),
        times::round_trip(trips.max.value as u32),
        times::round_trip(trips.mean),
    );
    let line = |class, of: &[u32]| Line {
        class,
        numbers: numbers(of),
    };
    let chart = Chart {
        states: &series.states,
        band: Some([
            line("trips", &series.round_trip_min_microseconds),
            line("trips", &series.round_trip_max_microseconds),
        ]),
        lines: vec![line("trip", &series.round_trip_mean_microseconds)],
        ..Chart::new(
            title,
            description,
            (
                top,
                format!("round trip, {}", times::round_trip(top as u32)),
            ),
        )
    };
    chart.draw(facts)
}

fn losses(facts: &Facts<'_>, sums: &Sums<'_>) -> Markup {
    let series = sums.series;
    let top = round_up((sums.worst_loss.value as f64).max(LEAST_LOSS));
    let title = format!("Loss of link {}", series.name);
    let description = format!(
        "{} of {} messages did not come; at most {} in ten seconds.",
        count(sums.lost.0),
        count(sums.lost.1),
        times::share(sums.worst_loss.value as u16),
    );
    let losses = series.worst_loss.iter();
    let losses = losses.map(|loss| (*loss > 0).then_some(f64::from(*loss)));
    let chart = Chart {
        states: &series.states,
        bars: Some(Line {
            class: "loss",
            numbers: losses.collect(),
        }),
        ..Chart::new(
            title,
            description,
            (top, format!("loss, {}", times::share(top as u16))),
        )
    };
    chart.draw(facts)
}

fn link_table(facts: &Facts<'_>, sums: &Sums<'_>) -> Markup {
    html! {
        table class="numbers" {
            tbody {
                tr {
                    th scope="row" { "Out" }
                    td { @if sums.out == 0 { "never" } @else { (times::lasted(sums.out)) } }
                    th scope="row" { "Round trip" }
                    td {
                        @if let Some(trips) = &sums.round_trip {
                            (times::round_trip(trips.min)) " to "
                            (times::round_trip(trips.max.value as u32)) (at(facts, trips.max))
                            ", mean " (times::round_trip(trips.mean))
                        } @else { "not measured" }
                    }
                }
                tr {
                    th scope="row" { "Lost" }
                    td { (count(sums.lost.0)) " of " (count(sums.lost.1)) " (" (times::share(sums.loss())) ")" }
                    th scope="row" { "Worst ten seconds" }
                    td {
                        (times::share(sums.worst_loss.value as u16))
                        @if sums.worst_loss.value > 0 { (at(facts, sums.worst_loss)) }
                    }
                }
            }
        }
    }
}

fn at(facts: &Facts<'_>, extreme: Extreme) -> Markup {
    html! {
        @if extreme.value > 0 { span class="at" { " at " (times::hour_and_minute(facts.begin_of(extreme.interval))) } }
    }
}

/// What `number` makes of the length and the number of each interval, where somebody looked.
fn known(
    facts: &Facts<'_>,
    watched: impl Iterator<Item = bool>,
    numbers: &[u64],
    number: impl Fn(u64, u64) -> f64,
) -> Vec<Option<f64>> {
    let watched = watched.enumerate();
    watched
        .map(|(interval, watched)| {
            let of_interval = numbers.get(interval).copied().unwrap_or(0);
            watched.then(|| number(facts.length_of(interval), of_interval))
        })
        .collect()
}

/// Between two numbers, the first goes on.
fn filled(numbers: impl Iterator<Item = Option<f64>>) -> Vec<Option<f64>> {
    let mut last = None;
    numbers
        .map(|number| {
            last = number.or(last);
            last
        })
        .collect()
}
