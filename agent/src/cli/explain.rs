//! `crossway explain`.

use std::fmt::Write as _;
use std::net::IpAddr;

use clap::{Args, ValueEnum};

use super::failure::Failure;
use super::flows::parse_protocol;
use super::output::{Colour, Look};
use super::{Options, reading};
use crate::control::message::{End, ExplainRequest, Explained, FastPath, WhichFragment};
use crate::control::{Request, Response};

/// From which port clients send where nobody says otherwise (RFC 6335, 6: the first dynamic one).
const SOURCE_PORT: u16 = 49_152;
/// To which they send.
const DESTINATION_PORT: u16 = 443;

/// Which packet.
#[derive(Args, Debug)]
pub(super) struct Explain {
    /// Address of the sender
    #[arg(value_name = "SRC")]
    source: IpAddr,
    /// Address of the receiver
    #[arg(value_name = "DST")]
    destination: IpAddr,
    /// IP protocol: tcp, udp, icmp, icmpv6, … or a number [default: an echo request]
    #[arg(value_name = "PROTO", value_parser = parse_protocol)]
    protocol: Option<u8>,
    /// Source port; of an echo request the identifier
    #[arg(value_name = "SPORT", default_value_t = SOURCE_PORT, hide_default_value = true)]
    source_port: u16,
    /// Destination port
    #[arg(value_name = "DPORT", default_value_t = DESTINATION_PORT, hide_default_value = true)]
    destination_port: u16,
    /// Where it comes from: lan, tunnel, host (this gateway itself) or an interface [default: as the source says]
    #[arg(long, value_name = "WHERE")]
    from: Option<String>,
    /// Bytes of the IP packet [default: the headers alone]
    #[arg(long, value_name = "BYTES")]
    size: Option<u16>,
    /// Set the flag "don't fragment" (IPv4)
    #[arg(long)]
    df: bool,
    /// TTL or hop limit
    #[arg(long, value_name = "N", default_value_t = 64)]
    ttl: u8,
    /// A super-packet of TCP or UDP, as network cards join them, with so much payload in a segment
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(1..))]
    segment: Option<u16>,
    /// A fragment: the first one, with the ports, or a later one
    #[arg(long, value_name = "WHICH", value_enum)]
    fragment: Option<Which>,
    /// With IPv4 options, or a hop-by-hop header of IPv6
    #[arg(long)]
    options: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Which {
    /// With the ports
    First,
    /// Without
    Later,
}

/// Shows the way of a packet.
pub(super) fn explain(options: &Options, explain: &Explain) -> Result<(), Failure> {
    let echo = if explain.source.is_ipv4() { 1 } else { 58 };
    let request = ExplainRequest {
        source: explain.source,
        destination: explain.destination,
        protocol: explain.protocol.unwrap_or(echo),
        source_port: explain.source_port,
        destination_port: explain.destination_port,
        from: explain.from.clone(),
        size: explain.size,
        dont_fragment: explain.df,
        ttl: explain.ttl,
        segment_size: explain.segment,
        fragment: explain.fragment.map(|which| match which {
            Which::First => WhichFragment::First,
            Which::Later => WhichFragment::Later,
        }),
        options: explain.options,
    };
    // What cannot be needs no gateway to say so.
    if let Err(error) = request.sample().packet() {
        return Err(Failure::Wrong(error.to_string()));
    }
    let request = Request::Explain(request);
    let pick = |response| match response {
        Response::Explain(explained) => Some(*explained),
        _ => None,
    };
    reading::show(options, &request, pick, text)
}

fn text(answer: &Explained, look: Look) -> String {
    let mut text = look.paint(&answer.packet, Some(Colour::Bold)) + "\n";
    let width = answer.steps.iter().map(|step| step.at.len()).max();
    for (number, step) in answer.steps.iter().enumerate() {
        let (number, at) = (number + 1, &step.at);
        let width = width.unwrap_or(0);
        let _ = writeln!(text, "{number:>2}  {at:<width$}  {}", step.what);
    }
    let (end, colour) = end(answer);
    text + &look.paint(&end, Some(colour)) + "\n"
}

/// What becomes of it, in a line.
fn end(answer: &Explained) -> (String, Colour) {
    let or_unknown = |word: &Option<String>| word.clone().unwrap_or_else(|| "?".to_owned());
    let by = match answer.fast_path {
        FastPath::Carries => "by the fast path",
        _ => "by the kernel stack",
    };
    match answer.end {
        End::ToSite => {
            let (site, link) = (or_unknown(&answer.site), or_unknown(&answer.link));
            let is_known = answer.source_network.is_some();
            let colour = match answer.link_state.as_deref() {
                Some("Up") if is_known => Colour::Green,
                _ => Colour::Yellow,
            };
            (format!("goes to site {site} by link {link}, {by}"), colour)
        }
        End::ToLan | End::Elsewhere => {
            let next = answer
                .next_hop
                .map_or_else(|| "?".to_owned(), |next| next.to_string());
            let output = or_unknown(&answer.output);
            let colour = match answer.neighbour {
                Some(_) => Colour::Green,
                None => Colour::Yellow,
            };
            (format!("goes to {next} out of {output}, {by}"), colour)
        }
        End::ToHost => ("is for this host".to_owned(), Colour::Green),
        End::Answered => {
            let answer = or_unknown(&answer.answer);
            (
                format!("ends here; its sender gets {answer}"),
                Colour::Yellow,
            )
        }
        End::Dropped => ("ends here".to_owned(), Colour::Red),
    }
}
