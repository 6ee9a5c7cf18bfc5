//! What the programs are told about this gateway and its interfaces.

mod shared;

use std::collections::HashMap as StdHashMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result};
use aya::Ebpf;
use datapath_abi::settings::{Interface, NAT, Settings};
use datapath_abi::user::Interfaces;
use datapath_abi::{ABI_VERSION, maps};

pub(super) use self::shared::SharedSettings;
use super::take;
use crossway_types::ids::IfIndex;

/// What is around the programs and changes while they run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Something translates addresses of what passes the host.
    pub nat: bool,
    /// Source of the programs' own answers into the tunnel.
    pub answers_from4: Option<Ipv4Addr>,
    /// The same of IPv6.
    pub answers_from6: Option<Ipv6Addr>,
}

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

    /// Sets it, with this agent's version; the generation of the routes and what is said of the [`Surroundings`] stay
    /// as they are. One write, so that a program sees the old or the new one.
    pub fn set(&mut self, settings: Settings) -> Result<()> {
        self.shared.change(|present| Settings {
            abi_version: ABI_VERSION,
            route_generation: present.route_generation,
            flags: present.flags,
            answers_from4: present.answers_from4,
            answers_from6: present.answers_from6,
            ..settings
        })
    }

    /// Tells the programs what is around them.
    pub fn set_surroundings(&mut self, surroundings: Surroundings) -> Result<()> {
        let octets6 = |address: Ipv6Addr| address.octets();
        self.shared.change(|present| Settings {
            flags: if surroundings.nat { NAT } else { 0 },
            answers_from4: surroundings.answers_from4.map_or([0; 4], |it| it.octets()),
            answers_from6: surroundings.answers_from6.map_or([0; 16], octets6),
            ..present
        })
    }

    /// Makes these the interfaces with a role, and forgets all others. If any differs, the sources of all flows are
    /// looked at again.
    pub fn set_interfaces(&mut self, wanted: &[(IfIndex, Interface)]) -> Result<()> {
        let before = self.interfaces()?;
        if before.len() == wanted.len()
            && wanted
                .iter()
                .all(|(index, it)| before.get(index) == Some(it))
        {
            return Ok(());
        }
        let wanted: Vec<_> = wanted.iter().map(|(index, it)| (index.0, *it)).collect();
        let set = self.interfaces.set(&wanted).context(maps::INTERFACES);
        // Also after an error: part of it may be written.
        self.shared.raise_route_generation()?;
        set
    }

    /// Every interface with a role.
    pub fn interfaces(&self) -> Result<StdHashMap<IfIndex, Interface>> {
        let all = self.interfaces.all().context(maps::INTERFACES)?;
        let typed = all.into_iter().map(|(index, it)| (IfIndex(index), it));
        Ok(typed.collect())
    }
}
