//! Which addresses a router forwards at all.

use datapath_abi::{
    address::Address,
    headers::{Family, Headers},
    outcome::StackReason,
};

/// Refuses a packet whose source or destination never leaves its link or host.
#[inline(always)]
pub(crate) fn check(headers: &Headers) -> Result<(), StackReason> {
    let routable = match headers.family {
        Family::V4 => is_routable4(&headers.source) && is_routable4(&headers.destination),
        Family::V6 => is_routable6(&headers.source) && is_routable6(&headers.destination),
    };
    if routable {
        Ok(())
    } else {
        Err(StackReason::NotRoutable)
    }
}

/// Of an IPv4-mapped address (RFC 6890, 2.2.2): not 0/8, 127/8, 169.254/16, 224/4 or 240/4. The
/// broadcast address of a connected subnet is in the kernel's routes.
#[inline(always)]
fn is_routable4(address: &Address) -> bool {
    let address = u32::from_be(address[3]);
    let first = address >> 24;
    first != 0 && first != 127 && first < 224 && address >> 16 != 0xa9fe
}

/// Not unspecified, loopback, IPv4-mapped or IPv4-compatible (all in ::/64 here, of which nothing is
/// assigned for routing), fe80::/10 or ff00::/8 (RFC 4291, 2.4).
#[inline(always)]
fn is_routable6(address: &Address) -> bool {
    let head = u32::from_be(address[0]);
    let nothing = address[0] | address[1] == 0;
    !nothing && head >> 22 != 0xfe80 >> 6 && head >> 24 != 0xff
}
