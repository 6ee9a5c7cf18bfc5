//! What can be seen while a scenario is played: probes, links, virtual routers and events, as they change.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use vm_tests::crossway::Crossway;
use vm_tests::failover::Gateways;
use vm_tests::topology::{Near, Redundant};
use vm_tests::traffic::{Probes, WayReport};
use vm_tests::{sys, wait};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// Without loss for so long, traffic passes.
const SOUND: Duration = Duration::from_millis(300);
/// From the last step to traffic both ways.
const HEALED: Duration = Duration::from_secs(20);
/// Probes under way are not lost.
const UNDER_WAY: Duration = Duration::from_millis(150);
const WAYS: [&str; 2] = ["a to b", "b to a"];

/// Probes, and what was last seen of each gateway.
pub(super) struct Watch<'a> {
    gateways: &'a Gateways,
    probes: Probes,
    start: Instant,
    /// Last known state of each thing that has one.
    seen: BTreeMap<String, String>,
}

impl<'a> Watch<'a> {
    pub(super) fn start(net: &Redundant, gateways: &'a Gateways) -> Result<Self> {
        let near = (&net.host_a, net.host_address(Near::A));
        let far = (&net.host_b, net.host_address(Near::B));
        let probes = Probes::start(near, far)?;
        probes.steady(SOUND, HEALED)?;
        let mut watch = Self {
            gateways,
            probes,
            start: wait::now(),
            seen: BTreeMap::new(),
        };
        watch.look();
        Ok(watch)
    }

    /// Does something, and tells for a while what follows.
    pub(super) fn step(
        &mut self,
        what: &str,
        span: Duration,
        action: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let begun = wait::now();
        self.say(&format!("==> {what}"));
        action()?;
        while begun.elapsed() < span {
            ensure!(!sys::stop_requested(), "interrupted");
            self.look();
            wait::pace(LOOK);
        }
        let until = wait::now().checked_sub(UNDER_WAY).unwrap_or(begun);
        for (way, report) in WAYS.into_iter().zip(self.probes.between(begun, until)) {
            self.say(&format!("    traffic {way}: {}", of(report)));
        }
        Ok(())
    }

    /// Fails unless traffic passes both ways now.
    pub(super) fn is_whole(&self) -> Result<()> {
        self.probes.steady(SOUND, HEALED)
    }

    /// Everything since the start.
    pub(super) fn summary(&self) -> String {
        let [there, back] = self.probes.between(self.start, wait::now());
        format!("All in all, a to b: {}; b to a: {}.", of(there), of(back))
    }

    fn look(&mut self) {
        let gateways = self.gateways;
        for gateway in gateways.all() {
            // One that is restarting does not answer; the next look will see it.
            let states = states(gateway).unwrap_or_default();
            for (thing, state, why) in states {
                match self.seen.insert(thing.clone(), state.clone()) {
                    Some(before) if before != state => {
                        self.say(&format!("    {thing}: {before} -> {state}{why}"));
                    }
                    _ => {}
                }
            }
        }
    }

    fn say(&self, line: &str) {
        println!("{:6.1} s  {line}", self.start.elapsed().as_secs_f64());
    }
}

fn of(report: WayReport) -> String {
    let WayReport { sent, lost, gap } = report;
    if lost == 0 {
        return format!("{sent} probes, none lost");
    }
    format!(
        "{sent} probes, {lost} lost, none for {} ms",
        gap.as_millis()
    )
}

/// Everything of a gateway that has a state: its name, the state, and why it is in it.
fn states(gateway: &Crossway) -> Result<Vec<(String, String, String)>> {
    let status = gateway.status()?;
    let own = gateway.name();
    let own = own.rsplit('-').next().unwrap_or(own);
    let mut states = Vec::new();
    for site in status.sites {
        let name = format!("{own}  site {}", site.name);
        states.push((name, site.state.as_str().to_owned(), why(&site.why)));
        for link in site.links {
            let far = link.gateway.rsplit('-').next().unwrap_or_default();
            let path = link.link.as_deref().unwrap_or("null");
            let name = format!("{own}  link to {far} over {path}");
            let carries = if link.carries_flows {
                ", carries the flows"
            } else {
                ", spare"
            };
            let state = link.state.as_str().to_owned() + carries;
            states.push((name, state, why(&link.why)));
        }
    }
    for router in status.virtual_routers {
        let name = format!("{own}  virtual router {}", router.id);
        states.push((name, router.state, why(&router.why)));
        // Only what kind of warning it is: the rest counts seconds.
        let warnings = router.warnings.iter();
        let kinds: Vec<&str> = warnings
            .filter_map(|warning| warning.split(':').next())
            .collect();
        let name = format!("{own}  warning of virtual router {}", router.id);
        let kinds = if kinds.is_empty() {
            "none".to_owned()
        } else {
            kinds.join(", ")
        };
        states.push((name, kinds, String::new()));
    }
    Ok(states)
}

fn why(why: &str) -> String {
    format!(" ({why})")
}
