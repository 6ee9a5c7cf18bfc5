//! `crossway flows --finished`.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use humantime::format_rfc3339_millis;

use super::super::Options;
use super::super::failure::Failure;
use super::super::following;
use super::super::output::{Look, print};
use super::super::reading;
use super::super::units::{bytes, counted, duration};
use crate::control::message::{
    EvictedFlows, FinishedFlow, FinishedRecord, FinishedReply, FinishedRequest, FlowVerdict,
};
use crate::control::{FlowFilter, Request, Response, protocol};

/// Shows records, and with `follow` each new one as it comes.
pub(super) fn finished(
    options: &Options,
    filter: &FlowFilter,
    last: Option<usize>,
    follow: bool,
) -> Result<(), Failure> {
    let look = Look::of_stdout(options);
    let request = Request::FinishedFlows(FinishedRequest {
        last: last.or_else(|| follow.then_some(following::BEFORE)),
        follow,
        site: filter.site.clone(),
    });
    if !follow {
        let reply = reading::ask(options, &request, pick)?;
        if reply.records.is_empty() && !options.json {
            return print("No flow has ended yet.\n");
        }
        return show(options, &reply, filter, look);
    }
    following::follow(options, &request, pick, |reply| {
        show(options, reply, filter, look)
    })
}

fn pick(response: Response) -> Option<FinishedReply> {
    match response {
        Response::FinishedFlows(reply) => Some(reply),
        _ => None,
    }
}

fn show(
    options: &Options,
    reply: &FinishedReply,
    filter: &FlowFilter,
    look: Look,
) -> Result<(), Failure> {
    // What was evicted is of all flows together: no filter knows it.
    let wanted = reply.records.iter().filter(|record| match record {
        FinishedRecord::Flow(flow) => filter.matches(&flow.view()),
        FinishedRecord::Evicted(_) => *filter == FlowFilter::default(),
    });
    let missed = (reply.missed, ["flow was", "flows were"]);
    following::print_records(options, look, missed, wanted, |record| match record {
        FinishedRecord::Flow(flow) => line(flow),
        FinishedRecord::Evicted(evicted) => line_of_evicted(evicted),
    })
}

fn line(flow: &FinishedFlow) -> String {
    let ends = [
        protocol::end(flow.protocol_number, flow.local, flow.local_port),
        protocol::end(flow.protocol_number, flow.remote, flow.remote_port),
    ];
    let lasted = flow
        .last_seen_unix_milliseconds
        .saturating_sub(flow.first_seen_unix_milliseconds);
    let mut line = format!(
        "{}  {:8}  {:6}  {} -> {}  {} by {}  to site {} ({}), from site {} ({}), lasted {}",
        time(flow.last_seen_unix_milliseconds),
        flow.end.as_str(),
        flow.protocol,
        ends[0],
        ends[1],
        flow.site,
        if flow.links.is_empty() {
            "no link".to_owned()
        } else {
            flow.links.join(", ")
        },
        counted(flow.to_site_packets, "packet", "packets"),
        bytes(flow.to_site_bytes),
        counted(flow.from_site_packets, "packet", "packets"),
        bytes(flow.from_site_bytes),
        duration(lasted / 1000),
    );
    if !flow.tcp_flags.is_empty() {
        let _ = write!(line, "  {}", flow.tcp_flags);
    }
    match (flow.policy.verdict, &flow.policy.rule) {
        (FlowVerdict::Denied, _) => line.push_str("  denied"),
        (FlowVerdict::Allowed, Some(rule)) => {
            let _ = write!(line, "  by rule {rule}");
        }
        (FlowVerdict::Allowed, None) => {}
    }
    line.push('\n');
    line
}

fn line_of_evicted(evicted: &EvictedFlows) -> String {
    format!(
        "{}  evicted   {} by the kernel from a full table, with {} ({}) both ways\n",
        time(evicted.unix_milliseconds),
        counted(evicted.flows, "flow", "flows"),
        counted(evicted.packets, "packet", "packets"),
        bytes(evicted.bytes),
    )
}

fn time(unix_milliseconds: u64) -> String {
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(unix_milliseconds);
    format_rfc3339_millis(at).to_string()
}
