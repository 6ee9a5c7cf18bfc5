//! Scenarios: what happens to the traffic where a path or a gateway fails, or where rules come into force, played so
//! that one can watch.
//!
//! ```text
//!   wan-cut, flap:               ┌─ path 1 ─┐
//!   host a ── lan a ── gateway a1┤          ├gateway b1 ── host b
//!                                └─ path 2 ─┘
//!   gateway-kill, split-brain:   ┌─ gateway a1 ─┐
//!           host a ── lan a ─────┤              ├─ path 1 ─ gateway b1 ── host b
//!                                └─ gateway a2 ─┘
//! ```
//! `overlap` has three sites of its own.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use vm_tests::config::{HealthKind, HealthTarget};
use vm_tests::crossway::Crossway;
use vm_tests::failover::{Gateways, Settings};
use vm_tests::sys;
use vm_tests::topology::{Near, Redundant};

use super::{PREFIX, status};

mod overlap;
mod policy;
mod watch;

use watch::Watch;

/// What is shown after each step.
const SHORT: Duration = Duration::from_secs(3);
/// A phase of the flapping path.
const PHASE: Duration = Duration::from_secs(2);
const FLAPS: u32 = 3;
/// Milliseconds: short enough to be watched.
const HOLD_DOWN: u32 = 5000;

/// A story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// Packets vanish on the path that carries the flows, then pass again.
    WanCut,
    /// The active gateway of a pair hangs, then comes back.
    GatewayKill,
    /// A path comes and goes.
    Flap,
    /// The two gateways of a pair lose each other on the LAN.
    SplitBrain,
    /// No failure: rules are tried out on the traffic, then put in force.
    Policy,
    /// Two of three sites have the same addresses.
    Overlap,
}

const NAMED: [(Scenario, &str); 6] = [
    (Scenario::WanCut, "wan-cut"),
    (Scenario::GatewayKill, "gateway-kill"),
    (Scenario::Flap, "flap"),
    (Scenario::SplitBrain, "split-brain"),
    (Scenario::Policy, "policy"),
    (Scenario::Overlap, "overlap"),
];

impl Scenario {
    pub(crate) fn from_name(word: &str) -> Result<Self> {
        match NAMED.iter().find(|(_, known)| *known == word) {
            Some((scenario, _)) => Ok(*scenario),
            None => bail!("there is no scenario {word:?}: known are {}", Self::names()),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        let named = NAMED.iter().find(|(scenario, _)| *scenario == self);
        named.map_or("", |(_, name)| name)
    }

    fn names() -> String {
        NAMED.map(|(_, name)| name).join(", ")
    }

    fn needs_a_pair(self) -> bool {
        matches!(self, Self::GatewayKill | Self::SplitBrain)
    }
}

/// Builds the lab, plays the scenario, and shows the live status as the lab does.
pub(super) fn play(scenario: Scenario, duration: Option<Duration>) -> Result<()> {
    if scenario == Scenario::Policy {
        return policy::play(duration);
    }
    if scenario == Scenario::Overlap {
        return overlap::play(duration);
    }
    let net = build(scenario)?;
    let settings = Settings {
        hold_down_ms: HOLD_DOWN,
        virtual_router: scenario.needs_a_pair(),
        health: health(scenario, &net),
        ..Settings::default()
    };
    let gateways = Gateways::start(&net, &settings)?;
    for gateway in gateways.all() {
        println!("  agent {} runs (pid {})", gateway.name(), gateway.pid()?);
    }
    gateways.wait_until_ready()?;
    println!("  every link is up; a probe each millisecond goes both ways");
    let mut watch = Watch::start(&net, &gateways)?;
    let told = tell(scenario, &net, &mut watch);
    let lost = watch.summary();
    told?;
    println!("{lost}");
    let names: Vec<&str> = gateways.all().map(Crossway::name).collect();
    if duration != Some(Duration::ZERO) {
        status::show(&names, &lost, &hints(&net), duration);
    }
    Ok(())
}

/// A gateway that reaches no host of its LAN says so to the far sites: it cannot know it from its carrier.
fn health(scenario: Scenario, net: &Redundant) -> Vec<HealthTarget> {
    let interval = Duration::from_millis(100);
    let host = net.host_address(Near::A);
    let target = HealthTarget {
        interval,
        timeout: interval,
        ..HealthTarget::new(host, HealthKind::Icmp, "lan0")
    };
    let wanted = scenario == Scenario::SplitBrain;
    wanted.then_some(target).into_iter().collect()
}

fn build(scenario: Scenario) -> Result<Redundant> {
    if scenario.needs_a_pair() {
        println!("Building: host a - LAN - gateways a1 and a2 - path 1 - gateway b1 - host b");
        Redundant::with_pair(Some(PREFIX))
    } else {
        println!("Building: host a - gateway a1 - paths 1 and 2 - gateway b1 - host b");
        Redundant::with_paths(Some(PREFIX), 2)
    }
}

fn tell(scenario: Scenario, net: &Redundant, watch: &mut Watch<'_>) -> Result<()> {
    watch.step("nothing happens yet", SHORT, || Ok(()))?;
    match scenario {
        Scenario::WanCut => {
            watch.step(
                "path 1 is cut: packets vanish, carriers stay up",
                SHORT,
                || net.cut_path(0),
            )?;
            let back = SHORT + Duration::from_millis(HOLD_DOWN.into());
            watch.step("path 1 is mended; its hold-down begins", back, || {
                net.mend_path(0)
            })?;
        }
        Scenario::Flap => {
            for _ in 0..FLAPS {
                watch.step("path 1 is cut", PHASE, || net.cut_path(0))?;
                watch.step("path 1 is mended", PHASE, || net.mend_path(0))?;
            }
        }
        Scenario::GatewayKill => {
            let first = &net.replicas[0];
            watch.step(
                "gateway a1 hangs: nothing comes from it, nothing reaches it",
                SHORT,
                || net.cut_off(first),
            )?;
            let back = SHORT + Duration::from_millis(HOLD_DOWN.into());
            watch.step("gateway a1 is back", back, || net.reconnect(first))?;
        }
        // It has a stage of its own.
        Scenario::Policy | Scenario::Overlap => {}
        Scenario::SplitBrain => {
            let first = &net.replicas[0];
            watch.step(
                "gateway a1 is cut off the LAN alone, all carriers up",
                SHORT,
                || net.set_lan(first, false),
            )?;
            let back = SHORT + Duration::from_millis(HOLD_DOWN.into());
            watch.step("gateway a1 is joined to the LAN again", back, || {
                net.set_lan(first, true)
            })?;
        }
    }
    ensure!(!sys::stop_requested(), "interrupted");
    watch.is_whole()
}

fn hints(net: &Redundant) -> String {
    let (host, gateway, far) = (
        net.host_a.name(),
        net.replicas[0].name(),
        net.host_address(Near::B),
    );
    let crossway = format!(
        "sudo {} --gateway {gateway}",
        vm_tests::crossway::binary().display()
    );
    format!(
        "Try in another terminal:
  sudo ip netns exec {host} ping -i 0.01 {far}
  {crossway} links
  {crossway} events --follow
  sudo ip netns exec {PREFIX}-path-1 sysctl net.ipv4.ip_forward=0        # cut path 1; =1 mends it
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_is_found_by_its_name() {
        for (scenario, name) in NAMED {
            assert_eq!(Scenario::from_name(name).unwrap(), scenario);
        }
        assert!(Scenario::from_name("rain").is_err());
    }
}
