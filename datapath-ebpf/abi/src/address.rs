//! IP addresses as the header reader carries them.

/// An address as four words in network order, that is, with the bytes in memory as on the wire. IPv4
/// ones are IPv4-mapped (RFC 4291, 2.5.5.2). Words, because the compiler would move bytes one by one.
pub type Address = [u32; 4];

/// The third word of an IPv4-mapped address.
const MAPPED: u32 = 0x0000_ffff_u32.to_be();

/// The IPv4-mapped form of an address in network order.
#[inline(always)]
pub fn mapped(address: [u8; 4]) -> Address {
    [0, 0, MAPPED, u32::from_ne_bytes(address)]
}

/// An IPv6 address out of its header.
#[inline(always)]
pub fn from_bytes(address: [u8; 16]) -> Address {
    zerocopy::transmute!(address)
}

/// The bytes of an address, as the maps hold it.
#[inline(always)]
pub fn to_bytes(address: Address) -> [u8; 16] {
    zerocopy::transmute!(address)
}
