//! What the programs are told about this gateway and its interfaces.

mod shared;

use std::collections::HashMap as StdHashMap;

use anyhow::{Context, Result};
use aya::Ebpf;
use datapath_abi::settings::{Interface, Settings};
use datapath_abi::user::Interfaces;
use datapath_abi::{ABI_VERSION, maps};

pub(super) use self::shared::SharedSettings;
use super::take;
use crossway_types::ids::IfIndex;

/// The maps SETTINGS, INTERFACES and INTERFACE_SLOTS.
pub struct SettingsMap {
    shared: SharedSettings,
    interfaces: Interfaces,
}

impl SettingsMap {
    pub(super) fn new(programs: &mut Ebpf) -> Result<Self> {
        Ok(Self {
            shared: SharedSettings::new(programs)?,
            interfaces: Interfaces::new(
                take(programs, maps::INTERFACES)?,
                take(programs, maps::INTERFACE_SLOTS)?,
            )
            .context(maps::INTERFACES)?,
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
        let wanted: Vec<_> = wanted.iter().map(|(index, it)| (index.0, *it)).collect();
        self.interfaces.set(&wanted).context(maps::INTERFACES)
    }

    /// Every interface with a role.
    pub fn interfaces(&self) -> Result<StdHashMap<IfIndex, Interface>> {
        let all = self.interfaces.all().context(maps::INTERFACES)?;
        let typed = all.into_iter().map(|(index, it)| (IfIndex(index), it));
        Ok(typed.collect())
    }
}
