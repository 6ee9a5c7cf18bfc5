//! The packet that a CPU judges, and the functions that do it.

use aya_ebpf::bindings::__sk_buff;
use datapath_abi::{
    address,
    flow::{FlowCounters, FlowKey, FlowKey4, FlowVerdict, OpenedBy},
    headers::{ICMP, ICMPV6, Opening, Upper, has_ports, upper_of_ipv4},
    maps::{ACTIVE_RULES, SHADOW_RULES},
    packet::{Packet as _, Slot},
    policy::{Asked, Denied, IPV4, Icmp, NO_PORTS, NO_RULE, OPEN, Opener, short},
};
use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

use crate::{
    maps,
    skb::{Filtered, Skb},
    wire::Direction,
};

/// Value of JUDGING. All that is needed of a packet to judge it and to enter its flow, and room to do so.
#[repr(C)]
pub(crate) struct Judging {
    pub(crate) packet: Asked,
    /// What is asked of the rules: that, the same turned, or what an ICMP error is about.
    question: Asked,
    /// Site of the far end, as [`crate::route::look_up`] says it, and the generation of the routes.
    pub(crate) target: u32,
    pub(crate) generation: u32,
    /// 1: it goes to a site; 0: it comes from one.
    pub(crate) to_site: u32,
    /// 1: the table has the flow, or had it a moment ago.
    pub(crate) is_known: u32,
    /// An [`OpenedBy`], or [`BY_PACKET`].
    pub(super) known_opener: u32,
    /// Of [`Opening`].
    pub(super) opening: u32,
    pub(super) ip_offset: u32,
    /// Bytes of the network header.
    pub(super) header_length: u32,
    pub(super) ip_length: u32,
    /// 1: `packet` is the one at hand; 0: that could not be read.
    pub(super) readable: u32,
    /// An [`OpenedBy`]: what is found.
    pub(crate) opened_by: u32,
    /// What [`ACTIVE_RULES`] and [`SHADOW_RULES`] have said so far.
    active: u32,
    shadow: u32,
    /// Room for the entries of the maps.
    pub(crate) counters: FlowCounters,
    pub(super) denied: Denied,
    pub(crate) key: FlowKey,
    pub(crate) key4: FlowKey4,
}

/// In place of an [`OpenedBy`]: the packet says it.
pub(crate) const BY_PACKET: u32 = 3;

/// [`OpenedBy`] as numbers.
const UNKNOWN: u32 = OpenedBy::Unknown as u32;
const LOCAL: u32 = OpenedBy::Local as u32;
const REMOTE: u32 = OpenedBy::Remote as u32;

/// Whether all of a vnet may pass.
#[inline(never)]
#[unsafe(no_mangle)]
pub(super) extern "C" fn is_open(vnet: u32) -> u32 {
    let Some(judging) = maps::judging() else {
        return 0;
    };
    // SAFETY: an element of a per-CPU array belongs to this CPU while the program runs.
    let judging = unsafe { &mut *judging };
    judging.readable = 0;
    judging.question.vnet = vnet;
    u32::from(ask_rules(ACTIVE_RULES) == OPEN)
}

/// Whether the packet in JUDGING is allowed. Each set of rules says the first of the questions below that it allows.
#[inline(never)]
#[unsafe(no_mangle)]
pub(super) extern "C" fn judge_packet(context: *mut __sk_buff) -> u32 {
    let Some(judging) = maps::judging() else {
        return 0;
    };
    // SAFETY: as in `is_open`.
    let judging = unsafe { &mut *judging };
    (judging.active, judging.shadow) = (NO_RULE, NO_RULE);
    judging.opened_by = judging.sender();
    judging.question = judging.packet;
    let opener = judging.opener();
    if opener == Opener::Receiver {
        judging.turn();
    }
    let is_error = Opening::of_bits(judging.opening as u8).is_error();
    if !judging.ask() && (is_error || opener == Opener::Either) {
        if is_error {
            // What is allowed by itself may say what it likes; else it must be about a flow that is, either way.
            if ask_for_carried(context) != 0 && !judging.ask() {
                judging.question.turn();
                judging.ask();
            }
        } else {
            if judging.active == NO_RULE {
                judging.opened_by = LOCAL + REMOTE - judging.opened_by;
            }
            judging.question.turn();
            judging.ask();
        }
    }
    // An open vnet says nothing of it.
    if judging.known_opener == UNKNOWN && judging.active == OPEN {
        judging.opened_by = UNKNOWN;
    }
    u32::from(judging.active != NO_RULE)
}

impl Judging {
    #[inline(always)]
    fn sender(&self) -> u32 {
        if self.to_site != 0 { LOCAL } else { REMOTE }
    }

    #[inline(always)]
    fn opener(&self) -> Opener {
        match self.known_opener {
            UNKNOWN => Opener::Either,
            BY_PACKET => Opening::of_bits(self.opening as u8).opener(),
            by if by == self.sender() => Opener::Sender,
            _ => Opener::Receiver,
        }
    }

    /// Asks as if the other end had opened the flow.
    #[inline(always)]
    fn turn(&mut self) {
        self.question.turn();
        self.opened_by = LOCAL + REMOTE - self.opened_by;
    }

    /// Asks each set of rules that has not allowed a question yet. Says whether all have now.
    #[inline(always)]
    fn ask(&mut self) -> bool {
        if self.active == NO_RULE {
            self.active = ask_rules(ACTIVE_RULES);
        }
        if self.shadow == NO_RULE {
            self.shadow = ask_rules(SHADOW_RULES);
        }
        self.active != NO_RULE && self.shadow != NO_RULE
    }

    /// Both rules, as [`FlowCounters`] has them.
    #[inline(always)]
    pub(crate) fn rules(&self) -> [u16; 2] {
        [short(self.active), short(self.shadow)]
    }

    /// A [`FlowVerdict`].
    #[inline(always)]
    pub(crate) fn verdict(&self) -> u8 {
        if self.shadow == NO_RULE {
            FlowVerdict::ShadowDenied as u8
        } else {
            FlowVerdict::Accept as u8
        }
    }

    /// Which way the packet goes.
    #[inline(always)]
    pub(crate) fn direction(&self) -> Direction {
        if self.to_site != 0 {
            Direction::ToSite
        } else {
            Direction::FromSite
        }
    }
}

/// What a set of rules says of the question in JUDGING. Without rules nothing is active, and all is open to the shadow.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn ask_rules(set: u32) -> u32 {
    let Some(image) = maps::image(set) else {
        return if set == ACTIVE_RULES { NO_RULE } else { OPEN };
    };
    let Some(judging) = maps::judging() else {
        return NO_RULE;
    };
    // SAFETY: as in `is_open`; nothing writes to it meanwhile.
    let question = unsafe { &(*judging).question };
    question.judge(&image)
}

/// Makes the packet that an ICMP error is about the question, if it was sent by the error's receiver.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn ask_for_carried(context: *mut __sk_buff) -> u32 {
    let Some(judging) = maps::judging() else {
        return 0;
    };
    // SAFETY: as in `is_open`.
    let judging = unsafe { &mut *judging };
    carried(&Skb::of(context), judging).is_some().into()
}

#[inline(always)]
fn carried(skb: &Skb, judging: &mut Judging) -> Option<()> {
    /// Bytes of the header of an ICMP error.
    const ICMP_HEADER: usize = 8;
    let packet = Filtered(skb);
    let offset = judging.ip_offset as usize + judging.header_length as usize + ICMP_HEADER;
    let question = &mut judging.question;
    let upper = if question.kind & IPV4 != 0 {
        let mut slot = Slot::<Ipv4Hdr>::new();
        let header = packet.read(offset, &mut slot)?;
        question.source = address::mapped(header.src_addr);
        question.destination = address::mapped(header.dst_addr);
        upper_of_ipv4(header, offset).ok()?
    } else {
        let mut slot = Slot::<Ipv6Hdr>::new();
        let header = packet.read(offset, &mut slot)?;
        question.source = address::from_bytes(header.src_addr);
        question.destination = address::from_bytes(header.dst_addr);
        // Of the offset it takes 8 bits.
        if offset + Ipv6Hdr::LEN > 0xff {
            return None;
        }
        skb.skip_extensions(Upper::at(header.next_hdr, offset + Ipv6Hdr::LEN))
            .ok()?
    };
    if question.source != judging.packet.destination {
        return None;
    }
    question.kind = question.kind & IPV4 | u32::from(upper.protocol);
    question.ports = 0;
    if upper.later_fragment {
        question.kind |= NO_PORTS;
    } else if has_ports(upper.protocol) {
        let mut slot = Slot::<[u8; 4]>::new();
        question.ports = u32::from_ne_bytes(*packet.read(upper.offset, &mut slot)?);
    } else if matches!(upper.protocol, ICMP | ICMPV6) {
        // None is about another (RFC 1122, 3.2.2; RFC 4443, 2.4).
        let mut slot = Slot::<[u8; 1]>::new();
        let [kind] = *packet.read(upper.offset, &mut slot)?;
        if Icmp::of(question.family(), kind) == Icmp::Error {
            return None;
        }
    }
    Some(())
}
