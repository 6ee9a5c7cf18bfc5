//! An IP prefix that cannot have host bits.

mod index;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

pub use self::index::PrefixIndex;

/// A network prefix such as `10.2.0.0/24` or `2001:db8::/48`; its host bits are zero by construction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

/// Why a text is no prefix. The message names the value and the mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrefixError {
    /// Neither IPv4 nor IPv6 in front of the slash.
    Address(String),
    /// The length is no number or too large for the family.
    Length {
        /// What was written.
        text: String,
        /// 32 or 128.
        max: u8,
    },
    /// Bits behind the length are set.
    HostBits {
        /// What was written.
        text: String,
        /// What was probably meant.
        meant: Prefix,
    },
}

impl fmt::Display for PrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(text) => {
                write!(
                    f,
                    "{text} is not an IP prefix: write it as 10.2.0.0/24 or 2001:db8::/48"
                )
            }
            Self::Length { text, max } => {
                write!(
                    f,
                    "{text} has no usable prefix length: write a number from 0 to {max} behind the slash"
                )
            }
            Self::HostBits { text, meant } => {
                write!(f, "{text} has host bits set: did you mean {meant}?")
            }
        }
    }
}

impl std::error::Error for PrefixError {}

impl Prefix {
    /// The prefix of `length` bits that holds `address`; bits behind the length are cleared and a
    /// length beyond the family's is cut to it.
    pub fn containing(address: IpAddr, length: u8) -> Self {
        let length = length.min(max_length(address));
        let address = match address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from(u32::from(v4) & mask))
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from(u128::from(v6) & mask))
            }
        };
        Self { address, length }
    }

    /// The prefix of one address.
    pub fn host(address: IpAddr) -> Self {
        Self::containing(address, max_length(address))
    }

    /// First address of the prefix.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Number of leading bits that are fixed.
    pub fn length(&self) -> u8 {
        self.length
    }

    /// Whether it is an IPv4 prefix.
    pub fn is_ipv4(&self) -> bool {
        self.address.is_ipv4()
    }

    /// Whether `address` lies in it; never across families.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4()
            && Self::containing(address, self.length).address == self.address
    }

    /// Whether every address of `other` lies in it.
    pub fn covers(&self, other: &Self) -> bool {
        self.length <= other.length && self.contains(other.address)
    }
}

fn max_length(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    /// Reads `address/length`; a bare address is the prefix of that one host.
    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address
            .parse()
            .map_err(|_| PrefixError::Address(text.to_owned()))?;
        let max = max_length(address);
        let length = match length {
            None => max,
            Some(length) => length
                .parse::<u8>()
                .ok()
                .filter(|length| *length <= max && !text.contains("/+"))
                .ok_or_else(|| PrefixError::Length {
                    text: text.to_owned(),
                    max,
                })?,
        };
        let meant = Self::containing(address, length);
        if meant.address != address {
            return Err(PrefixError::HostBits {
                text: text.to_owned(),
                meant,
            });
        }
        Ok(meant)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_bits_are_refused_with_what_was_meant() {
        let error = "10.0.0.1/24".parse::<Prefix>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "10.0.0.1/24 has host bits set: did you mean 10.0.0.0/24?"
        );
    }

    #[test]
    fn the_default_routes_cover_their_family_only() {
        let v4: Prefix = "0.0.0.0/0".parse().unwrap();
        let v6: Prefix = "::/0".parse().unwrap();
        assert!(v4.contains("203.0.113.9".parse().unwrap()));
        assert!(!v4.contains("2001:db8::1".parse().unwrap()));
        assert!(v6.covers(&"2001:db8::/32".parse().unwrap()));
        assert!(!v6.covers(&v4));
    }

    #[test]
    fn text_and_value_agree() {
        for text in [
            "10.2.0.0/24",
            "2001:db8:2::/48",
            "0.0.0.0/0",
            "::/0",
            "192.0.2.1/32",
        ] {
            assert_eq!(text.parse::<Prefix>().unwrap().to_string(), text);
        }
        assert_eq!(
            "192.0.2.1".parse::<Prefix>().unwrap().to_string(),
            "192.0.2.1/32"
        );
    }
}
