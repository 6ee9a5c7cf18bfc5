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

use crate::asm::{load_u8, load_u16, load_u32, load_u64, opaque};

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

    /// Copies the header from packet memory, by words: the compiler would take it for unaligned and
    /// copy it byte by byte.
    ///
    /// # Safety
    ///
    /// `size_of::<T>()` bytes from `at` on must be in the packet.
    #[inline(always)]
    pub(crate) unsafe fn fill(&mut self, at: usize) -> &T {
        let size = mem::size_of::<T>();
        let slot = self.as_mut_ptr().cast::<u64>();
        let mut done = 0;
        // SAFETY: reads within `at .. at + size`, as the caller vouches, and writes within the slot,
        // which has that size and is aligned for 8 bytes; every step starts at a multiple of its width.
        unsafe {
            while size - done >= 8 {
                slot.byte_add(done).write(load_u64(at + done));
                done += 8;
            }
            if size - done >= 4 {
                slot.byte_add(done).cast::<u32>().write(load_u32(at + done));
                done += 4;
            }
            if size - done >= 2 {
                slot.byte_add(done).cast::<u16>().write(load_u16(at + done));
                done += 2;
            }
            if size > done {
                slot.byte_add(done).cast::<u8>().write(load_u8(at + done));
            }
            self.filled()
        }
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

/// Packet memory that the verifier lets a program touch: of an XDP frame all, of an skb its linear part.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Memory {
    /// The address of `size` bytes at `offset`, if they lie in it.
    #[inline(always)]
    pub(crate) fn at(self, offset: usize, size: usize) -> Option<usize> {
        if offset > MAX_OFFSET {
            return None;
        }
        let at = opaque(self.start + offset);
        (at + size <= self.end).then_some(at)
    }
}

/// An XDP frame. `bpf_xdp_load_bytes` exists from kernel 5.18 only, and a direct read is faster.
pub(crate) struct Frame(Memory);

impl Frame {
    #[inline(always)]
    pub(crate) fn new(context: &XdpContext) -> Self {
        Self(Memory {
            start: context.data(),
            end: context.data_end(),
        })
    }

    /// Bytes of the frame.
    #[inline(always)]
    pub(crate) fn length(&self) -> u32 {
        (self.0.end - self.0.start) as u32
    }
}

impl Packet for Frame {
    #[inline(always)]
    fn read<'a, T: Plain>(&self, offset: usize, slot: &'a mut Slot<T>) -> Option<&'a T> {
        let at = self.0.at(offset, mem::size_of::<T>())?;
        // SAFETY: `at` says that so many bytes are there.
        Some(unsafe { slot.fill(at) })
    }
}
