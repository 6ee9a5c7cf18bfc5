//! What the host itself is, to frames on the WAN: its addresses, and the VLAN interfaces that are WANs.

use crate::pod;

/// Data part of a [`crate::maps::LOCAL_ADDRESSES`] key: an address of the host, or with fewer bits a prefix of which it
/// takes every address. IPv4 ones are IPv4-mapped (RFC 4291, 2.5.5.2), their prefix length counts from the first of the
/// 128 bits.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LocalKey {
    /// Address in network order, host bits zero.
    pub address: [u8; 16],
}

/// Key of [`crate::maps::WAN_VLANS`]: what a frame of a VLAN shows of it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct VlanKey {
    /// Index of the interface at which the tagged frame arrives.
    pub ifindex: u32,
    /// VLAN id, 1 to 4094.
    pub id: u32,
}

const _: () = assert!(size_of::<LocalKey>() == 16);
const _: () = assert!(size_of::<VlanKey>() == 8);
pod!(LocalKey, VlanKey);
