//! Which program sits where, and why: what `status` shows.

use std::fmt;
use std::str::FromStr;

use aya::programs::TcAttachType;
use datapath_abi::maps;
use serde::Serialize;

/// How TC programs are attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TcAttach {
    /// tcx where the kernel has it (6.6), else clsact.
    #[default]
    Auto,
    /// tcx links.
    Tcx,
    /// A clsact qdisc with filters, as kernels before 6.6 need it.
    Clsact,
}

/// A place in a packet's way, with the program that belongs there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Hook {
    /// Ingress of a LAN interface.
    LanIngress,
    /// Ingress of the TUN: packets out of the tunnel.
    TunIngress,
    /// Egress of the TUN: what the kernel stack routed into the tunnel.
    TunEgress,
    /// XDP of a WAN interface.
    WanGuard,
}

impl Hook {
    const ALL: [Self; 4] = [
        Self::LanIngress,
        Self::TunIngress,
        Self::TunEgress,
        Self::WanGuard,
    ];

    /// Name of its program.
    pub const fn program(self) -> &'static str {
        match self {
            Self::LanIngress => maps::LAN_INGRESS,
            Self::TunIngress => maps::TUN_INGRESS,
            Self::TunEgress => maps::TUN_EGRESS,
            Self::WanGuard => maps::WAN_GUARD,
        }
    }

    /// Direction of a TC hook.
    pub(crate) const fn direction(self) -> Option<TcAttachType> {
        match self {
            Self::LanIngress | Self::TunIngress => Some(TcAttachType::Ingress),
            Self::TunEgress => Some(TcAttachType::Egress),
            Self::WanGuard => None,
        }
    }
}

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// TC, by a tcx link (kernel 6.6).
    Tcx,
    /// TC, by a filter of a clsact qdisc.
    Clsact,
    /// XDP in the driver.
    Native,
    /// XDP in the stack.
    Generic,
    /// Not attached.
    Off,
}

impl Mode {
    const ALL: [Self; 5] = [
        Self::Tcx,
        Self::Clsact,
        Self::Native,
        Self::Generic,
        Self::Off,
    ];

    /// The word users see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Off => "off",
        }
    }
}

/// One line of `status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attachment {
    /// Name of the interface.
    pub interface: String,
    /// The hook, by its program's name.
    pub hook: Hook,
    /// How it is attached.
    pub mode: Mode,
    /// Why so.
    pub reason: String,
}

/// What identifies an attachment across restarts: the name of its pin,
/// `<program>-<interface index>-<mode>-<interface>`.
///
/// The index is part of it because a link stays with the device when another one takes its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) hook: Hook,
    pub(super) index: u32,
    pub(super) mode: Mode,
    pub(super) interface: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            hook,
            index,
            mode,
            interface,
        } = self;
        write!(
            f,
            "{}-{index}-{}-{interface}",
            hook.program(),
            mode.as_str()
        )
    }
}

impl FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.splitn(4, '-');
        let mut part = || parts.next().ok_or(());
        let (program, index, mode, interface) = (part()?, part()?, part()?, part()?);
        let hook = Hook::ALL.into_iter().find(|hook| hook.program() == program);
        let mode = Mode::ALL.into_iter().find(|known| known.as_str() == mode);
        Ok(Self {
            hook: hook.ok_or(())?,
            index: index.parse().map_err(|_| ())?,
            mode: mode.ok_or(())?,
            interface: interface.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_pin_tells_its_place() {
        for interface in ["eth0", "br-lan.100", "a-1-tcx-b"] {
            let place = Place {
                hook: Hook::TunEgress,
                index: 17,
                mode: Mode::Clsact,
                interface: interface.to_owned(),
            };
            assert_eq!(place.to_string().parse(), Ok(place));
        }
        for text in [
            "",
            "lan_ingress",
            "lan_ingress-x-tcx-eth0",
            "lan_ingress-1-tcx",
        ] {
            assert_eq!(text.parse::<Place>(), Err(()));
        }
    }

    #[test]
    fn status_uses_the_names_of_programs_and_modes() {
        let attachment = Attachment {
            interface: "eth1".to_owned(),
            hook: Hook::LanIngress,
            mode: Mode::Tcx,
            reason: "kernel 6.6 or later".to_owned(),
        };
        assert_eq!(
            serde_json::to_string(&attachment).unwrap(),
            r#"{"interface":"eth1","hook":"lan_ingress","mode":"tcx","reason":"kernel 6.6 or later"}"#
        );
        for hook in Hook::ALL {
            let word = serde_json::to_string(&hook).unwrap();
            assert_eq!(word.trim_matches('"'), hook.program());
        }
    }
}
