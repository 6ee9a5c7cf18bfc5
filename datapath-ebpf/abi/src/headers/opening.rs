//! Who opened the flow of a packet, as far as the packet says.

use super::{Family, Ports};
#[cfg(doc)]
use crate::policy::Icmp;
use crate::policy::Opener;

/// What a packet says of who opened its flow. Bits, for the programs to keep in one register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening(u8);

impl Opening {
    /// Nothing: whoever sends the first packet of a flow opens it.
    pub const PLAIN: Self = Self(0);
    /// A fragment without a transport header.
    pub const LATER_FRAGMENT: Self = Self(1);
    /// It opens a flow whatever is known of it: a known one that the other end has opened is another conversation.
    const ANEW: u8 = 2;
    /// It is of no flow that the table could know apart from others: to be judged by itself.
    const ALONE: u8 = 4;
    /// An answer: its receiver has opened the flow.
    const ANSWER: u8 = 8;
    /// It is about another packet, which it carries.
    const ERROR: u8 = 16;
    /// Of a connection that began before anybody looked.
    const MIDDLE: u8 = 32;

    /// Whether what is known of the flow says more than the packet.
    #[inline(always)]
    pub fn goes_by_flow(self) -> bool {
        self.0 & (Self::ANEW | Self::ALONE | Self::LATER_FRAGMENT.0) == 0
    }

    /// By arithmetic alone, as the next: each branch is one more way that the verifier walks to the end.
    #[inline(always)]
    pub(super) fn of_tcp(flags: u8) -> Self {
        let [syn, ack] = [flags >> 1 & 1, flags >> 4 & 1];
        let both = syn & ack;
        Self::with([
            (syn ^ both, Self::ANEW),
            (both, Self::ANSWER),
            (syn ^ 1, Self::MIDDLE),
        ])
    }

    /// Those bits whose numbers are 1, not 0.
    #[inline(always)]
    fn with<const N: usize>(bits: [(u8, u8); N]) -> Self {
        let mut all = 0;
        for (one, bit) in bits {
            all |= one * bit;
        }
        Self(all)
    }

    /// As [`Icmp::of`] says it.
    #[inline(always)]
    pub(super) fn of_icmp(family: Family, kind: u8) -> Self {
        const ANSWERS4: u64 = 1 | 1 << 14 | 1 << 16 | 1 << 18;
        const ERRORS4: u64 = 1 << 3 | 1 << 4 | 1 << 5 | 1 << 11 | 1 << 12;
        const ECHO4: u64 = 1 | 1 << 8;
        // From 128 on.
        const ANSWERS6: u64 = 1 << 1 | 1 << 12;
        const ECHO6: u64 = 1 | 1 << 1;
        let has = |set: u64| (set >> (kind & 63)) as u8 & 1;
        let quarter = kind >> 6;
        let [answer, error, echo] = match family {
            Family::V4 => {
                let is_known = (quarter.wrapping_sub(1)) >> 7;
                [ANSWERS4, ERRORS4, ECHO4].map(|set| has(set) & is_known)
            }
            Family::V6 => {
                let is_known = (quarter ^ 2).wrapping_sub(1) >> 7;
                let error = (kind >> 7) ^ 1;
                [has(ANSWERS6) & is_known, error, has(ECHO6) & is_known]
            }
        };
        let other = (answer | error) ^ 1;
        Self::with([
            (answer, Self::ANSWER),
            (error, Self::ERROR),
            (other, Self::ANEW),
            (echo ^ 1, Self::ALONE),
        ])
    }

    /// The same of a message with this identifier as its ports. An echo with the identifier 0 has the key of ICMP errors,
    /// which tells nothing of it.
    #[inline(always)]
    pub(super) fn at(self, identifier: Ports) -> Self {
        let word = identifier.word();
        let is_zero = ((word | word.wrapping_neg()) >> 31) ^ 1;
        Self(self.0 | (is_zero as u8 * Self::ALONE))
    }

    /// What [`Opening::bits`] gave.
    #[inline(always)]
    pub fn of_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// As a number.
    #[inline(always)]
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Whether it is a fragment without a transport header.
    #[inline(always)]
    pub fn is_later_fragment(self) -> bool {
        self.0 & Self::LATER_FRAGMENT.0 != 0
    }

    /// What [`crate::flow::FlowKey::fragments`] says of it. By arithmetic, as the others.
    #[inline(always)]
    pub fn fragments(self) -> u8 {
        self.0 & Self::LATER_FRAGMENT.0
    }

    /// Whether it is an ICMP error.
    #[inline(always)]
    pub fn is_error(self) -> bool {
        self.0 & Self::ERROR != 0
    }

    /// Whether it is of no flow that the table could know apart from others.
    #[inline(always)]
    pub fn is_alone(self) -> bool {
        self.0 & Self::ALONE != 0
    }

    /// Whether it may have to be judged although its flow has been.
    #[inline(always)]
    pub fn is_special(self) -> bool {
        self.0 & (Self::ANEW | Self::ALONE) != 0
    }

    /// Whether it has to be, of a flow that its sender opened or did not.
    #[inline(always)]
    pub fn asks_again(self, opened_by_sender: bool) -> bool {
        self.0 & Self::ALONE != 0 || (self.0 & Self::ANEW != 0 && !opened_by_sender)
    }

    /// Who opened the flow, if nothing but the packet is known. Of an error it says nothing.
    #[inline(always)]
    pub fn opener(self) -> Opener {
        if self.0 & Self::ANSWER != 0 {
            Opener::Receiver
        } else if self.0 & (Self::MIDDLE | Self::ERROR | Self::LATER_FRAGMENT.0) != 0 {
            Opener::Either
        } else {
            Opener::Sender
        }
    }
}

#[cfg(test)]
mod tests;
