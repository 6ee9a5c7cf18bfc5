//! The flow table: reading it, cleaning it, and knowing what it lost.

mod account;
mod limits;
mod pressure;
mod table;
mod told;
mod walk;

use anyhow::{Context, Result};
use aya::Ebpf;
use aya::maps::{MapData, PerCpuArray};
use datapath_abi::flow::{FlowCounters, FlowKey, FlowKey4, FlowStat};
use datapath_abi::maps;
use datapath_abi::outcome::Tally;
use serde::Serialize;

pub use self::account::{Account, Opening, counted};
pub use self::limits::{FlowEnd, IdleLimits};
use self::pressure::Pressure;
use self::table::{BATCH, LEAST, Table};
pub use self::told::Told;
pub use self::walk::Walk;
use super::sys::batch::Cursor;
use super::take;

/// Flows that one step of a sweep removes, give or take a batch: each takes a microsecond.
const MOST_REMOVED: usize = 16 * BATCH;

/// What one step of a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Entries looked at.
    pub seen: usize,
    /// Entries removed.
    pub removed: usize,
    /// What those that stay had counted.
    pub living: Tally,
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
    sweep: Walk,
    pressure: Pressure,
}

impl Flows {
    pub(super) fn new(programs: &mut Ebpf) -> Result<Self> {
        let mut flows = Self {
            v4: Table::take(programs, maps::FLOWS4)?,
            v6: Table::take(programs, maps::FLOWS6)?,
            stats: take(programs, maps::FLOW_STATS)?,
            account: Account::default(),
            sweep: Walk::default(),
            pressure: Pressure::default(),
        };
        // In this order a flow that comes in between hides one eviction at most, and makes up none.
        let present = flows.count()?;
        let inserted = flows.stat(FlowStat::Inserted)?;
        flows.account = Account::new(present, inserted);
        flows.pressure = Pressure::new(inserted);
        Ok(flows)
    }

    /// What tells this table from every other since the boot.
    pub fn id(&self) -> u32 {
        self.v4.id()
    }

    /// What was evicted since the last report, if anything was seen; it counts as reported.
    pub fn report_evicted(&mut self) -> Option<(u64, Tally)> {
        self.account.report()
    }

    /// The account so far, for the agent that takes over.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Goes on with the account of the agent before.
    pub fn set_account(&mut self, account: Account) {
        self.account = account;
    }

    /// Flows in the table by the account, without counting them.
    pub fn present(&self) -> Result<u64> {
        Ok(self.account.present(self.stat(FlowStat::Inserted)?))
    }

    /// Flows that the table takes.
    pub fn capacity(&self) -> u64 {
        self.v4.capacity() + self.v6.capacity()
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

    /// The least number of flows that a step can be limited to.
    pub const LEAST_STEP: usize = LEAST;

    /// Shows the next flows of a walk to `visit`, up to `count` (or [`Self::LEAST_STEP`]) and at most [`BATCH`], in a millisecond. Says whether
    /// those were the last; the walk begins anew then. Flows that come or go meanwhile may be missed, the others
    /// are seen once.
    pub fn step(
        &mut self,
        walk: &mut Walk,
        count: usize,
        visit: impl FnMut(&FlowKey, &FlowCounters),
    ) -> Result<bool> {
        read(&mut self.v4, &mut self.v6, walk, count, visit)
    }

    /// Removes one flow; says whether it was there.
    pub fn remove(&mut self, key: &FlowKey) -> Result<bool> {
        Ok(self.take(key)?.is_some())
    }

    /// Takes one flow out of the table, with all that it has counted, if it is there.
    pub fn take(&mut self, key: &FlowKey) -> Result<Option<FlowCounters>> {
        let taken = match key.to_v4() {
            Some(key) => self.v4.take_entry(&key)?,
            None => self.v6.take_entry(key)?,
        };
        if let Some(counters) = &taken {
            self.account.on_removed(counters);
        }
        Ok(taken)
    }

    /// Begins to settle the account, before a walk through the whole table. `carried` is what the programs have
    /// counted for all sites until now.
    pub fn open(&self, carried: Tally) -> Result<Opening> {
        let inserted = self.stat(FlowStat::Inserted)?;
        Ok(self.account.open(inserted, carried))
    }

    /// As [`Self::open`], with maps whose agent has left no account: what is missing now is not ours to tell.
    pub fn begin_without_history(&mut self, carried: Tally) -> Result<()> {
        let opening = self.open(carried)?;
        let mut living = Tally::default();
        self.for_each(|_, counters| living += counted(counters))?;
        self.account.begin_without_history(&opening, living);
        Ok(())
    }

    /// Settles it after the walk, which has met `present` flows that had counted `living`.
    pub fn settle(&mut self, opening: &Opening, present: u64, living: Tally) {
        self.account.settle(opening, present, living);
    }

    /// The counters of a site are about to be wiped.
    pub fn retire(&mut self, counted: Tally) {
        self.account.on_retired(counted);
    }

    /// Takes one step through the tables (a few milliseconds) and removes the idle flows it meets.
    /// `now_ns` is [`crossway_sys::clock::monotonic_ns`].
    pub fn sweep(&mut self, now_ns: u64, limits: &IdleLimits) -> Result<Swept> {
        self.sweep_and_show(now_ns, limits, |_, _| (), |_, _, _| ())
    }

    /// As [`Self::sweep`]; shows the other flows to `visit`, and those that it removed to `finish`, with all that
    /// they have counted, and why.
    pub fn sweep_and_show(
        &mut self,
        now_ns: u64,
        limits: &IdleLimits,
        mut visit: impl FnMut(&FlowKey, &FlowCounters),
        mut finish: impl FnMut(&FlowKey, &FlowCounters, FlowEnd),
    ) -> Result<Swept> {
        let inserted = self.stat(FlowStat::Inserted)?;
        let most = self
            .pressure
            .begin_step(inserted, [self.v4.capacity(), self.v6.capacity()]);
        let mut swept = Swept::default();
        let mut ended = Vec::new();
        while swept.seen < most && ended.len() < MOST_REMOVED && !swept.finished {
            let v6 = matches!(self.sweep, Walk::V6(_));
            let capacity = if v6 {
                self.v6.capacity()
            } else {
                self.v4.capacity()
            };
            let limits = limits.pressed_by(self.pressure.fill(v6, capacity));
            let before = swept.seen;
            let look = |key: &FlowKey, counters: &FlowCounters| {
                swept.seen += 1;
                if let Some(end) = limits.end(key, counters, now_ns) {
                    ended.push((*key, end));
                } else {
                    swept.living += counted(counters);
                    visit(key, counters);
                }
            };
            swept.finished = read(&mut self.v4, &mut self.v6, &mut self.sweep, BATCH, look)?;
            self.pressure.on_seen(v6, swept.seen - before);
        }
        if swept.finished {
            self.pressure.end_pass(inserted);
        }
        for (key, end) in &ended {
            if let Some(counters) = self.take(key)? {
                swept.removed += 1;
                finish(key, &counters, *end);
            }
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
            evicted: self.account.evicted_of(inserted, present),
            insert_failed: self.stat(FlowStat::InsertFailed)?,
        })
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

fn read(
    v4: &mut Table<FlowKey4>,
    v6: &mut Table<FlowKey>,
    walk: &mut Walk,
    count: usize,
    visit: impl FnMut(&FlowKey, &FlowCounters),
) -> Result<bool> {
    let next = match *walk {
        Walk::V4(bucket) => match v4.read(bucket.map(Cursor), count, visit)? {
            None => Walk::V6(None),
            Some(Cursor(next)) => Walk::V4(Some(next)),
        },
        Walk::V6(bucket) => match v6.read(bucket.map(Cursor), count, visit)? {
            None => Walk::default(),
            Some(Cursor(next)) => Walk::V6(Some(next)),
        },
    };
    *walk = next;
    Ok(next == Walk::default())
}
