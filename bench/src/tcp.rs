//! TCP by iperf3, with the processor time that it took.

use anyhow::{Context, Result};
use vm_tests::topology::{Family, Topology};
use vm_tests::traffic::{Iperf3, Iperf3Report};

use crate::contender::Contender;
use crate::cpu;
use crate::hops::{self, Hops};
use crate::load::Load;
use crate::results::{Better, Results};

/// What a transfer brought, all ways and streams together.
pub(crate) struct Total {
    pub(crate) gbit_per_second: f64,
    pub(crate) gigabytes: f64,
    pub(crate) retransmits: f64,
}

impl Total {
    pub(crate) fn of(reports: &[Iperf3Report]) -> Self {
        let reports = || reports.iter();
        Self {
            gbit_per_second: reports().map(|report| report.gbit_per_second).sum(),
            gigabytes: reports().map(|report| report.bytes).sum::<f64>() / 1e9,
            retransmits: reports().map(|report| report.retransmits as f64).sum(),
        }
    }
}

/// One transfer.
pub(crate) fn measure(
    results: &mut Results,
    topology: &Topology,
    contender: Contender,
    load: Load,
    seconds: u32,
) -> Result<()> {
    let both = load == Load::TcpBoth;
    let streams = load.streams();
    let hops = Hops::look(topology)?;
    let before = cpu::busy_seconds()?;
    let reports = transfer(topology, Iperf3 { streams, seconds }, both)
        .with_context(|| format!("{} with {}", contender.name(), load.name()))?;
    let busy = cpu::busy_seconds()? - before;
    let events = Hops::look(topology)?.since(&hops);

    let total = Total::of(&reports);
    let mut add = |figure, better, sample| {
        results.add(load.name(), contender.name(), figure, better, sample);
    };
    add("Gbit/s", Better::Higher, total.gbit_per_second);
    add("CPU s/GB", Better::Lower, busy / total.gigabytes);
    // The kernels of the hosts decide about these as much as the tunnel does.
    add("retransmits", Better::Neither, total.retransmits);
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
