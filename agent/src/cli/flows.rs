//! `crossway flows`.

mod all;
mod finished;

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
use crate::control::{FlowDirection, FlowFilter, FlowSort, protocol};
use crate::prefix::Prefix;

/// Flows that a person can look over; JSON gives all of them.
const DEFAULT_TOP: usize = 20;

/// Which flows, and in which order.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
                  crossway flows --sort rate --site paris\n  \
                  crossway flows --source 10.1.0.0/24 --port 443 --min-rate 1M\n  \
                  crossway flows --direction one-way --min-age 10s\n  \
                  crossway flows --json --sort table --top 1000\n  \
                  crossway flows --finished --follow --json | jq -c 'select(.end == \"pressure\")'")]
pub(super) struct Flows {
    /// Show that many at most, 0 for all [default: 20; with --json all]
    #[arg(long, value_name = "N")]
    top: Option<usize>,
    /// Show those behind a page: its `next`, with the same filter and order
    #[arg(long, value_name = "PLACE")]
    after: Option<String>,
    /// Show flows that are over instead, with their exact totals; oldest first
    #[arg(long, conflicts_with_all = ["top", "after", "sort", "watch", "min_rate"])]
    finished: bool,
    /// With --finished: go on and show each flow as it ends, until Ctrl-C
    #[arg(long, requires = "finished")]
    follow: bool,
    /// With --finished: the last N only [default: all that are kept; with --follow 10]
    #[arg(long, value_name = "N", requires = "finished")]
    last: Option<usize>,
    /// Only flows with an end in this address or prefix
    #[arg(long, value_name = "ADDRESS")]
    address: Option<Prefix>,
    /// Only flows with packets from this address or prefix
    #[arg(long, value_name = "ADDRESS")]
    source: Option<Prefix>,
    /// Only flows with packets to this address or prefix
    #[arg(long, value_name = "ADDRESS")]
    destination: Option<Prefix>,
    /// Only flows with this port at either end (of ICMP: this identifier)
    #[arg(long)]
    port: Option<u16>,
    /// Only flows of this IP protocol: tcp, udp, icmp, icmpv6, … or a number
    #[arg(long, value_parser = parse_protocol)]
    protocol: Option<u8>,
    /// Only flows of this site
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(complete::sites))]
    site: Option<String>,
    /// Only flows whose packets have gone this way
    #[arg(long, value_enum)]
    direction: Option<Direction>,
    /// Only flows that began at least so long ago: 90, 90s, 15m, 2h, 1d
    #[arg(long, value_name = "TIME", value_parser = parse_seconds)]
    min_age: Option<u64>,
    /// Only flows that began at most so long ago
    #[arg(long, value_name = "TIME", value_parser = parse_seconds)]
    max_age: Option<u64>,
    /// Only flows of at least so many bits per second, both directions together: 500, 64k, 10M, 1G
    #[arg(long, value_name = "RATE", value_parser = parse_bytes_per_second)]
    min_rate: Option<u64>,
    /// What comes first
    #[arg(long, value_enum, default_value = "bytes")]
    sort: Sort,
    #[command(flatten)]
    watch: Watch,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Direction {
    /// To the site alone
    ToSite,
    /// From the site alone
    FromSite,
    /// One way alone, whichever: nobody has answered
    OneWay,
    /// Both ways
    Both,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Sort {
    /// Most bytes in both directions
    Bytes,
    /// Most packets in both directions
    Packets,
    /// Most bytes per second in both directions
    Rate,
    /// Oldest
    Age,
    /// Longest silent
    Idle,
    /// No order: pages of a large table cost least, and hold 128 at least
    Table,
}

impl Flows {
    fn request(&self, options: &Options) -> FlowsRequest {
        let default_top = (!options.json).then_some(DEFAULT_TOP);
        FlowsRequest {
            filter: FlowFilter {
                address: self.address,
                source: self.source,
                destination: self.destination,
                port: self.port,
                protocol: self.protocol,
                site: self.site.clone(),
                direction: self.direction.map(|direction| match direction {
                    Direction::ToSite => FlowDirection::ToSite,
                    Direction::FromSite => FlowDirection::FromSite,
                    Direction::OneWay => FlowDirection::OneWay,
                    Direction::Both => FlowDirection::Both,
                }),
                min_age_seconds: self.min_age,
                max_age_seconds: self.max_age,
                min_bytes_per_second: self.min_rate,
            },
            sort: match self.sort {
                Sort::Bytes => FlowSort::Bytes,
                Sort::Packets => FlowSort::Packets,
                Sort::Rate => FlowSort::Rate,
                Sort::Age => FlowSort::Age,
                Sort::Idle => FlowSort::Idle,
                Sort::Table => FlowSort::Table,
            },
            top: self.top.or(default_top).filter(|top| *top > 0),
            after: self.after.clone(),
            without_rates: false,
        }
    }
}

/// Shows flows.
pub(super) fn flows(options: &Options, flows: &Flows) -> Result<(), Failure> {
    let request = flows.request(options);
    if flows.finished {
        return finished::finished(options, &request.filter, flows.last, flows.follow);
    }
    reading::watch_with(options, flows.watch, || all::ask(options, &request), text)
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

pub(super) fn parse_protocol(text: &str) -> Result<u8, String> {
    protocol::number(text).ok_or_else(|| {
        "not a known IP protocol: write tcp, udp, icmp, icmpv6, sctp, gre, esp or a number from 0 \
         to 255"
            .to_owned()
    })
}

/// Seconds, or a number with a unit.
pub(super) fn parse_seconds(text: &str) -> Result<u64, String> {
    scaled(text, &[("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)]).ok_or_else(|| {
        "not a time: write a number of seconds, or one with s, m, h or d behind it, such as 15m"
            .to_owned()
    })
}

/// Bits per second, as rates are shown.
fn parse_bytes_per_second(text: &str) -> Result<u64, String> {
    let units = [("k", 1_000), ("M", 1_000_000), ("G", 1_000_000_000)];
    let bits = scaled(text, &units).ok_or_else(|| {
        "not a rate: write a number of bits per second, or one with k, M or G behind it, such as 10M".to_owned()
    })?;
    Ok(bits.div_ceil(8))
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let unit = units.iter().find_map(|(unit, factor)| {
        let number = text.strip_suffix(unit)?;
        Some((number, *factor))
    });
    let (number, factor) = unit.unwrap_or((text, 1));
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_rates_have_units() {
        assert_eq!(parse_seconds("90"), Ok(90));
        assert_eq!(parse_seconds("15m"), Ok(900));
        assert_eq!(parse_seconds("1d"), Ok(86_400));
        assert_eq!(parse_bytes_per_second("64k"), Ok(8_000));
        assert_eq!(parse_bytes_per_second("1"), Ok(1));
        for wrong in ["", "m", "-1", "1.5h", "1w", "99999999999999999999d"] {
            assert!(parse_seconds(wrong).is_err(), "{wrong}");
        }
        for wrong in ["M", "10m", "1 k", "18446744073709551615k"] {
            assert!(parse_bytes_per_second(wrong).is_err(), "{wrong}");
        }
    }
}
