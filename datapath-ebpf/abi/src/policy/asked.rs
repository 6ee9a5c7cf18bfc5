//! What a packet asks of a policy, and what the programs note of the answer.

use zerocopy::FromBytes;

use crate::address::{self, Address};
use crate::flow::FlowKey;
use crate::headers::{Family, Headers, Ports};
use crate::pod;

use super::{Image, NO_RULE, OPEN, Opener, Question, judge};

/// [`NO_RULE`] in sixteen bits, as [`crate::flow::FlowCounters`] has it.
pub const NO_RULE16: u16 = u16::MAX;
/// [`OPEN`] in sixteen bits.
pub const OPEN16: u16 = u16::MAX - 1;

/// What [`judge`] has said, in sixteen bits: a set has fewer rules than they can name.
#[inline(always)]
pub fn short(rule: u32) -> u16 {
    rule as u16
}

const _: () = assert!(NO_RULE as u16 == NO_RULE16 && OPEN as u16 == OPEN16);
const _: () = assert!(super::MAX_RULES < OPEN16 as usize);

/// A packet, as far as a policy looks at it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Ports as [`Ports::word`] says them.
    pub ports: u32,
    /// Virtual network id.
    pub vnet: u32,
    /// Protocol, [`IPV4`] and [`NO_PORTS`]: one word, which the programs write in one step.
    pub kind: u32,
}

/// Bit of [`Asked::kind`]: a packet of IPv4, else of IPv6.
pub const IPV4: u32 = 1 << 8;
/// Bit of [`Asked::kind`]: a fragment that has no ports.
pub const NO_PORTS: u32 = 1 << 9;

impl Asked {
    /// What a packet asks, but for who opened its flow.
    #[inline(always)]
    pub fn of(headers: &Headers, vnet: u32) -> Self {
        let family = match headers.family {
            Family::V4 => IPV4,
            Family::V6 => 0,
        };
        let ports = if headers.opening.is_later_fragment() {
            NO_PORTS
        } else {
            0
        };
        Self {
            source: headers.source,
            destination: headers.destination,
            ports: headers.ports.word(),
            vnet,
            kind: u32::from(headers.protocol) | family | ports,
        }
    }

    /// Makes it a packet of the other direction. Word by word, for there is little room on the stack of a program.
    #[inline(always)]
    pub fn turn(&mut self) {
        for word in 0..4 {
            core::mem::swap(&mut self.source[word], &mut self.destination[word]);
        }
        self.ports = Ports::of_word(self.ports).swapped().word();
    }

    /// IP protocol number.
    #[inline(always)]
    pub fn protocol(&self) -> u8 {
        self.kind as u8
    }

    /// IP version.
    #[inline(always)]
    pub fn family(&self) -> Family {
        if self.kind & IPV4 == 0 {
            Family::V6
        } else {
            Family::V4
        }
    }

    /// Which rule of an image allows it, as the first packet of its flow.
    #[inline(always)]
    pub fn judge(&self, image: &(impl Image + ?Sized)) -> u32 {
        let question = Question {
            vnet: self.vnet,
            family: self.family(),
            source: &self.source,
            destination: &self.destination,
            protocol: self.protocol(),
            ports: (self.kind & NO_PORTS == 0).then(|| Ports::of_word(self.ports)),
            opener: Opener::Sender,
        };
        judge(image, &question)
    }

    /// Writes the flow, whose end on this gateway's side is the sender with `to_site`. In place, as [`Asked::turn`].
    #[inline(always)]
    pub fn write_flow(&self, to_site: bool, key: &mut FlowKey) {
        let (local, remote, ports) = if to_site {
            (&self.source, &self.destination, Ports::of_word(self.ports))
        } else {
            let ports = Ports::of_word(self.ports).swapped();
            (&self.destination, &self.source, ports)
        };
        key.vnet = self.vnet;
        key.local = address::to_bytes(*local);
        key.remote = address::to_bytes(*remote);
        [key.local_port, key.remote_port] = zerocopy::transmute!(ports.word());
        key.protocol = self.protocol();
        key.family = self.family() as u8;
        key.fragments = u8::from(self.kind & NO_PORTS != 0);
        key.reserved = 0;
    }
}

/// Value of [`crate::maps::DENIED`]: a flow that no rule allows.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Denied {
    /// CLOCK_MONOTONIC at the first packet, as [`crate::flow::FlowCounters::first_seen_ns`].
    pub first_seen_ns: u64,
    /// The same at the last one.
    pub last_seen_ns: u64,
    /// Packets that were dropped; a super-packet is one.
    pub packets: u64,
    /// Bytes of their IP packets.
    pub bytes: u64,
    /// Site of the far end, or another number where no route leads to one.
    pub site: u32,
    /// The shadow rule that would allow the last packet, or [`NO_RULE16`] or [`OPEN16`].
    pub shadow_rule: u16,
    /// An [`crate::flow::OpenedBy`]: the end that tried.
    pub opened_by: u8,
    /// Zero.
    pub reserved: u8,
}

/// Value of [`crate::maps::POLICY_RULES`]: new flows of a rule. [`rule_slot`] says where those stand that no rule or an
/// open vnet has.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleFlows {
    /// By the active rules.
    pub active: u64,
    /// By the shadow rules.
    pub shadow: u64,
}

/// Entries of [`crate::maps::POLICY_RULES`]: rules, then no rule, then open.
pub const RULE_SLOTS: usize = super::MAX_RULES + 2;

/// Where the flows of a rule are counted.
#[inline(always)]
pub const fn rule_slot(rule: u16) -> u32 {
    match rule {
        NO_RULE16 => super::MAX_RULES as u32,
        OPEN16 => super::MAX_RULES as u32 + 1,
        rule => rule as u32,
    }
}

/// Bytes of a packet in a [`Refused`]: the headers that an answer to it needs (RFC 792 and RFC 4443 quote at least 8
/// bytes of the transport header, and a reset needs all of TCP's fixed part).
pub const REFUSED_HEAD: usize = 128;

/// A record in [`crate::maps::REFUSED`]: a packet that was denied. Few of many: see [`REFUSED_PER_SECOND`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes)]
pub struct Refused {
    /// CLOCK_MONOTONIC.
    pub time_ns: u64,
    /// Virtual network id.
    pub vnet: u32,
    /// The interface at which the program ran.
    pub ifindex: u32,
    /// Site of the far end, or another number where no route leads to one.
    pub site: u32,
    /// Bytes of the IP packet.
    pub length: u32,
    /// Bytes of `head` that are of the packet.
    pub kept: u32,
    /// The shadow rule that would allow it, or [`NO_RULE16`] or [`OPEN16`].
    pub shadow_rule: u16,
    /// 1: the sender is on this gateway's side; 0: at a site.
    pub to_site: u8,
    /// An [`crate::flow::OpenedBy`]: the end that tried.
    pub opened_by: u8,
    /// The packet from its IP header on.
    pub head: [u8; REFUSED_HEAD],
}

impl Refused {
    /// A record of the ring.
    pub fn of_record(record: &[u8]) -> Option<Self> {
        Self::read_from_prefix(record).ok().map(|(head, _)| head)
    }
}

/// Records that a CPU writes in a second, so answers that can be given.
pub const REFUSED_PER_SECOND: u64 = 100;

/// An image without rules: every vnet is open.
pub const OPEN_IMAGE: [super::Line; 1] = [[super::MAGIC, 0, 0, 0, 0, 0, 0, 0]];

const _: () = assert!(size_of::<Asked>() == 44);
const _: () = assert!(size_of::<Denied>() == 40);
const _: () = assert!(size_of::<RuleFlows>() == 16);
const _: () = assert!(size_of::<Refused>() == 160);
pod!(Asked, Denied, RuleFlows, Refused);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_name_one_flow() {
        let asked = Asked {
            source: address::mapped([10, 1, 0, 5]),
            destination: address::mapped([10, 2, 0, 9]),
            ports: u32::from_ne_bytes([3, 232, 1, 187]),
            vnet: 7,
            kind: 6 | IPV4,
        };
        let (mut flow, mut again) = (FlowKey::default(), FlowKey::default());
        asked.write_flow(true, &mut flow);
        let mut turned = asked;
        turned.turn();
        turned.write_flow(false, &mut again);
        assert_eq!(flow, again);
        assert_eq!((flow.local_port, flow.remote_port), ([3, 232], [1, 187]));
        assert_eq!((flow.vnet, flow.protocol, flow.family), (7, 6, 4));
        assert_eq!(flow.to_v4().unwrap().remote, [10, 2, 0, 9]);
    }

    #[test]
    fn the_open_image_is_open_for_every_vnet() {
        for vnet in [0, 1, u32::MAX] {
            let asked = Asked {
                vnet,
                ..Asked::default()
            };
            assert_eq!(asked.judge(OPEN_IMAGE.as_slice()), OPEN);
        }
    }

    #[test]
    fn every_rule_has_its_slot() {
        assert_eq!(rule_slot(0), 0);
        let last = rule_slot(super::super::MAX_RULES as u16 - 1);
        let rest = [NO_RULE16, OPEN16].map(rule_slot);
        assert_eq!(rest, [last + 1, last + 2]);
        assert_eq!(rest[1] as usize, RULE_SLOTS - 1);
    }
}
