//! The verdict ring: what each program does with each kind of frame, by BPF_PROG_TEST_RUN. Needs root and
//! the built object. The tables `case → verdict` are in lan.rs, tun.rs and wan.rs.

#[path = "verdicts/capture.rs"]
mod capture;
#[path = "verdicts/case.rs"]
mod case;
#[path = "verdicts/faults.rs"]
mod faults;
#[path = "verdicts/flows.rs"]
mod flows;
#[path = "verdicts/frame.rs"]
mod frame;
#[path = "verdicts/harness.rs"]
mod harness;
#[path = "verdicts/lan.rs"]
mod lan;
#[path = "verdicts/lanes.rs"]
mod lanes;
#[path = "verdicts/live.rs"]
mod live;
#[path = "verdicts/load.rs"]
mod load;
#[path = "verdicts/policy.rs"]
mod policy;
#[path = "verdicts/tun.rs"]
mod tun;
#[path = "verdicts/wan.rs"]
mod wan;
