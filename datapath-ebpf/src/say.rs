//! What the programs say to the agent, by aya-log: faults only, and of each kind one on a CPU in
//! [`QUIET_NS`]. Each program has a function of its own for it. It is a global one: the verifier looks at it once, by itself, not
//! once for each place where something may be wrong.

use aya_log_ebpf::warn;

use crate::{
    clock,
    fault::{Fault, FaultKind},
    maps,
};

/// A fault that stays is said again after this time, whatever the traffic.
const QUIET_NS: u64 = 10_000_000_000;

/// A program that has something to say.
pub(crate) trait Program {
    /// Tells the agent of a fault, unless this CPU did so a moment ago.
    fn fault(fault: Fault);
}

macro_rules! programs {
    ($($name:ident, $function:ident, $word:expr;)+) => {
        $(
            pub(crate) struct $name;

            impl Program for $name {
                #[inline(always)]
                fn fault(fault: Fault) {
                    $function(fault.kind as u32, fault.about);
                }
            }

            /// A global function takes and returns numbers only.
            #[inline(never)]
            #[unsafe(no_mangle)]
            extern "C" fn $function(kind: u32, about: u32) -> u32 {
                if maps::may_say(kind, clock::coarse_ns(), QUIET_NS) {
                    write($word, kind, about);
                }
                0
            }
        )+
    };
}

programs! {
    LanIngress, say_lan_ingress, datapath_abi::maps::LAN_INGRESS;
    TunEgress, say_tun_egress, datapath_abi::maps::TUN_EGRESS;
    TunIngress, say_tun_ingress, datapath_abi::maps::TUN_INGRESS;
    WanGuard, say_wan_guard, datapath_abi::maps::WAN_GUARD;
}

#[inline(always)]
fn write(program: &'static str, kind: u32, about: u32) {
    warn!((), target: program, "fault {} of {}", kind, about);
}
