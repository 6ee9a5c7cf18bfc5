//! Packets from the hosts of this site: into the tunnel, if a site's route says so and nothing is odd.

use datapath_abi::{outcome::StackReason, settings::Role};

use crate::{
    flow::{Direction, Flow},
    headers::Headers,
    lane,
    link::Link,
    maps, route, scope,
    skb::{Refused, Skb},
    ttl,
    wire::Wire,
};

/// The index of the TUN that takes the packet, which is then counted and ready to go, or why the
/// stack gets it, which is then as it came. `packets` becomes what it is on the wire, once that is known.
#[inline(always)]
pub(crate) fn judge(skb: &Skb, packets: &mut u64) -> Result<u32, StackReason> {
    let settings = maps::settings()
        .filter(|settings| settings.tun_ifindex != 0)
        .ok_or(StackReason::NotReady)?;
    let lan = maps::interface(skb.ifindex(), Role::Lan).ok_or(StackReason::NotReady)?;
    if !skb.is_for_this_host() {
        return Err(StackReason::NotForUs);
    }

    let link = Link::of_skb(skb)?;
    let length = skb.length().saturating_sub(link.ip_offset as u32);
    let headers = Headers::read(skb, link.family, link.ip_offset, length)?;
    if link.in_vlan {
        return Err(StackReason::VlanTagged);
    }
    scope::check(&headers)?;

    let flow = Flow::of(Direction::ToSite, lan.vnet, &headers, settings);
    let site = route::site_at(flow.target)?;
    if let Some(reason) = headers.stack_only {
        return Err(reason);
    }
    ttl::check(&headers)?;
    let wire = Wire::of(&headers, skb.gso_size());
    *packets = wire.packets;
    if wire.largest > site.mtu {
        return Err(StackReason::TooBig);
    }

    rewrite(skb, &link, &headers).map_err(|Refused| StackReason::RedirectFailed)?;
    flow.count(&headers, &wire);
    skb.set_mark(lane::mark_for(site, &headers));
    Ok(settings.tun_ifindex)
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
