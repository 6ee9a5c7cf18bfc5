//! Packet memory as the programs see it, for the header reader: an skb's linear part (TC) and an XDP
//! frame. The only place that reads it raw.

use core::mem;

use aya_ebpf::programs::XdpContext;
use datapath_abi::packet::{Packet, Plain, Slot};

use crate::asm::{load_u8, load_u16, load_u32, load_u64, opaque};

/// Copies a header from packet memory into its slot, by words: the compiler would take it for unaligned
/// and copy it byte by byte.
///
/// # Safety
///
/// `size_of::<T>()` bytes from `at` on must be in the packet.
#[inline(always)]
pub(crate) unsafe fn fill<T: Plain>(slot: &mut Slot<T>, at: usize) -> &T {
    let size = mem::size_of::<T>();
    let to = slot.as_mut_ptr().cast::<u64>();
    let mut done = 0;
    // SAFETY: reads within `at .. at + size`, as the caller vouches, and writes within the slot,
    // which has that size and is aligned for 8 bytes; every step starts at a multiple of its width.
    unsafe {
        while size - done >= 8 {
            to.byte_add(done).write(load_u64(at + done));
            done += 8;
        }
        if size - done >= 4 {
            to.byte_add(done).cast::<u32>().write(load_u32(at + done));
            done += 4;
        }
        if size - done >= 2 {
            to.byte_add(done).cast::<u16>().write(load_u16(at + done));
            done += 2;
        }
        if size > done {
            to.byte_add(done).cast::<u8>().write(load_u8(at + done));
        }
        slot.filled()
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
        // Where the compiler keeps the offset on the stack, kernels of 6.1's age forget what was just compared.
        let offset = opaque(offset) & (2 * MAX_OFFSET - 1);
        let at = opaque(self.start + offset);
        (at + size <= self.end).then_some(at)
    }
}

/// An XDP frame, and the index of the interface at which it arrived. `bpf_xdp_load_bytes` exists from kernel 5.18 only, and a direct read is faster.
pub(crate) struct Frame {
    memory: Memory,
    ifindex: u32,
}

impl Frame {
    #[inline(always)]
    pub(crate) fn new(context: &XdpContext) -> Self {
        Self {
            memory: Memory {
                start: context.data(),
                end: context.data_end(),
            },
            // SAFETY: the pointer is the context that the kernel gave to this run of the program; the verifier wants
            // a load of this very width.
            ifindex: unsafe { (&raw const (*context.ctx).ingress_ifindex).read_volatile() },
        }
    }

    /// Bytes of the frame.
    #[inline(always)]
    pub(crate) fn length(&self) -> u32 {
        (self.memory.end - self.memory.start) as u32
    }

    /// The interface at which it arrived.
    #[inline(always)]
    pub(crate) fn ifindex(&self) -> u32 {
        self.ifindex
    }
}

impl Packet for Frame {
    #[inline(always)]
    fn read<'a, T: Plain>(&self, offset: usize, slot: &'a mut Slot<T>) -> Option<&'a T> {
        let at = self.memory.at(offset, mem::size_of::<T>())?;
        // SAFETY: `at` says that so many bytes are there.
        Some(unsafe { fill(slot, at) })
    }
}
