//! Packets out of the tunnel: counted, then straight to the neighbour that the kernel's routing names.

use aya_ebpf::bindings::{
    BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_SUCCESS,
    bpf_fib_lookup, bpf_redir_neigh, bpf_redir_neigh__bindgen_ty_1,
};
use datapath_abi::{
    headers::{Family, Headers, Ports},
    outcome::StackReason,
    settings::{Role, SOFTWARE_GSO},
};
use network_types::eth::EthHdr;

use crate::{
    asm::forget,
    fault::Fault,
    flow::Flow,
    maps, route,
    say::TunIngress,
    scope,
    skb::{NextHop, Refused, Skb},
    ttl,
    verdict::Verdict,
    wire::{Direction, Wire},
};

/// `AF_INET` and `AF_INET6` of Linux.
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

const FIB_SUCCESS: i64 = BPF_FIB_LKUP_RET_SUCCESS as i64;
const FIB_NO_NEIGHBOUR: i64 = BPF_FIB_LKUP_RET_NO_NEIGH as i64;
const FIB_TOO_BIG: i64 = BPF_FIB_LKUP_RET_FRAG_NEEDED as i64;

/// What is known of a packet that came out of the tunnel.
pub(crate) struct Seen<'a> {
    headers: &'a Headers,
    wire: &'a Wire,
    flow: &'a Flow,
    vnet: u32,
}

/// Where a packet goes.
pub(crate) enum Way {
    /// To a host or router on a LAN.
    Lan(NextHop),
    /// Back into the TUN with this index, to another site.
    Tunnel(u32),
}

/// Reads maps and packet, changes nothing; a packet that could be read is handed on to `then`. `packets`
/// becomes what the packet is on the wire, once that is known.
#[inline(always)]
pub(crate) fn look<W>(
    skb: &Skb,
    packets: &mut u64,
    then: impl FnOnce(&Seen<'_>) -> Verdict<W>,
) -> Verdict<W> {
    let settings = maps::settings().ok_or(Fault::NO_SETTINGS)?;
    let ifindex = skb.ifindex();
    let tun = maps::interface(ifindex, Role::Tun).ok_or(Fault::no_role(ifindex))?;
    let mut headers = Headers::read_bare(skb, skb.length())?;
    blur(&mut headers, skb);
    let wire = Wire::of(&headers, skb.gso_size());
    *packets = wire.packets;
    then(&Seen {
        flow: &Flow::of(Direction::FromSite, tun.vnet, &headers, settings),
        headers: &headers,
        wire: &wire,
        vnet: tun.vnet,
    })
}

/// Each protocol leaves the verifier with other numbers that it knows; without them it walks what follows
/// once for all protocols.
#[inline(always)]
fn blur(headers: &mut Headers, skb: &Skb) {
    let unknown = skb.length();
    let word = headers.header_length << 16
        | u32::from(headers.protocol) << 8
        | u32::from(headers.tcp_flags);
    let word = forget(word, u32::MAX, unknown);
    headers.header_length = word >> 16;
    headers.protocol = (word >> 8) as u8;
    headers.tcp_flags = word as u8;
    headers.ports = Ports::of_word(forget(headers.ports.word(), u32::MAX, unknown));
}

/// Counts the packet if its source belongs to a site: the lane has checked that it may use it.
#[inline(always)]
pub(crate) fn count(seen: &Seen<'_>) {
    if route::is_site(seen.flow.target) {
        seen.flow.count::<TunIngress>(seen.headers, seen.wire);
    }
}

/// The packet's way. Reads maps, packet and the kernel's routing, changes nothing.
#[inline(always)]
pub(crate) fn decide(skb: &Skb, seen: &Seen<'_>) -> Verdict<Way> {
    let headers = seen.headers;
    scope::check(headers)?;
    if let Some(reason) = headers.stack_only {
        return Err(reason.into());
    }
    ttl::check(headers)?;
    let mut question = question(skb, headers);
    let answer = skb.look_up_fib(&mut question);
    if question.ifindex == skb.ifindex() && matches!(answer, FIB_SUCCESS | FIB_NO_NEIGHBOUR) {
        return on_to_site(skb, seen);
    }
    match answer {
        FIB_SUCCESS => to_lan(skb, seen, &question),
        FIB_NO_NEIGHBOUR => Err(StackReason::NoNeighbour.into()),
        FIB_TOO_BIG => Err(StackReason::TooBig.into()),
        _ => Err(StackReason::NotToLan.into()),
    }
}

/// Makes the packet ready for its way; if that fails, it is as it came.
#[inline(always)]
pub(crate) fn carry_out(skb: &Skb, seen: &Seen<'_>, way: Way) -> Verdict<Way> {
    ttl::decrement(skb, seen.headers).map_err(|Refused| Fault::NOT_REWRITTEN)?;
    if let Way::Lan(_) = way {
        // The kernel takes the neighbour's header from here: without one it drops the packet.
        if skb.push_link_header(EthHdr::LEN as u32).is_err() {
            // The stack will take its own one off.
            let _ = ttl::restore(skb, seen.headers);
            return Err(Fault::NOT_REWRITTEN.into());
        }
    }
    Ok(way)
}

/// What the kernel's routing is asked, as if it forwarded the packet itself.
#[inline(always)]
fn question(skb: &Skb, headers: &Headers) -> bpf_fib_lookup {
    // SAFETY: a C structure of integers and unions of integers; zeroes are valid.
    let mut question: bpf_fib_lookup = unsafe { core::mem::zeroed() };
    question.l4_protocol = headers.protocol;
    question.sport = headers.ports.source().to_be();
    question.dport = headers.ports.destination().to_be();
    question.ifindex = skb.ifindex();
    // A length of 0 makes the helper leave a GSO packet alone: its segments are checked in `to_lan`.
    if skb.gso_size() == 0 {
        question.__bindgen_anon_1.tot_len = headers.ip_length as u16;
    }
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
    question
}

/// Out of one of our LAN interfaces of the same virtual network.
#[inline(always)]
fn to_lan(skb: &Skb, seen: &Seen<'_>, answer: &bpf_fib_lookup) -> Verdict<Way> {
    let lan = maps::interface(answer.ifindex, Role::Lan)
        .filter(|lan| lan.vnet == seen.vnet)
        .ok_or(StackReason::NotToLan)?;
    if seen.wire.largest > lan.mtu {
        return Err(StackReason::TooBig.into());
    }
    if skb.gso_size() != 0 && lan.flags & SOFTWARE_GSO != 0 {
        return Err(StackReason::SoftwareGso.into());
    }
    Ok(Way::Lan(NextHop {
        ifindex: answer.ifindex,
        neighbour: bpf_redir_neigh {
            nh_family: answer.family.into(),
            __bindgen_anon_1: bpf_redir_neigh__bindgen_ty_1 {
                // SAFETY: all of the union is written, by `question` or by the kernel, and any
                // bytes are an address. The gateway if the route has one, else the destination.
                ipv6_nh: unsafe { answer.__bindgen_anon_4.ipv6_dst },
            },
        },
    }))
}

/// On to another site: this gateway is a hub. Goes without the mark, so [`crate::tun_egress`] counts
/// the second leg.
#[inline(always)]
fn on_to_site(skb: &Skb, seen: &Seen<'_>) -> Verdict<Way> {
    let headers = seen.headers;
    let to = route::look_up(seen.vnet, headers.family, &headers.destination);
    let site = route::site_at(to)?;
    // Back to where it came from: a loop or a mistake, for which the stack has its own answers.
    if seen.flow.target == to {
        return Err(StackReason::NotToLan.into());
    }
    if seen.wire.largest > site.mtu {
        return Err(StackReason::TooBig.into());
    }
    Ok(Way::Tunnel(skb.ifindex()))
}
