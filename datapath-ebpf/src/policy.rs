//! Judging flows by the policy. A flow is judged with its first packet, and again when the routes or the rules have
//! changed; what is known and current pays nothing.
//!
//! What is rare is in global functions: the verifier walks each once and by itself. They find the packet in the map
//! JUDGING, for there is little room on the stack. Packets are judged one after another on a CPU.

mod denied;
mod judging;

use datapath_abi::{
    headers::{Headers, Opening, Ports},
    outcome::DropReason,
    policy::Asked,
};

pub(crate) use self::{
    denied::{count_rules, note_denied},
    judging::{BY_PACKET, Judging},
};
use crate::{asm, maps, skb::Skb, verdict::Verdict, wire::Direction};

/// A packet of a flow that is not known, or not as the rules are now.
pub(crate) struct Stranger<'a> {
    pub(crate) headers: &'a Headers,
    pub(crate) direction: Direction,
    pub(crate) vnet: u32,
    /// Where the route to the far end leads, as [`crate::route::look_up`] says it.
    pub(crate) target: u32,
    /// The routes that say so, or older ones.
    pub(crate) generation: u32,
    /// Whether the table has the flow.
    pub(crate) is_known: bool,
    /// What the table says of who opened the flow, an [`datapath_abi::flow::OpenedBy`], or [`BY_PACKET`].
    pub(crate) opened_by: u32,
}

/// Each protocol leaves the verifier with other numbers that it knows; without them it walks what follows once for all
/// protocols.
#[inline(always)]
pub(crate) fn blur(headers: &mut Headers, skb: &Skb) {
    let unknown = skb.length();
    let word = headers.header_length << 8 | u32::from(headers.protocol);
    let word = asm::forget(word, 0x00ff_ffff, unknown);
    headers.header_length = word >> 8;
    headers.protocol = word as u8;
    let word = u32::from(headers.opening.bits()) << 8 | u32::from(headers.tcp_flags);
    let word = asm::forget(word, 0xffff, unknown);
    headers.opening = Opening::of_bits((word >> 8) as u8);
    headers.tcp_flags = word as u8;
    headers.ports = Ports::of_word(asm::forget(headers.ports.word(), u32::MAX, unknown));
}

/// Judges a packet. What is found stays in JUDGING while the program runs.
///
/// # Errors
/// No rule allows it.
#[inline(always)]
pub(crate) fn judge(skb: &Skb, stranger: &Stranger<'_>) -> Verdict<()> {
    let headers = stranger.headers;
    let Some(judging) = maps::judging() else {
        return Err(DropReason::PolicyDenied.into());
    };
    // SAFETY: an element of a per-CPU array belongs to this CPU while the program runs.
    let judging = unsafe { &mut *judging };
    judging.packet = Asked::of(headers, stranger.vnet);
    judging.target = stranger.target;
    judging.generation = stranger.generation;
    judging.to_site = matches!(stranger.direction, Direction::ToSite).into();
    judging.is_known = stranger.is_known.into();
    judging.known_opener = stranger.opened_by;
    judging.opening = headers.opening.bits().into();
    judging.ip_offset = headers.ip_offset as u32;
    judging.header_length = headers.header_length;
    judging.ip_length = headers.ip_length;
    judging.readable = 1;
    if judging::judge_packet(skb.context()) == 0 {
        return Err(DropReason::PolicyDenied.into());
    }
    Ok(())
}

/// Judges a packet whose headers cannot be read: only an open vnet lets it pass.
///
/// # Errors
/// The vnet is closed.
#[inline(always)]
pub(crate) fn judge_unreadable(vnet: u32) -> Verdict<()> {
    if judging::is_open(vnet) != 0 {
        return Ok(());
    }
    Err(DropReason::PolicyDenied.into())
}
