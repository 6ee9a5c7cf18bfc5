//! Names and capacities of the maps, used on both sides. All are pinned by name under
//! `/sys/fs/bpf/crossway/<gateway>/`.

/// `(vnet, IPv4 prefix)` to [`crate::route::Route`]: longest-prefix-match trie.
pub const ROUTES4: &str = "ROUTES4";
/// `(vnet, IPv6 prefix)` to [`crate::route::Route`]: longest-prefix-match trie.
pub const ROUTES6: &str = "ROUTES6";
/// Site id to [`crate::site::Site`]: array.
pub const SITES: &str = "SITES";
/// Site id to [`crate::site::SiteCounters`]: per-CPU array. Never loses what the flow table evicts.
pub const SITE_COUNTERS: &str = "SITE_COUNTERS";
/// [`crate::flow::FlowKey`] to [`crate::flow::FlowCounters`]: LRU hash, bounded.
pub const FLOWS: &str = "FLOWS";
/// [`crate::flow::FlowStat`] to a count: per-CPU array.
pub const FLOW_STATS: &str = "FLOW_STATS";
/// [`crate::outcome::DropReason`] to [`crate::outcome::Tally`]: per-CPU array.
pub const DROPS: &str = "DROPS";
/// [`crate::outcome::StackReason`] to [`crate::outcome::Tally`]: per-CPU array.
pub const TO_STACK: &str = "TO_STACK";
/// WireGuard receiver index shifted right by 8 to link id: hash.
pub const SESSIONS: &str = "SESSIONS";
/// Key 0 to [`crate::settings::Settings`]: array.
pub const SETTINGS: &str = "SETTINGS";
/// Interface index to [`crate::settings::Interface`]: hash.
pub const INTERFACES: &str = "INTERFACES";
/// [`crate::event::Event`] records: ring buffer.
pub const EVENTS: &str = "EVENTS";

/// Every map, in the order in which they are shown.
pub const ALL: [&str; 12] = [
    ROUTES4,
    ROUTES6,
    SITES,
    SITE_COUNTERS,
    FLOWS,
    FLOW_STATS,
    DROPS,
    TO_STACK,
    SESSIONS,
    SETTINGS,
    INTERFACES,
    EVENTS,
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

/// Routes of one family. The trie allocates an entry when it is used, so this is a bound, not a cost.
pub const MAX_ROUTES: usize = 1 << 20;
/// Sites of one gateway.
pub const MAX_SITES: usize = 4096;
/// Flows kept at once; the least recently used one gives way.
pub const MAX_FLOWS: usize = 262_144;
/// Links of one gateway.
pub const MAX_SESSIONS: usize = 16_384;
/// Interfaces with a role.
pub const MAX_INTERFACES: usize = 64;
/// Bytes of the event ring: a power of two and of pages.
pub const EVENTS_BYTES: usize = 256 * 1024;
