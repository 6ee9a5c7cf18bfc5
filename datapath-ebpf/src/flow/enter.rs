//! Entering a flow that was judged just now into the table, or what was found of one that is there. A global function:
//! the verifier walks it once and by itself. What it needs is in the map JUDGING.

use datapath_abi::flow::{FlowStat, source_check};

use super::{UNCHECKED, entry::FlowEntry};
use crate::{
    clock,
    maps::{self, Inserted},
    policy::{self, Judging},
    wire::Wire,
};

/// Counts the packet that was judged, with so much of it on the wire. Returns 1 if the table did not take its flow.
#[inline(never)]
#[unsafe(no_mangle)]
pub(super) extern "C" fn enter_flow(
    packets: u64,
    bytes: u64,
    checked_at: u32,
    tcp_flags: u32,
) -> u32 {
    let Some(judging) = maps::judging() else {
        return 1;
    };
    // SAFETY: an element of a per-CPU array belongs to this CPU while the program runs.
    let judging = unsafe { &mut *judging };
    let wire = Wire {
        packets,
        bytes,
        largest: 0,
    };
    let check = if checked_at == UNCHECKED {
        0
    } else {
        source_check(checked_at, judging.generation)
    };
    let now = clock::coarse_ns();
    judging
        .packet
        .write_flow(judging.to_site != 0, &mut judging.key);
    if let Some(key) = judging.key.to_v4() {
        judging.key4 = key;
    }
    if judging.is_known != 0
        && let Some(entry) = find(judging)
    {
        entry.set_site(judging.target, judging.generation);
        entry.set_judgement(judging);
        if check != 0 {
            entry.set_source_check(check);
        }
        entry.add(judging.direction(), &wire, tcp_flags as u8, now);
        return 0;
    }
    fill(judging, &wire, tcp_flags as u8, now);
    judging.counters.source_check = check;
    let inserted = if judging.key.family == 4 {
        maps::insert_flow4(&judging.key4, &judging.counters)
    } else {
        maps::insert_flow6(&judging.key, &judging.counters)
    };
    match inserted {
        Inserted::Yes => {
            maps::add_flow_stat(FlowStat::Inserted);
            policy::count_rules(judging);
        }
        Inserted::Refused => {
            maps::add_flow_stat(FlowStat::InsertFailed);
            return 1;
        }
        // Another CPU entered it between our look and our insert.
        Inserted::Exists => match find(judging) {
            Some(entry) => entry.add(judging.direction(), &wire, tcp_flags as u8, now),
            None => maps::add_flow_stat(FlowStat::InsertFailed),
        },
    }
    0
}

/// The entry of the flow whose keys are in `judging`.
#[inline(always)]
fn find(judging: &Judging) -> Option<FlowEntry> {
    let entry = if judging.key.family == 4 {
        maps::flow4(&judging.key4)
    } else {
        maps::flow6(&judging.key)
    };
    entry.map(FlowEntry)
}

/// Fills in what the table gets.
#[inline(always)]
fn fill(judging: &mut Judging, wire: &Wire, tcp_flags: u8, now: u64) {
    let [rule, shadow_rule] = judging.rules();
    let (verdict, opened_by) = (judging.verdict(), judging.opened_by as u8);
    let counters = &mut judging.counters;
    // What is zero of them stays so, but for the packets: no structure is made on the stack first.
    counters.first_seen_ns = now;
    counters.last_seen_ns = now;
    counters.site = judging.target;
    counters.route_generation = judging.generation;
    counters.verdict = verdict;
    counters.opened_by = opened_by;
    counters.rule = rule;
    counters.shadow_rule = shadow_rule;
    let [to_site, from_site] = match judging.to_site {
        0 => [0, u64::MAX],
        _ => [u64::MAX, 0],
    };
    counters.to_site_packets = wire.packets & to_site;
    counters.to_site_bytes = wire.bytes & to_site;
    counters.tcp_flags_to_site = tcp_flags & to_site as u8;
    counters.from_site_packets = wire.packets & from_site;
    counters.from_site_bytes = wire.bytes & from_site;
    counters.tcp_flags_from_site = tcp_flags & from_site as u8;
}
