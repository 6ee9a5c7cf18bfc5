//! The maps, and the only code that touches their memory. Names, capacities and layouts are those of
//! [`datapath_abi`]; nothing here decides.

use core::mem;

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    btf_maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf, lpm_trie::Key},
    macros::btf_map,
};
use datapath_abi::{
    ABI_VERSION,
    event::{Event, EventKind},
    flow::{FLOW_STAT_COUNT, FlowCounters, FlowKey, FlowStat},
    maps::{EVENTS_BYTES, MAX_FLOWS, MAX_INTERFACES, MAX_ROUTES, MAX_SESSIONS, MAX_SITES},
    outcome::{DropReason, StackReason, Tally},
    route::{Route, RouteKey4, RouteKey6},
    settings::{Interface, Role, Settings},
    site::{Site, SiteCounters},
};

use crate::{asm, flow::Direction, wire::Wire};

#[btf_map]
static ROUTES4: LpmTrie<RouteKey4, Route, MAX_ROUTES> = LpmTrie::new();
#[btf_map]
static ROUTES6: LpmTrie<RouteKey6, Route, MAX_ROUTES> = LpmTrie::new();
#[btf_map]
static SITES: Array<Site, MAX_SITES> = Array::new();
#[btf_map]
static SITE_COUNTERS: PerCpuArray<SiteCounters, MAX_SITES> = PerCpuArray::new();
#[btf_map]
static FLOWS: LruHashMap<FlowKey, FlowCounters, MAX_FLOWS> = LruHashMap::new();
#[btf_map]
static FLOW_STATS: PerCpuArray<u64, FLOW_STAT_COUNT> = PerCpuArray::new();
#[btf_map]
static DROPS: PerCpuArray<Tally, { DropReason::COUNT }> = PerCpuArray::new();
#[btf_map]
static TO_STACK: PerCpuArray<Tally, { StackReason::COUNT }> = PerCpuArray::new();
#[btf_map]
static SESSIONS: HashMap<u32, u32, MAX_SESSIONS> = HashMap::new();
#[btf_map]
static SETTINGS: Array<Settings, 1> = Array::new();
#[btf_map]
static INTERFACES: HashMap<u32, Interface, MAX_INTERFACES> = HashMap::new();
#[btf_map]
static EVENTS: RingBuf<Event, EVENTS_BYTES> = RingBuf::new();
/// How many events of each kind a CPU has sent in its current second. The programs' own: not pinned.
#[btf_map]
static EVENT_ALLOWANCE: PerCpuArray<EventAllowance, 3> = PerCpuArray::new();

/// Value of `EVENT_ALLOWANCE`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct EventAllowance {
    pub(crate) since_ns: u64,
    pub(crate) used: u64,
}

/// The settings, once an agent of this ABI has written them.
#[inline(always)]
pub(crate) fn settings() -> Option<&'static Settings> {
    SETTINGS
        .get(0)
        .filter(|settings| settings.abi_version == ABI_VERSION)
}

/// The interface with this index, if it has the role.
#[inline(always)]
pub(crate) fn interface(ifindex: u32, role: Role) -> Option<Interface> {
    let interface = INTERFACES.get_ptr(ifindex)?;
    // SAFETY: the map is preallocated, so the pointer stays readable while the program runs; a
    // concurrent update of the agent's can at worst show old and new fields together.
    let interface = unsafe { *interface };
    (interface.role == role as u32).then_some(interface)
}

/// The longest match of an IPv4 key.
#[inline(always)]
pub(crate) fn route4(key: &Key<RouteKey4>) -> Option<&'static Route> {
    ROUTES4.get(key)
}

/// The longest match of an IPv6 key.
#[inline(always)]
pub(crate) fn route6(key: &Key<RouteKey6>) -> Option<&'static Route> {
    ROUTES6.get(key)
}

/// A site by its id.
#[inline(always)]
pub(crate) fn site(id: u32) -> Option<&'static Site> {
    SITES.get(id)
}

/// Whether a receiver index (shifted right by 8) is one of ours.
#[inline(always)]
pub(crate) fn has_session(index: u32) -> bool {
    SESSIONS.get_ptr(index).is_some()
}

/// Adds to a site's counters on this CPU.
#[inline(always)]
pub(crate) fn add_to_site(id: u32, direction: Direction, packets: u64, bytes: u64) {
    let Some(counters) = SITE_COUNTERS.get_ptr_mut(id) else {
        return;
    };
    // SAFETY: an element of a per-CPU array belongs to this CPU while the program runs.
    let counters = unsafe { &mut *counters };
    match direction {
        Direction::ToSite => {
            counters.to_site_packets += packets;
            counters.to_site_bytes += bytes;
        }
        Direction::FromSite => {
            counters.from_site_packets += packets;
            counters.from_site_bytes += bytes;
        }
    }
}

/// Adds a packet to a flow's entry; `false` if there is none.
#[inline(always)]
pub(crate) fn add_to_flow(
    key: &FlowKey,
    direction: Direction,
    wire: &Wire,
    tcp_flags: u8,
    now: u64,
) -> bool {
    let Some(counters) = FLOWS.get_ptr_mut(key) else {
        return false;
    };
    // SAFETY: the map is preallocated, so the entry's memory stays a FlowCounters while the program
    // runs. Other CPUs write to it: only atomic or volatile accesses, through places, no references
    // to plain fields. An entry evicted meanwhile takes one packet of another flow with it.
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
    true
}

/// BPF has atomic access to whole words only: the one that holds the flags, and where they are in it.
const FLAGS_WORD: usize = mem::offset_of!(FlowCounters, site);
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

/// How an insert into the flow table ended.
pub(crate) enum Inserted {
    Yes,
    Exists,
    Refused,
}

/// Enters a flow that is not in the table.
#[inline(always)]
pub(crate) fn insert_flow(key: &FlowKey, counters: &FlowCounters) -> Inserted {
    const EEXIST: i32 = -17;
    match FLOWS.insert(key, counters, BPF_NOEXIST.into()) {
        Ok(()) => Inserted::Yes,
        Err(EEXIST) => Inserted::Exists,
        Err(_) => Inserted::Refused,
    }
}

/// Adds one to a number about the flow table.
#[inline(always)]
pub(crate) fn add_flow_stat(stat: FlowStat) {
    if let Some(count) = FLOW_STATS.get_ptr_mut(stat as u32) {
        // SAFETY: an element of a per-CPU array belongs to this CPU while the program runs.
        unsafe { *count += 1 };
    }
}

/// Adds a packet to the tally of a drop reason.
#[inline(always)]
pub(crate) fn add_drop(reason: DropReason, bytes: u64) {
    add_to_tally(DROPS.get_ptr_mut(reason.index()), bytes);
}

/// Adds a packet to the tally of a stack reason.
#[inline(always)]
pub(crate) fn add_to_stack(reason: StackReason, bytes: u64) {
    add_to_tally(TO_STACK.get_ptr_mut(reason.index()), bytes);
}

#[inline(always)]
fn add_to_tally(tally: Option<*mut Tally>, bytes: u64) {
    if let Some(tally) = tally {
        // SAFETY: an element of a per-CPU array belongs to this CPU while the program runs.
        let tally = unsafe { &mut *tally };
        tally.packets += 1;
        tally.bytes += bytes;
    }
}

/// This CPU's allowance of events of a kind.
#[inline(always)]
pub(crate) fn event_allowance(kind: EventKind) -> Option<EventAllowance> {
    EVENT_ALLOWANCE.get(kind as u32).copied()
}

/// Writes this CPU's allowance of events of a kind.
#[inline(always)]
pub(crate) fn set_event_allowance(kind: EventKind, allowance: EventAllowance) {
    if let Some(slot) = EVENT_ALLOWANCE.get_ptr_mut(kind as u32) {
        // SAFETY: an element of a per-CPU array belongs to this CPU while the program runs.
        unsafe { *slot = allowance };
    }
}

/// Puts a record into the event ring; a full ring loses it, the counters do not.
#[inline(always)]
pub(crate) fn send_event(event: &Event) {
    if let Some(mut slot) = EVENTS.reserve(0) {
        slot.write(*event);
        slot.submit(0);
    }
}
