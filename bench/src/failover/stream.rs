//! What every row measures by: a probe each millisecond and a TCP transfer, both ways, across the moment of
//! the change.

use std::time::Duration;

use anyhow::Result;
use vm_tests::topology::{Near, Redundant};
use vm_tests::traffic::{Probes, Progress, SteadyTcp, WayReport};
use vm_tests::wait;

use crate::results::{Better, Results};

/// Without loss for so long, the paths count as sound before a change and again after it.
const SOUND: Duration = Duration::from_millis(200);
/// A change that is not healed by then is an error, not a figure.
const HEAL: Duration = Duration::from_secs(30);
/// TCP may have backed off to a retransmission timer of its own after a long gap.
const RESUME: Duration = Duration::from_secs(20);

/// Traffic between the hosts of both sites, until dropped.
pub(super) struct Stream {
    probes: Probes,
    tcp: [SteadyTcp; 2],
}

/// What one change cost.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sample {
    /// From site a to b, and back.
    pub(super) ways: [WayReport; 2],
    pub(super) tcp: [Progress; 2],
    /// Connections that were reset or ended.
    pub(super) broken: u32,
}

impl Stream {
    pub(super) fn start(net: &Redundant) -> Result<Self> {
        let near = (&net.host_a, net.host_address(Near::A));
        let far = (&net.host_b, net.host_address(Near::B));
        let probes = Probes::start(near, far)?;
        probes.steady(SOUND, HEAL)?;
        Ok(Self {
            probes,
            tcp: transfers(net)?,
        })
    }

    /// Makes a change while the traffic goes on, waits until it passes again, and says what was missing.
    pub(super) fn across(
        &mut self,
        net: &Redundant,
        change: impl FnOnce() -> Result<()>,
    ) -> Result<Sample> {
        self.probes.steady(SOUND, HEAL)?;
        self.tcp.iter().try_for_each(|tcp| tcp.goes_on(RESUME))?;
        let from = wait::now();
        change()?;
        self.probes.steady_from(wait::now(), SOUND, HEAL)?;
        let ways = self.probes.since(from);
        for tcp in self.tcp.iter().filter(|tcp| tcp.is_alive()) {
            // One that ended meanwhile is counted below.
            let _ = tcp.goes_on(RESUME);
        }
        let broken = self.tcp.iter().filter(|tcp| !tcp.is_alive()).count() as u32;
        let tcp = [0, 1].map(|way: usize| self.tcp[way].since(from));
        if broken > 0 {
            self.tcp = transfers(net)?;
        }
        Ok(Sample { ways, tcp, broken })
    }
}

fn transfers(net: &Redundant) -> Result<[SteadyTcp; 2]> {
    let there = SteadyTcp::start(&net.host_a, &net.host_b, net.host_address(Near::B))?;
    let back = SteadyTcp::start(&net.host_b, &net.host_a, net.host_address(Near::A))?;
    Ok([there, back])
}

impl Sample {
    /// Milliseconds without a probe, of the worse way.
    pub(super) fn gap(&self) -> f64 {
        let [there, back] = self.ways.map(|way| milliseconds(way.gap));
        there.max(back)
    }

    /// Probes that never came, both ways together.
    pub(super) fn lost(&self) -> u32 {
        self.ways.iter().map(|way| way.lost).sum()
    }

    pub(super) fn add(&self, results: &mut Results, row: &str, contender: &str) {
        let mut add = |figure, better, sample| results.add(row, contender, figure, better, sample);
        let stall = self
            .tcp
            .iter()
            .map(|tcp| milliseconds(tcp.stall))
            .fold(0.0, f64::max);
        add(GAP, Better::Lower, self.gap());
        add(LOST, Better::Lower, self.lost().into());
        add("a to b ms", Better::Neither, milliseconds(self.ways[0].gap));
        add("b to a ms", Better::Neither, milliseconds(self.ways[1].gap));
        for (figure, way) in ["a to b lost", "b to a lost"].into_iter().zip(self.ways) {
            add(figure, Better::Neither, way.lost.into());
        }
        add("TCP stall ms", Better::Neither, stall);
        add(BROKEN, Better::Neither, self.broken.into());
    }
}

/// Names of the figures that targets are about.
pub(super) const GAP: &str = "gap ms";
pub(super) const LOST: &str = "lost probes";
pub(super) const BROKEN: &str = "TCP broken";

fn milliseconds(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}
