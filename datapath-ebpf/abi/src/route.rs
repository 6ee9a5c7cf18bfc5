//! Where a destination leads.

use crate::pod;

/// Data part of a [`crate::maps::ROUTES4`] key. The prefix length of the trie key counts from
/// the first bit of `vnet`, so it is [`VNET_BITS`] plus the length of the IPv4 prefix.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RouteKey4 {
    /// Virtual network id, big endian so that it sits in front of the address bit by bit.
    pub vnet: [u8; 4],
    /// IPv4 address in network order, host bits zero.
    pub address: [u8; 4],
}

/// Data part of a [`crate::maps::ROUTES6`] key, as [`RouteKey4`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RouteKey6 {
    /// Virtual network id, big endian.
    pub vnet: [u8; 4],
    /// IPv6 address in network order, host bits zero.
    pub address: [u8; 16],
}

/// Bits that the virtual network id takes at the head of a route key.
pub const VNET_BITS: u32 = 32;

/// What the longest matching prefix says.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// Index into [`crate::maps::SITES`], or [`SITE_KERNEL`].
    pub site: u32,
    /// The agent's number for this prefix, for explanations; 0 for [`SITE_KERNEL`].
    pub route: u32,
}

/// The kernel owns this prefix (a local or connected address, or a route of somebody else that is
/// more specific than a site's): leave the packet to the stack.
pub const SITE_KERNEL: u32 = u32::MAX;

const _: () = assert!(size_of::<RouteKey4>() == 8);
const _: () = assert!(size_of::<RouteKey6>() == 20);
const _: () = assert!(size_of::<Route>() == 8);
pod!(RouteKey4, RouteKey6, Route);
