//! One transfer, measured.

use anyhow::{Context, Result};
use vm_tests::topology::{Family, Topology};
use vm_tests::traffic::Iperf3;

use crate::contender::Contender;
use crate::cpu;

/// The outcome of one transfer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) contender: Contender,
    pub(crate) streams: u32,
    pub(crate) gbit_per_second: f64,
    /// Of the whole machine, so of both hosts and both gateways, softirq included.
    pub(crate) cpu_seconds_per_gb: f64,
    pub(crate) retransmits: u64,
}

pub(crate) fn measure(
    topology: &Topology,
    contender: Contender,
    streams: u32,
    seconds: u32,
) -> Result<Sample> {
    let (from, to) = (&topology.sites[0], &topology.sites[1]);
    let before = cpu::busy_seconds()?;
    let report = Iperf3 { streams, seconds }
        .run(topology, from, to, to.host_address(Family::V4))
        .with_context(|| format!("{} with {streams} streams", contender.name()))?;
    let busy = cpu::busy_seconds()? - before;
    Ok(Sample {
        contender,
        streams,
        gbit_per_second: report.gbit_per_second,
        cpu_seconds_per_gb: busy / (report.bytes / 1e9),
        retransmits: report.retransmits,
    })
}
