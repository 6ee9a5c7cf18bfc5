//! Packets on their way into the tunnel: counts those that the stack routed there, and gives each its
//! lane. What another program redirected with the mark has both already.

use datapath_abi::{
    headers::Headers,
    settings::{COUNTED_MARK, COUNTED_MARK_MASK, Role},
};

use crate::{
    fault::Fault,
    flow::{Flow, UNCHECKED},
    lane, maps, route,
    say::TunEgress,
    skb::Skb,
    wire::{Direction, Wire},
};

/// A packet of the stack's for a site.
pub(crate) struct Routed<'a> {
    headers: &'a Headers,
    wire: &'a Wire,
    flow: &'a Flow,
}

impl<'a> Routed<'a> {
    /// The headers.
    #[inline(always)]
    pub(crate) fn headers(&self) -> &'a Headers {
        self.headers
    }

    /// The flow.
    #[inline(always)]
    pub(crate) fn flow(&self) -> &'a Flow {
        self.flow
    }

    /// What it is on the wire.
    #[inline(always)]
    pub(crate) fn wire(&self) -> &'a Wire {
        self.wire
    }

    /// The mark that it gets, if its site is there.
    #[inline(always)]
    pub(crate) fn mark(&self) -> Option<u32> {
        maps::site(self.flow.target).map(|site| lane::mark_for(site, self.headers))
    }
}

/// Reads maps and packet, changes nothing; what is to be counted is handed on to `then`. That is neither
/// what is counted already nor what has no site (neighbour discovery, say), which is dropped by the lane,
/// which names it.
#[inline(always)]
pub(crate) fn decide(skb: &Skb, then: impl FnOnce(&Routed<'_>)) -> Result<(), Fault> {
    if skb.mark() & COUNTED_MARK_MASK == COUNTED_MARK {
        return Ok(());
    }
    let settings = maps::settings().ok_or(Fault::NO_SETTINGS)?;
    let ifindex = skb.ifindex();
    let tun = maps::interface(ifindex, Role::Tun).ok_or(Fault::no_role(ifindex))?;
    let Ok(headers) = Headers::read_bare(skb, skb.length()) else {
        return Ok(());
    };
    let flow = Flow::of(Direction::ToSite, tun.vnet, &headers, settings);
    if route::is_site(flow.target) {
        then(&Routed {
            wire: &Wire::of(&headers, skb.gso_size()),
            headers: &headers,
            flow: &flow,
        });
    }
    Ok(())
}

/// Counts the packet and marks it with its lane.
#[inline(always)]
pub(crate) fn carry_out(skb: &Skb, routed: &Routed<'_>) {
    let flow = routed.flow;
    flow.count::<TunEgress>(routed.headers, routed.wire, UNCHECKED);
    if let Some(mark) = routed.mark() {
        skb.set_mark(mark);
    }
}
