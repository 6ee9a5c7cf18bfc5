//! What a program meets and should not: told to the agent, beside the count of the packet.

use datapath_abi::{fault::FaultKind, outcome::StackReason};

/// What is wrong, and with what.
#[derive(Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    /// An interface's index or a site's id. Always a number: the compiler would pass an undefined one for an
    /// enum's empty variant, which the verifier does not let a program even copy.
    pub(crate) about: u32,
}

impl Fault {
    pub(crate) const NO_SETTINGS: Self = Self::new(FaultKind::NoSettings, 0);
    pub(crate) const NOT_REWRITTEN: Self = Self::new(FaultKind::NotRewritten, 0);
    pub(crate) const FLOW_REFUSED: Self = Self::new(FaultKind::FlowRefused, 0);

    #[inline(always)]
    pub(crate) const fn no_role(ifindex: u32) -> Self {
        Self::new(FaultKind::NoRole, ifindex)
    }

    #[inline(always)]
    pub(crate) const fn no_site(id: u32) -> Self {
        Self::new(FaultKind::NoSite, id)
    }

    const fn new(kind: FaultKind, about: u32) -> Self {
        Self { kind, about }
    }

    /// Why the stack gets the packet then.
    #[inline(always)]
    pub(crate) fn reason(self) -> StackReason {
        self.kind.reason()
    }
}
