//! Judging flows by the policy. A flow is judged with its first packet, and again when the routes or the rules have
//! changed; what is known and current pays nothing.
//!
//! All of it is in global functions: the verifier walks each once and by itself. They find the packet in the map JUDGING,
//! for there is little room on the stack. Packets are judged one after another on a CPU.

use aya_ebpf::{bindings::__sk_buff, helpers::bpf_ktime_get_ns};
use datapath_abi::{
    address,
    flow::{FlowKey, FlowVerdict, OpenedBy},
    headers::{Headers, Opening, Upper, has_ports, upper_of_ipv4},
    maps::{ACTIVE_RULES, SHADOW_RULES},
    outcome::DropReason,
    packet::{Packet as _, Slot},
    policy::{
        Asked, Denied, IPV4, NO_PORTS, NO_RULE, NO_RULE16, OPEN, Opener, REFUSED_HEAD,
        REFUSED_PER_SECOND, rule_slot, short,
    },
};
use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

use crate::{
    asm, clock,
    maps::{self, Inserted, Limited},
    skb::{Filtered, Refused, Skb},
    verdict::Verdict,
    wire::Direction,
};

/// What is found of a flow: its rules, and who opened it.
///
/// One number: the active rule in the lowest half word, then the shadow rule, then an [`OpenedBy`].
#[derive(Clone, Copy)]
pub(crate) struct Judgement(u64);

impl Judgement {
    /// Of a flow that has been judged before.
    pub(crate) const CURRENT: Self = Self(u64::MAX);

    const DENIED: Self = Self(0xffff_ffff);

    /// Whether the flow was judged just now.
    #[inline(always)]
    pub(crate) fn is_new(self) -> bool {
        self.0 != Self::CURRENT.0
    }

    /// Both rules, as [`datapath_abi::flow::FlowCounters`] has them.
    #[inline(always)]
    pub(crate) fn rules(self) -> [u16; 2] {
        [self.0 as u16, (self.0 >> 16) as u16]
    }

    /// The same as one number, the active one in the lower half.
    #[inline(always)]
    pub(crate) fn rules_word(self) -> u32 {
        self.0 as u32
    }

    /// A [`FlowVerdict`].
    #[inline(always)]
    pub(crate) fn verdict(self) -> u8 {
        match self.rules()[1] {
            NO_RULE16 => FlowVerdict::ShadowDenied as u8,
            _ => FlowVerdict::Accept as u8,
        }
    }

    /// The end that opened the flow.
    #[inline(always)]
    pub(crate) fn opened_by(self) -> u8 {
        (self.0 >> 32) as u8
    }
}

/// In place of an [`OpenedBy`]: the packet says it.
pub(crate) const BY_PACKET: u8 = 3;

/// [`OpenedBy`] as numbers.
const UNKNOWN: u32 = OpenedBy::Unknown as u32;
const LOCAL: u32 = OpenedBy::Local as u32;
const REMOTE: u32 = OpenedBy::Remote as u32;

/// Value of JUDGING: the packet that is judged, and what is found. Here and not on the stack, which has little room.
#[repr(C)]
pub(crate) struct Judging {
    packet: Asked,
    /// What is asked of the rules: that, the same turned, or what an ICMP error is about.
    question: Asked,
    /// The flow, where it is denied.
    key: FlowKey,
    /// Site of the far end, as [`crate::route::look_up`] says it.
    target: u32,
    denied: Denied,
    /// 1: it goes to a site; 0: it comes from one.
    to_site: u32,
    /// An [`OpenedBy`], or [`BY_PACKET`].
    known_opener: u32,
    /// Of [`Opening`].
    opening: u32,
    ip_offset: u32,
    /// Bytes of the network header.
    header_length: u32,
    ip_length: u32,
    /// 1: `packet` is the one at hand; 0: that could not be read.
    readable: u32,
    /// An [`OpenedBy`]: what is found.
    opened_by: u32,
    /// What [`ACTIVE_RULES`] have said so far.
    active: u32,
    /// And [`SHADOW_RULES`].
    shadow: u32,
}

/// A packet of a flow that is not known, or not as the rules are now.
pub(crate) struct Stranger<'a> {
    pub(crate) headers: &'a Headers,
    pub(crate) direction: Direction,
    pub(crate) vnet: u32,
    pub(crate) target: u32,
    /// What the table says of who opened the flow, an [`OpenedBy`], or [`BY_PACKET`].
    pub(crate) opened_by: u8,
}

/// Judges a packet.
///
/// # Errors
/// No rule allows it.
#[inline(always)]
pub(crate) fn judge(skb: &Skb, stranger: &Stranger<'_>) -> Verdict<Judgement> {
    let headers = stranger.headers;
    let Some(judging) = maps::judging() else {
        return Err(DropReason::PolicyDenied.into());
    };
    // SAFETY: an element of a per-CPU array belongs to this CPU while the program runs.
    let judging = unsafe { &mut *judging };
    judging.packet = Asked::of(headers, stranger.vnet);
    judging.target = stranger.target;
    judging.to_site = matches!(stranger.direction, Direction::ToSite).into();
    judging.known_opener = stranger.opened_by.into();
    judging.opening = headers.opening.bits().into();
    judging.ip_offset = headers.ip_offset as u32;
    judging.header_length = headers.header_length;
    judging.ip_length = headers.ip_length;
    judging.readable = 1;
    let judgement = Judgement(judge_packet(skb.context()));
    if judgement.rules()[0] == NO_RULE16 {
        return Err(DropReason::PolicyDenied.into());
    }
    Ok(judgement)
}

/// Judges a packet whose headers cannot be read: only an open vnet lets it pass.
///
/// # Errors
/// The vnet is closed.
#[inline(always)]
pub(crate) fn judge_unreadable(vnet: u32) -> Verdict<()> {
    if is_open(vnet) != 0 {
        return Ok(());
    }
    Err(DropReason::PolicyDenied.into())
}

/// A global function, as those below.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn is_open(vnet: u32) -> u32 {
    let Some(judging) = maps::judging() else {
        return 0;
    };
    // SAFETY: as in `judge`.
    let judging = unsafe { &mut *judging };
    judging.readable = 0;
    judging.question.vnet = vnet;
    u32::from(ask_rules(ACTIVE_RULES) == OPEN)
}

/// The [`Judgement`] of the packet in JUDGING. Each set of rules says the first of the questions below that it allows.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn judge_packet(context: *mut __sk_buff) -> u64 {
    let Some(judging) = maps::judging() else {
        return Judgement::DENIED.0;
    };
    // SAFETY: as in `judge`.
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
    judging.judgement().0
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
            by if by == BY_PACKET.into() => Opening::of_bits(self.opening as u8).opener(),
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

    #[inline(always)]
    fn judgement(&self) -> Judgement {
        let [active, shadow] = [self.active, self.shadow].map(|rule| u64::from(short(rule)));
        Judgement(active | shadow << 16 | u64::from(self.opened_by) << 32)
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
    // SAFETY: as in `judge`; nothing writes to it meanwhile.
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
    // SAFETY: as in `judge`.
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
    }
    Some(())
}

/// Notes a packet that was denied, and of so many on the wire: its flow, and for the agent some of what it was.
#[inline(never)]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn note_denied(context: *mut __sk_buff, packets: u64) -> u32 {
    let Some(judging) = maps::judging() else {
        return 0;
    };
    // SAFETY: as in `judge`.
    let judging = unsafe { &mut *judging };
    if judging.readable == 0 {
        return 0;
    }
    let now = clock::coarse_ns();
    judging.key = judging.packet.flow(judging.to_site != 0);
    if let Some(denied) = maps::denied(&judging.key) {
        // SAFETY: the map is preallocated, so the memory stays such a value while the program runs. Other CPUs write to
        // it, so it is touched by atomic or volatile accesses only.
        unsafe {
            asm::atomic_add(&raw mut (*denied).packets, packets);
            asm::atomic_add(&raw mut (*denied).bytes, judging.ip_length.into());
            (&raw mut (*denied).last_seen_ns).write_volatile(now);
            (&raw mut (*denied).shadow_rule).write_volatile(short(judging.shadow));
        }
    } else {
        let denied = &mut judging.denied;
        denied.first_seen_ns = now;
        denied.last_seen_ns = now;
        denied.packets = packets;
        denied.bytes = judging.ip_length.into();
        denied.site = judging.target;
        denied.shadow_rule = short(judging.shadow);
        denied.opened_by = judging.opened_by as u8;
        if let Inserted::Yes = maps::insert_denied(&judging.key, &judging.denied) {
            add_to_rules(judging.judgement().rules_word());
        }
    }
    if maps::may(Limited::Refused, REFUSED_PER_SECOND) {
        refused(&Skb::of(context), judging);
    }
    1
}

/// Counts a new flow of these rules, the active one in the lower half.
#[inline(never)]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn count_rules(rules: u32) -> u32 {
    add_to_rules(rules);
    0
}

#[inline(always)]
fn add_to_rules(rules: u32) {
    if let Some(flows) = maps::rule_flows(rule_slot(rules as u16)) {
        // SAFETY: an element of a per-CPU array belongs to this CPU while the program runs.
        unsafe { (*flows).active += 1 };
    }
    if let Some(flows) = maps::rule_flows(rule_slot((rules >> 16) as u16)) {
        // SAFETY: as above.
        unsafe { (*flows).shadow += 1 };
    }
}

/// Puts the packet into the ring.
#[inline(always)]
fn refused(skb: &Skb, judging: &Judging) {
    let Some(mut room) = maps::refused() else {
        return;
    };
    let record = room.as_mut_ptr();
    let kept = judging.ip_length.min(REFUSED_HEAD as u32);
    // SAFETY: the room has the size of the record and is this run's until it is submitted. All of it is written.
    let loaded = unsafe {
        (&raw mut (*record).time_ns).write_volatile(bpf_ktime_get_ns());
        (&raw mut (*record).vnet).write_volatile(judging.packet.vnet);
        (&raw mut (*record).ifindex).write_volatile(skb.ifindex());
        (&raw mut (*record).site).write_volatile(judging.target);
        (&raw mut (*record).length).write_volatile(judging.ip_length);
        (&raw mut (*record).kept).write_volatile(kept);
        (&raw mut (*record).shadow_rule).write_volatile(short(judging.shadow));
        (&raw mut (*record).to_site).write_volatile(judging.to_site as u8);
        (&raw mut (*record).opened_by).write_volatile(judging.opened_by as u8);
        let head = (&raw mut (*record).head).cast::<u64>();
        for word in 0..REFUSED_HEAD / 8 {
            head.add(word).write_volatile(0);
        }
        skb.load_into(judging.ip_offset, head.cast(), kept, REFUSED_HEAD)
    };
    match loaded {
        Ok(()) => room.submit(0),
        Err(Refused) => room.discard(0),
    }
}
