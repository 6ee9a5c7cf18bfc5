//! The kernel's routing, asked as if it forwarded a packet itself.

use core::mem;

use aya_ebpf::{
    bindings::{
        __sk_buff, BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_NO_NEIGH,
        BPF_FIB_LKUP_RET_SUCCESS, BPF_FIB_LOOKUP_OUTPUT, bpf_fib_lookup,
    },
    helpers,
};
use datapath_abi::headers::{Family, Headers};

use crate::skb::Skb;

/// `AF_INET` and `AF_INET6` of Linux.
pub(crate) const AF_INET: u8 = 2;
pub(crate) const AF_INET6: u8 = 10;

/// The question for a packet that came by `ifindex`, of which each wire packet has `length` bytes; 0 leaves its size
/// out of it.
#[inline(always)]
pub(crate) fn ask_for(question: &mut bpf_fib_lookup, headers: &Headers, ifindex: u32, length: u16) {
    question.l4_protocol = headers.protocol;
    question.sport = headers.ports.source().to_be();
    question.dport = headers.ports.destination().to_be();
    question.ifindex = ifindex;
    question.__bindgen_anon_1.tot_len = length;
    match headers.family {
        Family::V4 => {
            question.family = AF_INET;
            question.__bindgen_anon_3.ipv4_src = headers.source[3];
            question.__bindgen_anon_4.ipv4_dst = headers.destination[3];
        }
        Family::V6 => {
            question.family = AF_INET6;
            question.__bindgen_anon_3.ipv6_src = headers.source;
            question.__bindgen_anon_4.ipv6_dst = headers.destination;
        }
    }
}

/// A question about nothing yet.
#[inline(always)]
pub(crate) fn nothing() -> bpf_fib_lookup {
    // SAFETY: a C structure of integers and unions of integers; zeroes are valid.
    unsafe { mem::zeroed() }
}

/// Asks; the answer is a `BPF_FIB_LKUP_RET_*` and what it changed in the question, or negative for a wrong question.
#[inline(always)]
pub(crate) fn ask(context: *mut __sk_buff, question: &mut bpf_fib_lookup, flags: u32) -> i64 {
    let size = mem::size_of::<bpf_fib_lookup>() as i32;
    // SAFETY: the helper reads and writes one structure of the size given.
    unsafe { helpers::bpf_fib_lookup(context.cast(), question, size, flags) }
}

/// Whether the kernel, asked for the way of a packet of its own out of the interface of this answer, names the same
/// neighbour. Then it may look itself, and knows whom to tell that the neighbour does not answer. It would not where a
/// rule goes by the interface of arrival. `context` is of a packet without a link-layer header.
#[inline(always)]
pub(crate) fn kernel_goes_there(context: *mut __sk_buff, answer: &bpf_fib_lookup) -> bool {
    ask_kernel_again(context, answer) != 0
}

/// A global function: the verifier walks it once and by itself, and wants the pointer checked.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn ask_kernel_again(context: *mut __sk_buff, answer: *const bpf_fib_lookup) -> u32 {
    // SAFETY: a reference of the only caller's.
    let Some(answer) = (unsafe { answer.as_ref() }) else {
        return 0;
    };
    let skb = Skb::of(context);
    let mut again = nothing();
    again.ifindex = answer.ifindex;
    // By its first byte, not by the kernel's note: a packet that the agent asks about has none.
    let mut first = [0];
    if skb.load(0, &mut first).is_err() {
        return 0;
    }
    let loaded = if first[0].to_ne_bytes()[0] >> 4 == Family::V4 as u8 {
        let mut ends = [0; 2];
        let loaded = skb.load(12, &mut ends);
        again.family = AF_INET;
        again.__bindgen_anon_3.ipv4_src = ends[0];
        again.__bindgen_anon_4.ipv4_dst = ends[1];
        loaded
    } else {
        let mut ends = [0; 8];
        let loaded = skb.load(8, &mut ends);
        let [source, destination]: [[u32; 4]; 2] = zerocopy::transmute!(ends);
        again.family = AF_INET6;
        again.__bindgen_anon_3.ipv6_src = source;
        again.__bindgen_anon_4.ipv6_dst = destination;
        loaded
    };
    if loaded.is_err() {
        return 0;
    }
    let found = ask(context, &mut again, BPF_FIB_LOOKUP_OUTPUT);
    // SAFETY: all of each union is written, here or by the kernel, and any bytes are an address.
    let [there, here] = unsafe {
        [
            again.__bindgen_anon_4.ipv6_dst,
            answer.__bindgen_anon_4.ipv6_dst,
        ]
    };
    let is_same = again.ifindex == answer.ifindex && again.family == answer.family && there == here;
    u32::from(REACHED.contains(&found) && is_same)
}

/// The interface that is named takes no packet of this size.
pub(crate) const TOO_BIG: i64 = BPF_FIB_LKUP_RET_FRAG_NEEDED as i64;

/// Answers that name an interface and a next hop, with or without its link-layer address.
pub(crate) const REACHED: [i64; 2] = [
    BPF_FIB_LKUP_RET_SUCCESS as i64,
    BPF_FIB_LKUP_RET_NO_NEIGH as i64,
];
