//! TCP by iperf3, with the processor time that it took.

use anyhow::{Context, Result};
use vm_tests::topology::{Family, Topology};
use vm_tests::traffic::{Iperf3, Iperf3Report};

use crate::contender::Contender;
use crate::cpu;
use crate::hops::{self, Hops};
use crate::load::Load;
use crate::results::{Better, Results};

/// Streams each way of [`Load::TcpBoth`].
pub(crate) const STREAMS_BOTH: u32 = 4;

/// One transfer.
pub(crate) fn measure(
    results: &mut Results,
    topology: &Topology,
    contender: Contender,
    load: Load,
    seconds: u32,
) -> Result<()> {
    let both = load == Load::TcpBoth;
    let streams = match load {
        Load::Tcp(streams) => streams,
        _ => STREAMS_BOTH,
    };
    let hops = Hops::look(topology)?;
    let before = cpu::busy_seconds()?;
    let reports = transfer(topology, Iperf3 { streams, seconds }, both)
        .with_context(|| format!("{} with {}", contender.name(), load.name()))?;
    let busy = cpu::busy_seconds()? - before;
    let events = Hops::look(topology)?.since(&hops);

    let rate: f64 = reports.iter().map(|report| report.gbit_per_second).sum();
    let bytes: f64 = reports.iter().map(|report| report.bytes).sum();
    let again: u64 = reports.iter().map(|report| report.retransmits).sum();
    let mut add = |figure, better, sample| {
        results.add(load.name(), contender.name(), figure, better, sample);
    };
    add("Gbit/s", Better::Higher, rate);
    add("CPU s/GB", Better::Lower, busy / (bytes / 1e9));
    // The kernels of the hosts decide about these as much as the tunnel does.
    add("retransmits", Better::Neither, again as f64);
    if both {
        add("Gbit/s back", Better::Neither, reports[1].gbit_per_second);
    }
    hops::add(results, load.name(), contender.name(), &events);
    Ok(())
}

fn transfer(topology: &Topology, iperf3: Iperf3, both: bool) -> Result<Vec<Iperf3Report>> {
    let (from, to) = (&topology.sites[0], &topology.sites[1]);
    let address = to.host_address(Family::V4);
    if both {
        Ok(iperf3.run_both_ways(topology, from, to, address)?.to_vec())
    } else {
        Ok(vec![iperf3.run(topology, from, to, address)?])
    }
}
