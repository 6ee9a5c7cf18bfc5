//! What hostile bytes are tried on: one target for each kind of input that the network, a user or another
//! program may send. A target takes any bytes, makes of them what its parser gets, and panics where a
//! property does not hold; that a parser itself never panics is a property of each.
//!
//! Tests replay the committed corpus through it, and `libfuzzer/` hands it to libFuzzer (`cargo xtask fuzz`).
//! No check is taken out for that: where bytes must be authentic the target holds the keys and seals them.

mod bfd;
mod coalesce;
mod config;
mod control;
mod datagrams;
mod echo;
mod feed;
mod gateways;
mod handover;
mod inner;
mod kernel;
mod mapping;
mod path_mtu;
mod policy;
mod replica;
mod sessions;
mod split;
mod texts;
mod vrrp;

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use crossway_sys::clock;

/// One kind of input.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Name of the target, of its file in `agent/fuzz/fuzz_targets`, and of its folder in `agent/fuzz/corpus`.
    pub name: &'static str,
    /// Tries an input.
    pub run: fn(&[u8]),
    /// Inputs to begin with, made from real messages.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

const fn target(name: &'static str, run: fn(&[u8]), seeds: fn() -> Vec<Vec<u8>>) -> Target {
    Target { name, run, seeds }
}

/// Every target.
pub const TARGETS: [Target; 17] = [
    target("datagrams", datagrams::run, datagrams::seeds),
    target("sessions", sessions::run, sessions::seeds),
    target("inner", inner::run, inner::seeds),
    target("split", split::run, split::seeds),
    target("mapping", mapping::run, mapping::seeds),
    target("coalesce", coalesce::run, coalesce::seeds),
    target("bfd", bfd::run, bfd::seeds),
    target("echo", echo::run, echo::seeds),
    target("path_mtu", path_mtu::run, path_mtu::seeds),
    target("vrrp", vrrp::run, vrrp::seeds),
    target("replica", replica::run, replica::seeds),
    target("handover", handover::run, handover::seeds),
    target("config", config::run, config::seeds),
    target("control", control::run, control::seeds),
    target("texts", texts::run, texts::seeds),
    target("kernel", kernel::run, kernel::seeds),
    target("policy", policy::run, policy::seeds),
];

/// Tries an input on the target of this name.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    let target = target.unwrap_or_else(|| panic!("no target is named {name}"));
    (target.run)(data);
}

/// The moment at which every input begins, so that it does the same each time it is tried.
fn beginning() -> Instant {
    static BEGINNING: LazyLock<Instant> = LazyLock::new(|| clock::now() + Duration::from_hours(24));
    *BEGINNING
}

#[cfg(test)]
mod tests;
