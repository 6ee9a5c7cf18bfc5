//! What is a list: outages, warnings, drops, conversations, changes.

use std::net::IpAddr;

use maud::{Markup, html};

use super::facts::Facts;
use super::timeline;
use super::times;
use crate::cli::units::{bytes, count, counted, duration};
use crate::control::message::{FinishedFlow, Flow, Outage, SeriesKind};

/// Lines of a list.
const MOST: usize = 100;

/// What was out, the longest first.
pub(super) fn outages(facts: &Facts<'_>) -> Markup {
    let history = &facts.report.history;
    if history.outages.is_empty() {
        return html! {};
    }
    let mut outages: Vec<&Outage> = history.outages.iter().collect();
    outages.sort_by_key(|outage| {
        let of_link = outage.kind == SeriesKind::Link;
        (of_link, std::cmp::Reverse(facts.lasted(outage)))
    });
    let more = outages.len().saturating_sub(MOST) as u64 + history.outages_left_out;
    html! {
        section id="outages" {
            h2 { "What was out" }
            table {
                (head(&[("What", None), ("From", None), ("To", None), ("For", Some("number")), ("Why", None)]))
                tbody {
                    @for outage in outages.iter().take(MOST) {
                        tr {
                            th scope="row" { (kind(outage.kind)) " " (outage.name) }
                            td class="time" data-label="from" { (times::date_and_time(outage.began_unix_milliseconds)) }
                            (end_of(outage.ended_unix_milliseconds))
                            td class="number" data-label="for" { (times::lasted(facts.lasted(outage))) }
                            td { (outage.cause) }
                        }
                    }
                }
            }
            (left_out(more, "outage is", "outages are"))
        }
    }
}

pub(super) fn warnings(facts: &Facts<'_>) -> Markup {
    let history = &facts.report.history;
    if history.warnings.is_empty() {
        return html! {};
    }
    html! {
        section id="warnings" {
            h2 { "What was warned of" }
            table {
                (head(&[("From", None), ("To", None), ("Warning", None)]))
                tbody {
                    @for warning in &history.warnings {
                        tr {
                            td class="time" data-label="from" { (times::date_and_time(warning.began_unix_milliseconds)) }
                            (end_of(warning.ended_unix_milliseconds))
                            td { bdi { (warning.text) } " " span class="source" { (warning.source) } }
                        }
                    }
                }
            }
            (left_out(history.warnings_left_out, "warning is", "warnings are"))
        }
    }
}

pub(super) fn drops(facts: &Facts<'_>) -> Markup {
    let drops = &facts.report.history.drops;
    html! {
        section id="drops" {
            h2 { "What was dropped" }
            @if drops.is_empty() {
                p { "Nothing was dropped." }
            } @else {
                table {
                    (head(&[("Reason", None), ("Packets", Some("number")), ("When", Some("wide"))]))
                    tbody {
                        @for series in drops {
                            tr {
                                th scope="row" { (series.reason) }
                                td class="number" data-label="packets" { (count(series.packets.iter().sum())) }
                                td class="wide" { (timeline::marks(facts, &series.reason, &series.packets)) }
                            }
                        }
                    }
                }
                p class="note" {
                    "The words are those of " code { "crossway drops" } ". A height is a share of the reason's own most."
                }
            }
        }
    }
}

/// A conversation, over or not.
struct Conversation<'a> {
    protocol: &'a str,
    ends: [(IpAddr, u16); 2],
    /// What the addresses stand for, if they are mapped.
    real: [Option<IpAddr>; 2],
    site: &'a str,
    bytes: [u64; 2],
    when: String,
}

pub(super) fn flows(facts: &Facts<'_>) -> Markup {
    let report = facts.report;
    let living = report.flows.iter().map(|flow| living(facts, flow));
    let finished = report.history.finished.iter().map(finished);
    let mut all: Vec<Conversation<'_>> = living.chain(finished).collect();
    all.sort_by_key(|of| std::cmp::Reverse(of.bytes[0] + of.bytes[1]));
    all.truncate(super::FLOWS);
    html! {
        section id="flows" {
            h2 { "Conversations with the most bytes" }
            @if let Some(why) = &report.flows_unknown {
                p class="note" { "Those of now are not known: " (why) }
            }
            @if all.is_empty() {
                p { "There were none." }
            } @else {
                table {
                    (head(&[
                        ("Protocol", None),
                        ("Here", None),
                        ("There", None),
                        ("Site", None),
                        ("To site", Some("number")),
                        ("From site", Some("number")),
                        ("When", None),
                    ]))
                    tbody {
                        @for of in &all {
                            tr {
                                th scope="row" { (of.protocol) }
                                @for (label, (end, real)) in ["here", "there"].into_iter().zip(of.ends.into_iter().zip(of.real)) {
                                    td data-label=(label) {
                                        (address(end))
                                        @if let Some(real) = real { " (" (real) ")" }
                                    }
                                }
                                td data-label="site" { (of.site) }
                                @for (label, of_way) in ["to site", "from site"].into_iter().zip(of.bytes) {
                                    td class="number" data-label=(label) { (bytes(of_way)) }
                                }
                                td class="time" { (of.when) }
                            }
                        }
                    }
                }
                p class="note" { "Bytes are those of the whole conversation, also from before this report begins." }
            }
        }
    }
}

fn living<'a>(facts: &Facts<'_>, flow: &'a Flow) -> Conversation<'a> {
    let began = facts.end.saturating_sub(flow.age_seconds * 1000);
    let seen = match flow.idle_seconds {
        0..10 => "goes on".to_owned(),
        idle => format!("silent for {}", duration(idle)),
    };
    Conversation {
        protocol: &flow.protocol,
        ends: [
            (flow.local, flow.local_port),
            (flow.remote, flow.remote_port),
        ],
        real: [flow.real.local_real, flow.real.remote_real],
        site: &flow.site,
        bytes: [flow.to_site_bytes, flow.from_site_bytes],
        when: format!("since {}, {seen}", times::time(began)),
    }
}

fn finished(flow: &FinishedFlow) -> Conversation<'_> {
    Conversation {
        protocol: &flow.protocol,
        ends: [
            (flow.local, flow.local_port),
            (flow.remote, flow.remote_port),
        ],
        real: [None; 2],
        site: &flow.site,
        bytes: [flow.to_site_bytes, flow.from_site_bytes],
        when: format!(
            "{} to {}",
            times::time(flow.first_seen_unix_milliseconds),
            times::time(flow.last_seen_unix_milliseconds)
        ),
    }
}

fn address((address, port): (IpAddr, u16)) -> String {
    match (address, port) {
        (address, 0) => address.to_string(),
        (IpAddr::V4(address), port) => format!("{address}:{port}"),
        (IpAddr::V6(address), port) => format!("[{address}]:{port}"),
    }
}

/// Changes of state and orders, the last ones.
pub(super) fn events(facts: &Facts<'_>) -> Markup {
    let events = &facts.report.events;
    let skipped = events.len().saturating_sub(MOST);
    html! {
        section id="events" {
            h2 { "What changed" }
            @if events.is_empty() {
                p { "Nothing changed." }
            } @else {
                table {
                    (head(&[("Time", None), ("What", None), ("Change", None), ("Why", None)]))
                    tbody {
                        @for event in events.iter().skip(skipped) {
                            tr {
                                td class="time" { (times::date_and_time(event.unix_milliseconds)) }
                                th scope="row" { (event.kind.as_str()) " " (event.subject) }
                                td {
                                    @if let Some(from) = &event.from { (from) " → " }
                                    (event.to)
                                }
                                td { (event.cause) }
                            }
                        }
                    }
                }
                (left_out(skipped as u64, "earlier change is", "earlier changes are"))
            }
        }
    }
}

/// The head of a table: the words of its columns, each with its class.
pub(super) fn head(columns: &[(&str, Option<&str>)]) -> Markup {
    html! {
        thead {
            tr {
                @for (words, class) in columns { th scope="col" class=[class] { (words) } }
            }
        }
    }
}

/// When an outage or a warning ended.
fn end_of(ended: Option<u64>) -> Markup {
    html! {
        td class="time" data-label="to" {
            @match ended {
                Some(ended) => (times::date_and_time(ended)),
                None => strong { "goes on" },
            }
        }
    }
}

fn left_out(number: u64, one: &str, many: &str) -> Markup {
    html! {
        @if number > 0 { p class="note" { (counted(number, one, many)) " left out." } }
    }
}

pub(super) fn kind(kind: SeriesKind) -> &'static str {
    match kind {
        SeriesKind::Site => "site",
        SeriesKind::Link => "link",
    }
}
