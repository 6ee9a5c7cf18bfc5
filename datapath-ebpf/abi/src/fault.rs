//! What a program meets and should not, and tells the agent of through [`crate::maps::LOG`].

use crate::outcome::StackReason;

/// Kinds of faults. A message is the kind's number, a space, and the number of what it is about: every byte
/// of text that a program writes costs the verifier its steps, so the words are here.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The settings are missing or of another version of the boundary.
    NoSettings,
    /// The interface at which the program runs has no role, or another one; about its index.
    NoRole,
    /// A route names a site that is not there; about its id.
    NoSite,
    /// The kernel refused to rewrite a packet for its way.
    NotRewritten,
    /// The flow table did not take a flow.
    FlowRefused,
}

impl FaultKind {
    /// Every kind, in the order of its number.
    pub const ALL: [Self; 5] = [
        Self::NoSettings,
        Self::NoRole,
        Self::NoSite,
        Self::NotRewritten,
        Self::FlowRefused,
    ];

    /// What it means, for the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoSettings => {
                "found no settings of its version: packets go to the kernel stack until the agent writes them"
            }
            Self::NoRole => {
                "runs at an interface without a role there: its packets go to the kernel stack; `crossway reload` attaches anew"
            }
            Self::NoSite => {
                "found a route to a site that is not there: its packets go to the kernel stack"
            }
            Self::NotRewritten => {
                "was refused a change of a packet by the kernel: it goes to the kernel stack"
            }
            Self::FlowRefused => {
                "could not enter a flow into the flow table: its packets are counted for the site only"
            }
        }
    }

    /// Why the stack gets the packet then.
    #[inline(always)]
    pub const fn reason(self) -> StackReason {
        match self {
            Self::NoSettings | Self::NoRole => StackReason::NotReady,
            Self::NoSite => StackReason::SiteDown,
            Self::NotRewritten | Self::FlowRefused => StackReason::RedirectFailed,
        }
    }

    /// What the number beside the kind is, if it is something.
    pub const fn about(self) -> Option<&'static str> {
        match self {
            Self::NoRole => Some("interface"),
            Self::NoSite => Some("site"),
            Self::NoSettings | Self::NotRewritten | Self::FlowRefused => None,
        }
    }
}

/// Programs that tell of faults: all but [`crate::maps::TUN_STEER`].
pub const PROGRAMS: usize = 4;

/// On a CPU, a program tells of a kind of fault once in this time, in nanoseconds.
pub const FAULT_INTERVAL_NS: u64 = 10_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_the_order() {
        for (number, kind) in FaultKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, number);
        }
    }
}
