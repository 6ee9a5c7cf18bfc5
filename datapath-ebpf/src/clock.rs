//! The time, to the kernel's tick: CLOCK_MONOTONIC as of the last one, or the one before.

use aya_ebpf::helpers::{bpf_jiffies64, bpf_ktime_get_coarse_ns};

use crate::maps;

/// Nanoseconds. The kernel moves the coarse clock (kernel 5.11) when it counts a tick, so between two
/// ticks it need not be asked again: the helper costs 15 ns, and the tick is one load.
#[inline(always)]
pub(crate) fn coarse_ns() -> u64 {
    // SAFETY: the helper has no precondition.
    let tick = unsafe { bpf_jiffies64() };
    if let Some(time) = maps::time_of_tick(tick) {
        return time;
    }
    // SAFETY: the helper has no precondition.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    maps::set_time_of_tick(tick, now);
    now
}
