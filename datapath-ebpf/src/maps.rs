//! The maps, and the only code that touches their memory. Names, capacities and layouts are those of
//! [`datapath_abi`]; nothing here decides.

use aya_ebpf::{
    bindings::{BPF_F_INNER_MAP, BPF_NOEXIST},
    btf_maps::{
        Array, ArrayOfMaps, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf, lpm_trie::Key,
    },
    macros::btf_map,
    maps::ring_buf::RingBufEntry,
};
use datapath_abi::{
    ABI_VERSION,
    address::{self, Address},
    capture::{CaptureCounts, CaptureFilter, Captured, EndKey},
    explanation::Explanation,
    fault::{FaultKind, PROGRAMS},
    flow::{FLOW_STAT_COUNT, FlowCounters, FlowKey, FlowKey4, FlowStat},
    local::{LocalKey, VlanKey},
    maps::{
        CAPTURE_RING, DEFAULT_FLOWS, DENIED_FLOWS, INTERFACE_SLOT_COUNT, MAX_INTERFACES,
        MAX_LOCAL_ADDRESSES, MAX_SESSIONS, MAX_SITES, REFUSED_RING, ROUTE_ENTRIES, RULE_SETS,
        SESSION_WORDS, flows_of_ipv6, session_bit,
    },
    outcome::{DropReason, StackReason, Tally},
    policy::{Denied, Image, Line, RULE_SLOTS, Refused, RuleFlows},
    route::{Route, RouteKey4, RouteKey6},
    settings::{Interface, InterfaceSlot, Role, Settings, slot_of},
    site::{Site, SiteCounters},
};

use crate::{clock, policy::Judging, wire::Direction};

#[btf_map]
static ROUTES4: LpmTrie<RouteKey4, Route, ROUTE_ENTRIES> = LpmTrie::new();
#[btf_map]
static ROUTES6: LpmTrie<RouteKey6, Route, ROUTE_ENTRIES> = LpmTrie::new();
#[btf_map]
static SITES: Array<Site, MAX_SITES> = Array::new();
#[btf_map]
static SITE_COUNTERS: PerCpuArray<SiteCounters, MAX_SITES> = PerCpuArray::new();
#[btf_map]
static FLOWS4: LruHashMap<FlowKey4, FlowCounters, DEFAULT_FLOWS> = LruHashMap::new();
#[btf_map]
static FLOWS6: LruHashMap<FlowKey, FlowCounters, { flows_of_ipv6(DEFAULT_FLOWS) }> =
    LruHashMap::new();
#[btf_map]
static FLOW_STATS: PerCpuArray<u64, FLOW_STAT_COUNT> = PerCpuArray::new();
#[btf_map]
static DROPS: PerCpuArray<Tally, { DropReason::COUNT }> = PerCpuArray::new();
#[btf_map]
static TO_STACK: PerCpuArray<Tally, { StackReason::COUNT }> = PerCpuArray::new();
#[btf_map]
static SESSIONS: HashMap<u32, u32, MAX_SESSIONS> = HashMap::new();
#[btf_map]
static SESSION_BITS: Array<u64, SESSION_WORDS> = Array::new();
#[btf_map]
static SETTINGS: Array<Settings, 1> = Array::new();
#[btf_map]
static INTERFACES: HashMap<u32, Interface, MAX_INTERFACES> = HashMap::new();
#[btf_map]
static INTERFACE_SLOTS: Array<InterfaceSlot, INTERFACE_SLOT_COUNT> = Array::new();
#[btf_map]
static LOCAL_ADDRESSES: LpmTrie<LocalKey, u32, MAX_LOCAL_ADDRESSES> = LpmTrie::new();
#[btf_map]
static WAN_VLANS: HashMap<VlanKey, u32, MAX_INTERFACES> = HashMap::new();
#[btf_map]
static POLICY: ArrayOfMaps<Lines, RULE_SETS> = ArrayOfMaps::new();
#[btf_map]
static DENIED: LruHashMap<FlowKey, Denied, DENIED_FLOWS> = LruHashMap::new();
#[btf_map]
static POLICY_RULES: PerCpuArray<RuleFlows, RULE_SLOTS> = PerCpuArray::new();
#[btf_map]
static REFUSED: RingBuf<Refused, REFUSED_RING> = RingBuf::new();

/// An image, of any number of lines (kernel 5.10).
type Lines = Array<Line, 1, { BPF_F_INNER_MAP as usize }>;

/// The packet that a CPU judges. The programs' own: not pinned.
#[btf_map]
static JUDGING: PerCpuArray<Judging, 1> = PerCpuArray::new();

/// When a CPU last told the agent of a fault, for each program and kind. The programs' own: not pinned.
#[btf_map]
static LAST_SAID: PerCpuArray<u64, { PROGRAMS * KINDS }> = PerCpuArray::new();
const KINDS: usize = FaultKind::ALL.len();

/// The tick that a CPU saw last, and its time. The programs' own: not pinned.
#[btf_map]
static TICK: PerCpuArray<Tick, 1> = PerCpuArray::new();

/// What a CPU has answered in the present second, and told of denied packets. The programs' own: not pinned.
#[btf_map]
static ANSWERS: PerCpuArray<Answers, 2> = PerCpuArray::new();

/// What an explaining program has found, for the agent that had it run. Not pinned.
#[btf_map]
static EXPLAINED: Array<Explanation, 1> = Array::new();

/// The maps of the capturing programs: the agent has none of them. Not pinned.
#[btf_map]
static CAPTURE: Array<CaptureFilter, 1> = Array::new();
#[btf_map]
static CAPTURING: PerCpuArray<Captured, 1> = PerCpuArray::new();
#[btf_map]
static CAPTURED: RingBuf<Captured, CAPTURE_RING> = RingBuf::new();
#[btf_map]
static CAPTURE_COUNTS: PerCpuArray<CaptureCounts, 1> = PerCpuArray::new();
#[btf_map]
static CAPTURE_LINKS: HashMap<u32, u32, MAX_SESSIONS> = HashMap::new();
#[btf_map]
static CAPTURE_ENDS: HashMap<EndKey, u32, MAX_SESSIONS> = HashMap::new();
#[btf_map]
static CAPTURE_WANS: HashMap<u32, u32, MAX_INTERFACES> = HashMap::new();

/// Value of `ANSWERS`.
#[repr(C)]
struct Answers {
    second: u64,
    count: u64,
}

/// Value of `TICK`.
#[repr(C)]
struct Tick {
    number: u64,
    time_ns: u64,
}

/// The settings, once an agent of this ABI has written them.
#[inline(always)]
pub(crate) fn settings() -> Option<&'static Settings> {
    SETTINGS
        .get(0)
        .filter(|settings| settings.abi_version == ABI_VERSION)
}

/// The number of the routes that are in force. Read here and now, not where the compiler would like to.
#[inline(always)]
pub(crate) fn route_generation(settings: &Settings) -> u32 {
    // SAFETY: a reference is valid for reads.
    unsafe { (&raw const settings.route_generation).read_volatile() }
}

/// The interface with this index, if it has the role.
#[inline(always)]
pub(crate) fn interface(ifindex: u32, role: Role) -> Option<Interface> {
    let interface = match INTERFACE_SLOTS.get_ptr(slot_of(ifindex)) {
        // SAFETY: the elements of an array are always there; a concurrent update of the agent's can at
        // worst show old and new fields together.
        Some(slot) if unsafe { (*slot).ifindex } == ifindex => unsafe { (*slot).interface },
        // SAFETY: the map is preallocated, so the pointer stays readable while the program runs; for
        // the rest as above.
        _ => unsafe { *INTERFACES.get_ptr(ifindex)? },
    };
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
    let (word, bit) = session_bit(index);
    SESSION_BITS.get(word).is_some_and(|bits| bits & bit != 0) && SESSIONS.get_ptr(index).is_some()
}

/// Whether the host takes an address for its own.
#[inline(always)]
pub(crate) fn is_local(address: &Address) -> bool {
    let address = address::to_bytes(*address);
    LOCAL_ADDRESSES
        .get(&Key::new(128, LocalKey { address }))
        .is_some()
}

/// Whether frames of a VLAN at an interface go to a WAN.
#[inline(always)]
pub(crate) fn is_wan_vlan(ifindex: u32, id: u32) -> bool {
    WAN_VLANS.get_ptr(VlanKey { ifindex, id }).is_some()
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

/// Looks up a flow of IPv4.
#[inline(always)]
pub(crate) fn flow4(key: &FlowKey4) -> Option<*mut FlowCounters> {
    FLOWS4.get_ptr_mut(key)
}

/// Looks up a flow of IPv6.
#[inline(always)]
pub(crate) fn flow6(key: &FlowKey) -> Option<*mut FlowCounters> {
    FLOWS6.get_ptr_mut(key)
}

/// How an insert into the flow table ended.
pub(crate) enum Inserted {
    Yes,
    Exists,
    Refused,
}

/// Enters a flow of IPv4 that is not in the table.
#[inline(always)]
pub(crate) fn insert_flow4(key: &FlowKey4, counters: &FlowCounters) -> Inserted {
    inserted(FLOWS4.insert(key, counters, BPF_NOEXIST.into()))
}

/// Enters a flow of IPv6 that is not in the table.
#[inline(always)]
pub(crate) fn insert_flow6(key: &FlowKey, counters: &FlowCounters) -> Inserted {
    inserted(FLOWS6.insert(key, counters, BPF_NOEXIST.into()))
}

#[inline(always)]
fn inserted(result: Result<(), i32>) -> Inserted {
    const EEXIST: i32 = -17;
    match result {
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

/// Adds wire packets to the tally of a drop reason.
#[inline(always)]
pub(crate) fn add_drop(reason: DropReason, packets: u64, bytes: u64) {
    add_to_tally(DROPS.get_ptr_mut(reason.index()), packets, bytes);
}

/// Adds wire packets to the tally of a stack reason.
#[inline(always)]
pub(crate) fn add_to_stack(reason: StackReason, packets: u64, bytes: u64) {
    add_to_tally(TO_STACK.get_ptr_mut(reason.index()), packets, bytes);
}

#[inline(always)]
fn add_to_tally(tally: Option<*mut Tally>, packets: u64, bytes: u64) {
    if let Some(tally) = tally {
        // SAFETY: an element of a per-CPU array belongs to this CPU while the program runs.
        unsafe { *tally += Tally { packets, bytes } };
    }
}

/// An image of the policy, as a map that is read while the program runs.
pub(crate) struct PolicyImage(&'static Lines);

impl Image for PolicyImage {
    #[inline(always)]
    fn line(&self, index: u32) -> Option<&Line> {
        self.0.get(index)
    }
}

/// The image of a set of rules, if the agent has set one.
#[inline(always)]
pub(crate) fn image(set: u32) -> Option<PolicyImage> {
    POLICY.get(set).map(PolicyImage)
}

/// Where a program notes the packet that it judges.
#[inline(always)]
pub(crate) fn judging() -> Option<*mut Judging> {
    JUDGING.get_ptr_mut(0)
}

/// A denied flow, if it was denied before.
#[inline(always)]
pub(crate) fn denied(key: &FlowKey) -> Option<*mut Denied> {
    DENIED.get_ptr_mut(key)
}

/// Remembers a denied flow.
#[inline(always)]
pub(crate) fn insert_denied(key: &FlowKey, denied: &Denied) -> Inserted {
    inserted(DENIED.insert(key, denied, BPF_NOEXIST.into()))
}

/// The new flows of a rule, as this CPU has counted them.
#[inline(always)]
pub(crate) fn rule_flows(slot: u32) -> Option<*mut RuleFlows> {
    POLICY_RULES.get_ptr_mut(slot)
}

/// Room for a denied packet, if there is some.
#[inline(always)]
pub(crate) fn refused() -> Option<RingBufEntry<Refused>> {
    REFUSED.reserve_untyped(0)
}

/// Where an explaining program writes what it finds.
#[inline(always)]
pub(crate) fn explained() -> Option<*mut Explanation> {
    EXPLAINED.get_ptr_mut(0)
}

/// Which packets are wanted.
#[inline(always)]
pub(crate) fn capture_filter() -> Option<&'static CaptureFilter> {
    CAPTURE.get(0)
}

/// Where a capturing program notes what it finds out about the packet at hand.
#[inline(always)]
pub(crate) fn capturing() -> Option<*mut Captured> {
    CAPTURING.get_ptr_mut(0)
}

/// Room in the ring for a packet, if there is some.
#[inline(always)]
pub(crate) fn captured<R: 'static>() -> Option<RingBufEntry<R>> {
    CAPTURED.reserve_untyped(0)
}

/// Counts a packet that was wanted, or with `lost` one of those for which there was no room.
#[inline(always)]
pub(crate) fn count_captured(lost: bool) {
    if let Some(counts) = CAPTURE_COUNTS.get_ptr_mut(0) {
        // SAFETY: an element of a per-CPU array belongs to this CPU while the program runs.
        unsafe {
            if lost {
                (*counts).lost += 1;
            } else {
                (*counts).wanted += 1;
            }
        }
    }
}

/// How an interface begins its packets, if datagrams are looked for there.
#[inline(always)]
pub(crate) fn capture_wan(ifindex: u32) -> Option<u32> {
    // SAFETY: the map is preallocated, so the pointer stays readable while the program runs.
    CAPTURE_WANS.get_ptr(ifindex).map(|layer| unsafe { *layer })
}

/// The link between two outer ends, if its datagrams are wanted.
#[inline(always)]
pub(crate) fn capture_link_between(ends: &EndKey) -> Option<u32> {
    // SAFETY: as above.
    CAPTURE_ENDS.get_ptr(ends).map(|link| unsafe { *link })
}

/// The link of a receiver index (shifted right by 8), if its datagrams are wanted.
#[inline(always)]
pub(crate) fn capture_link_of(index: u32) -> Option<u32> {
    // SAFETY: as above.
    let link = unsafe { *SESSIONS.get_ptr(index)? };
    CAPTURE_LINKS.get_ptr(link).map(|_| link)
}

/// Whether this CPU may say something of a program's and of a kind, of which it then says nothing for
/// `quiet_ns`.
#[inline(always)]
pub(crate) fn may_say(program: u32, kind: u32, now: u64, quiet_ns: u64) -> bool {
    let Some(last) = LAST_SAID.get_ptr_mut(program * KINDS as u32 + kind) else {
        return false;
    };
    // SAFETY: an element of a per-CPU array belongs to this CPU while the program runs.
    unsafe {
        if *last != 0 && now.wrapping_sub(*last) < quiet_ns {
            return false;
        }
        *last = now;
    }
    true
}

/// What is done only so often in a second.
#[derive(Clone, Copy)]
pub(crate) enum Limited {
    Answers = 0,
    Refused = 1,
}

/// Whether this CPU may do it once more, of so many times in a second.
#[inline(always)]
pub(crate) fn may(what: Limited, per_second: u64) -> bool {
    let second = clock::coarse_ns() / 1_000_000_000;
    let Some(answers) = ANSWERS.get_ptr_mut(what as u32) else {
        return false;
    };
    // SAFETY: an element of a per-CPU array belongs to this CPU while the program runs.
    unsafe {
        if (*answers).second != second {
            (*answers).second = second;
            (*answers).count = 0;
        }
        (*answers).count += 1;
        (*answers).count <= per_second
    }
}

/// The time of a tick, if this CPU has noted it.
#[inline(always)]
pub(crate) fn time_of_tick(number: u64) -> Option<u64> {
    let tick = TICK.get_ptr(0)?;
    // SAFETY: an element of a per-CPU array belongs to this CPU while the program runs. A run that this
    // one interrupts may be about to write it: see `set_time_of_tick`.
    unsafe {
        ((&raw const (*tick).number).read_volatile() == number)
            .then(|| (&raw const (*tick).time_ns).read_volatile())
    }
}

/// Notes the time of a tick. The time first, so that a run that comes in between sees the old number
/// and asks the clock itself.
#[inline(always)]
pub(crate) fn set_time_of_tick(number: u64, time_ns: u64) {
    if let Some(tick) = TICK.get_ptr_mut(0) {
        // SAFETY: as in `time_of_tick`.
        unsafe {
            (&raw mut (*tick).time_ns).write_volatile(time_ns);
            (&raw mut (*tick).number).write_volatile(number);
        }
    }
}
