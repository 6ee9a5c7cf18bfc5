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

use anyhow::Context;
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
    let mut history = page_of(options, wanted, 0)?;
    while let Some(after) = history.next.take() {
        // The next page may have begun another interval: of each, the intervals of the first are shown.
        let more = page_of(options, wanted, after)?;
        history.next = more.next;
        history.series.extend(more.series);
    }
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
