//! Whether a host may send under the source address that its packet has: what the kernel asks of every IPv4 packet
//! that it forwards (`fib_validate_source`, net/ipv4/fib_frontend.c), asked of the kernel's routing with the ends
//! exchanged. IPv6 has no such check in the kernel.
//!
//! A source that is found right is remembered with the flow, for the interface and for the generation of the routes:
//! the kernel is asked for the first packet of a flow, and again when the routes or interfaces have changed.

use aya_ebpf::bindings::__sk_buff;
use datapath_abi::{headers::Headers, outcome::StackReason, settings::STRICT_SOURCES};

use crate::{
    fib::{self, AF_INET},
    skb::Skb,
};

/// What the kernel's routing says of a source: it is not reached, or is the host's own.
const UNREACHED: u32 = 0;
/// It is reached by another interface.
const BY_ANOTHER: u32 = 1;
/// It is reached by the interface that the packet came by.
const BY_THIS: u32 = 2;

/// Refuses a packet of IPv4 whose source the kernel might refuse: the stack looks again, by the host's own rule, and counts.
/// `flags` are those of the LAN interface.
#[inline(always)]
pub(crate) fn check(
    skb: &Skb,
    headers: &Headers,
    flags: u32,
    tun_ifindex: u32,
) -> Result<(), StackReason> {
    let (source, destination) = (headers.source[3], headers.destination[3]);
    match ask_for_source(
        skb.context(),
        source,
        destination,
        skb.ifindex(),
        tun_ifindex,
    ) {
        BY_THIS => Ok(()),
        BY_ANOTHER if flags & STRICT_SOURCES == 0 => Ok(()),
        _ => Err(StackReason::WrongSource),
    }
}

/// By which way packets for `source` would leave that come from the TUN, as the answers do. Addresses in network
/// order. A global function: the verifier walks it once and by itself.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn ask_for_source(
    context: *mut __sk_buff,
    source: u32,
    destination: u32,
    ifindex: u32,
    tun_ifindex: u32,
) -> u32 {
    let mut question = fib::nothing();
    question.family = AF_INET;
    question.ifindex = tun_ifindex;
    question.__bindgen_anon_3.ipv4_src = destination;
    question.__bindgen_anon_4.ipv4_dst = source;
    let answer = fib::ask(context, &mut question, 0);
    // How large a packet may be that goes there does not matter.
    if !fib::REACHED.contains(&answer) && answer != fib::TOO_BIG {
        UNREACHED
    } else if question.ifindex == ifindex {
        BY_THIS
    } else {
        BY_ANOTHER
    }
}
