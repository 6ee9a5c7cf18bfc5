//! The decisions of the other programs, for a packet that somebody asks about: the same `decide`, with the explanation in
//! the place of `carry_out`. Nothing is counted, changed or sent; what is found goes into a map that the agent reads.

use datapath_abi::{
    explanation::{Decision, Explanation, HEADERS, JUDGED, KNOWN_FLOW, TARGET, WIRE},
    headers::Headers,
    settings::COUNTED_MARK,
};

use crate::{
    fib,
    flow::Flow,
    lan_ingress, maps,
    notes::Notes,
    skb::Skb,
    tun_egress, tun_ingress,
    verdict::{Refusal, Verdict},
    wire::Wire,
};

/// The packet comes by a LAN. `page` is blank.
#[inline(always)]
pub(crate) fn by_lan<const CAPTURES: bool>(skb: &Skb, page: Page<CAPTURES>) {
    let mut notes = page;
    let decided = lan_ingress::decide(skb, &mut notes, |crossing| {
        page.set_mark(crossing.mark());
        page.decide(Decision::ToTunnel, crossing.tun_ifindex());
        Ok(())
    });
    page.refuse(decided);
}

/// The kernel stack has routed the packet into the TUN.
#[inline(always)]
pub(crate) fn into_tunnel<const CAPTURES: bool>(skb: &Skb, page: Page<CAPTURES>) {
    // What it does not count it lets pass.
    page.decide(Decision::Leave, 0);
    let mut notes = page;
    let decided = tun_egress::decide(skb, &mut notes, |routed| {
        page.set_mark(routed.mark().unwrap_or(COUNTED_MARK));
        page.decide(Decision::ToTunnel, skb.ifindex());
    });
    page.refuse(decided);
}

/// The packet comes out of the tunnel.
#[inline(always)]
pub(crate) fn out_of_tunnel<const CAPTURES: bool>(skb: &Skb, page: Page<CAPTURES>) {
    let mut notes = page;
    let decided = tun_ingress::look(skb, &mut notes, |seen| {
        let mut route = fib::nothing();
        let way = tun_ingress::decide(skb, seen, &mut route)?;
        let decision = way.decision();
        if let Decision::ToNeighbour | Decision::Unresolved = decision {
            page.set_next_hop(&tun_ingress::next_hop(&route));
        }
        page.decide(decision, way.ifindex());
        Ok(())
    });
    page.refuse(decided);
}

/// Where the explanation is written. For a program that captures it is of another type: the compiler then makes all that
/// writes it once for each of the two programs, and leaves no call, for which there is no room on the stack.
#[derive(Clone, Copy)]
pub(crate) struct Page<const CAPTURES: bool>(*mut Explanation);

/// Writes one field.
macro_rules! put {
    ($page:expr, $field:ident, $value:expr) => {{
        let value = $value;
        // SAFETY: whoever made the page vouches for it.
        unsafe { (&raw mut (*$page.0).$field).write_volatile(value) }
    }};
}

impl Page<false> {
    /// An empty one, for the agent.
    #[inline(always)]
    pub(crate) fn for_agent() -> Option<Self> {
        let page = maps::explained()?;
        // SAFETY: the element of the array is always there. The agent asks one question at a time, and reads the
        // answer when the program has ended.
        Some(unsafe { Self::blank(page) })
    }
}

impl<const CAPTURES: bool> Page<CAPTURES> {
    /// An empty one.
    ///
    /// # Safety
    ///
    /// The explanation must be valid for reads and writes, and nobody else's, while the program runs.
    #[inline(always)]
    pub(crate) unsafe fn blank(explanation: *mut Explanation) -> Self {
        let page = Self(explanation);
        for word in 0..size_of::<Explanation>() / 4 {
            // SAFETY: as in `put!`; the structure is words and bytes.
            unsafe { page.0.cast::<u32>().add(word).write_volatile(0) };
        }
        page
    }

    #[inline(always)]
    fn decide(self, decision: Decision, ifindex: u32) {
        put!(self, ifindex, ifindex);
        put!(self, verdict, decision as u32);
    }

    /// What was decided is written already, unless it was against the packet.
    #[inline(always)]
    fn refuse(self, decided: Verdict<()>) {
        let (decision, reason) = match decided {
            Ok(()) => return,
            Err(Refusal::Stack(reason)) => (Decision::ToStack, reason.index()),
            Err(Refusal::Drop(reason)) => (Decision::Drop, reason.index()),
            Err(Refusal::Leave | Refusal::Done) => (Decision::Leave, 0),
            Err(Refusal::Fault(fault)) => {
                put!(self, about, fault.about);
                (Decision::Fault, fault.kind as u32)
            }
        };
        put!(self, reason, reason);
        put!(self, verdict, decision as u32);
    }

    #[inline(always)]
    fn set_mark(self, mark: u32) {
        put!(self, mark, mark);
    }

    #[inline(always)]
    fn set_next_hop(self, hop: &crate::skb::NextHop) {
        put!(self, family, hop.neighbour.nh_family);
        // SAFETY: all of the union is written, and any bytes are an address.
        let address = unsafe { hop.neighbour.__bindgen_anon_1.ipv6_nh };
        put!(self, next_hop, zerocopy::transmute!(address));
    }

    #[inline(always)]
    fn note(self, what: u32) {
        // SAFETY: as in `put!`.
        let noted = unsafe { (&raw const (*self.0).noted).read_volatile() };
        put!(self, noted, noted | what);
    }
}

impl<const CAPTURES: bool> Notes for Page<CAPTURES> {
    #[inline(always)]
    fn headers(&mut self, headers: &Headers) {
        put!(self, ip_length, headers.ip_length);
        put!(self, headers, headers.summary());
        put!(self, ports, headers.ports.word());
        self.note(HEADERS);
    }

    #[inline(always)]
    fn flow(&mut self, flow: &Flow) {
        put!(self, target, flow.target);
        self.note(TARGET | if flow.is_known() { KNOWN_FLOW } else { 0 });
    }

    #[inline(always)]
    fn judged(&mut self, flow: &Flow) {
        if let Some([rule, shadow]) = flow.rules() {
            put!(self, rule, rule);
            put!(self, shadow_rule, shadow);
            self.note(JUDGED);
        }
    }

    #[inline(always)]
    fn wire(&mut self, wire: &Wire) {
        put!(self, packets, wire.packets as u32);
        put!(self, largest, wire.largest);
        self.note(WIRE);
    }
}
