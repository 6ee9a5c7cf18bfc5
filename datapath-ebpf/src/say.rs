//! What the programs say to the agent, by aya-log: faults, and of each kind one on a CPU in a while. Each
//! program has a function of its own for it, so that the message has its name. It is a global one: the
//! verifier looks at it once and by itself, not at each place where something may be wrong.

use aya_log_ebpf::warn;
use datapath_abi::{fault::FAULT_INTERVAL_NS, maps as names};

use crate::{clock, fault::Fault, maps};

/// A program that has something to say.
pub(crate) trait Program {
    /// Tells the agent of a fault, unless this CPU did so a moment ago.
    fn fault(fault: Fault);
}

macro_rules! programs {
    ($($program:ident = $number:literal, $function:ident, $name:expr;)+) => {
        $(
            pub(crate) struct $program;

            impl Program for $program {
                #[inline(always)]
                fn fault(fault: Fault) {
                    $function(fault.kind as u32, fault.about);
                }
            }

            /// Takes and returns numbers, as the kernel wants it of a global function.
            #[inline(never)]
            #[unsafe(no_mangle)]
            extern "C" fn $function(kind: u32, about: u32) -> u32 {
                if maps::may_say($number, kind, clock::coarse_ns(), FAULT_INTERVAL_NS) {
                    warn!((), target: $name, "{} {}", kind, about);
                }
                0
            }
        )+
    };
}

programs! {
    LanIngress = 0, say_lan_ingress, names::LAN_INGRESS;
    TunEgress = 1, say_tun_egress, names::TUN_EGRESS;
    TunIngress = 2, say_tun_ingress, names::TUN_INGRESS;
    WanGuard = 3, say_wan_guard, names::WAN_GUARD;
}
