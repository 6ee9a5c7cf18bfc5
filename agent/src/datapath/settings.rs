//! What the programs are told about this gateway and its interfaces.

use std::collections::HashMap as StdHashMap;

use anyhow::{Context, Result};
use aya::Ebpf;
use aya::maps::{Array, HashMap, MapData};
use datapath_abi::settings::{Interface, Settings};
use datapath_abi::{ABI_VERSION, maps};

use super::{removed, take};
use crate::ids::IfIndex;

/// The maps SETTINGS and INTERFACES.
pub struct SettingsMap {
    settings: Array<MapData, Settings>,
    interfaces: HashMap<MapData, u32, Interface>,
}

impl SettingsMap {
    pub(super) fn new(programs: &mut Ebpf) -> Result<Self> {
        Ok(Self {
            settings: take(programs, maps::SETTINGS)?,
            interfaces: take(programs, maps::INTERFACES)?,
        })
    }

    /// What the programs go by now. All zero but the version: they leave everything to the stack.
    pub fn get(&self) -> Result<Settings> {
        self.settings.get(&0, 0).context(maps::SETTINGS)
    }

    /// Sets it, with this agent's version. One write, so that a program sees the old or the new one.
    pub fn set(&mut self, settings: Settings) -> Result<()> {
        let settings = Settings {
            abi_version: ABI_VERSION,
            ..settings
        };
        self.settings.set(0, settings, 0).context(maps::SETTINGS)
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
        Ok(())
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
