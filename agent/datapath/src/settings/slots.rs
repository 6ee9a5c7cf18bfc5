//! Where the programs find an interface without a hash.

use anyhow::{Context, Result};
use aya::Ebpf;
use aya::maps::{Array, MapData};
use datapath_abi::maps;
use datapath_abi::settings::{Interface, InterfaceSlot, slot_of};

use super::super::take;
use crossway_types::ids::IfIndex;

/// The map INTERFACE_SLOTS.
pub(super) struct Slots {
    map: Array<MapData, InterfaceSlot>,
    /// What is in it: after a take-over, what the agent before wrote.
    written: Vec<InterfaceSlot>,
}

impl Slots {
    pub(super) fn new(programs: &mut Ebpf) -> Result<Self> {
        let map: Array<MapData, InterfaceSlot> = take(programs, maps::INTERFACE_SLOTS)?;
        let written = map.iter().collect::<Result<_, _>>();
        let written = written.context(maps::INTERFACE_SLOTS)?;
        Ok(Self { map, written })
    }

    /// Gives each of these a slot, and empties all others. Of two that meet in a slot the first has it.
    pub(super) fn set(&mut self, interfaces: &[(IfIndex, Interface)]) -> Result<()> {
        let mut wanted = vec![InterfaceSlot::default(); self.written.len()];
        for (index, interface) in interfaces {
            let slot = &mut wanted[slot_of(index.0) as usize];
            if slot.ifindex == 0 {
                *slot = InterfaceSlot {
                    ifindex: index.0,
                    interface: *interface,
                };
            }
        }
        for (index, slot) in wanted.into_iter().enumerate() {
            if self.written[index] != slot {
                self.map
                    .set(index as u32, slot, 0)
                    .with_context(|| format!("{}: slot {index}", maps::INTERFACE_SLOTS))?;
                self.written[index] = slot;
            }
        }
        Ok(())
    }
}
