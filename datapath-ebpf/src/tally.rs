//! Counts outcomes, and tells the agent of the first drops of each second.

use datapath_abi::{
    event::{EVENTS_PER_SECOND, Event, EventKind},
    flow::FlowKey,
    outcome::{DropReason, StackReason},
};

use crate::{clock, maps};

const SECOND_NS: u64 = 1_000_000_000;

/// Notes that a packet, which is so many on the wire, was left to the stack.
#[inline(always)]
pub(crate) fn to_stack(reason: StackReason, packets: u64, bytes: u32) {
    maps::add_to_stack(reason, packets, bytes.into());
}

/// Notes that a packet was dropped.
#[inline(always)]
pub(crate) fn drop(reason: DropReason, bytes: u32) {
    maps::add_drop(reason, bytes.into());
    let now = clock::coarse_ns();
    if may_tell(EventKind::Drop, now) {
        maps::send_event(&Event {
            time_ns: now,
            kind: EventKind::Drop as u32,
            site: 0,
            reason: reason.index(),
            key: FlowKey::default(),
        });
    }
}

/// Tells the agent of a flow that was entered into the table.
#[inline(always)]
pub(crate) fn new_flow(key: &FlowKey, site: u32, now: u64) {
    if may_tell(EventKind::NewFlow, now) {
        maps::send_event(&Event {
            time_ns: now,
            kind: EventKind::NewFlow as u32,
            site,
            reason: 0,
            key: *key,
        });
    }
}

/// Takes one from this second's allowance of a kind on this CPU.
#[inline(always)]
fn may_tell(kind: EventKind, now: u64) -> bool {
    let Some(mut allowance) = maps::event_allowance(kind) else {
        return false;
    };
    if now.wrapping_sub(allowance.since_ns) >= SECOND_NS {
        allowance = maps::EventAllowance {
            since_ns: now,
            used: 0,
        };
    }
    if allowance.used >= EVENTS_PER_SECOND {
        return false;
    }
    allowance.used += 1;
    maps::set_event_allowance(kind, allowance);
    true
}
