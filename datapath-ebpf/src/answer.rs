//! Answers to packets that would go in circles: the packet becomes an ICMP error to its sender. The kernel stack cannot
//! give it, for its route for the destination is the very one that leads back.
//!
//! What no error is ever sent about (RFC 1122, 3.2.2; RFC 4443, 2.4) gets none, and neither does what comes faster than
//! [`PER_SECOND`]. Each family has a global function: the verifier walks it once and by itself.

use aya_ebpf::bindings::__sk_buff;
use datapath_abi::headers::Family;
use zerocopy::IntoBytes as _;

use crate::{maps, skb::Skb};

/// Answers that a CPU gives in a second: as many as the kernel does (`icmp_msgs_per_sec`).
const PER_SECOND: u64 = 1000;

/// Makes of a packet out of the TUN the answer that its destination is unreachable. Says whether it did; the packet may
/// be half changed if not.
#[inline(always)]
pub(crate) fn unreachable(skb: &Skb, family: Family) -> bool {
    // The segments of a super-packet share a checksum that is yet to be made.
    if skb.gso_size() != 0 || !maps::may_answer(PER_SECOND) {
        return false;
    }
    match family {
        Family::V4 => answer_unreachable4(skb.context()) != 0,
        Family::V6 => answer_unreachable6(skb.context()) != 0,
    }
}

/// Words of the IP header of the answer, of the ICMP header, and of what it quotes: the header and 8 bytes.
const IP4: usize = 5;
const ICMP: usize = 2;
const QUOTE4: usize = IP4 + 2;
const IP6: usize = 10;
const QUOTE6: usize = IP6 + 2;

/// TTL or hop limit of what this host sends itself.
const TTL: u8 = 64;
/// Class of service of ICMP errors, as the kernel's (`IPTOS_PREC_INTERNETCONTROL`).
const TOS: u8 = 0xc0;

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn answer_unreachable4(context: *mut __sk_buff) -> u32 {
    const LENGTH: usize = 4 * (IP4 + ICMP + QUOTE4);
    const LENGTH_BYTES: [u8; 2] = (LENGTH as u16).to_be_bytes();
    const DO_NOT_FRAGMENT: [u8; 2] = [0x40, 0];
    const PROTOCOL: u8 = 1;
    let skb = Skb::of(context);
    let Some(from) = maps::settings().map(|settings| settings.answers_from4) else {
        return 0;
    };
    let mut answer = [0_u32; IP4 + ICMP + QUOTE4];
    let Some(quote) = answer.last_chunk_mut::<QUOTE4>() else {
        return 0;
    };
    if from == [0; 4] || skb.load(0, quote).is_err() {
        return 0;
    }
    let [first, fragment, kind] = [quote[0], quote[1], quote[2]].map(u32::to_ne_bytes);
    let later_fragment = u16::from_be_bytes([fragment[2], fragment[3]]) & 0x1fff != 0;
    // Unreachable, source quench, redirect, time exceeded, parameter problem.
    let icmp = quote[IP4].to_ne_bytes()[0];
    let is_error = kind[1] == PROTOCOL && matches!(icmp, 3 | 4 | 5 | 11 | 12);
    if later_fragment || is_error || first[0] != 0x45 {
        return 0;
    }
    let sender = quote[3];
    answer[0] = u32::from_ne_bytes([0x45, TOS, LENGTH_BYTES[0], LENGTH_BYTES[1]]);
    answer[1] = u32::from_ne_bytes([0, 0, DO_NOT_FRAGMENT[0], DO_NOT_FRAGMENT[1]]);
    answer[2] = u32::from_ne_bytes([TTL, PROTOCOL, 0, 0]);
    answer[3] = u32::from_ne_bytes(from);
    answer[4] = sender;
    // Host unreachable (RFC 792).
    answer[IP4] = u32::from_ne_bytes([3, 1, 0, 0]);
    let header = sum(&answer[..IP4], 0);
    answer[2] |= upper_half(header);
    let message = sum(&answer[IP4..], 0);
    answer[IP4] |= upper_half(message);
    write(&skb, answer.as_bytes())
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn answer_unreachable6(context: *mut __sk_buff) -> u32 {
    const PAYLOAD: u16 = 4 * (ICMP + QUOTE6) as u16;
    const PAYLOAD_BYTES: [u8; 2] = PAYLOAD.to_be_bytes();
    const PROTOCOL: u8 = 58;
    /// Messages of smaller types are errors.
    const FIRST_INFORMATIONAL: u8 = 128;
    let skb = Skb::of(context);
    let Some(from) = maps::settings().map(|settings| settings.answers_from6) else {
        return 0;
    };
    let mut answer = [0_u32; IP6 + ICMP + QUOTE6];
    let Some(quote) = answer.last_chunk_mut::<QUOTE6>() else {
        return 0;
    };
    if from == [0; 16] || skb.load(0, quote).is_err() {
        return 0;
    }
    let next = quote[1].to_ne_bytes()[2];
    let icmp = quote[IP6].to_ne_bytes()[0];
    if next == PROTOCOL && icmp < FIRST_INFORMATIONAL {
        return 0;
    }
    let sender = [quote[2], quote[3], quote[4], quote[5]];
    let from: [u32; 4] = zerocopy::transmute!(from);
    answer[0] = u32::from_ne_bytes([0x60, 0, 0, 0]);
    answer[1] = u32::from_ne_bytes([PAYLOAD_BYTES[0], PAYLOAD_BYTES[1], PROTOCOL, TTL]);
    answer[2..6].copy_from_slice(&from);
    answer[6..10].copy_from_slice(&sender);
    // Address unreachable (RFC 4443, 3.1).
    answer[IP6] = u32::from_ne_bytes([1, 3, 0, 0]);
    // With the pseudo-header (RFC 8200, 8.1): both addresses, length and protocol.
    let pseudo = u64::from(u32::from(PAYLOAD).to_be()) + u64::from(u32::from(PROTOCOL).to_be());
    let message = sum(&answer[2..], pseudo);
    answer[IP6] |= upper_half(message);
    write(&skb, answer.as_bytes())
}

/// The checksum over words in network order (RFC 1071).
#[inline(always)]
fn sum(words: &[u32], start: u64) -> u16 {
    let mut sum = start;
    for word in words {
        sum += u64::from(*word);
    }
    for _ in 0..3 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16)
}

/// A checksum as the third and fourth byte of a word.
#[inline(always)]
fn upper_half(checksum: u16) -> u32 {
    let [first, second] = checksum.to_ne_bytes();
    u32::from_ne_bytes([0, 0, first, second])
}

/// Makes these the bytes of the packet.
#[inline(always)]
fn write(skb: &Skb, bytes: &[u8]) -> u32 {
    let done = skb.set_length(bytes.len() as u32).is_ok() && skb.overwrite(bytes).is_ok();
    u32::from(done)
}
