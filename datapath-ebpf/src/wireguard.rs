//! The header of a WireGuard message (protocol paper, section 5.4), judged without any key.

use datapath_abi::outcome::DropReason;

/// Bytes of a message that are looked at.
pub(crate) const HEAD: usize = 12;
/// A data message that carries nothing: header of 16 and authentication tag of 16 bytes.
pub(crate) const SHORTEST_MESSAGE: u32 = 32;

/// Checks a message by its first bytes and its length in bytes. Returns the receiver index that it
/// names, if its type has one.
#[inline(always)]
pub(crate) fn judge(head: &[u8; HEAD], length: u32) -> Result<Option<u32>, DropReason> {
    let kind = head[0];
    let reserved = head[1] | head[2] | head[3];
    let first_index = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
    let second_index = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
    // Of a data message any length from the shortest on; of the others one.
    let (exact, receiver) = match kind {
        // Handshake initiation, handshake response, cookie reply, data.
        1 => (148, None),
        2 => (92, Some(second_index)),
        3 => (64, Some(first_index)),
        4 => (length, Some(first_index)),
        _ => return Err(DropReason::WanBadType),
    };
    if reserved != 0 {
        return Err(DropReason::WanReservedBits);
    }
    if length != exact {
        return Err(DropReason::WanBadLength);
    }
    Ok(receiver)
}
