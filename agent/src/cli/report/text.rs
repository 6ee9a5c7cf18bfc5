//! A report in a few lines: for a terminal, and at the top of the page.

use std::fmt::Write;

use super::facts::Facts;
use super::{lists, times};
use crate::cli::units::{bytes, count, counted, duration, rate};
use crate::control::message::SeriesKind;

/// Outages and warnings of the summary.
const MOST: usize = 10;

/// In one sentence.
pub(super) fn headline(facts: &Facts<'_>) -> String {
    let history = &facts.report.history;
    if facts.intervals() == 0 {
        return "Nothing has been measured yet.".to_owned();
    }
    if facts.nothing_happened() {
        return "Nothing happened.".to_owned();
    }
    let mut parts = Vec::new();
    let out = facts.sites_out();
    match out.as_slice() {
        [] => {}
        [site] => {
            let lasted = times::lasted(site.site.out);
            parts.push(format!(
                "Site {} was out for {lasted}",
                site.site.series.name
            ));
        }
        [worst, ..] => parts.push(format!(
            "{} sites were out, {} the longest: {}",
            count(out.len() as u64),
            worst.site.series.name,
            times::lasted(worst.site.out)
        )),
    }
    let links = facts.sites.iter().flat_map(|site| &site.links);
    let links = links.filter(|link| link.out > 0).count() as u64;
    if links > 0 && out.is_empty() {
        let was = if links == 1 { "was" } else { "were" };
        let links = counted(links, "link", "links");
        parts.push(format!("{links} {was} out, and no site was"));
    }
    if let Some((link, loss)) = &facts.worst_loss {
        let share = times::share(loss.value as u16);
        parts.push(format!(
            "link {} lost {share} in its worst ten seconds",
            link.name
        ));
    }
    let warnings = history.warnings.len() as u64;
    if warnings > 0 {
        parts.push(counted(warnings, "warning", "warnings"));
    }
    if !history.clock_steps.is_empty() {
        parts.push("the clock was set".to_owned());
    }
    if parts.is_empty() {
        // Links that are gone from the file, say.
        parts.push(counted(history.outages.len() as u64, "outage", "outages"));
    }
    let mut text = parts.join("; ") + ".";
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text
}

/// What the report is of: `2027-01-15 08:00:00 to 2027-01-15 10:00:00 UTC (2h 00m)`.
pub(super) fn period(facts: &Facts<'_>) -> String {
    format!(
        "{} to {} UTC ({})",
        times::date_and_time(facts.begin),
        times::date_and_time(facts.end),
        duration(facts.span() / 1000)
    )
}

/// For a terminal.
pub(super) fn summary(facts: &Facts<'_>) -> String {
    let history = &facts.report.history;
    let mut text = format!("{}  {}\n", history.gateway, period(facts));
    let _ = writeln!(text, "{}", headline(facts));
    let mut outages: Vec<_> = history.outages.iter().collect();
    outages.sort_by_key(|outage| {
        let of_link = outage.kind == SeriesKind::Link;
        (of_link, std::cmp::Reverse(facts.lasted(outage)))
    });
    for outage in outages.iter().take(MOST) {
        let ended = outage.ended_unix_milliseconds;
        let _ = writeln!(
            text,
            "  {} {} out for {} from {}{}: {}",
            lists::kind(outage.kind),
            outage.name,
            times::lasted(facts.lasted(outage)),
            times::time(outage.began_unix_milliseconds),
            if ended.is_none() { ", goes on" } else { "" },
            outage.cause
        );
    }
    for warning in history.warnings.iter().take(MOST) {
        let began = times::time(warning.began_unix_milliseconds);
        let _ = writeln!(text, "  warned from {began}: {}", warning.text);
    }
    for site in &facts.sites {
        let sums = &site.site;
        let _ = writeln!(
            text,
            "  site {}: {} to it, at most {}; {} from it, at most {}",
            sums.series.name,
            bytes(sums.to_site),
            rate(sums.to_site_peak.value),
            bytes(sums.from_site),
            rate(sums.from_site_peak.value)
        );
        for link in &site.links {
            let trips = link.round_trip.as_ref().map(|trips| {
                let [min, max] = [trips.min, trips.max.value as u32].map(times::round_trip);
                format!(", round trip {min} to {max}")
            });
            let _ = writeln!(
                text,
                "    link {}: loss {}, worst {}{}",
                link.series.name,
                times::share(link.loss()),
                times::share(link.worst_loss.value as u16),
                trips.unwrap_or_default()
            );
        }
    }
    text + "A page with charts: crossway report --html FILE\n"
}
