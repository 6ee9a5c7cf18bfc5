//! What the programs dropped and what they left to the kernel stack, by reason.

use anyhow::{Context, Result};
use aya::Ebpf;
use aya::maps::{MapData, PerCpuArray};
use datapath_abi::maps;
use datapath_abi::outcome::{DropReason, StackReason, Tally};

use super::take;

/// The maps DROPS and TO_STACK.
pub struct Tallies {
    drops: PerCpuArray<MapData, Tally>,
    to_stack: PerCpuArray<MapData, Tally>,
}

impl Tallies {
    pub(super) fn new(programs: &mut Ebpf) -> Result<Self> {
        Ok(Self {
            drops: take(programs, maps::DROPS)?,
            to_stack: take(programs, maps::TO_STACK)?,
        })
    }

    /// Every drop reason with its count, zeros included. Of the reasons that the agent counts, the
    /// programs count nothing.
    pub fn drops(&self) -> Result<Vec<(DropReason, Tally)>> {
        let all = DropReason::ALL.iter();
        all.map(|reason| Ok((*reason, read(&self.drops, reason.index())?)))
            .collect::<Result<_>>()
            .context(maps::DROPS)
    }

    /// Every stack reason with its count, zeros included.
    pub fn to_stack(&self) -> Result<Vec<(StackReason, Tally)>> {
        let all = StackReason::ALL.iter();
        all.map(|reason| Ok((*reason, read(&self.to_stack, reason.index())?)))
            .collect::<Result<_>>()
            .context(maps::TO_STACK)
    }
}

fn read(map: &PerCpuArray<MapData, Tally>, index: u32) -> Result<Tally> {
    let each = map.get(&index, 0)?;
    Ok(each.iter().copied().sum())
}
