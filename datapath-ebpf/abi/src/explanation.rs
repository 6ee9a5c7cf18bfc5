//! What the explaining programs say of a packet: the decision of the program that they stand for, and what led to it.
//!
//! The answer is read by the agent that has asked, and by nobody else: its map is not pinned, and of no ABI version.

use zerocopy::FromBytes;

use crate::fault::FaultKind;
use crate::outcome::{DropReason, StackReason};
use crate::pod;

/// What a program would do with a packet; the value in [`Explanation::verdict`].
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing yet: the program has not run to its end.
    None = 0,
    /// Into the TUN, to [`Explanation::target`].
    ToTunnel = 1,
    /// Out of [`Explanation::ifindex`], to the neighbour that the kernel's routing named.
    ToNeighbour = 2,
    /// Out of [`Explanation::ifindex`]; the kernel finds the link-layer address, or tells the sender.
    Unresolved = 3,
    /// It ends, and its sender is told that the host is unreachable.
    TurnedBack = 4,
    /// To the kernel stack; the reason is a [`crate::outcome::StackReason`].
    ToStack = 5,
    /// To the kernel stack, and the agent is told; the reason is a [`crate::fault::FaultKind`].
    Fault = 6,
    /// It ends; the reason is a [`crate::outcome::DropReason`].
    Drop = 7,
    /// To the kernel stack, uncounted: a datagram of the tunnel itself, or counted already.
    Leave = 8,
}

impl Decision {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::None,
        Self::ToTunnel,
        Self::ToNeighbour,
        Self::Unresolved,
        Self::TurnedBack,
        Self::ToStack,
        Self::Fault,
        Self::Drop,
        Self::Leave,
    ];
}

/// Flag of [`Explanation::noted`]: the headers could be read.
pub const HEADERS: u32 = 1;
/// Flag of [`Explanation::noted`]: `target` is known.
pub const TARGET: u32 = 2;
/// Flag of [`Explanation::noted`]: the flow is in the table.
pub const KNOWN_FLOW: u32 = 4;
/// Flag of [`Explanation::noted`]: `packets` and `largest` are known.
pub const WIRE: u32 = 8;
/// Flag of [`Explanation::noted`]: `rule` and `shadow_rule` are known.
pub const JUDGED: u32 = 16;

/// Value of [`crate::maps::EXPLAINED`] at key 0.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes)]
pub struct Explanation {
    /// A [`Decision`].
    pub verdict: u32,
    /// Why, as the decision says.
    pub reason: u32,
    /// What a fault is about.
    pub about: u32,
    /// [`HEADERS`], [`TARGET`], [`KNOWN_FLOW`], [`WIRE`] and [`JUDGED`].
    pub noted: u32,
    /// Site of the far end, or [`crate::route::SITE_KERNEL`], or another number where no route leads to it.
    pub target: u32,
    /// The interface by which it leaves.
    pub ifindex: u32,
    /// The mark that it has in the TUN.
    pub mark: u32,
    /// Packets that it is on the wire.
    pub packets: u32,
    /// Bytes of the largest IP packet of those.
    pub largest: u32,
    /// Bytes of the IP packet, by its header.
    pub ip_length: u32,
    /// Family of `next_hop`: AF_INET or AF_INET6, 0 for none.
    pub family: u32,
    /// The neighbour that it is handed to.
    pub next_hop: [u8; 16],
    /// With [`HEADERS`]: IP protocol, IP version from bit 8 on, where the IP header starts from bit 16 on. One word,
    /// for the programs have little room to work out more.
    pub headers: u32,
    /// With [`HEADERS`]: ports or echo identifiers, of the sender and the receiver, network order.
    pub ports: u32,
    /// With [`JUDGED`]: the rule that allows it, or [`crate::policy::NO_RULE16`] or [`crate::policy::OPEN16`].
    pub rule: u16,
    /// The same by the shadow rules.
    pub shadow_rule: u16,
}

impl Explanation {
    /// What was decided.
    pub fn decision(&self) -> Decision {
        *Decision::ALL
            .get(self.verdict as usize)
            .unwrap_or(&Decision::None)
    }

    /// Why the kernel stack gets the packet, if it does.
    pub fn stack_reason(&self) -> Option<StackReason> {
        let number = self.reason as usize;
        match self.decision() {
            Decision::ToStack => StackReason::ALL.get(number).copied(),
            Decision::Fault => FaultKind::ALL.get(number).map(|kind| kind.reason()),
            _ => None,
        }
    }

    /// Why it ends, if it does.
    pub fn drop_reason(&self) -> Option<DropReason> {
        match self.decision() {
            Decision::Drop => DropReason::ALL.get(self.reason as usize).copied(),
            Decision::TurnedBack => Some(DropReason::TurnedBack),
            _ => None,
        }
    }

    /// IP protocol of the packet.
    #[inline(always)]
    pub fn protocol(&self) -> u32 {
        self.headers & 0xff
    }

    /// Whether it is one of IPv4.
    #[inline(always)]
    pub fn is_ipv4(&self) -> bool {
        self.headers >> 8 & 0xff == 4
    }

    /// Where its IP header starts.
    #[inline(always)]
    pub fn ip_offset(&self) -> u32 {
        self.headers >> 16
    }

    /// Ports or echo identifiers, of the sender and the receiver.
    #[inline(always)]
    pub fn ports(&self) -> [u16; 2] {
        let ports = u32::from_be(self.ports);
        [(ports >> 16) as u16, ports as u16]
    }

    /// Whether all of [`HEADERS`], [`TARGET`], [`KNOWN_FLOW`], [`WIRE`] and [`JUDGED`] that are in `what` were noted.
    pub fn has(&self, what: u32) -> bool {
        self.noted & what == what
    }
}

const _: () = assert!(size_of::<Explanation>() == 72);
pod!(Explanation);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_decided_and_why_is_found_by_its_number() {
        let of = |verdict: Decision, reason| Explanation {
            verdict: verdict as u32,
            reason,
            ..Explanation::default()
        };
        let declined = of(Decision::ToStack, StackReason::TooBig.index());
        assert_eq!(declined.stack_reason(), Some(StackReason::TooBig));
        assert_eq!(declined.drop_reason(), None);
        let fault = of(Decision::Fault, FaultKind::NoSite as u32);
        assert_eq!(fault.stack_reason(), Some(StackReason::SiteDown));
        let turned = of(Decision::TurnedBack, 0);
        assert_eq!(turned.drop_reason(), Some(DropReason::TurnedBack));
        let unknown = Explanation {
            verdict: 99,
            ..Explanation::default()
        };
        assert_eq!(unknown.decision(), Decision::None);
    }

    #[test]
    fn decisions_are_numbered_in_their_order() {
        for (number, decision) in Decision::ALL.iter().enumerate() {
            assert_eq!(*decision as usize, number);
        }
    }
}
