//! Policy in lanes: packets are judged here where the eBPF programs do not. By the same images and the same code as there
//! ([`datapath_abi::policy`]), and by the same rules for who opened a flow.
//!
//! A lane that is made judges; it leaves that to the programs once it is told that they do, and looks itself whether they
//! are still there: see [`Judge::look`]. What is known of flows is shared by all lanes ([`FlowsOfLanes`]), for an answer may
//! come by another one. Control makes rule sets ([`Ruling`]) and reads what was counted.

mod judge;
mod ruling;
mod seen;
mod table;

use std::sync::OnceLock;
use std::time::Instant;

use crossway_types::packet::tcp_flags::{FIN, RST};
use datapath_abi::address::{self, Address};
use datapath_abi::flow::{FlowKey, OpenedBy};
use datapath_abi::headers::Ports;
use datapath_abi::settings::DEFAULT_VNET;

pub(crate) use judge::Judge;
pub use judge::{Refused, Way};
pub use ruling::{RuleSet, Ruling};
use table::{End, Entry, Key, Table};

/// Flows that are known at a time: 5 MB, which are there only where a policy is closed.
const FLOWS: usize = 65_536;
/// Denied flows that are told of, as many as the programs'.
const DENIED: usize = 4_096;

/// After which silence a flow is forgotten, in seconds: as from the programs' table (`IdleLimits` of the data path).
const IDLE: u32 = 300;
const CLOSED: u32 = 60;

/// What the lanes of a gateway know of flows together.
pub struct FlowsOfLanes {
    start: Instant,
    tables: OnceLock<Tables>,
}

struct Tables {
    allowed: Table<Flow>,
    denied: Table<Denied>,
}

/// A flow that is allowed.
#[derive(Clone, Copy, Debug)]
struct Flow {
    /// [`Ruling::generation`] by which it is.
    generation: u32,
    /// `None` if that cannot be told.
    opener: Option<End>,
    /// Of TCP: flags that each end has sent.
    flags: [u8; 2],
}

/// A flow that is not.
#[derive(Clone, Copy, Debug)]
struct Denied {
    first_ns: u64,
    last_ns: u64,
    packets: u64,
    bytes: u64,
    /// The end on this gateway's side.
    local: End,
    /// Who sent the last packet of it.
    sender: End,
    /// The rule of the shadow set that would allow it.
    shadow_rule: u32,
}

/// What was denied of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeniedFlow {
    /// The flow.
    pub key: FlowKey,
    /// The end that tried to open it.
    pub opened_by: OpenedBy,
    /// `CLOCK_MONOTONIC` at its first packet.
    pub first_seen_ns: u64,
    /// The same at the last one.
    pub last_seen_ns: u64,
    /// Packets; a super-packet is one.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The rule of the shadow set that would allow it, as [`datapath_abi::policy::judge`] says it.
    pub shadow_rule: u32,
}

impl FlowsOfLanes {
    /// None is known yet.
    pub fn new(now: Instant) -> Self {
        Self {
            start: now,
            tables: OnceLock::new(),
        }
    }

    /// Makes the tables, off the packet path.
    pub fn prepare(&self) {
        self.tables();
    }

    fn tables(&self) -> &Tables {
        self.tables.get_or_init(|| Tables {
            allowed: Table::new(FLOWS),
            denied: Table::new(DENIED),
        })
    }

    /// Learns that a flow is under way, by which an answer to it passes. It is judged once it has a
    /// packet, unless it is known already.
    pub fn learn(&self, key: &FlowKey, opened_by: u8, now: Instant) {
        let Some(tables) = self.tables.get() else {
            return;
        };
        let (place, local) = Key::of_flow(key);
        let mut place = tables.allowed.place(&place);
        let now = self.seconds(now);
        if let Some(known) = place.entry().filter(|known| !known.is_over(now)) {
            known.last = now;
            return;
        }
        let opener = if opened_by == OpenedBy::Local as u8 {
            Some(local)
        } else if opened_by == OpenedBy::Remote as u8 {
            Some(local.other())
        } else {
            None
        };
        let flow = Flow {
            generation: 0,
            opener,
            flags: [0; 2],
        };
        place.set(now, flow);
    }

    /// The flows that were denied of late, the last one first.
    pub fn denied(&self) -> Vec<DeniedFlow> {
        let mut denied: Vec<DeniedFlow> = Vec::new();
        if let Some(tables) = self.tables.get() {
            tables.denied.for_each(|entry| denied.push(entry.into()));
        }
        denied.sort_by_key(|flow| std::cmp::Reverse(flow.last_seen_ns));
        denied
    }

    /// Takes a denied flow off the list; whether it was there.
    pub fn forget_denied(&self, key: &FlowKey) -> bool {
        let Some(tables) = self.tables.get() else {
            return false;
        };
        let (whole, _) = Key::of_flow(key);
        let fragment = Key {
            fragment: true,
            ..whole
        };
        // What is told of a flow does not say which of the two it is.
        [whole, fragment].iter().any(|key| {
            let mut place = tables.denied.place(key);
            let is_there = place.entry().is_some();
            if is_there {
                place.remove();
            }
            is_there
        })
    }

    fn seconds(&self, now: Instant) -> u32 {
        now.saturating_duration_since(self.start).as_secs() as u32
    }
}

impl Entry<Flow> {
    fn is_over(&self, now: u32) -> bool {
        let [a, b] = self.value.flags;
        let closed = (a | b) & RST != 0 || a & b & FIN != 0;
        let limit = if closed { CLOSED } else { IDLE };
        now.saturating_sub(self.last) > limit
    }
}

impl From<&Entry<Denied>> for DeniedFlow {
    fn from(entry: &Entry<Denied>) -> Self {
        let denied = &entry.value;
        let opened_by = if denied.sender == denied.local {
            OpenedBy::Local
        } else {
            OpenedBy::Remote
        };
        Self {
            key: entry.key.to_flow(denied.local),
            opened_by,
            first_seen_ns: denied.first_ns,
            last_seen_ns: denied.last_ns,
            packets: denied.packets,
            bytes: denied.bytes,
            shadow_rule: denied.shadow_rule,
        }
    }
}

impl End {
    fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

impl Key {
    /// The key of a flow of the programs', and its local end.
    fn of_flow(flow: &FlowKey) -> (Self, End) {
        let [local, remote] = [flow.local, flow.remote].map(address::from_bytes);
        let ([a, b], [c, d]) = (flow.local_port, flow.remote_port);
        let ports = Ports::of_word(u32::from_ne_bytes([a, b, c, d]));
        Self::of(local, remote, flow.protocol, Some(ports))
    }

    fn to_flow(self, local: End) -> FlowKey {
        let [first, second] = self.ends;
        let (local, remote) = match local {
            End::First => (first, second),
            End::Second => (second, first),
        };
        let [local_address, remote_address] = [local.0, remote.0].map(address::to_bytes);
        FlowKey {
            vnet: DEFAULT_VNET,
            local: local_address,
            remote: remote_address,
            local_port: local.1.to_be_bytes(),
            remote_port: remote.1.to_be_bytes(),
            protocol: self.protocol,
            family: if is_ipv4(local.0) { 4 } else { 6 },
            fragments: self.fragment.into(),
            reserved: 0,
        }
    }
}

fn is_ipv4(address: Address) -> bool {
    address[..3] == address::mapped([0; 4])[..3]
}

#[cfg(test)]
mod tests;
