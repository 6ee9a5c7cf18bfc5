//! The verdict ring: what each program does with each kind of frame, by BPF_PROG_TEST_RUN. Needs root and
#![allow(unreachable_pub)]
//! the built object; no packet leaves the test.

#[path = "verdicts/frame.rs"]
mod frame;
#[path = "verdicts/harness.rs"]
mod harness;
#[path = "verdicts/lan.rs"]
mod lan;
