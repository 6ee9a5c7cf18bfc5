//! `crossway flows`.

mod all;
mod finished;
mod table;

pub(super) use all::every;
use clap::{Args, ValueEnum};
use clap_complete::engine::ArgValueCandidates;

use super::failure::Failure;
use super::{Options, Watch, complete, reading};
use crate::control::message::{FlowVerdict, FlowsRequest};
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
                  crossway flows --verdict denied --sort packets\n  \
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
    /// Only flows that the policy allows, or those that it denies, which are another list [default: allowed]
    #[arg(long, value_enum)]
    verdict: Option<Verdict>,
    /// Only flows that this rule allows
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(complete::active_rules))]
    rule: Option<String>,
    /// Only flows that the shadow rules would allow, or would deny
    #[arg(long, value_enum)]
    shadow: Option<Verdict>,
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
enum Verdict {
    /// Passes
    Allowed,
    /// Does not
    Denied,
}

impl From<Verdict> for FlowVerdict {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Allowed => Self::Allowed,
            Verdict::Denied => Self::Denied,
        }
    }
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
                verdict: self.verdict.map(FlowVerdict::from),
                rule: self.rule.clone(),
                shadow_verdict: self.shadow.map(FlowVerdict::from),
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
    reading::watch_with(
        options,
        flows.watch,
        || all::ask(options, &request),
        table::text,
    )
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
