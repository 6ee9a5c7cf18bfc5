//! Packets from the hosts of this site: into the tunnel, if a site's route says so and nothing is odd.

use datapath_abi::{
    headers::{Family, Headers},
    outcome::StackReason,
    settings::{ALSO_WAN, Role},
    site::Site,
};

use crate::{
    fault::Fault,
    flow::{Flow, UNCHECKED},
    lane,
    link::Link,
    maps,
    notes::Notes,
    outer, route,
    say::LanIngress,
    scope,
    skb::{Refused, Skb},
    source, ttl,
    verdict::{Refusal, Verdict},
    wire::{Direction, Wire},
};

/// A packet that goes into the tunnel, and what is known of it.
pub(crate) struct Crossing<'a> {
    link: &'a Link,
    headers: &'a Headers,
    wire: &'a Wire,
    flow: &'a Flow,
    site: &'a Site,
    /// The TUN that takes it.
    tun_ifindex: u32,
}

impl Crossing<'_> {
    /// The TUN that takes the packet.
    #[inline(always)]
    pub(crate) fn tun_ifindex(&self) -> u32 {
        self.tun_ifindex
    }

    /// The mark that it has there.
    #[inline(always)]
    pub(crate) fn mark(&self) -> u32 {
        lane::mark_for(self.site, self.headers)
    }
}

/// Reads maps and packet, changes nothing; what goes into the tunnel is handed on to `then`. `notes` are told what
/// is found on the way.
#[inline(always)]
pub(crate) fn decide<W>(
    skb: &Skb,
    notes: &mut impl Notes,
    then: impl FnOnce(&Crossing<'_>) -> Verdict<W>,
) -> Verdict<W> {
    let settings = maps::settings().ok_or(Fault::NO_SETTINGS)?;
    if settings.tun_ifindex == 0 {
        return Err(StackReason::NotReady.into());
    }
    let ifindex = skb.ifindex();
    let lan = maps::interface(ifindex, Role::Lan).ok_or(Fault::no_role(ifindex))?;
    if !skb.is_for_this_host() {
        return Err(StackReason::NotForUs.into());
    }

    let link = Link::of_skb(skb)?;
    let length = skb.length().saturating_sub(link.ip_offset as u32);
    let headers = Headers::read(skb, link.family, link.ip_offset, length)?;
    notes.headers(&headers);
    if link.vlan != 0 {
        return Err(StackReason::VlanTagged.into());
    }
    if lan.flags & ALSO_WAN != 0 && outer::is_outer(&headers, settings) {
        return Err(Refusal::Leave);
    }
    scope::check(&headers)?;

    let mut flow = Flow::of(Direction::ToSite, lan.vnet, &headers, settings);
    notes.flow(&flow);
    let site = route::site_at(flow.target)?;
    if let Some(reason) = headers.stack_only {
        return Err(reason.into());
    }
    ttl::check(&headers)?;
    let wire = Wire::of(&headers, skb.gso_size());
    notes.wire(&wire);
    if wire.largest > site.mtu {
        return Err(StackReason::TooBig.into());
    }
    if let Family::V4 = headers.family
        && !flow.knows_source(ifindex)
    {
        source::check(skb, &headers, lan.flags, settings.tun_ifindex)?;
    }
    // Last: what goes to the stack is judged when the stack sends it on.
    let judged = flow.judge(skb, &headers);
    notes.judged(&flow);
    judged?;
    then(&Crossing {
        link: &link,
        headers: &headers,
        wire: &wire,
        flow: &flow,
        site,
        tun_ifindex: settings.tun_ifindex,
    })
}

/// Counts the packet and makes it ready to go: to the TUN with the index that is returned. If that fails,
/// it is as it came.
#[inline(always)]
pub(crate) fn carry_out(skb: &Skb, crossing: &Crossing<'_>) -> Verdict<u32> {
    let headers = crossing.headers;
    rewrite(skb, crossing.link, headers).map_err(|Refused| Fault::NOT_REWRITTEN)?;
    let ifindex = match headers.family {
        Family::V4 => skb.ifindex(),
        Family::V6 => UNCHECKED,
    };
    crossing
        .flow
        .count::<LanIngress>(headers, crossing.wire, ifindex);
    skb.set_mark(crossing.mark());
    Ok(crossing.tun_ifindex)
}

/// Makes of the frame what a router sends on: TTL less one, no (priority) tag.
#[inline(always)]
fn rewrite(skb: &Skb, link: &Link, headers: &Headers) -> Result<(), Refused> {
    ttl::decrement(skb, headers)?;
    for _ in 0..2 {
        if link.tags == 0 {
            break;
        }
        skb.pop_vlan_tag()?;
        if link.tags == 1 {
            break;
        }
    }
    Ok(())
}
