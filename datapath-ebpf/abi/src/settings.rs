//! What the agent tells the programs at start and on reload.

use crate::{maps::INTERFACE_SLOT_COUNT, pod};

/// Value of [`crate::maps::SETTINGS`] at key 0.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// [`crate::ABI_VERSION`] of the agent that wrote this.
    pub abi_version: u32,
    /// Interface index of the TUN; 0 until it exists (then everything goes to the stack).
    pub tun_ifindex: u32,
    /// First UDP port of the tunnel, host order; lane i listens on this plus i.
    pub listen_port: u16,
    /// Number of lanes, so of ports.
    pub lanes: u16,
    /// Raised after every change of [`crate::maps::ROUTES4`], [`crate::maps::ROUTES6`], the interfaces with a role, and
    /// the kernel's routes.
    pub route_generation: u32,
    /// [`NAT`], or zero.
    pub flags: u32,
    /// Source of the answers that the programs give themselves: an IPv4 address of the host, or zero for none.
    pub answers_from4: [u8; 4],
    /// The same of IPv6.
    pub answers_from6: [u8; 16],
}

/// Flag of [`Settings::flags`]: the host translates addresses, so a datagram for one of our ports may be the answer to
/// one of a host behind it that has the same port.
pub const NAT: u32 = 1;

/// Role of an interface; the value in [`Interface::role`].
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Hosts of this site.
    Lan = 1,
    /// The way to the far gateways.
    Wan = 2,
    /// The tunnel's own device.
    Tun = 3,
}

/// Value of [`crate::maps::INTERFACES`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// A [`Role`].
    pub role: u32,
    /// Virtual network id of a LAN or of the TUN.
    pub vnet: u32,
    /// MTU of the interface in bytes.
    pub mtu: u32,
    /// [`SOFTWARE_GSO`], [`STRICT_SOURCES`] and [`ALSO_WAN`].
    pub flags: u32,
}

/// Value of [`crate::maps::INTERFACE_SLOTS`]: a copy of an entry of [`crate::maps::INTERFACES`], found
/// without a hash.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterfaceSlot {
    /// Interface index; 0 in an empty slot.
    pub ifindex: u32,
    /// The entry.
    pub interface: Interface,
}

/// The slot of an interface. Another may be in it: then the hash knows.
pub const fn slot_of(ifindex: u32) -> u32 {
    ifindex % INTERFACE_SLOT_COUNT as u32
}

/// Flag of a LAN interface that does not segment TCP itself (`ethtool -k`: tcp-segmentation-offload off).
pub const SOFTWARE_GSO: u32 = 1;
/// Flag of a LAN interface whose `rp_filter`, or that of `all`, is 1: IPv4 sources must be reached by that interface.
/// With 0 or 2 the kernel only wants that they are reached at all and are not its own.
pub const STRICT_SOURCES: u32 = 2;
/// Flag of a LAN interface that is a WAN as well: the tunnel's own datagrams pass there.
pub const ALSO_WAN: u32 = 4;

/// `skb->mark` of a packet in the TUN, but for its lowest byte, which is the lane that carries it:
/// [`crate::maps::LAN_INGRESS`] and [`crate::maps::TUN_EGRESS`] count a packet and set it,
/// [`crate::maps::TUN_STEER`] reads it. No netfilter hook or routing rule lies between them, so no
/// other user of marks meets it.
pub const COUNTED_MARK: u32 = 0xc705_5a00;

/// The bits of a mark that make it [`COUNTED_MARK`].
pub const COUNTED_MARK_MASK: u32 = 0xffff_ff00;

/// Virtual network id of the vnet named `default`.
pub const DEFAULT_VNET: u32 = 0;

const _: () = assert!(size_of::<Settings>() == 40);
const _: () = assert!(size_of::<Interface>() == 16);
const _: () = assert!(size_of::<InterfaceSlot>() == 20);
pod!(Settings, Interface, InterfaceSlot);
