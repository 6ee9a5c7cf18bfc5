//! `crossway capture`.

use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use clap_complete::engine::ArgValueCandidates;
use datapath_abi::capture::{MOST_KEPT, Way};

use super::failure::Failure;
use super::flows::parse_protocol;
use super::output::print_json;
use super::units::{bytes, count, counted};
use super::{Options, complete};
use crate::capture::{Bounds, Choice, Skin, UnknownSite, capture as run};
use crate::control::message::CaptureSummary;
use crate::datapath::capture::guard;
use crate::prefix::Prefix;

/// Least size of the buffer: a super-packet and some more must fit.
const LEAST_BUFFER: u64 = 256 << 10;
const MOST_BUFFER: u64 = 1 << 30;
/// Least bytes kept of a packet: its headers.
const LEAST_SNAP: i64 = 64;

/// Which packets, how many, and where to.
#[derive(Args, Debug)]
#[command(
    long_about = "Write packets of chosen flows to a pcapng file, as tshark and Wireshark read it: inside of the tunnel \
                  and outside of it, each with a comment that says what the fast path does with it, its site and its \
                  link. Packets are filtered in eBPF; while nobody captures, nothing of it is loaded.\n\n\
                  It needs root, and runs in this process: whatever ends it takes all of it away.",
    after_help = "Examples:\n  \
                  sudo crossway capture 10.1.0.10 10.2.0.10 --write flow.pcapng\n  \
                  sudo crossway capture --site paris --port 443 --skin inner | tshark -r -\n  \
                  sudo crossway capture --site paris --seconds 10 | wireshark -k -i -\n\n\
                  In Wireshark, filter by the comments: frame.comment contains \"verdict=to-stack\""
)]
pub(super) struct Capture {
    /// Only packets between this address or prefix …
    #[arg(value_name = "ONE", conflicts_with = "address")]
    one: Option<Prefix>,
    /// … and this one, both ways
    #[arg(value_name = "OTHER")]
    other: Option<Prefix>,
    /// Only packets with an end in this address or prefix
    #[arg(long, value_name = "ADDRESS")]
    address: Option<Prefix>,
    /// Only packets from this address or prefix
    #[arg(long, value_name = "ADDRESS")]
    source: Option<Prefix>,
    /// Only packets to this address or prefix
    #[arg(long, value_name = "ADDRESS")]
    destination: Option<Prefix>,
    /// Only packets with this port at either end (of ICMP: this identifier)
    #[arg(long)]
    port: Option<u16>,
    /// Only packets of this IP protocol: tcp, udp, icmp, icmpv6, … or a number
    #[arg(long, value_parser = parse_protocol)]
    protocol: Option<u8>,
    /// Only packets of this site
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(complete::sites))]
    site: Option<String>,
    /// Only packets that go this way
    #[arg(long, value_enum)]
    direction: Option<Direction>,
    /// Packets inside of the tunnel, its datagrams outside, or both
    #[arg(long, value_enum, default_value = "both")]
    skin: Skins,
    /// The file, which must not exist yet; - for standard output
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    write: PathBuf,
    /// End after so many packets
    #[arg(long, short, value_name = "N", default_value = "10000", value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// End before the file is larger than so many bytes: 500k, 100M, 2G
    #[arg(long, value_name = "BYTES", default_value = "100M", value_parser = parse_size)]
    size: u64,
    /// End after so many seconds
    #[arg(long, value_name = "N", default_value = "60", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Keep so many bytes of each packet [default: all]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(LEAST_SNAP..=MOST_KEPT as i64))]
    snap: Option<u32>,
    /// Room for packets that this program has not taken yet, rounded up to a power of two: 1M, 64M
    #[arg(long, value_name = "BYTES", default_value = "8M", value_parser = parse_buffer)]
    buffer: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Direction {
    /// To the site
    ToSite,
    /// From the site
    FromSite,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Skins {
    /// The packets in the tunnel
    Inner,
    /// The tunnel's datagrams: all of the links that the chosen packets may take
    Outer,
    /// Both
    Both,
}

impl Capture {
    fn choice(&self) -> Choice {
        Choice {
            ends: [self.one.or(self.address), self.other],
            source: self.source,
            destination: self.destination,
            port: self.port,
            protocol: self.protocol,
            site: self.site.clone(),
            way: self.direction.map(|direction| match direction {
                Direction::ToSite => Way::ToSite,
                Direction::FromSite => Way::FromSite,
            }),
            snap: self.snap.unwrap_or(MOST_KEPT),
            skin: match self.skin {
                Skins::Inner => Skin::Inner,
                Skins::Outer => Skin::Outer,
                Skins::Both => Skin::Both,
            },
        }
    }

    /// Families that do not meet would match nothing.
    fn refuse_mixed(&self) -> Result<(), Failure> {
        let named = [
            self.one,
            self.other,
            self.address,
            self.source,
            self.destination,
        ];
        let mut named = named.into_iter().flatten();
        let Some(first) = named.next() else {
            return Ok(());
        };
        match named.find(|other| other.is_ipv4() != first.is_ipv4()) {
            None => Ok(()),
            Some(other) => Err(Failure::Wrong(format!(
                "{first} and {other} are of different IP versions: no packet has both"
            ))),
        }
    }
}

/// Captures, and says at the end what it has.
pub(super) fn capture(options: &Options, capture: &Capture) -> Result<(), Failure> {
    let file = Some(&capture.write).filter(|path| *path != Path::new("-"));
    capture.refuse_mixed()?;
    if file.is_none() {
        if io::stdout().is_terminal() {
            return Err(Failure::Wrong(
                "a capture is no text for a terminal: write `--write FILE`, or `| tshark -r -`, or `| wireshark -k -i -`"
                    .to_owned(),
            ));
        }
        if options.json {
            return Err(Failure::Wrong(
                "standard output has the packets: with --json write them to a file, by --write FILE".to_owned(),
            ));
        }
    }
    if !nix::unistd::geteuid().is_root() {
        return Err(Failure::Failed(anyhow::anyhow!(
            "only root may see what others' packets hold: sudo crossway capture …"
        )));
    }
    let bounds = Bounds {
        packets: capture.count,
        bytes: capture.size,
        time: Duration::from_secs(capture.seconds),
        buffer: capture.buffer as u32,
    };
    let choice = capture.choice();
    let gateway = options.gateway.as_deref();
    let summary = run(gateway, &choice, bounds, file, |gateway| {
        let (packets, size) = (count(capture.count), bytes(capture.size));
        let seconds = capture.seconds;
        eprintln!(
            "capturing on {gateway}, at most {packets} packets, {size} and {seconds} s; Ctrl-C ends it"
        );
    })
    .map_err(|error| match error.downcast::<UnknownSite>() {
        Ok(unknown) => Failure::Wrong(unknown.to_string()),
        Err(error) => error.into(),
    })?;
    if options.json {
        return print_json(&summary, true);
    }
    eprint!("{}", text(&summary));
    Ok(())
}

/// The hidden process that removes filters.
pub(super) fn serve_guard(process: u32) -> Result<(), Failure> {
    Ok(guard::serve(process, io::stdin().lock())?)
}

fn text(summary: &CaptureSummary) -> String {
    let mut text = format!(
        "{} captured ({} inside, {} outside of the tunnel), {} in {:.1} s: {}\n",
        counted(summary.packets, "packet", "packets"),
        count(summary.inner_packets),
        count(summary.outer_packets),
        bytes(summary.file_bytes),
        summary.milliseconds as f64 / 1000.0,
        summary.ended.as_str(),
    );
    if summary.lost_packets > 0 {
        let lost = counted(summary.lost_packets, "packet", "packets");
        let _ = writeln!(
            text,
            "{lost} lost because the buffer was full: choose fewer, --snap, or a larger --buffer"
        );
    }
    text
}

/// Bytes, or KiB, MiB or GiB by their letter.
fn parse_size(text: &str) -> Result<u64, String> {
    let units = [("k", 1 << 10), ("M", 1 << 20), ("G", 1 << 30)];
    let unit = units.iter().find_map(|(unit, factor)| {
        let number = text.strip_suffix(unit)?;
        Some((number, *factor))
    });
    let (number, factor) = unit.unwrap_or((text, 1));
    let size = number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(factor));
    size.filter(|size| *size >= 1 << 10).ok_or_else(|| {
        "not a size of at least 1k: write a number of bytes, or one with k, M or G behind it, such as 100M".to_owned()
    })
}

fn parse_buffer(text: &str) -> Result<u64, String> {
    let size = parse_size(text)?;
    if (LEAST_BUFFER..=MOST_BUFFER).contains(&size.next_power_of_two()) {
        return Ok(size);
    }
    Err("not a buffer: it has from 256k to 1G".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::message::CaptureEnd;

    #[test]
    fn sizes_have_units_and_the_buffer_has_bounds() {
        assert_eq!(parse_size("500k"), Ok(512_000));
        assert_eq!(parse_size("2G"), Ok(2 << 30));
        for wrong in ["", "k", "-1", "999", "1.5M", "99999999999999999999G"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_buffer("8M"), Ok(8 << 20));
        for wrong in ["100k", "3G", "much"] {
            assert!(parse_buffer(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_end_is_said_in_a_line_and_what_was_lost_in_another() {
        let mut summary = CaptureSummary {
            packets: 1204,
            inner_packets: 602,
            outer_packets: 602,
            lost_packets: 0,
            file_bytes: 120_000,
            milliseconds: 2_340,
            ended: CaptureEnd::Count,
        };
        assert_eq!(
            text(&summary),
            "1,204 packets captured (602 inside, 602 outside of the tunnel), 117.2 KiB in 2.3 s: as many packets as \
             --count says\n"
        );
        summary.lost_packets = 1;
        let said = text(&summary);
        assert!(said.contains("\n1 packet lost because"), "{said}");
    }
}
