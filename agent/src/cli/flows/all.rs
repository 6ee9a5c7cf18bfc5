//! Flows in as many pages as they take. The gateway keeps one page at a time; all of them are kept, compared and
//! sorted here.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crossway_sys::clock;

use super::super::Options;
use super::super::failure::Failure;
use super::super::reading;
use crate::control::message::{Flow, FlowsReply, FlowsRequest, MAX_PAGE};
use crate::control::{FlowFilter, FlowSort, Request, Response};

/// Between two looks, for rates.
const RATE_WINDOW: Duration = Duration::from_millis(500);

/// Between whom a flow is, and in which virtual network.
type Key = (u8, IpAddr, u16, IpAddr, u16, String);

/// When a flow was met, and its bytes to and from the site.
type Seen = (Instant, (u64, u64));

/// Asks for the flows: those of one page, or where more are wanted, all.
pub(super) fn ask(options: &Options, request: &FlowsRequest) -> Result<FlowsReply, Failure> {
    let reply = page(options, request)?;
    let wants_more = request.top.is_none_or(|top| top > MAX_PAGE);
    if !wants_more || reply.next.is_none() || request.after.is_some() {
        return Ok(reply);
    }
    all(options, request)
}

/// All flows that match, without their rates, in no order: one walk through the table.
pub(in crate::cli) fn every(options: &Options, filter: FlowFilter) -> Result<Vec<Flow>, Failure> {
    let request = FlowsRequest {
        filter,
        ..FlowsRequest::default()
    };
    let mut flows = Vec::new();
    walk(options, &request, |flow, _| flows.push(flow))?;
    Ok(flows)
}

fn page(options: &Options, request: &FlowsRequest) -> Result<FlowsReply, Failure> {
    let pick = |response| match response {
        Response::Flows(reply) => Some(reply),
        _ => None,
    };
    reading::ask(options, &Request::Flows(request.clone()), pick)
}

/// Walks through the table twice, in its own order.
fn all(options: &Options, request: &FlowsRequest) -> Result<FlowsReply, Failure> {
    let start = clock::now();
    let mut before: HashMap<Key, Seen> = HashMap::new();
    walk(options, request, |flow, now| {
        before.insert(key(&flow), (now, bytes(&flow)));
    })?;
    std::thread::sleep(RATE_WINDOW.saturating_sub(start.elapsed()));
    let mut flows = Vec::new();
    let last = walk(options, request, |mut flow, now| {
        let (then, earlier) = before.remove(&key(&flow)).unwrap_or((start, (0, 0)));
        flow.set_rates(earlier, (now - then).as_nanos() as u64);
        if request.filter.matches_rate(flow.bytes_per_second()) {
            flows.push(flow);
        }
    })?;
    let matched = flows.len() as u64;
    request.sort.keep_top(&mut flows, request.top);
    Ok(FlowsReply {
        flows,
        matched,
        filter: request.filter.clone(),
        next: None,
        ..last
    })
}

/// Shows every flow to `visit`, with the time of its page; returns the last page's numbers.
fn walk(
    options: &Options,
    request: &FlowsRequest,
    mut visit: impl FnMut(Flow, Instant),
) -> Result<FlowsReply, Failure> {
    let mut after = None;
    loop {
        let mut reply = page(
            options,
            &FlowsRequest {
                filter: FlowFilter {
                    min_bytes_per_second: None,
                    ..request.filter.clone()
                },
                sort: FlowSort::Table,
                top: None,
                after,
                without_rates: true,
            },
        )?;
        let now = clock::now();
        for flow in std::mem::take(&mut reply.flows) {
            visit(flow, now);
        }
        after = reply.next.take();
        if after.is_none() {
            return Ok(reply);
        }
    }
}

fn key(flow: &Flow) -> Key {
    (
        flow.protocol_number,
        flow.local,
        flow.local_port,
        flow.remote,
        flow.remote_port,
        flow.vnet.clone(),
    )
}

fn bytes(flow: &Flow) -> (u64, u64) {
    (flow.to_site_bytes, flow.from_site_bytes)
}
