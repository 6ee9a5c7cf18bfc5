//! What the capturing programs are told, and what they hand over: a record for each packet, in a ring buffer.
//!
//! Both ends are of one process: `crossway capture` loads these programs for as long as it runs. None of these maps is
//! pinned, and they are of no ABI version.

use zerocopy::FromBytes;

use crate::address::Address;
use crate::explanation::Explanation;
use crate::pod;

/// In a field of a filter: whatever it is.
pub const ANY: u32 = u32::MAX;

/// Which packets are wanted: those that satisfy all of it. Value of [`crate::maps::CAPTURE`] at key 0.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureFilter {
    /// One end lies in the first, the other in the second, whichever sends.
    pub ends: [Masked; 2],
    /// The sender.
    pub source: Masked,
    /// The receiver.
    pub destination: Masked,
    /// Port of either end, or [`ANY`].
    pub port: u32,
    /// IP protocol, or [`ANY`].
    pub protocol: u32,
    /// Id of the site, or [`ANY`].
    pub site: u32,
    /// A [`Way`], or [`ANY`].
    pub way: u32,
    /// 1: only packets with a route to a site; 0: also those that a LAN sends elsewhere.
    pub only_sites: u32,
    /// Bytes of a packet that are kept, up to [`MOST_KEPT`].
    pub snap: u32,
}

impl Default for CaptureFilter {
    /// Everything, whole.
    fn default() -> Self {
        Self {
            ends: [Masked::default(); 2],
            source: Masked::default(),
            destination: Masked::default(),
            port: ANY,
            protocol: ANY,
            site: ANY,
            way: ANY,
            only_sites: 0,
            snap: MOST_KEPT,
        }
    }
}

/// A prefix, IPv4 ones IPv4-mapped. The default contains every address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Masked {
    /// The address, host bits zero.
    pub address: Address,
    /// The bits that are compared.
    pub mask: Address,
}

impl Masked {
    /// The first `length` bits of an address; of an IPv4-mapped one 96 more than its prefix length says.
    pub fn new(address: Address, length: u32) -> Self {
        let mask = (u128::MAX.checked_shl(128 - length).unwrap_or(0)).to_be_bytes();
        let mask = crate::address::from_bytes(mask);
        let mut masked = Self { address, mask };
        for (word, mask) in masked.address.iter_mut().zip(mask) {
            *word &= mask;
        }
        masked
    }

    /// Whether it contains an address.
    #[inline(always)]
    pub fn contains(&self, address: &Address) -> bool {
        let mut others = 0;
        let mut word = 0;
        while word < 4 {
            others |= (address[word] ^ self.address[word]) & self.mask[word];
            word += 1;
        }
        others == 0
    }
}

/// Which way a packet goes.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To a site, or where the LAN sends it.
    ToSite = 1,
    /// From a site.
    FromSite = 2,
}

/// Where a packet was seen; the value in [`Captured::place`].
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It came by a LAN: in front of [`crate::maps::LAN_INGRESS`].
    Lan = 1,
    /// The kernel stack has routed it into the TUN: in front of [`crate::maps::TUN_EGRESS`].
    IntoTunnel = 2,
    /// It came out of the tunnel: in front of [`crate::maps::TUN_INGRESS`].
    OutOfTunnel = 3,
    /// A datagram of the tunnel that this host sends.
    Sent = 4,
    /// A datagram of the tunnel that has come.
    Received = 5,
}

impl Place {
    /// The place with this number.
    pub fn of(number: u32) -> Option<Self> {
        [
            Self::Lan,
            Self::IntoTunnel,
            Self::OutOfTunnel,
            Self::Sent,
            Self::Received,
        ]
        .into_iter()
        .find(|place| *place as u32 == number)
    }

    /// Which way its packets go.
    #[inline(always)]
    pub fn way(self) -> Way {
        match self {
            Self::Lan | Self::IntoTunnel | Self::Sent => Way::ToSite,
            Self::OutOfTunnel | Self::Received => Way::FromSite,
        }
    }
}

/// What is known of a captured packet. In the ring its bytes follow, [`Captured::kept`] of them, and then room that is
/// not used.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes)]
pub struct Captured {
    /// CLOCK_MONOTONIC.
    pub time_ns: u64,
    /// A [`Place`].
    pub place: u32,
    /// Index of the interface there.
    pub ifindex: u32,
    /// Bytes of the packet, with its link-layer header where it has one.
    pub length: u32,
    /// Bytes of it that follow.
    pub kept: u32,
    /// Bytes of payload in each segment of a super-packet; 0 if it is none.
    pub gso_size: u32,
    /// A VLAN tag that is not in the bytes: [`TAGGED`] and the TCI; 0 if there is none.
    pub vlan: u32,
    /// Queue by which it came out of the tunnel, counted from 1; 0 where none is known.
    pub queue: u32,
    /// Id of the link of a datagram, or [`ANY`].
    pub link: u32,
    /// Where the payload of a datagram starts, in bytes from the start of the packet.
    pub payload: u32,
    /// Where the IP header of a datagram starts.
    pub network: u32,
    /// Of those in the tunnel: the sender.
    pub source: Address,
    /// And the receiver.
    pub destination: Address,
    /// What the fast path does with it, of those in the tunnel.
    pub explanation: Explanation,
}

impl Captured {
    /// A record of the ring: what is known of the packet, and the bytes of it that were kept.
    pub fn of_record(record: &[u8]) -> Option<(Self, &[u8])> {
        let (head, rest) = Self::read_from_prefix(record).ok()?;
        Some((head, rest.get(..head.kept as usize)?))
    }
}

/// Flag of [`Captured::vlan`].
pub const TAGGED: u32 = 1 << 16;

/// Most bytes that are kept of a packet: what an IP packet can have, an Ethernet header and a VLAN tag, and what
/// rounds it.
pub const MOST_KEPT: u32 = 65_568;

/// How many packets were wanted, and how many of them found the ring full. Value of [`crate::maps::CAPTURE_COUNTS`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaptureCounts {
    /// Were wanted.
    pub wanted: u64,
    /// Of these, found no room.
    pub lost: u64,
}

/// Key of [`crate::maps::CAPTURE_ENDS`]: the outer ends of a link. Addresses as [`crate::flow::FlowKey`] has them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct EndKey {
    /// Address of the far gateway.
    pub remote: Address,
    /// Address of this one; zero where it is not known.
    pub local: Address,
    /// Port of the far gateway, host order.
    pub remote_port: u32,
    /// Port of the lane, host order.
    pub local_port: u32,
}

/// How an interface begins its packets; the value in [`crate::maps::CAPTURE_WANS`].
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkLayer {
    /// With an Ethernet header.
    Ethernet = 1,
    /// With the IP header.
    None = 2,
}

const _: () = assert!(size_of::<Masked>() == 32);
const _: () = assert!(size_of::<CaptureFilter>() == 152);
const _: () = assert!(size_of::<Captured>() == 152);
const _: () = assert!(size_of::<CaptureCounts>() == 16);
const _: () = assert!(size_of::<EndKey>() == 40);
pod!(Masked, CaptureFilter, Captured, CaptureCounts, EndKey);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::{from_bytes, mapped};

    #[test]
    fn a_prefix_contains_what_begins_like_it() {
        let v4 = Masked::new(mapped([10, 1, 0, 77]), 96 + 24);
        assert_eq!(v4.address, mapped([10, 1, 0, 0]));
        assert!(v4.contains(&mapped([10, 1, 0, 200])));
        assert!(!v4.contains(&mapped([10, 1, 1, 0])));
        let mut six = [0; 16];
        six[..6].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8, 0, 7]);
        let v6 = Masked::new(from_bytes(six), 48);
        assert!(v6.contains(&from_bytes(six)) && !v6.contains(&mapped([10, 1, 0, 1])));
        // All of IPv4 is not all of IPv6.
        let all4 = Masked::new(mapped([0; 4]), 96);
        assert!(all4.contains(&mapped([192, 0, 2, 1])) && !all4.contains(&from_bytes(six)));
        for address in [mapped([1, 2, 3, 4]), from_bytes(six)] {
            assert!(Masked::default().contains(&address));
            assert!(Masked::new(from_bytes([0; 16]), 0).contains(&address));
            assert!(Masked::new(address, 128).contains(&address));
        }
    }

    #[test]
    fn a_record_is_its_head_and_what_was_kept() {
        let mut record = [7; size_of::<Captured>() + 16];
        let kept = core::mem::offset_of!(Captured, kept);
        record[kept..kept + 4].copy_from_slice(&3_u32.to_ne_bytes());
        let (head, bytes) = Captured::of_record(&record).unwrap();
        assert_eq!((head.kept, bytes), (3, &[7, 7, 7][..]));
        record[kept] = 17;
        assert_eq!(Captured::of_record(&record), None, "more than there is");
        assert_eq!(Captured::of_record(&record[..100]), None);
    }

    #[test]
    fn a_place_is_found_by_its_number() {
        assert_eq!(Place::of(3), Some(Place::OutOfTunnel));
        assert_eq!(Place::of(0), None);
        assert_eq!(Place::Received.way(), Way::FromSite);
        assert_eq!(Place::IntoTunnel.way(), Way::ToSite);
    }
}
