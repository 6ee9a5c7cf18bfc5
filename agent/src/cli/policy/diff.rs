//! `crossway policy diff`.

use std::collections::HashMap;
use std::fmt::Write;
use std::net::IpAddr;

use clap::Args;

use super::super::failure::Failure;
use super::super::flows;
use super::super::output::{Look, print, print_json};
use super::super::table::Table;
use super::super::units::{bytes, count, counted, duration};
use super::super::{Options, reading};
use super::show;
use crate::control::message::{
    Flow, FlowEnd, FlowVerdict, PolicyDiff, PolicyDifference, PolicyReply, PolicyRequest,
    PolicyRule, RuleSet,
};
use crate::control::{FlowFilter, Request, protocol};

/// Lines of each kind that a person can look over; JSON gives all of them.
const DEFAULT_TOP: usize = 20;
const ICMP: [u8; 2] = [1, 58];

/// How much of it.
#[derive(Args, Debug)]
#[command(
    after_help = "Flows of one client to one service are a line. Both lists show what is in the tables now, \
                  which are the flows of the last minutes."
)]
pub(in crate::cli) struct Diff {
    /// Show that many lines of each kind at most, 0 for all [default: 20; with --json all]
    #[arg(long, value_name = "N")]
    top: Option<usize>,
}

/// Whom, to whom, by what: flows that have this in common are one line.
type Line = (
    u8,
    IpAddr,
    IpAddr,
    u16,
    String,
    Option<String>,
    Option<String>,
);

/// Shows what the shadow rules would change.
pub(in crate::cli) fn diff(options: &Options, wanted: &Diff) -> Result<(), Failure> {
    let request = Request::Policy(PolicyRequest::default());
    let policy = reading::ask(options, &request, show::pick)?;
    if policy.vnets.iter().all(|vnet| vnet.shadow.is_none()) {
        return Err(Failure::Wrong(
            "there are no shadow rules: write them as [[shadow]] in the file, which takes the same keys as [[allow]], \
             and `crossway reload`"
                .to_owned(),
        ));
    }
    let mut diff = PolicyDiff {
        would_drop: ask(options, FlowVerdict::Allowed)?,
        would_pass: ask(options, FlowVerdict::Denied)?,
        shadow: shadow_of(policy),
    };
    diff.would_drop
        .sort_by_key(|line| std::cmp::Reverse(line.bytes));
    diff.would_pass
        .sort_by_key(|line| std::cmp::Reverse(line.packets));
    if options.json {
        for list in [&mut diff.would_drop, &mut diff.would_pass] {
            list.truncate(wanted.top.filter(|top| *top > 0).unwrap_or(usize::MAX));
        }
        return print_json(&diff, true);
    }
    let top = match wanted.top.unwrap_or(DEFAULT_TOP) {
        0 => usize::MAX,
        top => top,
    };
    print(&text(&diff, top, Look::of_stdout(options)))
}

fn shadow_of(policy: PolicyReply) -> Vec<PolicyRule> {
    let rules = policy.rules.into_iter();
    rules.filter(|rule| rule.set == RuleSet::Shadow).collect()
}

/// What is `now` so, and would be otherwise by the shadow rules.
fn ask(options: &Options, now: FlowVerdict) -> Result<Vec<PolicyDifference>, Failure> {
    let otherwise = match now {
        FlowVerdict::Allowed => FlowVerdict::Denied,
        FlowVerdict::Denied => FlowVerdict::Allowed,
    };
    let filter = FlowFilter {
        verdict: Some(now),
        shadow_verdict: Some(otherwise),
        ..FlowFilter::default()
    };
    let flows = flows::every(options, filter)?;
    Ok(fold(&flows))
}

/// A line for each client and service.
fn fold(flows: &[Flow]) -> Vec<PolicyDifference> {
    let mut lines: HashMap<Line, PolicyDifference> = HashMap::new();
    for flow in flows {
        let one = of_one(flow);
        let key = (
            one.protocol_number,
            one.from,
            one.to,
            one.port,
            one.vnet.clone(),
            one.rule.clone(),
            one.shadow_rule.clone(),
        );
        let Some(line) = lines.get_mut(&key) else {
            lines.insert(key, one);
            continue;
        };
        line.flows += 1;
        line.packets = line.packets.saturating_add(one.packets);
        line.bytes = line.bytes.saturating_add(one.bytes);
        line.age_seconds = line.age_seconds.max(one.age_seconds);
        line.idle_seconds = line.idle_seconds.min(one.idle_seconds);
    }
    lines.into_values().collect()
}

fn of_one(flow: &Flow) -> PolicyDifference {
    // Who opened a flow that came in its middle is not known: this gateway's side stands in front.
    let (from, to, port) = match flow.policy.opened_by {
        Some(FlowEnd::Remote) => (flow.remote, flow.local, flow.local_port),
        Some(FlowEnd::Local) | None => (flow.local, flow.remote, flow.remote_port),
    };
    // The identifier of an echo is no port.
    let has_port = !ICMP.contains(&flow.protocol_number);
    PolicyDifference {
        protocol: flow.protocol.clone(),
        protocol_number: flow.protocol_number,
        from,
        to,
        port: if has_port { port } else { 0 },
        site: flow.site.clone(),
        vnet: flow.vnet.clone(),
        rule: flow.policy.rule.clone(),
        shadow_rule: flow.policy.shadow_rule.clone(),
        flows: 1,
        packets: flow.to_site_packets.saturating_add(flow.from_site_packets),
        bytes: flow.to_site_bytes.saturating_add(flow.from_site_bytes),
        age_seconds: flow.age_seconds,
        idle_seconds: flow.idle_seconds,
    }
}

fn text(diff: &PolicyDiff, top: usize, look: Look) -> String {
    let mut text = String::new();
    let flows = |lines: &[PolicyDifference]| lines.iter().map(|line| line.flows).sum::<u64>();
    for (lines, what, nothing) in [
        (
            &diff.would_drop,
            "The shadow rules would drop what passes now",
            "The shadow rules would drop nothing that passes now.",
        ),
        (
            &diff.would_pass,
            "The shadow rules would let pass what is denied now",
            "The shadow rules would let nothing pass that is denied now.",
        ),
    ] {
        if lines.is_empty() {
            let _ = writeln!(text, "{nothing}\n");
            continue;
        }
        let number = counted(flows(lines), "flow", "flows");
        let _ = writeln!(text, "{what}: {number}");
        text += &table(&lines[..lines.len().min(top)]).text(look, nothing);
        if lines.len() > top {
            let more = counted((lines.len() - top) as u64, "more line", "more lines");
            let _ = writeln!(text, "{more} (--top 0 shows all)");
        }
        text.push('\n');
    }
    let shadow: Vec<&PolicyRule> = diff.shadow.iter().collect();
    text + &show::table(&shadow, RuleSet::Shadow).text(look, "No shadow rule.")
}

fn table(lines: &[PolicyDifference]) -> Table {
    let mut table = Table::new([
        "PROTO", "FROM", "TO", "SITE", ">FLOWS", ">PACKETS", ">BYTES", ">SINCE", "NOW", "SHADOW",
    ])
    .spare(&["PACKETS", "SITE"]);
    for line in lines {
        table.row([
            line.protocol.as_str().into(),
            line.from.to_string().into(),
            protocol::end(line.protocol_number, line.to, line.port).into(),
            line.site.as_str().into(),
            count(line.flows).into(),
            count(line.packets).into(),
            bytes(line.bytes).into(),
            duration(line.age_seconds).into(),
            line.rule.as_deref().unwrap_or("-").into(),
            line.shadow_rule.as_deref().unwrap_or("-").into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::message::FlowPolicy;

    fn flow(opened_by: Option<FlowEnd>, local_port: u16, age_seconds: u64) -> Flow {
        let text = serde_json::json!({
            "protocol": "tcp", "protocol_number": 6, "local": "10.1.0.10", "local_port": local_port,
            "remote": "10.2.0.10", "remote_port": 443, "site": "paris", "vnet": "default",
            "to_site_packets": 2, "to_site_bytes": 100, "from_site_packets": 1, "from_site_bytes": 50,
            "to_site_bytes_per_second": 0, "from_site_bytes_per_second": 0, "age_seconds": age_seconds,
            "idle_seconds": 1, "tcp_flags": "",
        });
        let policy = FlowPolicy {
            rule: Some("all".to_owned()),
            opened_by,
            ..FlowPolicy::default()
        };
        Flow {
            policy,
            ..serde_json::from_value(text).unwrap()
        }
    }

    #[test]
    fn flows_of_one_client_to_one_service_are_one_line() {
        let here = Some(FlowEnd::Local);
        let flows = [
            flow(here, 40_000, 9),
            flow(here, 40_001, 60),
            flow(here, 40_002, 5),
        ];
        let lines = fold(&flows);
        assert_eq!(lines.len(), 1);
        let line = &lines[0];
        assert_eq!((line.flows, line.packets, line.bytes), (3, 9, 450));
        assert_eq!((line.port, line.age_seconds), (443, 60));
        assert_eq!(line.from.to_string(), "10.1.0.10");
    }

    #[test]
    fn who_opened_a_flow_stands_in_front() {
        let flows = [flow(Some(FlowEnd::Remote), 22, 9), flow(None, 22, 9)];
        let mut lines = fold(&flows);
        lines.sort_by_key(|line| line.port);
        let of = |line: &PolicyDifference| (line.from.to_string(), line.port);
        assert_eq!(of(&lines[0]), ("10.2.0.10".to_owned(), 22));
        assert_eq!(of(&lines[1]), ("10.1.0.10".to_owned(), 443));
    }
}
