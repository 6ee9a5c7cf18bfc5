//! Names and capacities of the maps, used on both sides. All but [`LOG`], [`EXPLAINED`], [`REFUSED`] and those of
//! [`CAPTURING_ONLY`] are pinned by name under `/sys/fs/bpf/crossway/<gateway>/`.

/// `(vnet, IPv4 prefix)` to [`crate::route::Route`]: longest-prefix-match trie.
pub const ROUTES4: &str = "ROUTES4";
/// `(vnet, IPv6 prefix)` to [`crate::route::Route`]: longest-prefix-match trie.
pub const ROUTES6: &str = "ROUTES6";
/// Site id to [`crate::site::Site`]: array.
pub const SITES: &str = "SITES";
/// Site id to [`crate::site::SiteCounters`]: per-CPU array. Never loses what the flow table evicts.
pub const SITE_COUNTERS: &str = "SITE_COUNTERS";
/// [`crate::flow::FlowKey4`] to [`crate::flow::FlowCounters`], flows of IPv4: LRU hash, bounded.
pub const FLOWS4: &str = "FLOWS4";
/// [`crate::flow::FlowKey`] to [`crate::flow::FlowCounters`], flows of IPv6: LRU hash, bounded.
pub const FLOWS6: &str = "FLOWS6";
/// [`crate::flow::FlowStat`] to a count: per-CPU array.
pub const FLOW_STATS: &str = "FLOW_STATS";
/// [`crate::outcome::DropReason`] to [`crate::outcome::Tally`]: per-CPU array.
pub const DROPS: &str = "DROPS";
/// [`crate::outcome::StackReason`] to [`crate::outcome::Tally`]: per-CPU array.
pub const TO_STACK: &str = "TO_STACK";
/// WireGuard receiver index shifted right by 8 to link id: hash.
pub const SESSIONS: &str = "SESSIONS";
/// Words of 64 bits, of which [`session_bit`] is set for each key of [`SESSIONS`]: array. Most junk finds
/// none and needs no hash.
pub const SESSION_BITS: &str = "SESSION_BITS";
/// Key 0 to [`crate::settings::Settings`]: array.
pub const SETTINGS: &str = "SETTINGS";
/// Interface index to [`crate::settings::Interface`]: hash.
pub const INTERFACES: &str = "INTERFACES";
/// [`crate::settings::slot_of`] an interface index to [`crate::settings::InterfaceSlot`]: array. What the
/// programs look at before [`INTERFACES`], of which it holds no more than copies.
pub const INTERFACE_SLOTS: &str = "INTERFACE_SLOTS";
/// [`crate::local::LocalKey`] to 1, for each address that the host takes for its own: longest-prefix-match trie.
pub const LOCAL_ADDRESSES: &str = "LOCAL_ADDRESSES";
/// [`crate::local::VlanKey`] to the index of the VLAN interface, for each that is a WAN: hash.
pub const WAN_VLANS: &str = "WAN_VLANS";

/// [`ACTIVE_RULES`] and [`SHADOW_RULES`], each to an image of [`crate::policy`], an array of its lines: array of maps.
/// An image is exchanged as a whole.
pub const POLICY: &str = "POLICY";
/// [`crate::flow::FlowKey`] to [`crate::policy::Denied`], flows that no rule allows: LRU hash. Apart from the flows,
/// none of which gives way to them.
pub const DENIED: &str = "DENIED";
/// [`crate::policy::rule_slot`] of a rule to [`crate::policy::RuleFlows`]: per-CPU array.
pub const POLICY_RULES: &str = "POLICY_RULES";

/// Every map, in the order in which they are shown.
pub const ALL: [&str; 19] = [
    ROUTES4,
    ROUTES6,
    SITES,
    SITE_COUNTERS,
    FLOWS4,
    FLOWS6,
    FLOW_STATS,
    DROPS,
    TO_STACK,
    SESSIONS,
    SESSION_BITS,
    SETTINGS,
    INTERFACES,
    INTERFACE_SLOTS,
    LOCAL_ADDRESSES,
    WAN_VLANS,
    POLICY,
    DENIED,
    POLICY_RULES,
];

/// What the programs have to say, as `aya-log` writes it: ring buffer. Not pinned, for it belongs to one load of the
/// programs: each agent reads what its own programs say.
pub const LOG: &str = "AYA_LOGS";
/// Key 0 to [`crate::explanation::Explanation`]: array. Not pinned, as [`LOG`].
pub const EXPLAINED: &str = "EXPLAINED";

/// [`crate::policy::Refused`] of some of the packets that no rule allows: ring buffer. Not pinned, as [`LOG`].
pub const REFUSED: &str = "REFUSED";

/// Key 0 to [`crate::capture::CaptureFilter`]: array.
pub const CAPTURE: &str = "CAPTURE";
/// [`crate::capture::Captured`] of the packet at hand: per-CPU array.
pub const CAPTURING: &str = "CAPTURING";
/// [`crate::capture::Captured`] of each packet, with its bytes: ring buffer.
pub const CAPTURED: &str = "CAPTURED";
/// Key 0 to [`crate::capture::CaptureCounts`]: per-CPU array.
pub const CAPTURE_COUNTS: &str = "CAPTURE_COUNTS";
/// Id of each link whose datagrams are wanted to 1: hash.
pub const CAPTURE_LINKS: &str = "CAPTURE_LINKS";
/// [`crate::capture::EndKey`] of these links to their id: hash.
pub const CAPTURE_ENDS: &str = "CAPTURE_ENDS";
/// Index of each interface at which datagrams are looked for to its [`crate::capture::LinkLayer`]: hash.
pub const CAPTURE_WANS: &str = "CAPTURE_WANS";

/// The maps that only the capturing programs use. An agent has none of them: they are there while somebody captures.
pub const CAPTURING_ONLY: [&str; 7] = [
    CAPTURE,
    CAPTURING,
    CAPTURED,
    CAPTURE_COUNTS,
    CAPTURE_LINKS,
    CAPTURE_ENDS,
    CAPTURE_WANS,
];

/// Program names, as in the object file and in `bpftool prog`.
pub const LAN_INGRESS: &str = "lan_ingress";
/// Counts what the kernel stack (not [`LAN_INGRESS`]) sent into the TUN.
pub const TUN_EGRESS: &str = "tun_egress";
/// Packets that came out of the tunnel.
pub const TUN_INGRESS: &str = "tun_ingress";
/// Says which queue of the TUN takes a packet: the lane in its mark.
pub const TUN_STEER: &str = "tun_steer";
/// Judges datagrams for our UDP ports.
pub const WAN_GUARD: &str = "wan_guard";
/// Says what [`LAN_INGRESS`] would decide. Like the two below, it is attached nowhere: the agent has the kernel run it.
pub const EXPLAIN_LAN: &str = "explain_lan";
/// Says what [`TUN_EGRESS`] would decide.
pub const EXPLAIN_EGRESS: &str = "explain_egress";
/// Says what [`TUN_INGRESS`] would decide.
pub const EXPLAIN_TUN: &str = "explain_tun";
/// Captures in front of [`LAN_INGRESS`]. Like the three below, it is loaded and attached while somebody captures.
pub const CAPTURE_LAN: &str = "capture_lan";
/// Captures in front of [`TUN_EGRESS`].
pub const CAPTURE_EGRESS: &str = "capture_egress";
/// Captures in front of [`TUN_INGRESS`].
pub const CAPTURE_TUN: &str = "capture_tun";
/// Captures datagrams of the tunnel, as the filter of a packet socket.
pub const CAPTURE_WAN: &str = "capture_wan";
/// The programs that are loaded while somebody captures, and else not.
pub const CAPTURING_PROGRAMS: [&str; 4] = [CAPTURE_LAN, CAPTURE_EGRESS, CAPTURE_TUN, CAPTURE_WAN];

/// Routes of one family in a configuration.
pub const MAX_ROUTES: usize = 1 << 20;
/// Entries of a trie: the old routes and the new ones are both in it while all are replaced. It
/// allocates an entry when it is used, so this is a bound, not a cost.
pub const ROUTE_ENTRIES: usize = 2 * MAX_ROUTES;
/// Sites of one gateway.
pub const MAX_SITES: usize = 4096;
/// Flows of IPv4 kept at once unless the configuration says otherwise; the least recently used one gives
/// way. All are allocated from the start, 160 bytes for each.
pub const DEFAULT_FLOWS: usize = 262_144;

/// Flows of IPv6 kept at once, 184 bytes for each, beside so many of IPv4.
pub const fn flows_of_ipv6(flows: usize) -> usize {
    flows / 4
}

/// Key in [`POLICY`] of the rules that are enforced.
pub const ACTIVE_RULES: u32 = 0;
/// Key in [`POLICY`] of the rules that are only judged and counted.
pub const SHADOW_RULES: u32 = 1;
/// Entries of [`POLICY`].
pub const RULE_SETS: usize = 2;
/// Denied flows that are remembered; the one that is longest ago gives way.
pub const DENIED_FLOWS: usize = 4096;
/// Bytes of [`REFUSED`].
pub const REFUSED_RING: usize = 64 << 10;

/// Links of one gateway.
pub const MAX_SESSIONS: usize = 16_384;
/// Words of [`SESSION_BITS`]: 8 KiB, of which even thousands of sessions set few.
pub const SESSION_WORDS: usize = 1024;
/// Interfaces with a role.
pub const MAX_INTERFACES: usize = 64;
/// Bytes of [`CAPTURED`] unless a capture asks for others.
pub const CAPTURE_RING: usize = 8 << 20;
/// Addresses and prefixes of the host; allocated when they are used.
pub const MAX_LOCAL_ADDRESSES: usize = 1 << 16;
/// A power of two, and more than the indices of most hosts, so that interfaces seldom meet in a slot.
pub const INTERFACE_SLOT_COUNT: usize = 1024;

/// Word and bit in it of a session, a key of [`SESSIONS`].
pub const fn session_bit(session: u32) -> (u32, u64) {
    (session / 64 % SESSION_WORDS as u32, 1 << (session % 64))
}
