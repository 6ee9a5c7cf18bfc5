//! Records of the event ring, at most [`EVENTS_PER_SECOND`] of a kind on each CPU.

use crate::{flow::FlowKey, pod};

/// Kind of an event; the value in [`Event::kind`].
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A flow was entered into the table; `key` and `site` say which.
    NewFlow = 1,
    /// A packet was dropped; `reason` is the [`crate::outcome::DropReason`], `key` is zero.
    Drop = 2,
}

/// One record of [`crate::maps::EVENTS`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// CLOCK_MONOTONIC when it happened, as of the kernel's last tick (`bpf_ktime_get_coarse_ns`).
    pub time_ns: u64,
    /// An [`EventKind`].
    pub kind: u32,
    /// Site id of a new flow.
    pub site: u32,
    /// Index of the drop reason of a drop.
    pub reason: u32,
    /// Flow of a new flow.
    pub key: FlowKey,
}

/// Events of one kind that one CPU writes in a second; the rest is not recorded (the counters are).
pub const EVENTS_PER_SECOND: u64 = 64;

const _: () = assert!(size_of::<Event>() == 64);
pod!(Event);
