//! What happened over the last hours: states, rates, loss and round trips of each site and link, drops by reason, outages
//! and warnings, for `crossway report`. Pure: times and counters come in.
//!
//! It is kept in two resolutions ([`FINE`], [`COARSE`]), in a memory that is fixed ([`History::new`]): each site and link
//! has a [`Cell`] for each interval ([`Axis`]), and where there are more of them than have room, the intervals become
//! longer, two into one, until all have. Of two, the extremes stay: the worst state, the fastest second, the worst loss,
//! the shortest and longest round trip. So a second of outage is seen in the report of a day.
//!
//! All times are those of the clock that counts since boot, and are told by the wall clock of the moment of the answer:
//! whoever sets the clock moves all of them alike. Where the machine slept, or the agent did not run, nobody looked, and
//! the history says so.

mod answer;
mod axis;
mod cell;
mod heaviest;
mod outages;
mod record;
mod store;
mod warned;

use std::collections::HashMap;
use std::collections::VecDeque;

pub use self::cell::{Counters, State};

use self::axis::Axis;
use self::cell::Cell;
use self::heaviest::Heaviest;
use self::outages::Outages;
use self::record::{Record, Turn};
use self::warned::Warned;
use crate::control::message::{FinishedRecord, SeriesKind, Warning};

/// Resolutions.
const TIERS: usize = 2;
const HOUR_MS: u64 = 3_600_000;
/// Milliseconds of an interval, and of all of them.
const FINE: (u64, u64) = (10_000, HOUR_MS);
/// As [`FINE`].
const COARSE: (u64, u64) = (60_000, 24 * HOUR_MS);
/// Intervals become no longer than so many of the first ones: beyond, more sites and links have no room.
const LONGEST: u64 = 64;
/// Nobody looked for so long: the machine slept, or the agent did not run.
const GAP_MS: u64 = 30_000;
/// By which the wall clock may move beside the other without having been set.
const SET_MS: u64 = 1000;
/// Settings of the clock that are kept.
const CLOCK_STEPS: usize = 32;
const MIB: usize = 1 << 20;

/// One moment, by both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds since boot.
    pub boot_ms: u64,
    /// Milliseconds since the Unix epoch.
    pub wall_ms: u64,
}

/// A site or a link as it is now.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    pub kind: SeriesKind,
    /// Its name, as in the journal.
    pub name: &'a str,
    pub site: &'a str,
    pub state: State,
    pub counters: Counters,
}

/// The last hours.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// Bytes that all cells may take.
    room: usize,
    axes: [Axis; TIERS],
    records: Vec<Record>,
    /// Where each is among the records.
    places: HashMap<(SeriesKind, String), usize>,
    /// Sites and links at the last look for which there was no room.
    left_out: usize,
    outages: Outages,
    warned: Warned,
    heaviest: Heaviest,
    /// When the clock was set, and by how much.
    clock_steps: VecDeque<(u64, i64)>,
    last_look: Option<Moment>,
    /// Another agent looked last, and has not handed over to this one.
    interrupted: bool,
    /// Drops at the last count, by the number of the reason.
    drops: Option<Vec<u64>>,
}

impl History {
    /// A history that takes at most so many MiB for sites and links; none is kept in 0.
    pub fn new(mib: u32) -> Self {
        Self {
            room: mib as usize * MIB,
            axes: [FINE, COARSE].map(|(step, span)| Axis::new(step, span)),
            records: Vec::new(),
            places: HashMap::new(),
            left_out: 0,
            outages: Outages::default(),
            warned: Warned::default(),
            heaviest: Heaviest::default(),
            clock_steps: VecDeque::new(),
            last_look: None,
            interrupted: false,
            drops: None,
        }
    }

    /// Takes at most so many MiB from now on. With less, intervals become longer; with more, those that are there stay as
    /// long as they are.
    pub fn set_room(&mut self, mib: u32) {
        if mib == 0 {
            *self = Self::new(0);
        }
        self.room = mib as usize * MIB;
        if !self.fit(self.records.len()) {
            *self = Self::new(mib);
        }
    }

    /// Whether any is kept.
    pub fn is_on(&self) -> bool {
        self.room > 0
    }

    /// MiB that sites and links may take.
    pub fn room_mib(&self) -> u64 {
        (self.room / MIB) as u64
    }

    /// Whether anything is known of a site of this name.
    pub fn knows(&self, site: &str) -> bool {
        self.records.iter().any(|record| record.site == site)
    }

    /// Whether the next look is to be told what was dropped.
    pub fn wants_drops(&self, now: Moment) -> bool {
        self.is_on() && (self.drops.is_none() || self.axes[0].is_due(now.boot_ms))
    }

    /// Takes how all sites and links are now. To be called each second. `drops` has the packets of each reason since the
    /// start, by its number, if they were wanted.
    pub fn look<'a>(
        &mut self,
        now: Moment,
        looks: impl Iterator<Item = Look<'a>>,
        drops: Option<Vec<u64>>,
    ) {
        if !self.is_on() {
            return;
        }
        let elapsed = self.begin_look(now);
        self.left_out = 0;
        for look in looks {
            match self.place_of(look.kind, look.name, look.site, now) {
                Some(place) => self.look_at(place, &look, now, elapsed),
                None => self.left_out += 1,
            }
        }
        for place in 0..self.records.len() {
            if !std::mem::take(&mut self.records[place].seen) {
                self.turn(place, State::Unwatched, now, "");
            }
        }
        self.count_drops(drops);
        for tier in 0..TIERS {
            if self.axes[tier].is_due(now.boot_ms) {
                self.close(tier, now.boot_ms);
            }
        }
    }

    /// A site or a link has changed its state.
    pub fn on_change(
        &mut self,
        (kind, name): (SeriesKind, &str),
        state: State,
        cause: &str,
        now: Moment,
    ) {
        // What is new is entered at the next look, which knows its site.
        let place = self.places.get(&(kind, name.to_owned())).copied();
        if let Some(place) = place.filter(|_| self.is_on()) {
            self.turn(place, state, now, cause);
        }
    }

    /// Takes all that `status` warns of now.
    pub fn on_warnings(&mut self, warnings: &[Warning], now: Moment) {
        if self.is_on() {
            self.warned.look(warnings, now.boot_ms);
        }
    }

    /// Takes conversations that have ended.
    pub fn on_finished(&mut self, records: &[FinishedRecord], now: Moment) {
        if self.is_on() {
            self.heaviest.extend(records, now.boot_ms);
        }
    }

    /// Bytes of all cells.
    pub fn memory_bytes(&self) -> usize {
        self.records.len() * self.cells() * size_of::<Cell>()
    }

    /// Time since the last look.
    fn begin_look(&mut self, now: Moment) -> u64 {
        let Some(before) = self.last_look.replace(now) else {
            for axis in &mut self.axes {
                axis.open = Some(now.boot_ms);
            }
            return 0;
        };
        let elapsed = now.boot_ms.saturating_sub(before.boot_ms);
        let walked = now.wall_ms as i64 - before.wall_ms as i64;
        let step = walked - elapsed as i64;
        if step.unsigned_abs() >= SET_MS {
            self.clock_steps.push_back((now.boot_ms, step));
            while self.clock_steps.len() > CLOCK_STEPS {
                self.clock_steps.pop_front();
            }
        }
        if elapsed >= GAP_MS || std::mem::take(&mut self.interrupted) {
            self.pass_over(before.boot_ms, now.boot_ms);
        }
        elapsed
    }

    /// Nobody looked between the two: an interval of its own, in which nothing is known.
    fn pass_over(&mut self, from: u64, to: u64) {
        (0..TIERS).for_each(|tier| self.close(tier, from));
        for record in &mut self.records {
            record.accounted = to;
            record.counters = None;
        }
        (0..TIERS).for_each(|tier| self.close(tier, to));
        self.drops = None;
    }

    fn look_at(&mut self, place: usize, look: &Look<'_>, now: Moment, elapsed: u64) {
        self.turn(place, look.state, now, "");
        let record = &mut self.records[place];
        record.seen = true;
        record.count(look.counters, elapsed);
    }

    fn turn(&mut self, place: usize, state: State, now: Moment, cause: &str) {
        let record = &mut self.records[place];
        match record.turn_to(state, now.boot_ms) {
            Turn::Began => {
                let of = (record.kind, record.name.as_str(), record.site.as_str());
                self.outages.begin(of, now.boot_ms, cause);
            }
            Turn::Ended => self.outages.end(record.kind, &record.name, now.boot_ms),
            Turn::Nothing => {}
        }
    }

    /// Where it is among the records; `None` where there is no room for it.
    fn place_of(&mut self, kind: SeriesKind, name: &str, site: &str, now: Moment) -> Option<usize> {
        let key = (kind, name.to_owned());
        if let Some(place) = self.places.get(&key) {
            return Some(*place);
        }
        let place = self.records.len();
        if !self.fit(place + 1) {
            return None;
        }
        let lengths = self.axes.each_ref().map(|axis| axis.begins.len());
        let mut record = Record::new(kind, name, site, lengths);
        record.accounted = now.boot_ms;
        self.records.push(record);
        self.places.insert(key, place);
        Some(place)
    }

    /// Makes intervals longer until so many sites and links have room; whether they have.
    fn fit(&mut self, count: usize) -> bool {
        while count * self.cells() * size_of::<Cell>() > self.room {
            if self.axes[0].step_ms >= FINE.0 * LONGEST {
                return false;
            }
            self.axes.iter_mut().for_each(Axis::halve);
            self.records.iter_mut().for_each(Record::halve);
        }
        true
    }

    /// Cells of a site or link.
    fn cells(&self) -> usize {
        let of_tier = |axis: &Axis| axis.capacity() + 1;
        self.axes.iter().map(of_tier).sum()
    }

    fn count_drops(&mut self, drops: Option<Vec<u64>>) {
        let Some(now) = drops else { return };
        if let Some(before) = self.drops.replace(now) {
            let now = self.drops.as_deref().unwrap_or_default();
            let grown = now.iter().zip(before).enumerate();
            let grown: Vec<(u16, u64)> = grown
                .map(|(reason, (now, before))| (reason as u16, now.saturating_sub(before)))
                .filter(|(_, packets)| *packets > 0)
                .collect();
            self.axes.iter_mut().for_each(|axis| axis.count(&grown));
        }
    }

    fn close(&mut self, tier: usize, now: u64) {
        if self.axes[tier].open.is_none() {
            return;
        }
        let gone = self.axes[tier].close(now);
        for record in &mut self.records {
            record.account(now);
            record.close(tier, gone);
        }
        if tier == TIERS - 1 {
            let oldest = now.saturating_sub(COARSE.1);
            self.outages.expire(oldest);
            self.warned.expire(oldest);
            self.clock_steps.retain(|(at, _)| *at >= oldest);
            self.forget_the_gone();
        }
    }

    fn forget_the_gone(&mut self) {
        if self.records.iter().any(Record::is_forgotten) {
            self.records.retain(|record| !record.is_forgotten());
            let records = self.records.iter().enumerate();
            self.places = records
                .map(|(place, record)| ((record.kind, record.name.clone()), place))
                .collect();
        }
    }
}

#[cfg(test)]
mod tests;
