//! Packets out of the tunnel: counted, then straight to the neighbour that the kernel's routing names.

use aya_ebpf::bindings::{
    BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_SUCCESS, bpf_fib_lookup, bpf_redir_neigh,
    bpf_redir_neigh__bindgen_ty_1,
};
use datapath_abi::{
    explanation::Decision,
    headers::Headers,
    outcome::{DropReason, StackReason},
    settings::{Role, SOFTWARE_GSO},
};
use network_types::eth::EthHdr;

use crate::{
    answer,
    asm::forget,
    fault::Fault,
    fib,
    flow::{Flow, UNCHECKED},
    maps,
    notes::Notes,
    policy, route,
    say::TunIngress,
    scope,
    skb::{self, NextHop, Refused, Skb},
    ttl,
    verdict::{Refusal, Verdict},
    wire::{Direction, Wire},
};

const FIB_SUCCESS: i64 = BPF_FIB_LKUP_RET_SUCCESS as i64;
const FIB_NO_NEIGHBOUR: i64 = BPF_FIB_LKUP_RET_NO_NEIGH as i64;

/// What is known of a packet that came out of the tunnel.
pub(crate) struct Seen<'a> {
    headers: &'a Headers,
    wire: &'a Wire,
    flow: &'a Flow,
    vnet: u32,
}

/// How a packet leaves. Numbers, for the verifier to forget.
mod leave {
    /// To the neighbour that the kernel's routing named.
    pub(super) const TO_NEIGHBOUR: u32 = 0;
    /// To where the kernel finds by itself.
    pub(super) const UNRESOLVED: u32 = 1;
    /// To the neighbour, as a copy.
    pub(super) const AS_COPY: u32 = 2;
    /// Into the TUN, to another site.
    pub(super) const TO_SITE: u32 = 3;
    /// Into the TUN, as the answer that it is unreachable.
    pub(super) const AS_ANSWER: u32 = 4;
}

/// Where a packet goes.
#[derive(Clone, Copy)]
pub(crate) struct Way {
    /// Of [`leave`].
    how: u32,
    /// By this interface.
    ifindex: u32,
}

impl Way {
    /// The verifier walks what follows once, not once for each way.
    #[inline(always)]
    fn new(skb: &Skb, how: u32, ifindex: u32) -> Self {
        Self {
            how: forget(how, 7, skb.length()),
            ifindex: forget(ifindex, u32::MAX, skb.length()),
        }
    }

    /// The interface by which the packet leaves.
    #[inline(always)]
    pub(crate) fn ifindex(self) -> u32 {
        self.ifindex
    }

    /// What it is, in words for the agent.
    #[inline(always)]
    pub(crate) fn decision(self) -> Decision {
        match self.how {
            leave::TO_SITE => Decision::ToTunnel,
            leave::AS_ANSWER => Decision::TurnedBack,
            leave::UNRESOLVED => Decision::Unresolved,
            _ => Decision::ToNeighbour,
        }
    }
}

/// Reads maps and packet, changes nothing; a packet that could be read is handed on to `then`. `notes` are told what
/// is found.
#[inline(always)]
pub(crate) fn look<W>(
    skb: &Skb,
    notes: &mut impl Notes,
    then: impl FnOnce(&Seen<'_>) -> Verdict<W>,
) -> Verdict<W> {
    let settings = maps::settings().ok_or(Fault::NO_SETTINGS)?;
    let ifindex = skb.ifindex();
    let tun = maps::interface(ifindex, Role::Tun).ok_or(Fault::no_role(ifindex))?;
    let mut headers = match Headers::read_bare(skb, skb.length()) {
        Ok(headers) => headers,
        Err(reason) => {
            policy::judge_unreadable(tun.vnet)?;
            return Err(reason.into());
        }
    };
    policy::blur(&mut headers, skb);
    notes.headers(&headers);
    let wire = Wire::of(&headers, skb.gso_size());
    notes.wire(&wire);
    let mut flow = Flow::of(Direction::FromSite, tun.vnet, &headers, settings);
    notes.flow(&flow);
    let judged = flow.judge(skb, &headers);
    notes.judged(&flow);
    judged?;
    then(&Seen {
        flow: &flow,
        headers: &headers,
        wire: &wire,
        vnet: tun.vnet,
    })
}

/// Counts the packet if its source belongs to a site: the lane has checked that it may use it.
#[inline(always)]
pub(crate) fn count(seen: &Seen<'_>) {
    if route::is_site(seen.flow.target) {
        seen.flow
            .count::<TunIngress>(seen.headers, seen.wire, UNCHECKED);
    }
}

/// The packet's way. Reads maps, packet and the kernel's routing, changes nothing but `route`, which becomes what that
/// routing says.
#[inline(always)]
pub(crate) fn decide(skb: &Skb, seen: &Seen<'_>, route: &mut bpf_fib_lookup) -> Verdict<Way> {
    let headers = seen.headers;
    scope::check(headers)?;
    ttl::check(headers)?;
    // A length of 0 makes the helper leave a GSO packet alone: its segments are checked in `to_lan`.
    let length = if skb.gso_size() == 0 {
        headers.ip_length as u16
    } else {
        0
    };
    fib::ask_for(route, headers, skb.ifindex(), length);
    let answer = fib::ask(skb.context(), route, 0);
    if route.ifindex == skb.ifindex() && matches!(answer, FIB_SUCCESS | FIB_NO_NEIGHBOUR) {
        return on_to_site(skb, seen);
    }
    check_options(headers)?;
    match answer {
        FIB_SUCCESS | FIB_NO_NEIGHBOUR => to_lan(skb, seen, route, answer == FIB_NO_NEIGHBOUR),
        fib::TOO_BIG => Err(StackReason::TooBig.into()),
        _ => Err(StackReason::NotToLan.into()),
    }
}

/// Makes the packet ready for its way and sends it; the program must return the result. If that fails, the packet is
/// as it came.
#[inline(always)]
pub(crate) fn carry_out(
    skb: &Skb,
    seen: &Seen<'_>,
    route: &bpf_fib_lookup,
    way: Way,
) -> Verdict<i32> {
    if way.how == leave::AS_ANSWER {
        maps::add_drop(DropReason::TurnedBack, seen.wire.packets, seen.wire.bytes);
        if answer::unreachable(skb, seen.headers.family) {
            return Ok(skb::redirect(way.ifindex));
        }
        return Err(Refusal::Done);
    }
    ttl::decrement(skb, seen.headers).map_err(|Refused| Fault::NOT_REWRITTEN)?;
    if way.how == leave::TO_SITE {
        return Ok(skb::redirect(way.ifindex));
    }
    // The kernel takes the neighbour's header from here: without one it drops the packet.
    if skb.push_link_header(EthHdr::LEN as u32).is_err() {
        // The stack will take its own one off.
        let _ = ttl::restore(skb, seen.headers);
        return Err(Fault::NOT_REWRITTEN.into());
    }
    if way.how == leave::UNRESOLVED {
        return Ok(skb::redirect_unresolved(way.ifindex));
    }
    if way.how == leave::AS_COPY && send_copy(skb, route, way.ifindex).is_ok() {
        return Err(Refusal::Done);
    }
    Ok(skb::redirect_neighbour(&mut next_hop(route)))
}

/// What only the stack may forward goes there, unless it must not be forwarded at all.
#[inline(always)]
fn check_options(headers: &Headers) -> Verdict<()> {
    headers
        .stack_only
        .map_or(Ok(()), |reason| Err(reason.into()))
}

/// Out of one of our LAN interfaces of the same virtual network.
#[inline(always)]
fn to_lan(skb: &Skb, seen: &Seen<'_>, route: &bpf_fib_lookup, is_unresolved: bool) -> Verdict<Way> {
    let ifindex = route.ifindex;
    let lan = maps::interface(ifindex, Role::Lan)
        .filter(|lan| lan.vnet == seen.vnet)
        .ok_or(StackReason::NotToLan)?;
    if seen.wire.largest > lan.mtu {
        return Err(StackReason::TooBig.into());
    }
    let must_cut = skb.gso_size() != 0 && lan.flags & SOFTWARE_GSO != 0;
    let how = if is_unresolved {
        leave::UNRESOLVED * u32::from(fib::kernel_goes_there(skb.context(), route))
    } else if must_cut && route.dmac != [0; 6] {
        leave::AS_COPY
    } else {
        leave::TO_NEIGHBOUR
    };
    Ok(Way::new(skb, how, ifindex))
}

/// The neighbour that the kernel's routing named.
#[inline(always)]
pub(crate) fn next_hop(route: &bpf_fib_lookup) -> NextHop {
    NextHop {
        ifindex: route.ifindex,
        neighbour: bpf_redir_neigh {
            nh_family: route.family.into(),
            __bindgen_anon_1: bpf_redir_neigh__bindgen_ty_1 {
                // SAFETY: all of the union is written, by `fib` or by the kernel, and any bytes are an address. The
                // gateway if the route has one, else the destination.
                ipv6_nh: unsafe { route.__bindgen_anon_4.ipv6_dst },
            },
        },
    }
}

/// Sends a copy of a super-packet for a device that leaves segmenting to the kernel. The TUN owns the packet itself;
/// the kernel would hand that on to the last segment, which then overtakes the others where the receiver is on this
/// machine (a container, a test). The packet ends here if the copy went.
#[inline(always)]
fn send_copy(skb: &Skb, route: &bpf_fib_lookup, ifindex: u32) -> Result<(), Refused> {
    let addresses: [u8; 12] = zerocopy::transmute!([route.dmac, route.smac]);
    skb.store(0, &addresses)?;
    skb.store(addresses.len(), &skb.protocol().to_ne_bytes())?;
    skb.send_copy(ifindex)
}

/// On to another site: this gateway is a hub. Goes without the mark, so [`crate::tun_egress`] counts
/// the second leg.
#[inline(always)]
fn on_to_site(skb: &Skb, seen: &Seen<'_>) -> Verdict<Way> {
    let headers = seen.headers;
    let to = route::look_up(seen.vnet, headers.family, &headers.destination);
    let site = route::site_at(to)?;
    // Back to where it came from. The stack would send it there, and the other end back, until its TTL ends.
    if seen.flow.target == to {
        return Ok(Way::new(skb, leave::AS_ANSWER, skb.ifindex()));
    }
    check_options(headers)?;
    if seen.wire.largest > site.mtu {
        return Err(StackReason::TooBig.into());
    }
    Ok(Way::new(skb, leave::TO_SITE, skb.ifindex()))
}
