//! The socket buffer that a TC program is given: its fields, its bytes, and where to send it.

use core::mem;

use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_INVALIDATE_HASH, BPF_F_RECOMPUTE_CSUM, bpf_redir_neigh},
    helpers::{
        bpf_clone_redirect, bpf_redirect, bpf_redirect_neigh, bpf_skb_change_head,
        bpf_skb_change_tail, bpf_skb_load_bytes, bpf_skb_store_bytes, bpf_skb_vlan_pop,
    },
    programs::{SkBuffContext, TcContext},
};

use datapath_abi::{
    headers::{self, Upper},
    outcome::StackReason,
    packet::{Packet, Plain, Slot},
};

use crate::{
    asm::{opaque, store_u32},
    packet::{Memory, fill},
};

/// `PACKET_HOST` (linux/if_packet.h): the frame is for this machine's link-layer address.
const PACKET_HOST: u32 = 0;
/// `PACKET_OUTGOING` of the same: a packet socket is shown what the host sends.
const PACKET_OUTGOING: u32 = 4;

/// A socket buffer.
pub(crate) struct Skb(*mut __sk_buff);

/// A helper refused; the packet may have been left half changed only where the method says so.
pub(crate) struct Refused;

/// Reads one field of the context. The verifier turns the load into one of the kernel's structure,
/// so it has to be a load of this very offset and width.
macro_rules! field {
    ($skb:expr, $field:ident) => {
        // SAFETY: the pointer is the context that the kernel gave to this run of the program.
        unsafe { (&raw const (*$skb.0).$field).read_volatile() }
    };
}

impl Skb {
    #[inline(always)]
    pub(crate) fn new(context: &TcContext) -> Self {
        Self(context.skb.skb)
    }

    /// In a global function, which takes the context itself.
    #[inline(always)]
    pub(crate) fn of(context: *mut __sk_buff) -> Self {
        Self(context)
    }

    /// As a socket filter sees it: fields, and bytes by [`Self::load_bytes`] alone.
    #[inline(always)]
    pub(crate) fn of_filter(context: &SkBuffContext) -> Self {
        Self(context.skb.skb)
    }

    /// Bytes, link-layer header included; of a GSO packet all segments.
    #[inline(always)]
    pub(crate) fn length(&self) -> u32 {
        field!(self, len)
    }

    /// The interface at which the program runs.
    #[inline(always)]
    pub(crate) fn ifindex(&self) -> u32 {
        field!(self, ifindex)
    }

    /// Ethernet type in network order, behind a VLAN tag that the kernel took out of the frame.
    #[inline(always)]
    pub(crate) fn protocol(&self) -> u16 {
        field!(self, protocol) as u16
    }

    /// Whether this host sends the packet, as packet sockets see it.
    #[inline(always)]
    pub(crate) fn is_sent(&self) -> bool {
        field!(self, pkt_type) == PACKET_OUTGOING
    }

    /// The queue by which it came, counted from 1; 0 where none is known.
    #[inline(always)]
    pub(crate) fn queue(&self) -> u32 {
        field!(self, queue_mapping)
    }

    /// Copies `length` bytes from the start of the packet, which has so many.
    ///
    /// # Safety
    ///
    /// `to` must be valid for writes of `most` bytes.
    #[inline(always)]
    pub(crate) unsafe fn load_bytes(
        &self,
        to: *mut u8,
        length: u32,
        most: usize,
    ) -> Result<(), Refused> {
        // SAFETY: as the caller vouches.
        unsafe { self.load_into(0, to, length, most) }
    }

    /// Copies `length` bytes from `offset` on.
    ///
    /// # Safety
    ///
    /// `to` must be valid for writes of `most` bytes.
    #[inline(always)]
    pub(crate) unsafe fn load_into(
        &self,
        offset: u32,
        to: *mut u8,
        length: u32,
        most: usize,
    ) -> Result<(), Refused> {
        let length = within(length, most)?;
        // SAFETY: the helper checks `offset` and length against the packet and writes no more than `most` bytes.
        check(unsafe { bpf_skb_load_bytes(self.0.cast(), offset, to.cast(), length) })
    }

    /// Whether the frame was addressed to this machine's link-layer address.
    #[inline(always)]
    pub(crate) fn is_for_this_host(&self) -> bool {
        field!(self, pkt_type) == PACKET_HOST
    }

    /// The VLAN tag (TCI) that the kernel or the NIC took out of the frame.
    #[inline(always)]
    pub(crate) fn vlan_tag(&self) -> Option<u16> {
        (field!(self, vlan_present) != 0).then(|| field!(self, vlan_tci) as u16)
    }

    /// Payload bytes of a segment of a GSO packet; 0 if it is none.
    #[inline(always)]
    pub(crate) fn gso_size(&self) -> u32 {
        field!(self, gso_size)
    }

    /// Wire packets as far as the kernel knows: of a GSO packet from a TUN it has not counted them.
    #[inline(always)]
    pub(crate) fn wire_packets(&self) -> u64 {
        u64::from(field!(self, gso_segs)).max(1)
    }

    #[inline(always)]
    pub(crate) fn mark(&self) -> u32 {
        field!(self, mark)
    }

    #[inline(always)]
    pub(crate) fn set_mark(&self, mark: u32) {
        // SAFETY: as in `field!`; the mark is writable.
        unsafe { (&raw mut (*self.0).mark).write_volatile(mark) }
    }

    /// Overwrites four bytes at `offset` by others with the same sum, so that a sum over the whole packet
    /// (CHECKSUM_COMPLETE) stays true.
    #[inline(always)]
    pub(crate) fn store_neutral(&self, offset: usize, bytes: [u8; 4]) -> Result<(), Refused> {
        if let Some(at) = self.linear().at(offset, bytes.len()) {
            // SAFETY: `at` says that so many bytes are there. They are this packet's alone: before a
            // program that writes directly runs, the kernel takes a shared linear part apart
            // (bpf_unclone_prologue).
            unsafe { store_u32(at, u32::from_ne_bytes(bytes)) };
            return Ok(());
        }
        self.store_by_helper(offset, &bytes, 0)
    }

    /// Overwrites a byte at `offset` and keeps a sum over the whole packet true.
    #[inline(always)]
    pub(crate) fn store_byte(&self, offset: usize, byte: u8) -> Result<(), Refused> {
        self.store_by_helper(offset, &[byte], BPF_F_RECOMPUTE_CSUM.into())
    }

    #[inline(always)]
    fn store_by_helper<const N: usize>(
        &self,
        offset: usize,
        bytes: &[u8; N],
        flags: u64,
    ) -> Result<(), Refused> {
        let bytes = bytes.as_ptr().cast();
        // SAFETY: the helper checks `offset` against the packet and reads N bytes of an array of N.
        check(unsafe { bpf_skb_store_bytes(self.0, offset as u32, bytes, N as u32, flags) })
    }

    /// The linear part, until a helper changes the packet.
    #[inline(always)]
    fn linear(&self) -> Memory {
        Memory {
            start: field!(self, data) as usize,
            end: field!(self, data_end) as usize,
        }
    }

    /// Takes off the outermost VLAN tag, wherever it is held.
    #[inline(always)]
    pub(crate) fn pop_vlan_tag(&self) -> Result<(), Refused> {
        // SAFETY: a call of the kernel with its own context.
        check(unsafe { bpf_skb_vlan_pop(self.0) })
    }

    /// Puts `bytes` zero bytes in front, as the link-layer header.
    #[inline(always)]
    pub(crate) fn push_link_header(&self, bytes: u32) -> Result<(), Refused> {
        // SAFETY: a call of the kernel with its own context.
        check(unsafe { bpf_skb_change_head(self.0, bytes, 0) })
    }

    /// Sends a copy out of an interface, as it is. The copy belongs to no socket. Whatever becomes of it, the packet
    /// itself stays.
    #[inline(always)]
    pub(crate) fn send_copy(&self, ifindex: u32) -> Result<(), Refused> {
        // SAFETY: a call of the kernel with its own context; a wrong index loses the copy, not memory.
        check(unsafe { bpf_clone_redirect(self.0, ifindex, 0) })
    }

    /// Overwrites bytes at `offset`, where no sum covers them.
    #[inline(always)]
    pub(crate) fn store<const N: usize>(
        &self,
        offset: usize,
        bytes: &[u8; N],
    ) -> Result<(), Refused> {
        self.store_by_helper(offset, bytes, 0)
    }

    /// Copies words from `offset` on.
    #[inline(always)]
    pub(crate) fn load<const N: usize>(
        &self,
        offset: u32,
        words: &mut [u32; N],
    ) -> Result<(), Refused> {
        let to = words.as_mut_ptr().cast();
        // SAFETY: the helper checks `offset` against the packet and writes N words into an array of N.
        check(unsafe { bpf_skb_load_bytes(self.0.cast(), offset, to, (4 * N) as u32) })
    }

    /// Copies the first `bytes` bytes of the packet, at most so many as the words have.
    #[inline(always)]
    pub(crate) fn load_first<const N: usize>(
        &self,
        words: &mut [u32; N],
        bytes: u32,
    ) -> Result<(), Refused> {
        let bytes = within(bytes, 4 * N)?;
        let to = words.as_mut_ptr().cast();
        // SAFETY: the helper checks the length against the packet and writes no more than N words into an array of N.
        check(unsafe { bpf_skb_load_bytes(self.0.cast(), 0, to, bytes) })
    }

    /// Cuts the packet to `bytes`, or adds zeroes; it is no super-packet any more.
    #[inline(always)]
    pub(crate) fn set_length(&self, bytes: u32) -> Result<(), Refused> {
        // SAFETY: a call of the kernel with its own context.
        check(unsafe { bpf_skb_change_tail(self.0, bytes, 0) })
    }

    /// Replaces the first `bytes` bytes by those of the words, and with them whose packet it is.
    #[inline(always)]
    pub(crate) fn overwrite<const N: usize>(
        &self,
        words: &[u32; N],
        bytes: u32,
    ) -> Result<(), Refused> {
        let flags = u64::from(BPF_F_RECOMPUTE_CSUM | BPF_F_INVALIDATE_HASH);
        let bytes = within(bytes, 4 * N)?;
        let from = words.as_ptr().cast();
        // SAFETY: the helper checks the length against the packet and reads no more than the words.
        check(unsafe { bpf_skb_store_bytes(self.0, 0, from, bytes, flags) })
    }

    /// For what the kernel is asked about the packet.
    #[inline(always)]
    pub(crate) fn context(&self) -> *mut __sk_buff {
        self.0
    }
}

/// Sends the packet of this run out of an interface; the program must return the result.
#[inline(always)]
pub(crate) fn redirect(ifindex: u32) -> i32 {
    // SAFETY: the helper only notes the index; a wrong one loses the packet, not memory.
    unsafe { bpf_redirect(ifindex, 0) as i32 }
}

/// Sends the packet of this run to a neighbour, whose link-layer address the kernel fills in (kernel 5.10).
/// The program must return the result.
#[inline(always)]
pub(crate) fn redirect_neighbour(hop: &mut NextHop) -> i32 {
    // SAFETY: the helper copies one structure of the size given.
    unsafe {
        bpf_redirect_neigh(
            hop.ifindex,
            &raw mut hop.neighbour,
            mem::size_of::<bpf_redir_neigh>() as i32,
            0,
        ) as i32
    }
}

/// Sends the packet of this run out of an interface to where the kernel's routing says, and lets the kernel find the
/// link-layer address. If there is none, the kernel tells the sender. The program must return the result.
#[inline(always)]
pub(crate) fn redirect_unresolved(ifindex: u32) -> i32 {
    // SAFETY: without a structure the helper reads none.
    unsafe { bpf_redirect_neigh(ifindex, core::ptr::null_mut(), 0, 0) as i32 }
}

/// A neighbour on one of our interfaces.
pub(crate) struct NextHop {
    pub(crate) ifindex: u32,
    pub(crate) neighbour: bpf_redir_neigh,
}

impl Packet for Skb {
    /// From the linear part, where headers almost always are; elsewhere by the helper, so nothing has
    /// to be pulled first.
    #[inline(always)]
    fn read<'a, T: Plain>(&self, offset: usize, slot: &'a mut Slot<T>) -> Option<&'a T> {
        if let Some(at) = self.linear().at(offset, mem::size_of::<T>()) {
            // SAFETY: `at` says that so many bytes are there.
            return Some(unsafe { fill(slot, at) });
        }
        Filtered(self).read(offset, slot)
    }

    /// Extension headers are rare and of many kinds: the verifier walks them, and what follows, once for all of them.
    #[inline(always)]
    fn skip_extensions(&self, first: Upper) -> Result<Upper, StackReason> {
        let word = skip_extensions(self.0, first.protocol.into(), first.offset as u32);
        let mut upper = Upper::of_word(word)?;
        // What the compiler knows of it, it does not check again, and the verifier needs that: it shall know only that
        // half a word holds it.
        upper.offset = opaque(upper.offset) & 0xffff;
        Ok(upper)
    }
}

/// A socket buffer in a socket filter, which may not touch packet memory itself.
pub(crate) struct Filtered<'a>(pub(crate) &'a Skb);

impl Packet for Filtered<'_> {
    #[inline(always)]
    fn read<'a, T: Plain>(&self, offset: usize, slot: &'a mut Slot<T>) -> Option<&'a T> {
        // SAFETY: the helper checks `offset` against the packet and writes `size_of::<T>()` bytes
        // (zeroes on failure) into a slot of that size.
        unsafe {
            let result = bpf_skb_load_bytes(
                self.0.0.cast(),
                offset as u32,
                slot.as_mut_ptr().cast(),
                mem::size_of::<T>() as u32,
            );
            (result == 0).then(|| slot.filled())
        }
    }
}

/// A global function, which takes and returns numbers.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn skip_extensions(context: *mut __sk_buff, protocol: u32, offset: u32) -> u64 {
    let first = Upper::at(protocol as u8, (offset & 0xff) as usize);
    Upper::to_word(headers::skip_extensions(&Skb(context), first))
}

/// A number of bytes that the verifier knows to be at least one and at most so many.
#[inline(always)]
fn within(bytes: u32, most: usize) -> Result<u32, Refused> {
    let more = opaque((bytes as usize).wrapping_sub(1));
    if more < most {
        return Ok((more + 1) as u32);
    }
    Err(Refused)
}

#[inline(always)]
fn check(result: i64) -> Result<(), Refused> {
    if result == 0 { Ok(()) } else { Err(Refused) }
}
