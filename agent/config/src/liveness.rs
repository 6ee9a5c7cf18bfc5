//! Reads `liveness`, `bfd` and `probe` of a remote gateway or of one of its links.

use std::net::IpAddr;
use std::time::Duration;

use super::diagnostic::shown;
use super::section::{At, Choice, Section};
use super::{BfdAddresses, Liveness, LivenessMode};
use crossway_liveness::bfd::Pace;

/// Milliseconds between two control packets. Below 10 ms a pause of the scheduler is a failure.
const INTERVALS: std::ops::RangeInclusive<i64> = 10..=60_000;
/// Lost packets. More than 50 are no fast failover.
const MULTIPLIERS: std::ops::RangeInclusive<i64> = 1..=50;
/// Shortest detection time without a warning: a busy machine has pauses of this length.
const SAFE_DETECTION: Duration = Duration::from_millis(50);

/// Reads the keys; what they do not say is as in `otherwise`.
pub(super) fn read(section: &Section<'_>, otherwise: &Liveness) -> At<Liveness> {
    let mut liveness = otherwise.clone();
    if let Some(mode) = read_mode(section) {
        liveness.mode = mode;
    }
    let mut liveness = read_bfd(section, liveness);
    let probe = read_address(section, "probe", "the far LAN");
    liveness.value.probe = probe.map(|at| at.value).or(liveness.value.probe);
    liveness
}

/// Reads `bfd` alone; what it does not say is as in `liveness`.
pub(super) fn read_bfd(section: &Section<'_>, liveness: Liveness) -> At<Liveness> {
    let mut liveness = At {
        value: liveness,
        offset: section.offset,
    };
    if let Some(bfd) = section.table("bfd", "{ interval_ms = 100, multiplier = 3 }") {
        liveness.offset = bfd.offset;
        read_pace_and_addresses(&bfd, &mut liveness.value);
        if liveness.value.mode == LivenessMode::WireGuard {
            section.error(
                "bfd",
                bfd.offset,
                "liveness = \"wireguard\" uses no BFD",
                "write liveness = \"auto\" or \"bfd\", or remove bfd",
            );
        }
    }
    liveness
}

fn read_mode(section: &Section<'_>) -> Option<LivenessMode> {
    let choice = Choice {
        example: "\"auto\"",
        all: &LivenessMode::ALL,
        word: LivenessMode::as_str,
        is: "not a way to monitor a link",
        mend: "write \"auto\", \"bfd\" or \"wireguard\"",
    };
    section.choice("liveness", &choice).map(At::into_value)
}

fn read_pace_and_addresses(section: &Section<'_>, liveness: &mut Liveness) {
    let Pace {
        interval,
        multiplier,
    } = liveness.pace;
    let interval = section
        .number("interval_ms", INTERVALS, "100")
        .map_or(interval, |at| Duration::from_millis(at.value as u64));
    let multiplier = section
        .number("multiplier", MULTIPLIERS, "3")
        .map_or(multiplier, |at| at.value as u8);
    liveness.pace = Pace {
        interval,
        multiplier,
    };
    let detection = interval * u32::from(multiplier);
    if detection < SAFE_DETECTION || multiplier == 1 {
        section.report.warning(
            section.offset,
            section.place.clone(),
            format!(
                "a link counts as dead after {} ms and {multiplier} lost packet{}: a busy machine or one lost packet moves its flows",
                detection.as_millis(),
                if multiplier == 1 { "" } else { "s" },
            ),
            "write interval_ms = 30, multiplier = 3 or more",
        );
    }
    liveness.addresses = read_addresses(section).or(liveness.addresses);
}

/// `local` and `remote`: both or none, and of one family.
fn read_addresses(section: &Section<'_>) -> Option<BfdAddresses> {
    let [local, remote] = ["local", "remote"].map(|key| read_address(section, key, "the tunnel"));
    if section.has("local") != section.has("remote") {
        let missing = if section.has("local") {
            "remote"
        } else {
            "local"
        };
        section.missing(
            missing,
            "write both addresses that the far end's BFD knows, or none between Crossway gateways",
        );
    }
    let (local, remote) = (local?, remote?);
    if local.value.is_ipv4() != remote.value.is_ipv4() || local.value == remote.value {
        section.error(
            "remote",
            remote.offset,
            format!("{} cannot talk to {}", local.value, remote.value),
            "write two addresses of one family, such as 10.255.0.1 and 10.255.0.2",
        );
        return None;
    }
    Some(BfdAddresses {
        local: local.value,
        remote: remote.value,
    })
}

fn read_address(section: &Section<'_>, key: &'static str, place: &str) -> Option<At<IpAddr>> {
    let text = section.string(key, "\"10.255.0.1\"")?;
    let unicast = |address: &IpAddr| {
        !(address.is_unspecified() || address.is_multicast() || address.is_loopback())
    };
    let address = text.value.parse().ok().filter(unicast);
    if address.is_none() {
        section.error(
            key,
            text.offset,
            format!("{} is not a unicast IP address", shown(text.value)),
            format!("write an address in {place}, such as 10.255.0.1"),
        );
    }
    address.map(|address| text.map(|_| address))
}
