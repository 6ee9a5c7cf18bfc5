//! The page: first what matters, then each site. It holds everything, runs no script, and lets the browser load nothing
//! (Content-Security-Policy), whatever a name or a warning says: maud escapes all that is not ours.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::facts::{Facts, SiteFacts};
use super::{details, lists, overview, text, times};
use crate::cli::units::{bytes, count, duration};

const STYLE: &str = include_str!("style.css");
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// The whole page.
pub(super) fn page(facts: &Facts<'_>, of_site: Option<&str>) -> String {
    let history = &facts.report.history;
    let calm = facts.nothing_happened();
    let subject = match of_site {
        Some(site) => format!("{}, site {site}", history.gateway),
        None => history.gateway.clone(),
    };
    let sites = by_weight(facts);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (subject) ": report" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { (subject) }
                    p class="period" { (text::period(facts)) }
                }
                main {
                    section class={ "verdict " (if calm { "calm" } else { "events" }) } {
                        p class="headline" { (text::headline(facts)) }
                        (summary(facts))
                    }
                    (lists::outages(facts))
                    (lists::warnings(facts))
                    @if !facts.sites.is_empty() {
                        (overview::overview(facts, &in_order(facts, &sites, overview::MOST)))
                        @for (number, site) in in_order(facts, &sites, details::MOST).into_iter().enumerate() {
                            (details::site(facts, number, site))
                        }
                        @if facts.sites.len() > details::MOST {
                            p class="note" {
                                (count((facts.sites.len() - details::MOST) as u64))
                                " more sites have no charts here; "
                                code { "--site NAME" }
                                " shows one."
                            }
                        }
                    }
                    (lists::flows(facts))
                    (lists::drops(facts))
                    (lists::events(facts))
                    (about(facts))
                }
            }
        }
    };
    page.into_string()
}

/// Those that there is most to tell of first.
fn by_weight<'a, 'b>(facts: &'b Facts<'a>) -> Vec<&'b SiteFacts<'a>> {
    let mut sites: Vec<&SiteFacts<'_>> = facts.sites.iter().collect();
    sites.sort_by_key(|site| std::cmp::Reverse(site.weight()));
    sites
}

/// The first `most` by weight; where all are shown, in the order of the file.
fn in_order<'a, 'b>(
    facts: &'b Facts<'a>,
    by_weight: &[&'b SiteFacts<'a>],
    most: usize,
) -> Vec<&'b SiteFacts<'a>> {
    if facts.sites.len() <= most {
        return facts.sites.iter().collect();
    }
    by_weight.iter().take(most).copied().collect()
}

fn summary(facts: &Facts<'_>) -> Markup {
    let history = &facts.report.history;
    let out = facts.sites_out();
    let links = facts.sites.iter().flat_map(|site| &site.links);
    let links_out = links.filter(|link| link.out > 0).count();
    let dropped: u64 = history.drops.iter().flat_map(|drops| &drops.packets).sum();
    let carried = facts
        .sites
        .iter()
        .map(|site| site.site.to_site + site.site.from_site);
    html! {
        dl class="figures" {
            div {
                dt { "Sites out" }
                dd { (out.len()) " of " (facts.sites.len()) }
            }
            div {
                dt { "Links out" }
                dd { (links_out) }
            }
            div {
                dt { "Worst loss in ten seconds" }
                dd {
                    @if let Some((_, loss)) = &facts.worst_loss {
                        (times::share(loss.value as u16))
                    } @else { "below 1 %" }
                }
            }
            div {
                dt { "Warnings" }
                dd { (history.warnings.len()) }
            }
            div {
                dt { "Packets dropped" }
                dd { (count(dropped)) }
            }
            div {
                dt { "Carried" }
                dd { (bytes(carried.sum())) }
            }
        }
        @if facts.nothing_happened() && facts.intervals() > 0 {
            p {
                "No site and no link was out, nothing was warned of, and no link lost a hundredth of its packets in any ten \
                 seconds."
            }
        }
        @if facts.unwatched > 0 {
            p {
                "For " (times::lasted(facts.unwatched))
                " nobody looked: the agent did not run, or the machine slept."
            }
        }
        @for step in &history.clock_steps {
            p {
                "The clock of this host was set " (if step.by_milliseconds < 0 { "back" } else { "forward" }) " by "
                (times::lasted(step.by_milliseconds.unsigned_abs())) " at "
                (times::date_and_time(step.unix_milliseconds))
                ". Times are those of the clock as it is now, but for earlier ones under “What changed”."
            }
        }
    }
}

fn about(facts: &Facts<'_>) -> Markup {
    let history = &facts.report.history;
    html! {
        footer id="about" {
            h2 { "About this report" }
            ul {
                li {
                    "Made at " (times::date_and_time(facts.end)) " UTC by crossway " (history.version)
                    ", of gateway " (history.gateway) ", which runs since "
                    (times::date_and_time(history.started_unix_milliseconds)) ". All times are UTC."
                }
                li {
                    "Intervals are of " (duration(history.interval_milliseconds / 1000))
                    ". Of each, states, fastest second, loss and round trip are the worst ones: areas are means, lines \
                     above them the fastest second. A state that was shorter than a line is wide is drawn as wide as a line."
                }
                li {
                    "Loss is that of data messages on the way to this gateway, by the numbers that WireGuard gives them. \
                     Round trips are those of BFD every ten seconds, and without BFD those of handshakes, with the time \
                     that both ends reckon."
                }
                li {
                    "The gateway keeps the last hour by intervals of 10 s, and the last day by those of a minute, longer \
                     with many sites: " (bytes(history.memory_bytes)) " of at most "
                    (bytes(history.memory_limit_bytes)) "."
                    @if history.series_left_out > 0 {
                        " " (count(history.series_left_out as u64))
                        " sites and links have no room (" code { "history_mib" } ")."
                    }
                }
            }
        }
    }
}
