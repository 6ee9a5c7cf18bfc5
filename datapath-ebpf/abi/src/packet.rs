//! Where headers are read from: something with packet bytes, bounds-checked and by copy. To the parsers
//! an skb and an XDP frame (the programs) look the same as a slice (the agent).

use core::mem::{self, MaybeUninit};
use core::ptr;

use network_types::{
    eth::EthHdr,
    ip::{Ipv4Hdr, Ipv6Hdr},
    udp::UdpHdr,
    vlan::VlanHdr,
};

use crate::headers::{self, Upper};
use crate::outcome::StackReason;

/// A header as it lies in a packet.
///
/// # Safety
///
/// Every byte pattern must be a valid value.
pub unsafe trait Plain: Copy {}

// SAFETY: bytes.
unsafe impl<const N: usize> Plain for [u8; N] {}
// SAFETY: made of integers and byte arrays only.
unsafe impl Plain for EthHdr {}
// SAFETY: as above.
unsafe impl Plain for VlanHdr {}
// SAFETY: as above.
unsafe impl Plain for Ipv4Hdr {}
// SAFETY: as above.
unsafe impl Plain for Ipv6Hdr {}
// SAFETY: as above.
unsafe impl Plain for UdpHdr {}

/// Something with packet bytes in it.
pub trait Packet {
    /// Copies the header at `offset` bytes from the start into the slot, or returns `None` if it does
    /// not lie wholly in the packet.
    fn read<'a, T: Plain>(&self, offset: usize, slot: &'a mut Slot<T>) -> Option<&'a T>;

    /// Walks the extension headers of IPv6, of which the first is this: what follows them.
    #[inline(always)]
    fn skip_extensions(&self, first: Upper) -> Result<Upper, StackReason> {
        headers::skip_extensions(self, first)
    }
}

/// Room for a header. The reader fills it in place: a header returned by value would be taken apart
/// into bytes by the compiler. Aligned, so that addresses can be read by words.
#[repr(C, align(8))]
pub struct Slot<T>(MaybeUninit<T>);

impl<T: Plain> Slot<T> {
    /// An empty one.
    #[inline(always)]
    #[expect(clippy::new_without_default, reason = "nothing asks for a default")]
    pub const fn new() -> Self {
        Self(MaybeUninit::uninit())
    }

    /// Where to write `size_of::<T>()` bytes; aligned for 8 bytes.
    #[inline(always)]
    pub fn as_mut_ptr(&mut self) -> *mut T {
        self.0.as_mut_ptr()
    }

    /// The header in the slot.
    ///
    /// # Safety
    ///
    /// All its bytes must have been written.
    #[inline(always)]
    pub unsafe fn filled(&self) -> &T {
        // SAFETY: the caller wrote all bytes, and `T: Plain` takes any.
        unsafe { self.0.assume_init_ref() }
    }
}

impl Packet for [u8] {
    #[inline]
    fn read<'a, T: Plain>(&self, offset: usize, slot: &'a mut Slot<T>) -> Option<&'a T> {
        let bytes = self.get(offset..)?.get(..mem::size_of::<T>())?;
        // SAFETY: `bytes` has the size of the slot's value, and they do not overlap: the slot is borrowed
        // for writing.
        unsafe {
            ptr::copy_nonoverlapping(bytes.as_ptr(), slot.as_mut_ptr().cast(), bytes.len());
            Some(slot.filled())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_lie_wholly_in_the_packet_is_not_read() {
        let packet: &[u8] = &[1, 2, 3, 4, 5];
        let mut slot = Slot::<[u8; 4]>::new();
        assert_eq!(packet.read(1, &mut slot), Some(&[2, 3, 4, 5]));
        assert_eq!(packet.read(2, &mut slot), None);
        assert_eq!(packet.read(usize::MAX, &mut slot), None);
        assert_eq!(packet.read(5, &mut Slot::<[u8; 0]>::new()), Some(&[]));
    }
}
