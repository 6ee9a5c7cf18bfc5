//! The flow table: one entry for both directions of a conversation through the tunnel.

use zerocopy::FromBytes;

use crate::pod;

/// A flow of either family, and the key of [`crate::maps::FLOWS6`]. `local` is always the end on this
/// gateway's side, so both directions meet in one entry. IPv4 addresses are
/// IPv4-mapped (`::ffff:a.b.c.d`, RFC 4291 2.5.5.2).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes)]
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
    /// 1: fragments after the first, which nobody knows the ports of; they are a flow of their own. Else 0.
    pub fragments: u8,
    /// Zero.
    pub reserved: u8,
}

/// Key of [`crate::maps::FLOWS4`]: a flow of IPv4, less than half as long as a [`FlowKey`], which is what
/// hashing and comparing it cost. The fields mean the same.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes)]
pub struct FlowKey4 {
    /// Virtual network id.
    pub vnet: u32,
    /// Address on this gateway's side.
    pub local: [u8; 4],
    /// Address on the far site's side.
    pub remote: [u8; 4],
    /// Port or echo identifier.
    pub local_port: [u8; 2],
    /// Port or echo identifier.
    pub remote_port: [u8; 2],
    /// IP protocol number.
    pub protocol: u8,
    /// 1: fragments after the first. Else 0.
    pub fragments: u8,
    /// Zero.
    pub reserved: [u8; 2],
}

/// Head of an IPv4-mapped address.
const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

impl FlowKey {
    /// The key in [`crate::maps::FLOWS4`], of a flow of IPv4.
    pub fn to_v4(&self) -> Option<FlowKey4> {
        (self.family == 4).then(|| FlowKey4 {
            vnet: self.vnet,
            local: unmapped(self.local),
            remote: unmapped(self.remote),
            local_port: self.local_port,
            remote_port: self.remote_port,
            protocol: self.protocol,
            fragments: self.fragments,
            reserved: [0; 2],
        })
    }
}

impl From<FlowKey4> for FlowKey {
    fn from(key: FlowKey4) -> Self {
        Self {
            vnet: key.vnet,
            local: mapped(key.local),
            remote: mapped(key.remote),
            local_port: key.local_port,
            remote_port: key.remote_port,
            protocol: key.protocol,
            family: 4,
            fragments: key.fragments,
            reserved: 0,
        }
    }
}

fn mapped(address: [u8; 4]) -> [u8; 16] {
    let mut mapped = [0; 16];
    mapped[..12].copy_from_slice(&MAPPED);
    mapped[12..].copy_from_slice(&address);
    mapped
}

fn unmapped([.., a, b, c, d]: [u8; 16]) -> [u8; 4] {
    [a, b, c, d]
}

/// Value of [`crate::maps::FLOWS4`] and [`crate::maps::FLOWS6`]. Wire packets: a GSO packet counts as its segments, and
/// its bytes are those of the segments with their repeated headers (inner IP bytes).
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
    /// Id of the site that the route to `remote` named last.
    pub site: u32,
    /// [`crate::settings::Settings::route_generation`] from before that route was looked up. While it is
    /// the same, the programs go by `site` and do not look again.
    pub route_generation: u32,
    /// TCP flags (byte 13 of the header) seen towards the site, ORed.
    pub tcp_flags_to_site: u8,
    /// TCP flags seen from the site, ORed.
    pub tcp_flags_from_site: u8,
    /// A [`FlowVerdict`].
    pub verdict: u8,
    /// An [`OpenedBy`].
    pub opened_by: u8,
    /// [`source_check`] of the LAN interface that the host may send this flow by; 0 if none was found to be.
    pub source_check: u32,
    /// The rule that allows it, [`crate::policy::OPEN16`], or [`crate::policy::NO_RULE16`] for a flow that was told and
    /// not seen here yet. Of the rules as of `route_generation`.
    pub rule: u16,
    /// The same by the shadow rules.
    pub shadow_rule: u16,
    /// Zero.
    pub reserved: [u8; 4],
}

/// What says that the source of a flow was found right at an interface while the routes had this generation. One word,
/// so that two CPUs that write it at once leave no mixture; an odd factor with well-mixed bits (the fractional part of
/// the golden ratio) keeps the words of all interfaces and near generations apart.
#[inline(always)]
pub const fn source_check(ifindex: u32, generation: u32) -> u32 {
    ifindex.wrapping_mul(0x9e37_79b9) ^ generation
}

/// [`FlowCounters::route_generation`] of a flow that this gateway knows from its replica alone, until it
/// sees a packet of it. Were the routes ever of this generation, the flow would go by a site that is
/// right all the same: the agent sets it from the present routes.
pub const NOT_SEEN_HERE: u32 = u32::MAX;

/// What was decided for a flow; the value in [`FlowCounters::verdict`].
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowVerdict {
    /// Carried.
    Accept = 0,
    /// Carried, but no shadow rule would allow it.
    ShadowDenied = 1,
}

/// Which end opened a flow, by the packet with which it came into the table; the value in [`FlowCounters::opened_by`].
/// That is its sender, unless the packet is an answer (SYN with ACK, an echo reply) or only a rule for the other end
/// allows it. Of a conversation that had rested, or that was carried elsewhere before, the packet is not its first one.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenedBy {
    /// Not known: a replica told of the flow.
    Unknown = 0,
    /// The end on this gateway's side.
    Local = 1,
    /// The end on the far site's side.
    Remote = 2,
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
const _: () = assert!(size_of::<FlowKey4>() == 20);
const _: () = assert!(size_of::<FlowCounters>() == 72);
pod!(FlowKey, FlowKey4, FlowCounters);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_checked_for_each_interface_and_generation() {
        let mut seen = std::collections::HashSet::new();
        for ifindex in 1..=300 {
            for generation in 0..300 {
                let check = source_check(ifindex, generation);
                assert!(check != 0 && seen.insert(check), "{ifindex} {generation}");
            }
        }
    }

    #[test]
    fn a_flow_of_ipv4_is_the_same_in_either_form() {
        let short = FlowKey4 {
            vnet: 7,
            local: [10, 1, 0, 5],
            remote: [10, 2, 0, 9],
            local_port: [3, 232],
            remote_port: [1, 187],
            protocol: 6,
            fragments: 0,
            reserved: [0; 2],
        };
        let long = FlowKey::from(short);
        assert_eq!(long.local, *b"\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\x01\0\x05");
        assert_eq!(long.to_v4(), Some(short));
        assert_eq!(FlowKey { family: 6, ..long }.to_v4(), None);
    }
}
