//! What a program decides for a packet. A `decide` function reads the maps and the packet and changes
//! neither; the `carry_out` function beside it counts, rewrites and marks.

use datapath_abi::outcome::{DropReason, StackReason};

use crate::fault::Fault;

/// The packet's way, or why it does not go it.
pub(crate) type Verdict<W> = Result<W, Refusal>;

/// Why a packet does not go our way.
#[derive(Clone, Copy)]
pub(crate) enum Refusal {
    /// The kernel stack gets it.
    Stack(StackReason),
    /// The kernel stack gets it, and the agent is told.
    Fault(Fault),
    /// The kernel stack gets it, and it is not counted: it is none of the hosts' packets.
    Leave,
    /// It ends here.
    Drop(DropReason),
    /// All that was to be done with it is done, and counted.
    Done,
}

impl From<StackReason> for Refusal {
    #[inline(always)]
    fn from(reason: StackReason) -> Self {
        Self::Stack(reason)
    }
}

impl From<Fault> for Refusal {
    #[inline(always)]
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<DropReason> for Refusal {
    #[inline(always)]
    fn from(reason: DropReason) -> Self {
        Self::Drop(reason)
    }
}
