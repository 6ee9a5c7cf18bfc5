//! The flow table: reading it, cleaning it, and knowing what it lost.

mod account;
mod table;
mod told;

use std::time::Duration;

use anyhow::{Context, Result};
use aya::Ebpf;
use aya::maps::{MapData, PerCpuArray};
use datapath_abi::flow::{FlowCounters, FlowKey, FlowKey4, FlowStat};
use datapath_abi::maps;
use serde::Serialize;

pub use self::account::Account;
use self::table::{BATCH, Table};
pub use self::told::Told;
use super::sys::batch::Cursor;
use super::take;

/// Entries that one step of a sweep looks at.
const SWEEP_STEP: usize = 4 * BATCH;

const IPPROTO_TCP: u8 = 6;
const TCP_FIN: u8 = 0x01;
const TCP_RST: u8 = 0x04;

/// After which silence a flow is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdleLimits {
    /// For TCP connections that were reset, or closed from both sides.
    pub closed: Duration,
    /// For everything else.
    pub other: Duration,
}

impl Default for IdleLimits {
    fn default() -> Self {
        Self {
            closed: Duration::from_mins(1),
            other: Duration::from_mins(5),
        }
    }
}

/// What one step of a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Entries looked at.
    pub seen: usize,
    /// Entries removed.
    pub removed: usize,
    /// Whether the table is through; the next step begins anew.
    pub finished: bool,
}

/// The table in numbers. `inserted`, `removed` and `evicted` count since this agent's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FlowSummary {
    /// Flows in the table.
    pub present: u64,
    /// Flows that it takes: of IPv4, and of IPv6.
    pub capacity: u64,
    /// Flows that the programs entered.
    pub inserted: u64,
    /// Flows that the agent removed because they were idle or asked to go.
    pub removed: u64,
    /// Flows that gave way to others because the table was full. Their packets are still in the
    /// counters of their sites.
    pub evicted: u64,
    /// Flows that the table refused; since the maps exist.
    pub insert_failed: u64,
}

/// The maps FLOWS4, FLOWS6 and FLOW_STATS.
pub struct Flows {
    v4: Table<FlowKey4>,
    v6: Table<FlowKey>,
    stats: PerCpuArray<MapData, u64>,
    account: Account,
    sweep: Sweep,
    /// Flows that the sweep under way has left in the table.
    counting: u64,
    /// Flows that were there when they were counted last.
    counted: u64,
}

/// Where a sweep goes on: in which table, from its start without a cursor.
#[derive(Clone, Copy, Debug)]
enum Sweep {
    V4(Option<Cursor>),
    V6(Option<Cursor>),
}

impl Flows {
    pub(super) fn new(programs: &mut Ebpf) -> Result<Self> {
        let mut flows = Self {
            v4: Table::take(programs, maps::FLOWS4)?,
            v6: Table::take(programs, maps::FLOWS6)?,
            stats: take(programs, maps::FLOW_STATS)?,
            account: Account::default(),
            sweep: Sweep::V4(None),
            counting: 0,
            counted: 0,
        };
        // In this order a flow that comes in between hides one eviction at most, and makes up none.
        let present = flows.count()?;
        flows.counted = present;
        flows.account = Account::new(present, flows.stat(FlowStat::Inserted)?);
        Ok(flows)
    }

    /// The account so far, for the agent that takes over.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Goes on with the account of the agent before.
    pub fn set_account(&mut self, account: Account) {
        self.account = account;
    }

    /// One flow.
    pub fn get(&self, key: &FlowKey) -> Result<Option<FlowCounters>> {
        match key.to_v4() {
            Some(key) => self.v4.get(&key),
            None => self.v6.get(key),
        }
    }

    /// Shows every flow to `visit`, those of IPv4 first. A full table takes some tens of milliseconds;
    /// flows that come or go meanwhile may be missed.
    pub fn for_each(&mut self, mut visit: impl FnMut(&FlowKey, &FlowCounters)) -> Result<()> {
        self.v4.for_each(&mut visit)?;
        self.v6.for_each(&mut visit)
    }

    /// Removes one flow; says whether it was there.
    pub fn remove(&mut self, key: &FlowKey) -> Result<bool> {
        let removed = match key.to_v4() {
            Some(key) => self.v4.remove(&key)?,
            None => self.v6.remove(key)?,
        };
        if removed {
            self.account.on_removed();
        }
        Ok(removed)
    }

    /// Takes one step through the tables (a few milliseconds) and removes the idle flows it meets.
    /// `now_ns` is [`crossway_sys::clock::monotonic_ns`].
    pub fn sweep(&mut self, now_ns: u64, limits: &IdleLimits) -> Result<Swept> {
        self.sweep_and_show(now_ns, limits, |_, _| ())
    }

    /// As [`Self::sweep`]; shows the other flows to `visit`.
    pub fn sweep_and_show(
        &mut self,
        now_ns: u64,
        limits: &IdleLimits,
        mut visit: impl FnMut(&FlowKey, &FlowCounters),
    ) -> Result<Swept> {
        let mut swept = Swept::default();
        let mut idle = Vec::new();
        while swept.seen < SWEEP_STEP && !swept.finished {
            let look = |key: &FlowKey, counters: &FlowCounters| {
                swept.seen += 1;
                if is_idle(key, counters, now_ns, limits) {
                    idle.push(*key);
                } else {
                    visit(key, counters);
                }
            };
            self.sweep = match self.sweep {
                Sweep::V4(cursor) => match self.v4.read(cursor, look)? {
                    None => Sweep::V6(None),
                    next => Sweep::V4(next),
                },
                Sweep::V6(cursor) => match self.v6.read(cursor, look)? {
                    None => {
                        swept.finished = true;
                        Sweep::V4(None)
                    }
                    next => Sweep::V6(next),
                },
            };
        }
        for key in &idle {
            swept.removed += usize::from(self.remove(key)?);
        }
        self.counting += swept.seen.saturating_sub(swept.removed) as u64;
        if swept.finished {
            self.counted = std::mem::take(&mut self.counting);
        }
        Ok(swept)
    }

    /// The table in numbers. Counts its entries, so it takes as long as [`Self::for_each`].
    pub fn summary(&mut self) -> Result<FlowSummary> {
        let inserted = self.stat(FlowStat::Inserted)?;
        let present = self.count()?;
        Ok(FlowSummary {
            present,
            capacity: self.capacity(),
            inserted: self.account.inserted(inserted),
            removed: self.account.removed(),
            evicted: self.account.evicted(inserted, present),
            insert_failed: self.stat(FlowStat::InsertFailed)?,
        })
    }

    /// Flows in the table, as the last sweep that came through it found it: nothing is counted for the asking.
    pub fn present_at_last_sweep(&self) -> u64 {
        self.counted
    }

    /// Flows that it takes: of IPv4, and of IPv6.
    pub fn capacity(&self) -> u64 {
        self.v4.capacity() + self.v6.capacity()
    }

    /// Flows that the programs entered, and those that the agent removed, since the agent's start.
    pub fn entered_and_removed(&self) -> Result<(u64, u64)> {
        let inserted = self.stat(FlowStat::Inserted)?;
        Ok((self.account.inserted(inserted), self.account.removed()))
    }

    fn count(&mut self) -> Result<u64> {
        let mut count = 0;
        self.for_each(|_, _| count += 1)?;
        Ok(count)
    }

    fn stat(&self, stat: FlowStat) -> Result<u64> {
        let each = self
            .stats
            .get(&(stat as u32), 0)
            .context(maps::FLOW_STATS)?;
        Ok(each.iter().sum())
    }
}

fn is_idle(key: &FlowKey, counters: &FlowCounters, now_ns: u64, limits: &IdleLimits) -> bool {
    let limit = if key.protocol == IPPROTO_TCP && is_closed(counters) {
        limits.closed
    } else {
        limits.other
    };
    // A packet may have come after the caller looked at the clock.
    u128::from(now_ns.saturating_sub(counters.last_seen_ns)) > limit.as_nanos()
}

fn is_closed(counters: &FlowCounters) -> bool {
    let (to, from) = (counters.tcp_flags_to_site, counters.tcp_flags_from_site);
    (to | from) & TCP_RST != 0 || to & from & TCP_FIN != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn idle_after(seconds: u64, protocol: u8, to_site: u8, from_site: u8) -> bool {
        let key = FlowKey {
            protocol,
            ..FlowKey::default()
        };
        let counters = FlowCounters {
            last_seen_ns: 1000 * SECOND,
            tcp_flags_to_site: to_site,
            tcp_flags_from_site: from_site,
            ..FlowCounters::default()
        };
        let now_ns = (1000 + seconds) * SECOND;
        is_idle(&key, &counters, now_ns, &IdleLimits::default())
    }

    #[test]
    fn a_closed_connection_goes_after_a_minute_and_others_after_five() {
        assert!(!idle_after(60, IPPROTO_TCP, TCP_FIN, TCP_FIN));
        assert!(idle_after(61, IPPROTO_TCP, TCP_FIN, TCP_FIN));
        assert!(idle_after(61, IPPROTO_TCP, 0, TCP_RST));
        assert!(!idle_after(61, IPPROTO_TCP, TCP_FIN, 0));
        assert!(!idle_after(300, IPPROTO_TCP, 0x12, 0x12));
        assert!(idle_after(301, IPPROTO_TCP, 0x12, 0x12));
        assert!(!idle_after(61, 17, TCP_RST, TCP_FIN));
    }

    #[test]
    fn a_packet_later_than_the_clock_is_not_idle() {
        let counters = FlowCounters {
            last_seen_ns: u64::MAX,
            ..FlowCounters::default()
        };
        let limits = IdleLimits::default();
        assert!(!is_idle(&FlowKey::default(), &counters, 1, &limits));
    }
}
