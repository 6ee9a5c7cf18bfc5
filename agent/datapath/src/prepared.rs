//! Loading beside an agent that still runs: the slow part, the verifier's, before the hand-over, and
//! what depends on the maps' content after it.

use anyhow::{Context, Result, bail};
use aya::maps::Map;
use aya::{Ebpf, Pod};
use datapath_abi::flow::{FlowCounters, FlowKey, FlowKey4};
use datapath_abi::maps;

use super::attachment::TcAttach;
use super::hold::{Hold, Holder};
use super::pins::{self, Pins};
use super::sys::batch::BatchReader;
use super::{Datapath, load_pinned};

/// Flows that are read by one system call, about a millisecond's worth.
const BATCH: usize = 4096;

/// Programs that are loaded for the maps of an agent that still runs. Nothing is attached or written
/// yet; dropping it changes nothing.
pub struct Prepared {
    programs: Ebpf,
    pins: Pins,
    hold: Hold,
    gateway: String,
    tc: TcAttach,
}

impl Prepared {
    /// Loads the programs. `None` where the pinned maps are of another version or shape, or there are
    /// none: then [`Datapath::load_for`] must wait until the other agent has gone.
    pub fn load_for(gateway: &str, tc: TcAttach, flows: usize) -> Result<Option<Self>> {
        pins::ensure_bpffs()?;
        let pins = Pins::new(gateway);
        pins.refuse_foreign()?;
        if !pins.exist() || pins.misfit(flows)?.is_some() {
            return Ok(None);
        }
        Ok(Some(Self {
            hold: pins.hold(Holder::Successor)?,
            programs: load_pinned(&pins, true, flows)?,
            pins,
            gateway: gateway.to_owned(),
            tc,
        }))
    }

    /// Shows every flow that the programs know, those of IPv4 first, while the other agent still runs. A
    /// full table takes some tens of milliseconds; flows that come or go meanwhile may be missed.
    pub fn for_each_flow(&self, mut visit: impl FnMut(&FlowKey, &FlowCounters)) -> Result<()> {
        show::<FlowKey4>(&self.programs, maps::FLOWS4, &mut visit)?;
        show::<FlowKey>(&self.programs, maps::FLOWS6, &mut visit)
    }

    /// Takes the maps over as they are now; the other agent must not write them any more.
    pub fn finish(self) -> Result<Datapath> {
        let Self {
            programs,
            pins,
            hold,
            gateway,
            tc,
        } = self;
        Datapath::new(programs, pins, hold, &gateway, tc, true)
    }
}

fn show<K: Pod + Default + Into<FlowKey>>(
    programs: &Ebpf,
    name: &str,
    visit: &mut impl FnMut(&FlowKey, &FlowCounters),
) -> Result<()> {
    let Some(Map::LruHashMap(map)) = programs.map(name) else {
        bail!("{name}: the eBPF object has no LRU hash of this name");
    };
    let mut reader =
        BatchReader::<K, FlowCounters>::new(map, BATCH).with_context(|| name.to_owned())?;
    let mut cursor = None;
    loop {
        let read = reader.read(cursor, BATCH);
        let (entries, next) = read.with_context(|| name.to_owned())?;
        for (key, counters) in entries {
            visit(&key.into(), &counters);
        }
        cursor = next;
        if cursor.is_none() {
            return Ok(());
        }
    }
}
