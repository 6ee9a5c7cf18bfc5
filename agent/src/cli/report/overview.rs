//! All sites and their links below each other, on one time.

use maud::{Markup, html};

use super::facts::{Facts, NOTABLE_LOSS, SiteFacts, Sums};
use super::lists::head;
use super::{scale, timeline, times};
use crate::cli::units::{bytes, count};

/// Sites that are listed.
pub(super) const MOST: usize = 200;

pub(super) fn overview(facts: &Facts<'_>, shown: &[&SiteFacts<'_>]) -> Markup {
    html! {
        section id="overview" {
            h2 { "All sites" }
            (timeline::legend())
            table class="overview" {
                (head(&[
                    ("Site, link", None),
                    ("States", Some("wide")),
                    ("Out", Some("number")),
                    ("To site", Some("number")),
                    ("From site", Some("number")),
                    ("Loss", Some("number")),
                    ("Round trip", Some("number")),
                ]))
                tbody {
                    @for site in shown {
                        (row(facts, &site.site, Some(site)))
                        @for link in &site.links { (row(facts, link, None)) }
                    }
                    tr class="times" aria-hidden="true" {
                        td {}
                        td class="wide" { (scale::ticks(facts)) }
                        td colspan="5" {}
                    }
                }
            }
            @if facts.sites.len() > shown.len() {
                p class="note" {
                    (count((facts.sites.len() - shown.len()) as u64))
                    " more sites are not shown, those of which there is least to tell: "
                    code { "--site NAME" }
                    " shows one."
                }
            }
        }
    }
}

fn row(facts: &Facts<'_>, sums: &Sums<'_>, of_site: Option<&SiteFacts<'_>>) -> Markup {
    let within = format!("{}/", sums.series.site);
    let name = sums.series.name.as_str();
    // Of a link, its name within the site, below which it stands.
    let name = name.strip_prefix(&within).unwrap_or(name);
    let bad_loss = sums.worst_loss.value >= NOTABLE_LOSS.into();
    html! {
        tr class=(if of_site.is_some() { "site" } else { "link" }) {
            th scope="row" { (name) }
            td class="wide" { (timeline::strip(facts, sums)) }
            td class={ "number" @if sums.out > 0 { " bad" } } data-label="Out" {
                @if sums.out > 0 { (times::lasted(sums.out)) } @else { "–" }
            }
            td class="number" data-label="To site" { (bytes(sums.to_site)) }
            td class="number" data-label="From site" { (bytes(sums.from_site)) }
            td class={ "number" @if bad_loss { " bad" } } data-label="Loss" {
                @if sums.lost.1 > 0 { (times::share(sums.loss())) }
            }
            td class="number" data-label="Round trip" {
                @if let Some(trips) = &sums.round_trip { (times::round_trip(trips.mean)) }
            }
        }
    }
}
