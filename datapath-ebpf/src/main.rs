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

mod address;
mod asm;
mod clock;
mod flow;
mod headers;
mod lan_ingress;
mod lane;
mod link;
mod maps;
mod packet;
mod route;
mod scope;
mod skb;
mod tally;
mod ttl;
mod tun_egress;
mod tun_ingress;
mod wan_guard;
mod wire;
mod wireguard;

use aya_ebpf::{
    bindings::{TC_ACT_UNSPEC, xdp_action},
    macros::{classifier, socket_filter, xdp},
    programs::{SkBuffContext, TcContext, XdpContext},
};
use datapath_abi::outcome::StackReason;

use crate::{packet::Frame, skb::Skb, tun_ingress::Way};

/// From the hosts of this site: into the tunnel, or to the stack.
#[classifier]
fn lan_ingress(context: TcContext) -> i32 {
    let skb = Skb::new(&context);
    let mut packets = skb.wire_packets();
    match lan_ingress::judge(&skb, &mut packets) {
        Ok(tun) => skb::redirect(tun),
        Err(reason) => leave_to_stack(&skb, reason, packets),
    }
}

/// Into the TUN: counts what the stack routed there.
#[classifier]
fn tun_egress(context: TcContext) -> i32 {
    tun_egress::account(&Skb::new(&context));
    TC_ACT_UNSPEC
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
    match tun_ingress::judge(&skb, &mut packets) {
        Ok(Way::Lan(mut hop)) => skb::redirect_neighbour(&mut hop),
        Ok(Way::Tunnel(tun)) => skb::redirect(tun),
        Err(reason) => leave_to_stack(&skb, reason, packets),
    }
}

/// From the far gateways, and from anybody else: junk for our ports ends here.
#[xdp]
fn wan_guard(context: XdpContext) -> u32 {
    let frame = Frame::new(&context);
    match wan_guard::judge(&frame) {
        Ok(()) => xdp_action::XDP_PASS,
        Err(reason) => {
            tally::drop(reason, frame.length());
            xdp_action::XDP_DROP
        }
    }
}

#[inline(always)]
fn leave_to_stack(skb: &Skb, reason: StackReason, packets: u64) -> i32 {
    tally::to_stack(reason, packets, skb.length());
    TC_ACT_UNSPEC
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The kernel lets only GPL-compatible programs call some of the helpers.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
