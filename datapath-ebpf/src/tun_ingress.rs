//! Packets out of the tunnel: counted, then straight to the neighbour that the kernel's routing names.

use aya_ebpf::bindings::{
    BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_SUCCESS,
    bpf_fib_lookup, bpf_redir_neigh, bpf_redir_neigh__bindgen_ty_1,
};
use datapath_abi::{
    outcome::StackReason,
    settings::{Role, SOFTWARE_GSO},
};
use network_types::eth::EthHdr;

use crate::{
    flow::{Direction, Flow},
    headers::{Family, Headers},
    maps, route, scope,
    skb::{NextHop, Refused, Skb},
    ttl,
    wire::Wire,
};

/// `AF_INET` and `AF_INET6` of Linux.
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

const FIB_SUCCESS: i64 = BPF_FIB_LKUP_RET_SUCCESS as i64;
const FIB_NO_NEIGHBOUR: i64 = BPF_FIB_LKUP_RET_NO_NEIGH as i64;
const FIB_TOO_BIG: i64 = BPF_FIB_LKUP_RET_FRAG_NEEDED as i64;

/// Where a packet goes.
pub(crate) enum Way {
    /// To a host or router on a LAN.
    Lan(NextHop),
    /// Back into the TUN with this index, to another site.
    Tunnel(u32),
}

/// The packet's way, for which it is then ready, or why the stack gets it, which is then as it came.
/// Either way it is counted if its source belongs to a site: the lane has checked that it may use it. `packets`
/// becomes what it is on the wire, once that is known.
#[inline(always)]
pub(crate) fn judge(skb: &Skb, packets: &mut u64) -> Result<Way, StackReason> {
    let settings = maps::settings().ok_or(StackReason::NotReady)?;
    let tun = maps::interface(skb.ifindex(), Role::Tun).ok_or(StackReason::NotReady)?;
    let headers = Headers::read_bare(skb, skb.length())?;
    let wire = Wire::of(&headers, skb.gso_size());
    *packets = wire.packets;
    let flow = Flow::of(Direction::FromSite, tun.vnet, &headers, settings);
    if route::is_site(flow.target) {
        flow.count(&headers, &wire);
    }

    scope::check(&headers)?;
    if let Some(reason) = headers.stack_only {
        return Err(reason);
    }
    ttl::check(&headers)?;
    let mut question = question(skb, &headers);
    let answer = skb.look_up_fib(&mut question);
    if question.ifindex == skb.ifindex() && matches!(answer, FIB_SUCCESS | FIB_NO_NEIGHBOUR) {
        return on_to_site(skb, tun.vnet, flow.target, &headers, &wire);
    }
    match answer {
        FIB_SUCCESS => to_lan(skb, tun.vnet, &question, &headers, &wire),
        FIB_NO_NEIGHBOUR => Err(StackReason::NoNeighbour),
        FIB_TOO_BIG => Err(StackReason::TooBig),
        _ => Err(StackReason::NotToLan),
    }
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
fn to_lan(
    skb: &Skb,
    vnet: u32,
    answer: &bpf_fib_lookup,
    headers: &Headers,
    wire: &Wire,
) -> Result<Way, StackReason> {
    let lan = maps::interface(answer.ifindex, Role::Lan)
        .filter(|lan| lan.vnet == vnet)
        .ok_or(StackReason::NotToLan)?;
    if wire.largest > lan.mtu {
        return Err(StackReason::TooBig);
    }
    if skb.gso_size() != 0 && lan.flags & SOFTWARE_GSO != 0 {
        return Err(StackReason::SoftwareGso);
    }
    ttl::decrement(skb, headers).map_err(|Refused| StackReason::RedirectFailed)?;
    // The kernel takes the neighbour's header from here: without one it drops the packet.
    if skb.push_link_header(EthHdr::LEN as u32).is_err() {
        // The stack will take its own one off.
        let _ = ttl::restore(skb, headers);
        return Err(StackReason::RedirectFailed);
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
fn on_to_site(
    skb: &Skb,
    vnet: u32,
    from: u32,
    headers: &Headers,
    wire: &Wire,
) -> Result<Way, StackReason> {
    let to = route::look_up(vnet, headers.family, &headers.destination);
    let site = route::site_at(to)?;
    // Back to where it came from: a loop or a mistake, for which the stack has its own answers.
    if from == to {
        return Err(StackReason::NotToLan);
    }
    if wire.largest > site.mtu {
        return Err(StackReason::TooBig);
    }
    ttl::decrement(skb, headers).map_err(|Refused| StackReason::RedirectFailed)?;
    Ok(Way::Tunnel(skb.ifindex()))
}
