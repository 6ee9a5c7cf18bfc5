//! What the programs are told about this gateway and its interfaces.

mod shared;
mod slots;

use std::collections::HashMap as StdHashMap;

use anyhow::{Context, Result};
use aya::Ebpf;
use aya::maps::{HashMap, MapData};
use datapath_abi::settings::{Interface, Settings};
use datapath_abi::{ABI_VERSION, maps};

pub(super) use self::shared::SharedSettings;
use self::slots::Slots;
use super::{removed, take};
use crossway_types::ids::IfIndex;

/// The maps SETTINGS, INTERFACES and INTERFACE_SLOTS.
pub struct SettingsMap {
    shared: SharedSettings,
    interfaces: HashMap<MapData, u32, Interface>,
    slots: Slots,
}

impl SettingsMap {
    pub(super) fn new(programs: &mut Ebpf) -> Result<Self> {
        Ok(Self {
            shared: SharedSettings::new(programs)?,
            interfaces: take(programs, maps::INTERFACES)?,
            slots: Slots::new(programs)?,
        })
    }

    /// For the routes, whose generation is in the settings.
    pub(super) fn share(&self) -> SharedSettings {
        self.shared.clone()
    }

    /// What the programs go by now. All zero but the version: they leave everything to the stack.
    pub fn get(&self) -> Result<Settings> {
        self.shared.get()
    }

    /// Sets it, with this agent's version and the generation of the routes as it is. One write, so that
    /// a program sees the old or the new one.
    pub fn set(&mut self, settings: Settings) -> Result<()> {
        self.shared.change(|present| Settings {
            abi_version: ABI_VERSION,
            route_generation: present.route_generation,
            ..settings
        })
    }

    /// Makes these the interfaces with a role, and forgets all others.
    pub fn set_interfaces(&mut self, wanted: &[(IfIndex, Interface)]) -> Result<()> {
        let present = self.interfaces()?;
        for (index, interface) in wanted {
            if present.get(index) != Some(interface) {
                self.interfaces
                    .insert(index.0, interface, 0)
                    .with_context(|| format!("{}: interface {index}", maps::INTERFACES))?;
            }
        }
        for index in present.keys() {
            if wanted.iter().all(|(other, _)| other != index) {
                removed(self.interfaces.remove(&index.0)).context(maps::INTERFACES)?;
            }
        }
        self.slots.set(wanted)
    }

    /// Every interface with a role.
    pub fn interfaces(&self) -> Result<StdHashMap<IfIndex, Interface>> {
        self.interfaces
            .iter()
            .map(|entry| entry.map(|(index, interface)| (IfIndex(index), interface)))
            .collect::<Result<_, _>>()
            .context(maps::INTERFACES)
    }
}
