//! Packets on their way into the tunnel: counts those that the stack routed there, and gives each its
//! lane. What another program redirected with the mark has both already. What no rule of the policy allows ends here.

use datapath_abi::{
    headers::Headers,
    settings::{COUNTED_MARK, COUNTED_MARK_MASK, Role},
};

use crate::{
    fault::Fault,
    flow::{Flow, UNCHECKED},
    lane, maps,
    notes::Notes,
    policy, route,
    say::TunEgress,
    skb::Skb,
    verdict::Verdict,
    wire::{Direction, Wire},
};

/// A packet of the stack's for a site.
pub(crate) struct Routed<'a> {
    headers: &'a Headers,
    wire: &'a Wire,
    flow: &'a Flow,
}

impl Routed<'_> {
    /// The mark that it gets, if its site is there.
    #[inline(always)]
    pub(crate) fn mark(&self) -> Option<u32> {
        maps::site(self.flow.target).map(|site| lane::mark_for(site, self.headers))
    }
}

/// Reads maps and packet, changes nothing; what is to be counted is handed on to `then`. That is neither
/// what is counted already nor what has no site (neighbour discovery, say), which is dropped by the lane,
/// which names it. `notes` are told what is found of the rest.
#[inline(always)]
pub(crate) fn decide(
    skb: &Skb,
    notes: &mut impl Notes,
    then: impl FnOnce(&Routed<'_>),
) -> Verdict<()> {
    if skb.mark() & COUNTED_MARK_MASK == COUNTED_MARK {
        return Ok(());
    }
    let settings = maps::settings().ok_or(Fault::NO_SETTINGS)?;
    let ifindex = skb.ifindex();
    let tun = maps::interface(ifindex, Role::Tun).ok_or(Fault::no_role(ifindex))?;
    let Ok(mut headers) = Headers::read_bare(skb, skb.length()) else {
        return policy::judge_unreadable(tun.vnet);
    };
    policy::blur(&mut headers, skb);
    let mut flow = Flow::of(Direction::ToSite, tun.vnet, &headers, settings);
    if !route::is_covered(flow.target) {
        return Ok(());
    }
    let wire = Wire::of(&headers, skb.gso_size());
    notes.headers(&headers);
    notes.flow(&flow);
    notes.wire(&wire);
    let judged = flow.judge(skb, &headers);
    notes.judged(&flow);
    judged?;
    if route::is_site(flow.target) {
        then(&Routed {
            wire: &wire,
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
