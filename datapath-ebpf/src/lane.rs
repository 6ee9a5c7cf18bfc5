//! Which lane carries a flow: the same one in both directions and at both ends, so that a flow keeps
//! its order.

use datapath_abi::{
    address::Address,
    headers::Headers,
    settings::{COUNTED_MARK, COUNTED_MARK_MASK},
    site::Site,
};

/// Odd constants with well-mixed bits (the fractional part of the golden ratio, and of sqrt(2)).
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
const ROOT: u64 = 0x6a09_e667_f3bc_c909;

/// The mark of a packet that was counted and goes to `site`.
#[inline(always)]
pub(crate) fn mark_for(site: &Site, headers: &Headers) -> u32 {
    let lanes = u64::from(site.lanes);
    if lanes <= 1 {
        return COUNTED_MARK;
    }
    // The upper half of the hash, scaled to the number of lanes.
    let lane = (((flow_hash(headers) >> 32) * lanes) >> 32) as u32 & 0x1f;
    if site.queue_mask >> lane & 1 == 0 {
        return COUNTED_MARK;
    }
    COUNTED_MARK | lane
}

/// The queue of the TUN for a packet with this mark.
#[inline(always)]
pub(crate) fn of_mark(mark: u32) -> u32 {
    if mark & COUNTED_MARK_MASK == COUNTED_MARK {
        mark & !COUNTED_MARK_MASK
    } else {
        0
    }
}

/// Symmetric: the ends are hashed apart and their hashes added.
#[inline(always)]
fn flow_hash(headers: &Headers) -> u64 {
    let source = end_hash(&headers.source, headers.ports.source());
    let destination = end_hash(&headers.destination, headers.ports.destination());
    let sum = source
        .wrapping_add(destination)
        .wrapping_add(headers.protocol.into());
    (sum ^ (sum >> 29)).wrapping_mul(GOLDEN)
}

#[inline(always)]
fn end_hash(address: &Address, port: u16) -> u64 {
    let upper = u64::from(address[0]) << 32 | u64::from(address[1]);
    let lower = u64::from(address[2]) << 32 | u64::from(address[3]);
    let port = u64::from(port);
    let mixed = (upper.wrapping_mul(ROOT) ^ lower)
        .wrapping_add(port << 40)
        .wrapping_mul(GOLDEN);
    mixed ^ (mixed >> 32)
}
