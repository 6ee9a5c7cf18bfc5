//! Reads `[[gateway.health]]`: targets in this gateway's own LAN that tell whether it is alive.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use toml_edit::{Item, TableLike};

use super::Lan;
use super::diagnostic::shown;
use super::endpoint::Problem;
use super::section::{At, Section};

/// Most targets: each is a task and some packets a second.
const MOST_TARGETS: usize = 16;
/// Milliseconds between probes: a tenth of a second is no burden on a host, a minute is no watch.
const INTERVALS: std::ops::RangeInclusive<i64> = 100..=60_000;
pub(super) const DEFAULT_INTERVAL: i64 = 1_000;
/// Shortest wait for an answer, milliseconds: a LAN answers in one, a busy host in ten.
const SHORTEST_TIMEOUT: i64 = 10;
/// Longest wait where the file says nothing, milliseconds.
const DEFAULT_TIMEOUT: i64 = 1_000;
/// Bounds of `failures` and `successes`.
const THRESHOLDS: std::ops::RangeInclusive<i64> = 1..=100;
pub(super) const DEFAULT_FAILURES: u32 = 3;
pub(super) const DEFAULT_SUCCESSES: u32 = 2;

/// `[[gateway.health]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthTarget {
    /// A host of the LAN.
    pub address: IpAddr,
    /// How it is asked.
    pub kind: HealthKind,
    /// The LAN interface that it is asked by.
    pub interface: String,
    /// From one probe to the next.
    pub interval: Duration,
    /// How long an answer may take; no longer than the interval.
    pub timeout: Duration,
    /// Failures in a row that make it count as down, at least 1.
    pub failures: u32,
    /// Successes in a row that make it count as up, at least 1.
    pub successes: u32,
}

/// `kind = "icmp" | "tcp"`, with the port of a TCP target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthKind {
    /// By ICMP echo.
    Icmp,
    /// By opening a connection to this port.
    Tcp(u16),
}

impl HealthTarget {
    /// As in the file: `10.2.0.10`, `10.2.0.10:443`, `[2001:db8::10]:443`.
    pub fn target_text(&self) -> String {
        match self.kind {
            HealthKind::Icmp => self.address.to_string(),
            HealthKind::Tcp(port) => SocketAddr::new(self.address, port).to_string(),
        }
    }

    /// `icmp` or `tcp`.
    pub fn kind_word(&self) -> &'static str {
        match self.kind {
            HealthKind::Icmp => "icmp",
            HealthKind::Tcp(_) => "tcp",
        }
    }
}

impl fmt::Display for HealthTarget {
    /// `icmp 10.2.0.10 by eth1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, target) = (self.kind_word(), self.target_text());
        write!(f, "{kind} {target} by {}", self.interface)
    }
}

/// Reads the list; an entry with a fault is `None`.
pub(super) fn read(gateway: &Section<'_>, lan: &[Option<Lan>]) -> Vec<Option<HealthTarget>> {
    let sections = gateway.tables("health", "gateway.health", place);
    if let Some(last) = sections.get(MOST_TARGETS) {
        let problem = format!("{} health targets are too many", sections.len());
        let mend = format!("one gateway takes {MOST_TARGETS}: choose hosts that are always on");
        gateway.error("health", last.offset, problem, mend);
    }
    let targets: Vec<Option<HealthTarget>> = sections
        .iter()
        .map(|section| read_target(section, lan))
        .collect();
    for (index, section) in sections.iter().enumerate() {
        let first = targets[..index].iter().position(|other| {
            let same = |a: &HealthTarget, b: &HealthTarget| {
                (a.address, a.kind, &a.interface) == (b.address, b.kind, &b.interface)
            };
            matches!((other, &targets[index]), (Some(a), Some(b)) if same(a, b))
        });
        if let Some(first) = first {
            let line = section.report.line(sections[first].offset);
            let place = section.place.clone();
            let problem = format!("the same target is listed twice (line {line})");
            section
                .report
                .error(section.offset, place, problem, "keep one of them");
        }
    }
    targets
}

fn place(table: &dyn TableLike, index: usize) -> String {
    match table.get("target").and_then(Item::as_str) {
        Some(target) => format!("gateway.health {target:?}"),
        None => format!("gateway.health #{}", index + 1),
    }
}

fn read_target(section: &Section<'_>, lan: &[Option<Lan>]) -> Option<HealthTarget> {
    let host = read_host(section);
    let interface = read_interface(section, lan);
    let interval = section.number("interval_ms", INTERVALS, "1000");
    let interval = interval.map_or(DEFAULT_INTERVAL, |found| found.value);
    let timeout = read_timeout(section, interval);
    let threshold = |key: &'static str, default: u32| {
        let found = section.number(key, THRESHOLDS, &default.to_string());
        found.map_or(default, |found| found.value as u32)
    };
    let (failures, successes) = (
        threshold("failures", DEFAULT_FAILURES),
        threshold("successes", DEFAULT_SUCCESSES),
    );
    let (address, kind) = host?;
    Some(HealthTarget {
        address,
        kind,
        interface: interface?,
        interval: Duration::from_millis(interval as u64),
        timeout: Duration::from_millis(timeout? as u64),
        failures,
        successes,
    })
}

/// `target` and `kind`: a port makes it TCP.
fn read_host(section: &Section<'_>) -> Option<(IpAddr, HealthKind)> {
    let example = "\"10.2.0.10\" or \"10.2.0.10:443\"";
    let text = section.required_string("target", example);
    let word = section.string("kind", "\"icmp\"");
    if let Some(word) = word.filter(|word| !["icmp", "tcp"].contains(&word.value)) {
        section.error(
            "kind",
            word.offset,
            format!("{} is not a kind of probe", shown(word.value)),
            "write \"icmp\", or \"tcp\" with a port behind the target",
        );
        return None;
    }
    let text = text?;
    let parsed = parse_host(text.value).and_then(|(address, port)| {
        let kind = match (word.map(|word| word.value), port) {
            (Some("icmp"), Some(port)) => {
                return Err((
                    format!("{} has a port, but ICMP has none", shown(text.value)),
                    format!("write {address}, or kind = \"tcp\" to connect to port {port}"),
                ));
            }
            (Some("tcp"), None) => {
                return Err((
                    format!("{} has no port", shown(text.value)),
                    format!("write {}", SocketAddr::new(address, 443)),
                ));
            }
            (_, Some(port)) => HealthKind::Tcp(port),
            (_, None) => HealthKind::Icmp,
        };
        Ok((address, kind))
    });
    match parsed {
        Ok(host) => Some(host),
        Err((problem, mend)) => {
            section.error("target", text.offset, problem, mend);
            None
        }
    }
}

fn parse_host(text: &str) -> Result<(IpAddr, Option<u16>), Problem> {
    let (address, port) = match (text.parse::<IpAddr>(), text.parse::<SocketAddr>()) {
        (Ok(address), _) => (address, None),
        (_, Ok(socket)) if socket.port() != 0 => (socket.ip(), Some(socket.port())),
        (_, Ok(_)) => {
            return Err((
                format!("{} has no usable port", shown(text)),
                "write a number from 1 to 65535 behind the colon".to_owned(),
            ));
        }
        _ => {
            return Err((
                format!(
                    "{} is not an IP address, with or without a port",
                    shown(text)
                ),
                "write the address of a host in this gateway's LAN, such as 10.2.0.10 or \
                 10.2.0.10:443 (no host name: an unreachable name server does not mean a dead LAN)"
                    .to_owned(),
            ));
        }
    };
    if address.is_unspecified() || address.is_multicast() || address.is_loopback() {
        return Err((
            format!("{} is not the address of a host in the LAN", shown(text)),
            "write the address of a host that is always on".to_owned(),
        ));
    }
    if matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local()) {
        return Err((
            format!("{} is link-local: it names no interface", shown(text)),
            "write a global or unique local address of the host".to_owned(),
        ));
    }
    Ok((address, port))
}

fn read_timeout(section: &Section<'_>, interval: i64) -> Option<i64> {
    let range = SHORTEST_TIMEOUT..=*INTERVALS.end();
    let Some(found) = section.number("timeout_ms", range, "500") else {
        return (!section.has("timeout_ms")).then_some(default_timeout(interval));
    };
    if found.value > interval {
        section.error(
            "timeout_ms",
            found.offset,
            format!(
                "{} ms is longer than the interval of {interval} ms: one probe would run into the next",
                found.value
            ),
            format!("write a number from {SHORTEST_TIMEOUT} to {interval}, or a longer interval_ms"),
        );
        return None;
    }
    Some(found.value)
}

/// Where the file says nothing: no longer than the interval, both in milliseconds.
pub(super) fn default_timeout(interval: i64) -> i64 {
    interval.min(DEFAULT_TIMEOUT)
}

/// `interface`: needed where there are several LANs.
fn read_interface(section: &Section<'_>, lan: &[Option<Lan>]) -> Option<String> {
    let names: Vec<&str> = lan
        .iter()
        .flatten()
        .map(|lan| lan.interface.as_str())
        .collect();
    let found: Option<At<&str>> = section.string("interface", "\"eth1\"");
    match (found, names.as_slice()) {
        (Some(found), _) if names.contains(&found.value) => Some(found.value.to_owned()),
        // The fault is in the LANs.
        _ if names.len() < lan.len() || lan.is_empty() => None,
        (Some(found), _) => {
            section.error(
                "interface",
                found.offset,
                format!(
                    "{} is not a LAN interface of this gateway",
                    shown(found.value)
                ),
                format!("write one of [[gateway.lan]]: {}", names.join(", ")),
            );
            None
        }
        (None, [only]) if !section.has("interface") => Some((*only).to_owned()),
        (None, _) if section.has("interface") => None,
        (None, _) => {
            section.missing(
                "interface",
                format!(
                    "there are several LANs: write the one that the target is on: {}",
                    names.join(", ")
                ),
            );
            None
        }
    }
}
