//! VRRPv3 (RFC 5798): several gateways on one LAN are one virtual router to its hosts.
//!
//! [`packet`] is the advertisement on the wire, [`router`] the state machine of one virtual router
//! (no clock, no socket), [`announce`] what the hosts and switches are told when the master changes,
//! [`socket`] how frames come and go. [`instance`] runs one virtual router with its sockets and its device,
//! [`service`] all of them on a thread of their own, so that nothing the control task does delays an
//! advertisement.
//!
//! IPv4 and IPv6 are two virtual routers, also where they share an id (RFC 5798, 5.2.3).

pub mod announce;
mod frame;
mod instance;
pub mod packet;
mod probe;
pub mod router;
pub mod service;
pub mod socket;
pub mod status;
pub mod track;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Which of the two an address or a virtual router belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Family {
    /// Of an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Ipv4,
            IpAddr::V6(_) => Self::Ipv6,
        }
    }

    /// The word of `--json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }

    /// The group that advertisements go to (RFC 5798, 5.1.1.2 and 5.1.2.2).
    pub fn group(self) -> IpAddr {
        match self {
            Self::Ipv4 => Ipv4Addr::new(224, 0, 0, 18).into(),
            Self::Ipv6 => Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12).into(),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// That of the virtual router `id` (RFC 5798, 7.3).
    pub fn of_router(family: Family, id: u8) -> Self {
        let kind = match family {
            Family::Ipv4 => 1,
            Family::Ipv6 => 2,
        };
        Self([0x00, 0x00, 0x5e, 0x00, kind, id])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            let colon = if index == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02x}")?;
        }
        Ok(())
    }
}

/// Time between advertisements, in hundredths of a second: 1 to 4095, what 12 bits hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval(u16);

impl Interval {
    /// The longest.
    pub const LONGEST: Self = Self(4095);

    /// `None` for what a packet cannot say, or no interval at all.
    pub const fn from_centiseconds(centiseconds: u16) -> Option<Self> {
        match centiseconds {
            1..=4095 => Some(Self(centiseconds)),
            _ => None,
        }
    }

    /// Hundredths of a second.
    pub const fn centiseconds(self) -> u16 {
        self.0
    }

    /// As a span of time.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0 as u64 * 10)
    }
}

/// The address owner's priority (RFC 5798, 5.2.4): always master while it runs.
pub const OWNER: u8 = 255;
/// Priority of the advertisement by which a master stops.
pub const RELEASE: u8 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_virtual_mac_tells_family_and_id() {
        let shown = [(Family::Ipv4, 51), (Family::Ipv6, 255)]
            .map(|(family, id)| Mac::of_router(family, id).to_string());
        assert_eq!(shown, ["00:00:5e:00:01:33", "00:00:5e:00:02:ff"]);
    }

    #[test]
    fn an_interval_has_twelve_bits_and_is_never_nothing() {
        assert_eq!(Interval::from_centiseconds(0), None);
        assert_eq!(Interval::from_centiseconds(4096), None);
        let shortest = Interval::from_centiseconds(1).unwrap();
        assert_eq!(shortest.duration(), Duration::from_millis(10));
        assert_eq!(Interval::LONGEST.duration(), Duration::from_millis(40_950));
    }
}
