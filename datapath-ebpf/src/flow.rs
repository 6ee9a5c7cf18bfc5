//! The flow table and the sites' counters: every wire packet of the tunnel, once, in its direction. A
//! known flow also knows its site, so that its packets need no route lookup.
//!
//! The agent changes the routes first and raises their generation after. A program reads the generation
//! first and looks up the route after. So a site is never remembered under a later generation than that
//! of the routes that named it: once the agent has raised the number, no flow goes by an older route. The same holds
//! for the rules of the policy, which the agent changes before it raises the number: a flow that is known and current
//! has been judged and allowed.

mod enter;
mod entry;

use datapath_abi::{
    address::Address,
    flow::{FlowKey, FlowKey4, OpenedBy, source_check},
    headers::{Family, Headers, Opening, Ports},
    settings::Settings,
};
use zerocopy::transmute;

use self::entry::FlowEntry;
use crate::{
    asm, clock,
    fault::Fault,
    maps,
    policy::{self, BY_PACKET, Stranger},
    route,
    say::Program,
    skb::Skb,
    verdict::Verdict,
    wire::{Direction, Wire},
};

/// In place of an interface: nobody has looked at the source. No interface has this index.
pub(crate) const UNCHECKED: u32 = 0;

/// The flow of a packet, in the table or not yet.
pub(crate) struct Flow {
    direction: Direction,
    vnet: u32,
    entry: Option<FlowEntry>,
    /// Where the route to the far end leads, as [`route::look_up`] says it.
    pub(crate) target: u32,
    /// The routes that say so, or older ones.
    generation: u32,
    /// 1 if it is known and of the present generation: of the rules, too.
    is_current: u32,
    /// 1 if it was judged just now, so that the table does not say all of it yet.
    is_new: u32,
}

impl Flow {
    /// The flow of a packet, and the site of its far end. Changes nothing.
    #[inline(always)]
    pub(crate) fn of(
        direction: Direction,
        vnet: u32,
        headers: &Headers,
        settings: &Settings,
    ) -> Self {
        let generation = maps::route_generation(settings);
        let ends = Ends::of(direction, headers);
        let entry = find(vnet, headers, &ends);
        let (target, is_current) = match entry.map(FlowEntry::site) {
            Some((site, seen)) if seen == generation => (site, 1),
            _ => {
                // What the module says of the order holds only if the CPU keeps to it.
                asm::fence_reads();
                (route::look_up(vnet, headers.family, ends.remote), 0)
            }
        };
        // The verifier walks what follows once, not once for each way to know the site.
        Self {
            direction,
            vnet,
            entry,
            target: asm::forget(target, u32::MAX, generation),
            generation,
            is_current: asm::forget(is_current, 1, generation),
            is_new: 0,
        }
    }

    /// Whether the table has it.
    #[inline(always)]
    pub(crate) fn is_known(&self) -> bool {
        self.entry.is_some()
    }

    /// Judges the flow by the policy, unless that has been done and the packet is of the same conversation.
    ///
    /// # Errors
    /// No rule allows it.
    #[inline(always)]
    pub(crate) fn judge(&mut self, skb: &Skb, headers: &Headers) -> Verdict<()> {
        let is_new = self.judge_if_strange(skb, headers)?;
        // The verifier walks what follows once, not once for each way to be judged or not.
        self.is_new = asm::forget(is_new.into(), 1, self.generation);
        Ok(())
    }

    /// Whether the table has to learn what is found.
    #[inline(always)]
    fn judge_if_strange(&self, skb: &Skb, headers: &Headers) -> Verdict<bool> {
        let mut opened_by = BY_PACKET;
        if let Some(entry) = self.entry {
            if self.is_current != 0 && !self.is_another(entry, headers.opening) {
                return Ok(false);
            }
            if headers.opening.goes_by_flow() {
                opened_by = entry.opened_by().into();
            }
        }
        policy::judge(
            skb,
            &Stranger {
                headers,
                direction: self.direction,
                vnet: self.vnet,
                target: self.target,
                generation: self.generation,
                is_known: self.is_known(),
                opened_by: asm::forget(opened_by, 3, self.generation),
            },
        )?;
        // One that is judged alone says nothing of what the table has.
        Ok(self.is_current == 0 || !headers.opening.is_alone())
    }

    #[inline(always)]
    fn is_another(&self, entry: FlowEntry, opening: Opening) -> bool {
        opening.is_special() && opening.asks_again(entry.opened_by() == self.sender())
    }

    /// The end that sends, as an [`OpenedBy`].
    #[inline(always)]
    fn sender(&self) -> u8 {
        match self.direction {
            Direction::ToSite => OpenedBy::Local as u8,
            Direction::FromSite => OpenedBy::Remote as u8,
        }
    }

    /// The rules that allow it, if it was judged just now or is known.
    #[inline(always)]
    pub(crate) fn rules(&self) -> Option<[u16; 2]> {
        if self.is_current == 0 {
            // SAFETY: an element of a per-CPU array belongs to this CPU while the program runs.
            return maps::judging().map(|judging| unsafe { (*judging).rules() });
        }
        self.entry.map(FlowEntry::rules)
    }

    /// Whether the host was found to be right to send this flow by the interface.
    #[inline(always)]
    pub(crate) fn knows_source(&self, ifindex: u32) -> bool {
        let check = source_check(ifindex, self.generation);
        self.entry
            .is_some_and(|entry| entry.source_check() == check)
    }

    /// Counts a packet for the flow and for its site, which it must have; the flow remembers its site, and the
    /// interface at which its source was found right, or [`UNCHECKED`].
    #[inline(always)]
    pub(crate) fn count<P: Program>(&self, headers: &Headers, wire: &Wire, checked_at: u32) {
        maps::add_to_site(self.target, self.direction, wire.packets, wire.bytes);
        match self.entry {
            Some(entry) if self.is_new == 0 => {
                if checked_at != UNCHECKED && !self.knows_source(checked_at) {
                    entry.set_source_check(source_check(checked_at, self.generation));
                }
                entry.add(self.direction, wire, headers.tcp_flags, clock::coarse_ns());
            }
            _ => {
                let flags = headers.tcp_flags.into();
                if enter::enter_flow(wire.packets, wire.bytes, checked_at, flags) != 0 {
                    P::fault(Fault::FLOW_REFUSED);
                }
            }
        }
    }
}

#[inline(always)]
fn find(vnet: u32, headers: &Headers, ends: &Ends<'_>) -> Option<FlowEntry> {
    let entry = match headers.family {
        Family::V4 => maps::flow4(&ends.key4(vnet, headers)),
        Family::V6 => maps::flow6(&ends.key(vnet, headers)),
    };
    entry.map(FlowEntry)
}

/// Both directions have one key: `local` is the end on this gateway's side.
struct Ends<'a> {
    local: &'a Address,
    remote: &'a Address,
    ports: Ports,
}

impl<'a> Ends<'a> {
    #[inline(always)]
    fn of(direction: Direction, headers: &'a Headers) -> Self {
        match direction {
            Direction::ToSite => Self {
                local: &headers.source,
                remote: &headers.destination,
                ports: headers.ports,
            },
            Direction::FromSite => Self {
                local: &headers.destination,
                remote: &headers.source,
                ports: headers.ports.swapped(),
            },
        }
    }

    #[inline(always)]
    fn key(&self, vnet: u32, headers: &Headers) -> FlowKey {
        let (local, remote) = (self.local, self.remote);
        let last = u32::from_ne_bytes([
            headers.protocol,
            headers.family as u8,
            headers.opening.fragments(),
            0,
        ]);
        #[rustfmt::skip]
        let words = [
            vnet,
            local[0], local[1], local[2], local[3],
            remote[0], remote[1], remote[2], remote[3],
            self.ports.word(),
            last,
        ];
        // In the order of the fields.
        transmute!(words)
    }

    #[inline(always)]
    fn key4(&self, vnet: u32, headers: &Headers) -> FlowKey4 {
        let last = u32::from_ne_bytes([headers.protocol, headers.opening.fragments(), 0, 0]);
        let words = [vnet, self.local[3], self.remote[3], self.ports.word(), last];
        // In the order of the fields.
        transmute!(words)
    }
}
