//! Reading packet memory: bounds-checked, by copy. The two places that hold a packet, an skb
//! (TC) and an XDP frame, look the same to the parsers.

use core::mem::{self, MaybeUninit};

use aya_ebpf::programs::XdpContext;
use network_types::{
    eth::EthHdr,
    ip::{Ipv4Hdr, Ipv6Hdr},
    udp::UdpHdr,
    vlan::VlanHdr,
};

use crate::asm::opaque;

/// A header as it lies in a packet.
///
/// # Safety
///
/// Every byte pattern must be a valid value.
pub(crate) unsafe trait Plain: Copy {}

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
pub(crate) trait Packet {
    /// Copies the header at `offset` bytes from the start into the slot, or returns `None` if it does
    /// not lie wholly in the packet.
    fn read<'a, T: Plain>(&self, offset: usize, slot: &'a mut Slot<T>) -> Option<&'a T>;
}

/// Room for a header. The reader fills it in place: a header returned by value would be taken apart
/// into bytes by the compiler. Aligned, so that addresses can be read by words.
#[repr(C, align(8))]
pub(crate) struct Slot<T>(MaybeUninit<T>);

impl<T: Plain> Slot<T> {
    #[inline(always)]
    pub(crate) const fn new() -> Self {
        Self(MaybeUninit::uninit())
    }

    /// Where to write `size_of::<T>()` bytes.
    #[inline(always)]
    pub(crate) fn as_mut_ptr(&mut self) -> *mut T {
        self.0.as_mut_ptr()
    }

    /// The header in the slot.
    ///
    /// # Safety
    ///
    /// All its bytes must have been written.
    #[inline(always)]
    pub(crate) unsafe fn filled(&self) -> &T {
        // SAFETY: the caller wrote all bytes, and `T: Plain` takes any.
        unsafe { self.0.assume_init_ref() }
    }
}

/// The verifier follows a variable offset into packet memory up to 65535; no header lies farther.
const MAX_OFFSET: usize = 16 * 1024;

/// An XDP frame. `bpf_xdp_load_bytes` exists from kernel 5.18 only, and a direct read is faster.
pub(crate) struct Frame {
    start: usize,
    end: usize,
}

impl Frame {
    #[inline(always)]
    pub(crate) fn new(context: &XdpContext) -> Self {
        Self {
            start: context.data(),
            end: context.data_end(),
        }
    }

    /// Bytes of the frame.
    #[inline(always)]
    pub(crate) fn length(&self) -> u32 {
        (self.end - self.start) as u32
    }
}

impl Packet for Frame {
    #[inline(always)]
    fn read<'a, T: Plain>(&self, offset: usize, slot: &'a mut Slot<T>) -> Option<&'a T> {
        if offset > MAX_OFFSET {
            return None;
        }
        let at = opaque(self.start + offset);
        if at + mem::size_of::<T>() > self.end {
            return None;
        }
        // SAFETY: `at .. at + size` was just seen to end within the frame and, as the offset is
        // not negative, starts within it; `T: Plain` takes any bytes. The slot is written whole.
        Some(unsafe {
            slot.as_mut_ptr().write((at as *const T).read_unaligned());
            slot.filled()
        })
    }
}
