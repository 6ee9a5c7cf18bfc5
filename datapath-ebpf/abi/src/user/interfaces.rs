//! The interfaces with a role: all of them in a hash, and where the programs look first, without one.

use std::collections::HashMap as StdHashMap;
use std::vec;
use std::vec::Vec;

use aya::maps::{Array, HashMap, MapData, MapError};

use super::removed;
use crate::settings::{Interface, InterfaceSlot, slot_of};

/// The maps [`crate::maps::INTERFACES`] and [`crate::maps::INTERFACE_SLOTS`].
pub struct Interfaces {
    all: HashMap<MapData, u32, Interface>,
    slots: Array<MapData, InterfaceSlot>,
    /// What is in the slots: after a take-over, what the agent before wrote.
    written: Vec<InterfaceSlot>,
}

impl Interfaces {
    /// Of both maps.
    pub fn new(
        all: HashMap<MapData, u32, Interface>,
        slots: Array<MapData, InterfaceSlot>,
    ) -> Result<Self, MapError> {
        let written = slots.iter().collect::<Result<_, _>>()?;
        Ok(Self {
            all,
            slots,
            written,
        })
    }

    /// Every interface with a role, by its index.
    pub fn all(&self) -> Result<StdHashMap<u32, Interface>, MapError> {
        self.all.iter().collect()
    }

    /// Makes these the interfaces with a role, and forgets all others.
    pub fn set(&mut self, wanted: &[(u32, Interface)]) -> Result<(), MapError> {
        let present = self.all()?;
        for (index, interface) in wanted {
            if present.get(index) != Some(interface) {
                self.all.insert(index, interface, 0)?;
            }
        }
        for index in present.keys() {
            if wanted.iter().all(|(other, _)| other != index) {
                removed(self.all.remove(index))?;
            }
        }
        self.set_slots(wanted)
    }

    /// Adds one, or changes it.
    pub fn add(&mut self, index: u32, interface: Interface) -> Result<(), MapError> {
        let mut wanted = self.all()?;
        wanted.insert(index, interface);
        let wanted: Vec<_> = wanted.into_iter().collect();
        self.set(&wanted)
    }

    /// Gives each of these a slot, and empties all others. Of two that meet in a slot the first has it.
    fn set_slots(&mut self, interfaces: &[(u32, Interface)]) -> Result<(), MapError> {
        let mut wanted = vec![InterfaceSlot::default(); self.written.len()];
        for &(ifindex, interface) in interfaces {
            let slot = &mut wanted[slot_of(ifindex) as usize];
            if slot.ifindex == 0 {
                *slot = InterfaceSlot { ifindex, interface };
            }
        }
        for (index, slot) in wanted.into_iter().enumerate() {
            if self.written[index] != slot {
                self.slots.set(index as u32, slot, 0)?;
                self.written[index] = slot;
            }
        }
        Ok(())
    }
}
