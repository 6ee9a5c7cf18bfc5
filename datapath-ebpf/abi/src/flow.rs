//! The flow table: one entry for both directions of a conversation through the tunnel.

use crate::pod;

/// Key of [`crate::maps::FLOWS`]. `local` is always the end on this gateway's side, so both
/// directions meet in one entry. IPv4 addresses are IPv4-mapped (`::ffff:a.b.c.d`, RFC 4291 2.5.5.2).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// Virtual network id.
    pub vnet: u32,
    /// Address on this gateway's side.
    pub local: [u8; 16],
    /// Address on the far site's side.
    pub remote: [u8; 16],
    /// TCP, UDP, SCTP, DCCP or UDP-Lite port in network order; for ICMP echo the identifier (the same in
    /// `remote_port`); zero for other protocols, other ICMP messages and fragments after the first.
    pub local_port: [u8; 2],
    /// As `local_port`, of the far end.
    pub remote_port: [u8; 2],
    /// IP protocol number (of IPv6: of the upper layer behind the extension headers).
    pub protocol: u8,
    /// 4 or 6.
    pub family: u8,
    /// Zero.
    pub reserved: [u8; 2],
}

/// Value of [`crate::maps::FLOWS`]. Wire packets: a GSO packet counts as its segments, and its
/// bytes are those of the segments with their repeated headers (inner IP bytes).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowCounters {
    /// Wire packets towards the site.
    pub to_site_packets: u64,
    /// Inner IP bytes towards the site.
    pub to_site_bytes: u64,
    /// Wire packets from the site.
    pub from_site_packets: u64,
    /// Inner IP bytes from the site.
    pub from_site_bytes: u64,
    /// CLOCK_MONOTONIC at the first packet, as of the kernel's last tick (`bpf_ktime_get_coarse_ns`).
    pub first_seen_ns: u64,
    /// The same at the last packet.
    pub last_seen_ns: u64,
    /// Site id.
    pub site: u32,
    /// TCP flags (byte 13 of the header) seen towards the site, ORed.
    pub tcp_flags_to_site: u8,
    /// TCP flags seen from the site, ORed.
    pub tcp_flags_from_site: u8,
    /// A [`FlowVerdict`].
    pub verdict: u8,
    /// Zero.
    pub reserved: u8,
}

/// What was decided for a flow; the value in [`FlowCounters::verdict`].
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowVerdict {
    /// Carried.
    Accept = 0,
}

/// Index into [`crate::maps::FLOW_STATS`].
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowStat {
    /// Entries inserted by the programs. What is neither in the table nor removed by the agent was evicted.
    Inserted = 0,
    /// Inserts that the table refused; the packets are in the site's counters only.
    InsertFailed = 1,
}

/// Number of [`FlowStat`]s.
pub const FLOW_STAT_COUNT: usize = 2;

const _: () = assert!(size_of::<FlowKey>() == 44);
const _: () = assert!(size_of::<FlowCounters>() == 56);
pod!(FlowKey, FlowCounters);
