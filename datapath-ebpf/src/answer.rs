//! Answers to packets that would go in circles: the packet becomes an ICMP error to its sender. The kernel stack cannot
//! give it, for its route for the destination is the very one that leads back.
//!
//! What no error is ever sent about (RFC 1122, 3.2.2; RFC 4443, 2.4) gets none, and neither does what comes faster than
//! [`PER_SECOND`]. Each family has a global function: the verifier walks it once and by itself.

use core::mem::MaybeUninit;

use aya_ebpf::bindings::__sk_buff;
use datapath_abi::{
    headers::{Family, Upper},
    packet::Packet as _,
};

use crate::{
    maps::{self, Limited},
    skb::Skb,
};

/// Answers that a CPU gives in a second: as many as the kernel does (`icmp_msgs_per_sec`).
const PER_SECOND: u64 = 1000;

/// Makes of a packet out of the TUN the answer that its destination is unreachable. Says whether it did; the packet may
/// be half changed if not.
#[inline(always)]
pub(crate) fn unreachable(skb: &Skb, family: Family) -> bool {
    // The segments of a super-packet share a checksum that is yet to be made.
    if skb.gso_size() != 0 || !maps::may(Limited::Answers, PER_SECOND) {
        return false;
    }
    match family {
        Family::V4 => answer_unreachable4(skb.context()) != 0,
        Family::V6 => {
            let mut header = [0_u32; 2];
            if skb.load(0, &mut header).is_err() {
                return false;
            }
            let first = Upper::at(header[1].to_ne_bytes()[2], 4 * IP6);
            // Here, not there: of the stack there is enough for one of them.
            let Ok(upper) = skb.skip_extensions(first) else {
                return false;
            };
            let (context, protocol) = (skb.context(), upper.protocol.into());
            !upper.later_fragment
                && answer_unreachable6(context, protocol, upper.offset as u32) != 0
        }
    }
}

/// Words of the IP header of the answer and of the ICMP header.
const IP4: usize = 5;
const IP6: usize = 10;
const ICMP: usize = 2;
/// Bytes behind the quoted IP header and what belongs to it: who gets the answer must find the conversation.
const BEHIND: usize = 8;
/// Words of the longest quote: an IPv4 header with all the options that it can have, and [`BEHIND`].
const QUOTE4: usize = 15 + BEHIND / 4;
/// An IPv6 header and extension headers of 16 bytes: a router alert has 8. What has more is not answered: a program has
/// 512 bytes of stack, kernels before 6.8 round each function's part up to 32, and this is all that is left.
const QUOTE6: usize = IP6 + 4 + BEHIND / 4;

/// TTL or hop limit of what this host sends itself.
const TTL: u8 = 64;
/// Class of service of ICMP errors, as the kernel's (`IPTOS_PREC_INTERNETCONTROL`).
const TOS: u8 = 0xc0;

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn answer_unreachable4(context: *mut __sk_buff) -> u32 {
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
    if from == [0; 4] || skb.load_first(quote, (4 * IP4) as u32).is_err() {
        return 0;
    }
    let header = 4 * (quote[0].to_ne_bytes()[0] & 0xf) as usize;
    // One with options has not been looked at.
    if skb.load_first(quote, header as u32).is_err() || sum(quote, 0) != 0 {
        return 0;
    }
    let mut upper = [0_u32; 1];
    if skb.load(header as u32, &mut upper).is_err()
        || skb.load_first(quote, (header + BEHIND) as u32).is_err()
    {
        return 0;
    }
    let [fragment, kind] = [quote[1], quote[2]].map(u32::to_ne_bytes);
    let later_fragment = u16::from_be_bytes([fragment[2], fragment[3]]) & 0x1fff != 0;
    // Unreachable, source quench, redirect, time exceeded, parameter problem.
    let icmp = upper[0].to_ne_bytes()[0];
    let is_error = kind[1] == PROTOCOL && matches!(icmp, 3 | 4 | 5 | 11 | 12);
    if later_fragment || is_error {
        return 0;
    }
    let sender = quote[3];
    let length = 4 * (IP4 + ICMP) + header + BEHIND;
    let length_bytes = (length as u16).to_be_bytes();
    answer[0] = u32::from_ne_bytes([0x45, TOS, length_bytes[0], length_bytes[1]]);
    answer[1] = u32::from_ne_bytes([0, 0, DO_NOT_FRAGMENT[0], DO_NOT_FRAGMENT[1]]);
    answer[2] = u32::from_ne_bytes([TTL, PROTOCOL, 0, 0]);
    answer[3] = u32::from_ne_bytes(from);
    answer[4] = sender;
    // Host unreachable (RFC 792).
    answer[IP4] = u32::from_ne_bytes([3, 1, 0, 0]);
    let header = sum(&answer[..IP4], 0);
    answer[2] |= upper_half(header);
    // Behind the quote are zeroes.
    let message = sum(&answer[IP4..], 0);
    answer[IP4] |= upper_half(message);
    write(&skb, &answer, length as u32)
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn answer_unreachable6(context: *mut __sk_buff, protocol: u32, offset: u32) -> u32 {
    const PROTOCOL: u8 = 58;
    /// Messages of smaller types are errors.
    const FIRST_INFORMATIONAL: u8 = 128;
    let skb = Skb::of(context);
    let Some(from) = maps::settings().map(|settings| settings.answers_from6) else {
        return 0;
    };
    let mut answer = MaybeUninit::<[u32; IP6 + ICMP + QUOTE6]>::uninit();
    let answer = zeroed(&mut answer);
    let Some(quote) = answer.last_chunk_mut::<QUOTE6>() else {
        return 0;
    };
    if from == [0; 16] {
        return 0;
    }
    let quoted = offset + BEHIND as u32;
    let mut head = [0_u32; 1];
    if skb.load(offset, &mut head).is_err() || skb.load_first(quote, quoted).is_err() {
        return 0;
    }
    let icmp = head[0].to_ne_bytes()[0];
    if protocol == PROTOCOL.into() && icmp < FIRST_INFORMATIONAL {
        return 0;
    }
    let sender = [quote[2], quote[3], quote[4], quote[5]];
    let from: [u32; 4] = zerocopy::transmute!(from);
    let payload = (4 * ICMP) as u16 + quoted as u16;
    let payload_bytes = payload.to_be_bytes();
    answer[0] = u32::from_ne_bytes([0x60, 0, 0, 0]);
    answer[1] = u32::from_ne_bytes([payload_bytes[0], payload_bytes[1], PROTOCOL, TTL]);
    answer[2..6].copy_from_slice(&from);
    answer[6..10].copy_from_slice(&sender);
    // Address unreachable (RFC 4443, 3.1).
    answer[IP6] = u32::from_ne_bytes([1, 3, 0, 0]);
    // With the pseudo-header (RFC 8200, 8.1): both addresses, length and protocol. Behind the quote are zeroes.
    let pseudo = u64::from(u32::from(payload).to_be()) + u64::from(u32::from(PROTOCOL).to_be());
    let message = sum(&answer[2..], pseudo);
    answer[IP6] |= upper_half(message);
    write(&skb, answer, 4 * IP6 as u32 + u32::from(payload))
}

/// Makes the words zero, without a call: of the stack there is not enough for one more function.
#[inline(always)]
fn zeroed<const N: usize>(words: &mut MaybeUninit<[u32; N]>) -> &mut [u32; N] {
    for word in 0..N {
        // SAFETY: within the array.
        unsafe { words.as_mut_ptr().cast::<u32>().add(word).write_volatile(0) };
    }
    // SAFETY: all of it is written.
    unsafe { words.assume_init_mut() }
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

/// Makes the first bytes of these words the packet.
#[inline(always)]
fn write<const N: usize>(skb: &Skb, words: &[u32; N], bytes: u32) -> u32 {
    let done = skb.set_length(bytes).is_ok() && skb.overwrite(words, bytes).is_ok();
    u32::from(done)
}
