//! Flows for people.

use std::fmt::Write;
use std::net::IpAddr;

use super::super::output::{Colour, Look};
use super::super::table::{Cell, Table};
use super::super::units::{bytes, count, counted, duration, rate};
use crate::control::message::{Flow, FlowPolicy, FlowVerdict, FlowsReply};
use crate::control::protocol;

/// A line for each, and what there is to say of the table.
pub(super) fn text(reply: &FlowsReply, look: Look) -> String {
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
        "RULE",
    ])
    .spare(&["FLAGS", "AGE", "IDLE", "RATE", "SITE"]);
    for flow in &reply.flows {
        table.row([
            flow.protocol.as_str().into(),
            end(flow, (flow.local, flow.local_port), flow.real.local_real).into(),
            end(flow, (flow.remote, flow.remote_port), flow.real.remote_real).into(),
            flow.site.as_str().into(),
            bytes(flow.to_site_bytes).into(),
            rate(flow.to_site_bytes_per_second).into(),
            bytes(flow.from_site_bytes).into(),
            rate(flow.from_site_bytes_per_second).into(),
            duration(flow.age_seconds).into(),
            duration(flow.idle_seconds).into(),
            flow.tcp_flags.as_str().into(),
            policy(&flow.policy),
        ]);
    }
    format!("{}\n{}", table.text(look, "No flow."), foot(reply))
}

/// An end of a flow, and behind it the address that the host really has.
fn end(flow: &Flow, (address, port): (IpAddr, u16), real: Option<IpAddr>) -> String {
    let end = protocol::end(flow.protocol_number, address, port);
    match real {
        Some(real) => format!("{end} ({real})"),
        None => end,
    }
}

/// The rule that allows a flow, and what the shadow rules would do where that is something else.
fn policy(policy: &FlowPolicy) -> Cell {
    let by_shadow = match (policy.shadow_verdict, policy.shadow_rule.as_deref()) {
        (Some(verdict), _) if verdict == policy.verdict => None,
        (Some(FlowVerdict::Denied), _) => Some("denied"),
        (Some(FlowVerdict::Allowed), rule) => Some(rule.unwrap_or("allowed")),
        (None, _) => None,
    };
    let (mut text, colour) = match policy.verdict {
        FlowVerdict::Denied => ("denied".to_owned(), Some(Colour::Red)),
        FlowVerdict::Allowed => (
            policy.rule.clone().unwrap_or_default(),
            by_shadow.map(|_| Colour::Yellow),
        ),
    };
    if let Some(by_shadow) = by_shadow {
        if !text.is_empty() {
            text.push_str(", ");
        }
        let _ = write!(text, "shadow: {by_shadow}");
    }
    match colour {
        Some(colour) => Cell::coloured(text, colour),
        None => text.into(),
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
    if let Some(next) = &reply.next {
        let _ = write!(text, " (--top 0 shows all, --after {next} the next)");
    } else if (reply.flows.len() as u64) < reply.matched {
        text.push_str(" (--top 0 shows all)");
    }
    if reply.filter.wants_denied() {
        let (present, capacity) = (count(reply.present), count(reply.capacity));
        let _ = writeln!(
            text,
            "; the list of denied flows holds {present} of {capacity}"
        );
        return text;
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
