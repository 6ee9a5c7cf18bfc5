//! The eBPF programs of the data path. Each entry below is a table from what its module decided
//! to what the kernel shall do; the decision is read in the module of the same name.
//!
//! ```text
//! LAN ──► lan_ingress ──redirect──► TUN (tun_egress, tun_steer) ──► lane ──► WAN
//! LAN ◄── redirect_neigh ◄── tun_ingress ◄── TUN ◄────── lane ◄── wan_guard ◄── WAN
//! ```
//!
//! What a program is not sure of goes to the kernel stack, with its reason counted. "To the stack"
//! is `TC_ACT_UNSPEC`, not `TC_ACT_OK`, so that other programs and filters on the interface still run.
#![no_std]
#![no_main]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
// A call costs registers and hides from the verifier what is known of them.
#![allow(clippy::inline_always)]
// The macros of aya-ebpf build the context anew and pass it by value.
#![allow(clippy::needless_pass_by_value)]

mod answer;
mod asm;
mod capture;
mod clock;
mod explain;
mod fault;
mod fib;
mod flow;
mod lan_ingress;
mod lane;
mod link;
mod maps;
mod notes;
mod outer;
mod packet;
mod policy;
mod route;
mod say;
mod scope;
mod skb;
mod source;
mod ttl;
mod tun_egress;
mod tun_ingress;
mod verdict;
mod wan_guard;
mod wire;
mod wireguard;

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC, xdp_action},
    macros::{classifier, socket_filter, xdp},
    programs::{SkBuffContext, TcContext, XdpContext},
};
use datapath_abi::{capture::Place, outcome::DropReason};

use crate::{
    explain::Page,
    packet::Frame,
    say::{LanIngress, Program, TunEgress, TunIngress, WanGuard},
    skb::Skb,
    verdict::Refusal,
};

/// From the hosts of this site: into the tunnel, or to the stack.
#[classifier]
fn lan_ingress(context: TcContext) -> i32 {
    let skb = Skb::new(&context);
    let mut packets = skb.wire_packets();
    let verdict = lan_ingress::decide(&skb, &mut packets, |crossing| {
        lan_ingress::carry_out(&skb, crossing)
    });
    match verdict {
        Ok(tun) => skb::redirect(tun),
        Err(refusal) => refuse::<LanIngress>(&skb, refusal, packets),
    }
}

/// Into the TUN: judges and counts what the stack routed there.
#[classifier]
fn tun_egress(context: TcContext) -> i32 {
    let skb = Skb::new(&context);
    let mut packets = skb.wire_packets();
    let verdict = tun_egress::decide(&skb, &mut packets, |routed| {
        tun_egress::carry_out(&skb, routed);
    });
    match verdict {
        Err(Refusal::Fault(fault)) => {
            TunEgress::fault(fault);
            TC_ACT_UNSPEC
        }
        Err(Refusal::Drop(reason)) => end(&skb, reason, packets),
        _ => TC_ACT_UNSPEC,
    }
}

/// Into the TUN, last step: the queue of the packet's lane (`TUNSETSTEERINGEBPF`).
#[socket_filter]
fn tun_steer(context: SkBuffContext) -> i64 {
    i64::from(lane::of_mark(Skb::of_filter(&context).mark()))
}

/// Out of the tunnel: to a host of this site, on to another site, or to the stack.
#[classifier]
fn tun_ingress(context: TcContext) -> i32 {
    let skb = Skb::new(&context);
    let mut packets = skb.wire_packets();
    let verdict = tun_ingress::look(&skb, &mut packets, |seen| {
        // Whatever is decided. In front: the verifier walks it once, not once for each decision.
        tun_ingress::count(seen);
        let mut route = fib::nothing();
        let way = tun_ingress::decide(&skb, seen, &mut route)?;
        tun_ingress::carry_out(&skb, seen, &route, way)
    });
    match verdict {
        Ok(action) => action,
        Err(refusal) => refuse::<TunIngress>(&skb, refusal, packets),
    }
}

/// From the far gateways, and from anybody else: junk for our ports ends here.
#[xdp]
fn wan_guard(context: XdpContext) -> u32 {
    let frame = Frame::new(&context);
    match wan_guard::decide(&frame) {
        // What it does not judge is none of its business, and not counted.
        Ok(()) | Err(Refusal::Stack(_) | Refusal::Leave | Refusal::Done) => xdp_action::XDP_PASS,
        Err(Refusal::Fault(fault)) => {
            WanGuard::fault(fault);
            xdp_action::XDP_PASS
        }
        Err(Refusal::Drop(reason)) => {
            maps::add_drop(reason, 1, frame.length().into());
            xdp_action::XDP_DROP
        }
    }
}

/// What `lan_ingress` would decide. Like the two below, it is run by the agent and attached nowhere.
#[classifier]
fn explain_lan(context: TcContext) -> i32 {
    if let Some(page) = Page::for_agent() {
        explain::by_lan(&Skb::new(&context), page);
    }
    TC_ACT_UNSPEC
}

/// What `tun_egress` would decide.
#[classifier]
fn explain_egress(context: TcContext) -> i32 {
    if let Some(page) = Page::for_agent() {
        explain::into_tunnel(&Skb::new(&context), page);
    }
    TC_ACT_UNSPEC
}

/// What `tun_ingress` would decide.
#[classifier]
fn explain_tun(context: TcContext) -> i32 {
    if let Some(page) = Page::for_agent() {
        explain::out_of_tunnel(&Skb::new(&context), page);
    }
    TC_ACT_UNSPEC
}

/// Captures what comes by a LAN. Like the three below, it is there only while somebody captures; in front of the
/// others, and changes nothing.
#[classifier]
fn capture_lan(context: TcContext) -> i32 {
    let skb = Skb::new(&context);
    if let Some(page) = capture::page() {
        explain::by_lan(&skb, page);
        capture::hand_over(skb.context(), Place::Lan as u32);
    }
    TC_ACT_UNSPEC
}

/// Captures what the stack routes into the tunnel.
#[classifier]
fn capture_egress(context: TcContext) -> i32 {
    let skb = Skb::new(&context);
    if let Some(page) = capture::page() {
        explain::into_tunnel(&skb, page);
        capture::hand_over(skb.context(), Place::IntoTunnel as u32);
    }
    TC_ACT_UNSPEC
}

/// Captures what comes out of the tunnel.
#[classifier]
fn capture_tun(context: TcContext) -> i32 {
    let skb = Skb::new(&context);
    if let Some(page) = capture::page() {
        explain::out_of_tunnel(&skb, page);
        capture::hand_over(skb.context(), Place::OutOfTunnel as u32);
    }
    TC_ACT_UNSPEC
}

/// Captures the tunnel's datagrams, both ways. Of a packet socket, which gets none of them.
#[socket_filter]
fn capture_wan(context: SkBuffContext) -> i64 {
    capture::outer(&Skb::of_filter(&context));
    0
}

/// The packet goes to the stack or ends here; either is counted.
#[inline(always)]
fn refuse<P: Program>(skb: &Skb, refusal: Refusal, packets: u64) -> i32 {
    let reason = match refusal {
        Refusal::Stack(reason) => reason,
        Refusal::Leave => return TC_ACT_UNSPEC,
        Refusal::Done => return TC_ACT_SHOT,
        Refusal::Fault(fault) => {
            P::fault(fault);
            fault.reason()
        }
        Refusal::Drop(reason) => return end(skb, reason, packets),
    };
    maps::add_to_stack(reason, packets, skb.length().into());
    TC_ACT_UNSPEC
}

/// The packet ends here, counted.
#[inline(always)]
fn end(skb: &Skb, reason: DropReason, packets: u64) -> i32 {
    maps::add_drop(reason, packets, skb.length().into());
    if let DropReason::PolicyDenied = reason {
        policy::note_denied(skb.context(), packets);
    }
    TC_ACT_SHOT
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The kernel lets only GPL-compatible programs call some of the helpers.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
