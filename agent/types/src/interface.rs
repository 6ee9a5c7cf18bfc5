//! Interfaces of a gateway by their role, their addresses, and what becomes of packets for a site that is down.

use std::fmt;
use std::net::IpAddr;

use crate::mapping::Mapping;

/// An address with the length of the network it sits in, such as `10.255.0.1/32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The address itself; host bits are welcome here.
    pub address: IpAddr,
    /// Prefix length.
    pub length: u8,
}

impl fmt::Display for InterfaceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// `[[gateway.lan]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lan {
    /// Interface name.
    pub interface: String,
    /// Virtual network that the hosts behind it belong to.
    pub vnet: String,
    /// Where an XDP program may be attached.
    pub xdp: XdpChoice,
    /// Prefixes of this site that are shown to all others under other ones.
    pub maps: Vec<Mapping>,
}

impl Lan {
    /// An interface of this name, with the defaults of the file.
    pub fn new(interface: impl Into<String>) -> Self {
        Self {
            interface: interface.into(),
            vnet: "default".to_owned(),
            xdp: XdpChoice::Auto,
            maps: Vec::new(),
        }
    }
}

/// `[[gateway.wan]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wan {
    /// Interface name.
    pub interface: String,
    /// Where `wan_guard` may be attached.
    pub xdp: XdpChoice,
}

impl Wan {
    /// An interface of this name, with the defaults of the file.
    pub fn new(interface: impl Into<String>) -> Self {
        Self {
            interface: interface.into(),
            xdp: XdpChoice::Auto,
        }
    }
}

/// `xdp = "auto" | "native" | "generic" | "off"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpChoice {
    /// Native where it gains, else not at all.
    Auto,
    /// In the driver, or fail.
    Native,
    /// In the stack, on any driver.
    Generic,
    /// Never.
    Off,
}

impl XdpChoice {
    /// Every choice.
    pub const ALL: [Self; 4] = [Self::Auto, Self::Native, Self::Generic, Self::Off];

    /// The word of the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Off => "off",
        }
    }
}

/// `on_down = "unreachable" | "drop" | "next-shorter"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDown {
    /// The sender is told at once, by ICMP.
    #[default]
    Unreachable,
    /// They vanish.
    Drop,
    /// The site's prefixes leave all tables, so that shorter ones, of other sites or of the kernel,
    /// take the packets.
    NextShorter,
}

impl OnDown {
    /// The word of the file and of `--json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Drop => "drop",
            Self::NextShorter => "next-shorter",
        }
    }
}
