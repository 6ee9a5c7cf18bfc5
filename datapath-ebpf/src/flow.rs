//! The flow table and the sites' counters: every wire packet of the tunnel, once, in its direction.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use datapath_abi::flow::{FlowCounters, FlowKey, FlowStat, FlowVerdict};

use crate::{
    address,
    headers::Headers,
    maps::{self, Inserted},
    tally,
    wire::Wire,
};

/// Which way a packet goes.
#[derive(Clone, Copy)]
pub(crate) enum Direction {
    ToSite,
    FromSite,
}

/// Counts a packet of `site` for its flow and for the site.
#[inline(always)]
pub(crate) fn count(direction: Direction, vnet: u32, site: u32, headers: &Headers, wire: &Wire) {
    maps::add_to_site(site, direction, wire.packets, wire.bytes);
    // SAFETY: the helper has no precondition.
    let now = unsafe { bpf_ktime_get_ns() };
    let key = key_of(direction, vnet, headers);
    if !maps::add_to_flow(&key, direction, wire, headers.tcp_flags, now) {
        enter(&key, direction, site, wire, headers.tcp_flags, now);
    }
}

/// Both directions have one key: `local` is the end on this gateway's side.
#[inline(always)]
fn key_of(direction: Direction, vnet: u32, headers: &Headers) -> FlowKey {
    let Headers {
        source,
        destination,
        source_port,
        destination_port,
        ..
    } = *headers;
    let (local, remote, local_port, remote_port) = match direction {
        Direction::ToSite => (source, destination, source_port, destination_port),
        Direction::FromSite => (destination, source, destination_port, source_port),
    };
    FlowKey {
        vnet,
        local: address::to_bytes(local),
        remote: address::to_bytes(remote),
        local_port,
        remote_port,
        protocol: headers.protocol,
        family: headers.family as u8,
        reserved: [0; 2],
    }
}

/// Enters a flow with its first packet.
#[inline(always)]
fn enter(key: &FlowKey, direction: Direction, site: u32, wire: &Wire, tcp_flags: u8, now: u64) {
    let mut counters = FlowCounters {
        first_seen_ns: now,
        last_seen_ns: now,
        site,
        verdict: FlowVerdict::Accept as u8,
        ..FlowCounters::default()
    };
    match direction {
        Direction::ToSite => {
            counters.to_site_packets = wire.packets;
            counters.to_site_bytes = wire.bytes;
            counters.tcp_flags_to_site = tcp_flags;
        }
        Direction::FromSite => {
            counters.from_site_packets = wire.packets;
            counters.from_site_bytes = wire.bytes;
            counters.tcp_flags_from_site = tcp_flags;
        }
    }
    match maps::insert_flow(key, &counters) {
        Inserted::Yes => {
            maps::add_flow_stat(FlowStat::Inserted);
            tally::new_flow(key, site, now);
        }
        // Another CPU entered it between our look and our insert.
        Inserted::Exists if maps::add_to_flow(key, direction, wire, tcp_flags, now) => {}
        Inserted::Exists | Inserted::Refused => maps::add_flow_stat(FlowStat::InsertFailed),
    }
}
