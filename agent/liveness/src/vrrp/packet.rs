//! The advertisement (RFC 5798, 5.2), behind its IP header:
//!
//! ```text
//!  0: version 3, type 1   1: virtual router id   2: priority   3: count of addresses
//!  4: 4 bits reserved, 12 bits interval (cs)     6: checksum
//!  8: the virtual addresses, 4 or 16 bytes each
//! ```
//! What comes in is anybody's: it is refused with a reason, never trusted and never a panic.

use std::fmt;
use std::net::IpAddr;

use super::Interval;
use crossway_types::address::Family;
use crossway_types::checksum;

/// The IP protocol (RFC 5798, 5.1.1.4).
pub const PROTOCOL: u8 = 112;
/// TTL or hop limit of every advertisement: one that a router has passed on has less.
pub const HOPS: u8 = 255;
/// Most addresses that one message can count.
pub const MOST_ADDRESSES: usize = 255;

const VERSION: u8 = 3;
const ADVERTISEMENT: u8 = 1;
const HEADER: usize = 8;
const CHECKSUM: std::ops::Range<usize> = 6..8;

/// What a master says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertisement {
    /// Virtual router id.
    pub id: u8,
    /// The master's priority; 0 says that it stops.
    pub priority: u8,
    /// Time between its advertisements.
    pub interval: Interval,
    /// The virtual addresses, all of one family.
    pub addresses: Vec<IpAddr>,
}

/// Why a message is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Shorter than its header or than its addresses.
    Truncated,
    /// Came over a router, or pretends to be from here: TTL or hop limit is not 255.
    Hops(u8),
    /// Another version of the protocol; 2 is common.
    Version(u8),
    /// No advertisement.
    Kind(u8),
    /// Changed on its way.
    Checksum,
    /// An interval of 0.
    NoInterval,
    /// No address at all.
    NoAddress,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("it is truncated"),
            Self::Hops(hops) => write!(f, "its TTL is {hops} instead of {HOPS}"),
            Self::Version(version) => {
                write!(
                    f,
                    "it is VRRP version {version}: set the other router to version 3"
                )
            }
            Self::Kind(kind) => write!(f, "its type is {kind} instead of {ADVERTISEMENT}"),
            Self::Checksum => f.write_str("its checksum is wrong"),
            Self::NoInterval => f.write_str("its advertisement interval is 0"),
            Self::NoAddress => f.write_str("it has no address"),
        }
    }
}

impl Advertisement {
    /// The message as it goes from `source` to the group of its family.
    pub fn encode(&self, source: IpAddr) -> Vec<u8> {
        let count = self.addresses.len().min(MOST_ADDRESSES);
        let [high, low] = self.interval.centiseconds().to_be_bytes();
        let mut message = vec![
            VERSION << 4 | ADVERTISEMENT,
            self.id,
            self.priority,
            count as u8,
            high,
            low,
            0,
            0,
        ];
        for address in &self.addresses[..count] {
            push_address(&mut message, *address);
        }
        let sum = pseudo_header(source, Family::of(source).group(), message.len());
        let checksum = checksum::finish(sum, &message);
        message[CHECKSUM].copy_from_slice(&checksum.to_be_bytes());
        message
    }

    /// Reads a message that came from `source` to `destination` with this TTL or hop limit.
    pub fn decode(
        message: &[u8],
        source: IpAddr,
        destination: IpAddr,
        hops: u8,
    ) -> Result<Self, Refusal> {
        let (header, rest) = message
            .split_first_chunk::<HEADER>()
            .ok_or(Refusal::Truncated)?;
        if hops != HOPS {
            return Err(Refusal::Hops(hops));
        }
        let [kind, id, priority, count, high, low, _, _] = *header;
        if kind >> 4 != VERSION {
            return Err(Refusal::Version(kind >> 4));
        }
        if kind & 0xf != ADVERTISEMENT {
            return Err(Refusal::Kind(kind & 0xf));
        }
        let family = Family::of(source);
        let size = match family {
            Family::Ipv4 => 4,
            Family::Ipv6 => 16,
        };
        let addresses = rest
            .get(..usize::from(count) * size)
            .ok_or(Refusal::Truncated)?;
        if !sum_is_right(message, source, destination) {
            return Err(Refusal::Checksum);
        }
        if count == 0 {
            return Err(Refusal::NoAddress);
        }
        // The four bits above the interval are reserved: ignored (5.2.6).
        let centiseconds = u16::from_be_bytes([high & 0xf, low]);
        let interval = Interval::from_centiseconds(centiseconds).ok_or(Refusal::NoInterval)?;
        let addresses = addresses.chunks_exact(size).filter_map(read_address);
        Ok(Self {
            id,
            priority,
            interval,
            addresses: addresses.collect(),
        })
    }
}

/// The virtual router id of a message, if it is long enough to have one: before it is judged.
pub fn id_of(message: &[u8]) -> Option<u8> {
    message.get(1).copied()
}

fn sum_is_right(message: &[u8], source: IpAddr, destination: IpAddr) -> bool {
    let sum = pseudo_header(source, destination, message.len());
    // Over IPv4 some routers leave the pseudo header out, as version 2 did.
    checksum::finish(sum, message) == 0 || source.is_ipv4() && checksum::finish(0, message) == 0
}

/// RFC 5798, 5.2.8: in both families that of IPv6, with protocol 112.
fn pseudo_header(source: IpAddr, destination: IpAddr, length: usize) -> u64 {
    let mut addresses = Vec::with_capacity(32);
    push_address(&mut addresses, source);
    push_address(&mut addresses, destination);
    checksum::pseudo_header(&addresses, PROTOCOL, length)
}

fn push_address(bytes: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => bytes.extend(address.octets()),
        IpAddr::V6(address) => bytes.extend(address.octets()),
    }
}

fn read_address(bytes: &[u8]) -> Option<IpAddr> {
    let of_ipv4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    of_ipv4
        .or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

#[cfg(test)]
mod tests;
