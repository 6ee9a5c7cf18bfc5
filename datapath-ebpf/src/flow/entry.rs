//! An entry of the flow table, as the kernel gave it out: how its fields are touched while other CPUs do.

use core::mem;

use datapath_abi::flow::FlowCounters;
use zerocopy::transmute;

use crate::{
    asm,
    policy::Judging,
    wire::{Direction, Wire},
};

/// The entry of a flow.
///
/// The map is preallocated, so the memory stays a `FlowCounters` while the program runs; what is counted
/// for an entry that is evicted meanwhile goes to another flow. Other CPUs write to it, so it is touched
/// by atomic or volatile accesses only, through places, with no references to its fields.
#[derive(Clone, Copy)]
pub(crate) struct FlowEntry(pub(super) *mut FlowCounters);

impl FlowEntry {
    /// The flow's site, and the generation of the routes that said so.
    #[inline(always)]
    pub(crate) fn site(self) -> (u32, u32) {
        // SAFETY: see `FlowEntry`; the word is aligned, see SITE_WORD.
        let word = unsafe { self.0.byte_add(SITE_WORD).cast::<u64>().read_volatile() };
        let [site, generation] = transmute!(word);
        (site, generation)
    }

    /// Remembers a flow's site. In one store: two CPUs that do so at the same time must not leave the
    /// site of one with the generation of the other.
    #[inline(always)]
    pub(crate) fn set_site(self, site: u32, generation: u32) {
        let word: u64 = transmute!([site, generation]);
        // SAFETY: see `FlowEntry`; the word is aligned, see SITE_WORD.
        let place = unsafe { self.0.byte_add(SITE_WORD).cast::<u64>() };
        // SAFETY: as above.
        unsafe { place.write_volatile(word) };
    }

    /// Who opened the flow, an [`datapath_abi::flow::OpenedBy`].
    #[inline(always)]
    pub(crate) fn opened_by(self) -> u8 {
        // SAFETY: see `FlowEntry`.
        unsafe { (&raw const (*self.0).opened_by).read_volatile() }
    }

    /// The rules that allow it.
    #[inline(always)]
    pub(crate) fn rules(self) -> [u16; 2] {
        // SAFETY: see `FlowEntry`; the word is aligned, see RULES_WORD.
        let word = unsafe { self.0.byte_add(RULES_WORD).cast::<u32>().read_volatile() };
        transmute!(word)
    }

    /// Remembers by what rules it is allowed, and who opened it.
    #[inline(always)]
    pub(crate) fn set_judgement(self, judging: &Judging) {
        let word: u32 = transmute!(judging.rules());
        // SAFETY: see `FlowEntry`; the word is aligned, see RULES_WORD.
        let place = unsafe { self.0.byte_add(RULES_WORD).cast::<u32>() };
        // SAFETY: see `FlowEntry`. The two bytes are beside the flags in theirs, which others change atomically and
        // keep the rest of it.
        unsafe {
            place.write_volatile(word);
            (&raw mut (*self.0).verdict).write_volatile(judging.verdict());
            (&raw mut (*self.0).opened_by).write_volatile(judging.opened_by as u8);
        }
    }

    /// Where the source was found right, as [`datapath_abi::flow::source_check`] says it.
    #[inline(always)]
    pub(crate) fn source_check(self) -> u32 {
        // SAFETY: see `FlowEntry`.
        unsafe { (&raw const (*self.0).source_check).read_volatile() }
    }

    /// Remembers that.
    #[inline(always)]
    pub(crate) fn set_source_check(self, check: u32) {
        // SAFETY: see `FlowEntry`. The word is beside the flags in theirs, which others change atomically and keep the
        // rest of it.
        unsafe { (&raw mut (*self.0).source_check).write_volatile(check) }
    }

    /// Adds a packet.
    #[inline(always)]
    pub(crate) fn add(self, direction: Direction, wire: &Wire, tcp_flags: u8, now: u64) {
        let counters = self.0;
        // SAFETY: see `FlowEntry`.
        unsafe {
            let (packets, bytes, flags, shift) = match direction {
                Direction::ToSite => (
                    &raw mut (*counters).to_site_packets,
                    &raw mut (*counters).to_site_bytes,
                    &raw const (*counters).tcp_flags_to_site,
                    FLAGS_TO_SITE_SHIFT,
                ),
                Direction::FromSite => (
                    &raw mut (*counters).from_site_packets,
                    &raw mut (*counters).from_site_bytes,
                    &raw const (*counters).tcp_flags_from_site,
                    FLAGS_FROM_SITE_SHIFT,
                ),
            };
            asm::atomic_add(packets, wire.packets);
            asm::atomic_add(bytes, wire.bytes);
            (&raw mut (*counters).last_seen_ns).write_volatile(now);
            if tcp_flags & !flags.read_volatile() != 0 {
                let word = counters.byte_add(FLAGS_WORD).cast::<u64>();
                asm::atomic_or(word, u64::from(tcp_flags) << shift);
            }
        }
    }
}

/// Site and generation are one word, in this order.
const SITE_WORD: usize = mem::offset_of!(FlowCounters, site);
const _: () = assert!(SITE_WORD.is_multiple_of(8));
const _: () = assert!(mem::offset_of!(FlowCounters, route_generation) == SITE_WORD + 4);

/// Both rules are one word.
const RULES_WORD: usize = mem::offset_of!(FlowCounters, rule);
const _: () = assert!(RULES_WORD.is_multiple_of(4));
const _: () = assert!(mem::offset_of!(FlowCounters, shadow_rule) == RULES_WORD + 2);

/// BPF has atomic access to whole words only: the one that holds the flags, and where they are in it.
const FLAGS_WORD: usize = mem::offset_of!(FlowCounters, tcp_flags_to_site);
const FLAGS_TO_SITE_SHIFT: usize = shift_of(mem::offset_of!(FlowCounters, tcp_flags_to_site));
const FLAGS_FROM_SITE_SHIFT: usize = shift_of(mem::offset_of!(FlowCounters, tcp_flags_from_site));
const _: () = assert!(FLAGS_WORD.is_multiple_of(8));

/// The shift that moves a byte to its place in the word at [`FLAGS_WORD`].
const fn shift_of(offset: usize) -> usize {
    let byte = offset - FLAGS_WORD;
    8 * if cfg!(target_endian = "little") {
        byte
    } else {
        7 - byte
    }
}
