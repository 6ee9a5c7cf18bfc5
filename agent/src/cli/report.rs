//! `crossway report`: the last hours as a page for a browser or for paper, as JSON, or in a few lines. The gateway tells
//! what it has measured; the page is made here.

mod chart;
mod details;
mod facts;
mod lists;
mod overview;
mod page;
mod scale;
mod text;
mod timeline;
mod times;

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::Args;
use clap_complete::engine::ArgValueCandidates;

use self::facts::Facts;
use super::failure::Failure;
use super::output::{print, print_json};
use super::{Options, complete, flows, reading};
use crate::control::message::{
    EventsReply, EventsRequest, FlowsReply, FlowsRequest, HistoryReply, HistoryRequest, Report,
};
use crate::control::{FlowFilter, FlowSort, Request, Response};

/// How often all pages are asked for: that takes a small part of an interval.
const ATTEMPTS: usize = 5;
/// Two times that are less apart are one.
const SAME_MS: u64 = 1000;
/// Conversations that are named.
const FLOWS: usize = 10;

/// What `crossway report` takes.
#[derive(Args, Debug)]
#[command(
    long_about = "Report the last hours: what was out and for how long, what was warned of, and of each site and link its \
                  states, rates, loss and round trips; drops by reason, and the conversations with the most bytes. \
                  Without --html it is a summary of a few lines.\n\n\
                  The gateway keeps the last hour by intervals of 10 seconds and the last day by those of a minute, in \
                  8 MiB (history_mib); with many sites they are longer.",
    after_help = "The page is one file: no script, nothing from elsewhere. All times are UTC.\n\n\
                  Examples:\n  \
                  crossway report\n  \
                  crossway report --html report.html\n  \
                  crossway report --since 2h --site paris --html - | ssh desk 'cat >paris.html'\n  \
                  crossway report --since 1h --json | jq '.outages'"
)]
pub(super) struct ReportOptions {
    /// Write a page for a browser to this file; - writes to standard output
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    html: Option<PathBuf>,
    /// Only what has happened since so long ago: 90, 90s, 15m, 2h, 1d [default: all that is kept]
    #[arg(long, value_name = "TIME", value_parser = flows::parse_seconds)]
    since: Option<u64>,
    /// Only this site and its links
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(complete::sites))]
    site: Option<String>,
}

/// Makes a report.
pub(super) fn report(options: &Options, wanted: &ReportOptions) -> Result<(), Failure> {
    let report = gather(options, wanted)?;
    if options.json {
        return print_json(&report, false);
    }
    let facts = Facts::of(&report);
    let Some(file) = &wanted.html else {
        return print(&text::summary(&facts));
    };
    let page = page::page(&facts, wanted.site.as_deref());
    if file == Path::new("-") {
        return print(&page);
    }
    std::fs::write(file, page).with_context(|| {
        format!(
            "cannot write {}: name a file in a folder that this user may write to",
            file.display()
        )
    })?;
    print(&format!("{}: {}\n", file.display(), text::headline(&facts)))
}

fn gather(options: &Options, wanted: &ReportOptions) -> Result<Report, Failure> {
    let history = history_of(options, wanted)?;
    let begin = history.begins_unix_milliseconds.first().copied();
    let (flows, flows_unknown) = match flows_of(options, wanted) {
        Ok(flows) => (flows, None),
        Err(Failure::Failed(error)) => (Vec::new(), Some(format!("{error:#}"))),
        Err(other) => return Err(other),
    };
    let mut events = events_of(options)?;
    events
        .events
        .retain(|event| begin.is_none_or(|begin| event.unix_milliseconds >= begin));
    if let Some(site) = &wanted.site {
        events.events.retain(|event| {
            let rest = event.subject.strip_prefix(site.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
    }
    Ok(Report {
        history,
        events: events.events,
        flows,
        flows_unknown,
    })
}

/// All pages. One that comes after an interval has ended has others than those before: then all are asked for anew.
fn history_of(options: &Options, wanted: &ReportOptions) -> Result<HistoryReply, Failure> {
    for _ in 0..ATTEMPTS {
        let mut history = page_of(options, wanted, 0)?;
        let mut is_whole = true;
        while let Some(after) = history.next.take().filter(|_| is_whole) {
            let more = page_of(options, wanted, after)?;
            is_whole = has_same_intervals(&history, &more);
            history.next = more.next;
            history.series.extend(more.series);
        }
        if is_whole {
            return Ok(history);
        }
    }
    Err(anyhow!(
        "the gateway's history changes faster than it can be read: try again, or say --site NAME"
    )
    .into())
}

fn has_same_intervals(one: &HistoryReply, other: &HistoryReply) -> bool {
    let begins = [one, other].map(|page| page.begins_unix_milliseconds.as_slice());
    let first = begins.map(|begins| begins.first().copied().unwrap_or_default());
    // Told by the wall clock, to a millisecond or two.
    begins[0].len() == begins[1].len() && first[0].abs_diff(first[1]) < SAME_MS
}

fn page_of(
    options: &Options,
    wanted: &ReportOptions,
    after: usize,
) -> Result<HistoryReply, Failure> {
    let request = Request::History(HistoryRequest {
        since_seconds: wanted.since,
        site: wanted.site.clone(),
        after,
    });
    let reply = reading::ask(options, &request, |response| match response {
        Response::History(reply) => Some(reply),
        _ => None,
    })?;
    Ok(*reply)
}

fn flows_of(
    options: &Options,
    wanted: &ReportOptions,
) -> Result<Vec<crate::control::message::Flow>, Failure> {
    let request = Request::Flows(FlowsRequest {
        filter: FlowFilter {
            site: wanted.site.clone(),
            ..FlowFilter::default()
        },
        sort: FlowSort::Bytes,
        top: Some(FLOWS),
        without_rates: true,
        ..FlowsRequest::default()
    });
    let reply: FlowsReply = reading::ask(options, &request, |response| match response {
        Response::Flows(reply) => Some(reply),
        _ => None,
    })?;
    Ok(reply.flows)
}

fn events_of(options: &Options) -> Result<EventsReply, Failure> {
    let request = Request::Events(EventsRequest {
        last: None,
        follow: false,
    });
    reading::ask(options, &request, |response| match response {
        Response::Events(reply) => Some(reply),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
