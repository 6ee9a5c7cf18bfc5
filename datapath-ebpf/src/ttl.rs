//! Takes one from the TTL or hop limit, as every router does.

use datapath_abi::{
    headers::{Family, Headers},
    outcome::StackReason,
};

use crate::skb::{Refused, Skb};

/// Where the TTL lies in an IPv4 header, followed by protocol and checksum.
const TTL4: usize = 8;
/// Where the hop limit lies in an IPv6 header.
const HOP_LIMIT6: usize = 7;

/// Refuses a packet that ends here: the stack answers it with Time Exceeded.
#[inline(always)]
pub(crate) fn check(headers: &Headers) -> Result<(), StackReason> {
    if headers.ttl <= 1 {
        return Err(StackReason::TtlExpiring);
    }
    Ok(())
}

/// Writes the TTL less one. [`check`] must have passed.
#[inline(always)]
pub(crate) fn decrement(skb: &Skb, headers: &Headers) -> Result<(), Refused> {
    write(skb, headers, headers.ttl - 1)
}

/// Takes a decrement back.
#[inline(always)]
pub(crate) fn restore(skb: &Skb, headers: &Headers) -> Result<(), Refused> {
    write(skb, headers, headers.ttl)
}

#[inline(always)]
fn write(skb: &Skb, headers: &Headers, ttl: u8) -> Result<(), Refused> {
    match headers.family {
        Family::V4 => {
            let before = u16::from_be_bytes([headers.ttl, headers.protocol]);
            let after = u16::from_be_bytes([ttl, headers.protocol]);
            let checksum = update(u16::from_be_bytes(headers.checksum), before, after);
            let [high, low] = checksum.to_be_bytes();
            // Neutral to a sum over the packet: the checksum takes up what the TTL loses.
            let bytes = [ttl, headers.protocol, high, low];
            skb.store_neutral(headers.ip_offset + TTL4, bytes)
        }
        Family::V6 => skb.store_byte(headers.ip_offset + HOP_LIMIT6, ttl),
    }
}

/// The checksum of a header in which one word changes: HC' = ~(~HC + ~m + m') (RFC 1624, 3).
#[inline(always)]
fn update(checksum: u16, before: u16, after: u16) -> u16 {
    let sum = u32::from(!checksum) + u32::from(!before) + u32::from(after);
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}
