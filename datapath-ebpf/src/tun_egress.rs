//! Packets on their way into the tunnel: counts those that the stack routed there, and gives each its
//! lane. What another program redirected with the mark has both already.

use datapath_abi::settings::{COUNTED_MARK, COUNTED_MARK_MASK, Role};

use crate::{
    flow::{Direction, Flow},
    headers::Headers,
    lane, maps, route,
    skb::Skb,
    wire::Wire,
};

/// Counts the packet for the site of its destination. What has none (neighbour discovery, say) is
/// dropped by the lane, which names it.
#[inline(always)]
pub(crate) fn account(skb: &Skb) {
    if skb.mark() & COUNTED_MARK_MASK == COUNTED_MARK {
        return;
    }
    let Some(settings) = maps::settings() else {
        return;
    };
    let Some(tun) = maps::interface(skb.ifindex(), Role::Tun) else {
        return;
    };
    let Ok(headers) = Headers::read_bare(skb, skb.length()) else {
        return;
    };
    let flow = Flow::of(Direction::ToSite, tun.vnet, &headers, settings);
    if route::is_site(flow.target) {
        let wire = Wire::of(&headers, skb.gso_size());
        flow.count(&headers, &wire);
        if let Some(site) = maps::site(flow.target) {
            skb.set_mark(lane::mark_for(site, &headers));
        }
    }
}
