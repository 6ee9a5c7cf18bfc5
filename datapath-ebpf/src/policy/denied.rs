//! What is noted of packets that are denied, and of new flows.

use core::mem;

use aya_ebpf::{bindings::__sk_buff, helpers::bpf_ktime_get_ns};
use datapath_abi::policy::{self, REFUSED_HEAD, REFUSED_PER_SECOND, rule_slot};

use super::judging::Judging;
use crate::{
    asm, clock,
    maps::{self, Inserted, Limited},
    skb::{Refused, Skb},
};

/// Where the packet is in a record, which is aligned for words.
const HEAD: usize = mem::offset_of!(policy::Refused, head);
const _: () = assert!(HEAD.is_multiple_of(8) && REFUSED_HEAD.is_multiple_of(8));

/// Notes a packet that was denied, and of so many on the wire: its flow, and for the agent some of what it was.
#[inline(never)]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn note_denied(context: *mut __sk_buff, packets: u64) -> u32 {
    let Some(judging) = maps::judging() else {
        return 0;
    };
    // SAFETY: an element of a per-CPU array belongs to this CPU while the program runs.
    let judging = unsafe { &mut *judging };
    if judging.readable == 0 {
        return 0;
    }
    let now = clock::coarse_ns();
    judging
        .packet
        .write_flow(judging.to_site != 0, &mut judging.key);
    if let Some(denied) = maps::denied(&judging.key) {
        // SAFETY: the map is preallocated, so the memory stays such a value while the program runs. Other CPUs write to
        // it, so it is touched by atomic or volatile accesses only.
        unsafe {
            asm::atomic_add(&raw mut (*denied).packets, packets);
            asm::atomic_add(&raw mut (*denied).bytes, judging.ip_length.into());
            (&raw mut (*denied).last_seen_ns).write_volatile(now);
            (&raw mut (*denied).shadow_rule).write_volatile(judging.rules()[1]);
        }
    } else {
        let shadow_rule = judging.rules()[1];
        let denied = &mut judging.denied;
        denied.first_seen_ns = now;
        denied.last_seen_ns = now;
        denied.packets = packets;
        denied.bytes = judging.ip_length.into();
        denied.site = judging.target;
        denied.shadow_rule = shadow_rule;
        denied.opened_by = judging.opened_by as u8;
        if let Inserted::Yes = maps::insert_denied(&judging.key, &judging.denied) {
            count_rules(judging);
        }
    }
    if maps::may(Limited::Refused, REFUSED_PER_SECOND) {
        refused(&Skb::of(context), judging);
    }
    1
}

/// Counts a new flow.
#[inline(always)]
pub(crate) fn count_rules(judging: &Judging) {
    let [active, shadow] = judging.rules();
    if let Some(flows) = maps::rule_flows(rule_slot(active)) {
        // SAFETY: as in `note_denied`.
        unsafe { (*flows).active += 1 };
    }
    if let Some(flows) = maps::rule_flows(rule_slot(shadow)) {
        // SAFETY: as above.
        unsafe { (*flows).shadow += 1 };
    }
}

/// Puts the packet into the ring.
#[inline(always)]
fn refused(skb: &Skb, judging: &Judging) {
    let Some(mut room) = maps::refused() else {
        return;
    };
    let record = room.as_mut_ptr();
    let kept = judging.ip_length.min(REFUSED_HEAD as u32);
    // SAFETY: the room has the size of the record and is this run's until it is submitted. All of it is written.
    let loaded = unsafe {
        (&raw mut (*record).time_ns).write_volatile(bpf_ktime_get_ns());
        (&raw mut (*record).vnet).write_volatile(judging.packet.vnet);
        (&raw mut (*record).ifindex).write_volatile(skb.ifindex());
        (&raw mut (*record).site).write_volatile(judging.target);
        (&raw mut (*record).length).write_volatile(judging.ip_length);
        (&raw mut (*record).kept).write_volatile(kept);
        (&raw mut (*record).shadow_rule).write_volatile(judging.rules()[1]);
        (&raw mut (*record).to_site).write_volatile(judging.to_site as u8);
        (&raw mut (*record).opened_by).write_volatile(judging.opened_by as u8);
        let head = record.byte_add(HEAD).cast::<u64>();
        for word in 0..REFUSED_HEAD / 8 {
            head.add(word).write_volatile(0);
        }
        skb.load_into(judging.ip_offset, head.cast(), kept, REFUSED_HEAD)
    };
    match loaded {
        Ok(()) => room.submit(0),
        Err(Refused) => room.discard(0),
    }
}
