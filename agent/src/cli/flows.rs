//! `crossway flows`.

use std::fmt::Write;
use std::net::IpAddr;

use clap::{Args, ValueEnum};
use clap_complete::engine::ArgValueCandidates;

use super::failure::Failure;
use super::output::Look;
use super::table::Table;
use super::units::{bytes, count, counted, duration, rate};
use super::{Options, Watch, complete, reading};
use crate::control::message::{Flow, FlowsReply, FlowsRequest};
use crate::control::{FlowFilter, FlowSort, Request, Response, protocol};
use crate::prefix::Prefix;

/// Flows that a person can look over; JSON gives all of them.
const DEFAULT_TOP: usize = 20;

/// Which flows, and in which order.
#[derive(Args, Debug)]
pub(super) struct Flows {
    /// Show that many at most, 0 for all [default: 20; with --json all]
    #[arg(long, value_name = "N")]
    top: Option<usize>,
    /// Only flows with an end in this address or prefix
    #[arg(long, value_name = "ADDRESS")]
    address: Option<Prefix>,
    /// Only flows with this port at either end (of ICMP: this identifier)
    #[arg(long)]
    port: Option<u16>,
    /// Only flows of this IP protocol: tcp, udp, icmp, icmpv6, … or a number
    #[arg(long, value_parser = parse_protocol)]
    protocol: Option<u8>,
    /// Only flows of this site
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(complete::sites))]
    site: Option<String>,
    /// What comes first
    #[arg(long, value_enum, default_value = "bytes")]
    sort: Sort,
    #[command(flatten)]
    watch: Watch,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Sort {
    /// Most bytes in both directions
    Bytes,
    /// Most bytes per second in both directions
    Rate,
    /// Oldest
    Age,
}

/// Shows flows.
pub(super) fn flows(options: &Options, flows: &Flows) -> Result<(), Failure> {
    let default_top = (!options.json).then_some(DEFAULT_TOP);
    let request = Request::Flows(FlowsRequest {
        filter: FlowFilter {
            address: flows.address,
            port: flows.port,
            protocol: flows.protocol,
            site: flows.site.clone(),
        },
        sort: match flows.sort {
            Sort::Bytes => FlowSort::Bytes,
            Sort::Rate => FlowSort::Rate,
            Sort::Age => FlowSort::Age,
        },
        top: flows.top.or(default_top).filter(|top| *top > 0),
    });
    let pick = |response| match response {
        Response::Flows(reply) => Some(reply),
        _ => None,
    };
    reading::watch(options, flows.watch, &request, pick, text)
}

fn text(reply: &FlowsReply, look: Look) -> String {
    let mut table = Table::new([
        "PROTO",
        "LOCAL",
        "REMOTE",
        "SITE",
        ">TO SITE",
        ">RATE",
        ">FROM SITE",
        ">RATE",
        ">AGE",
        ">IDLE",
        "FLAGS",
    ])
    .spare(&["FLAGS", "AGE", "IDLE", "RATE", "SITE"]);
    for flow in &reply.flows {
        table.row([
            flow.protocol.as_str().into(),
            end(flow, flow.local, flow.local_port).into(),
            end(flow, flow.remote, flow.remote_port).into(),
            flow.site.as_str().into(),
            bytes(flow.to_site_bytes).into(),
            rate(flow.to_site_bytes_per_second).into(),
            bytes(flow.from_site_bytes).into(),
            rate(flow.from_site_bytes_per_second).into(),
            duration(flow.age_seconds).into(),
            duration(flow.idle_seconds).into(),
            flow.tcp_flags.as_str().into(),
        ]);
    }
    format!("{}\n{}", table.text(look, "No flow."), foot(reply))
}

/// `10.1.0.2:443`, `[2001:db8::1]:443`, `10.1.0.2 id 7` for ICMP, or the bare address.
fn end(flow: &Flow, address: IpAddr, port: u16) -> String {
    match (flow.protocol_number, address) {
        (_, address) if port == 0 => address.to_string(),
        (1 | 58, address) => format!("{address} id {port}"),
        (_, IpAddr::V4(address)) => format!("{address}:{port}"),
        (_, IpAddr::V6(address)) => format!("[{address}]:{port}"),
    }
}

fn foot(reply: &FlowsReply) -> String {
    let mut text = format!(
        "{} of {} shown",
        count(reply.flows.len() as u64),
        counted(reply.matched, "flow", "flows")
    );
    let filter = reply.filter.to_string();
    if !filter.is_empty() {
        let _ = write!(text, " that match {filter}");
    }
    if (reply.flows.len() as u64) < reply.matched {
        text.push_str(" (--top 0 shows all)");
    }
    let _ = writeln!(
        text,
        "; the table holds {} of {}, {} removed idle, {} evicted",
        count(reply.present),
        count(reply.capacity),
        count(reply.removed_idle),
        count(reply.evicted),
    );
    if reply.evicted_packets > 0 {
        let _ = writeln!(
            text,
            "{} ({}) count in the sites' totals but in no flow of the table, because theirs were evicted",
            counted(reply.evicted_packets, "packet", "packets"),
            bytes(reply.evicted_bytes),
        );
    }
    text
}

fn parse_protocol(text: &str) -> Result<u8, String> {
    protocol::number(text).ok_or_else(|| {
        "not a known IP protocol: write tcp, udp, icmp, icmpv6, sctp, gre, esp or a number from 0 \
         to 255"
            .to_owned()
    })
}
