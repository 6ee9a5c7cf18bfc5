//! The history as it is asked for: one resolution of it, a page of sites and links at a time.

use std::ops::Range;

use datapath_abi::outcome::DropReason;

use super::cell::{Cell, State};
use super::record::Record;
use super::{COARSE, History, Moment, TIERS};
use crate::control::message::{
    ClockStep, DropSeries, HistoryReply, HistoryRequest, Outage, Series, WarningSpan,
};

/// Cells of one page: a megabyte or so of JSON.
const PAGE: usize = 20_000;

impl History {
    /// A page. What is not of the history (the gateway's name, its version, its start) is left to the caller. The finer
    /// resolution tells of as much time as it has.
    pub fn answer(&self, wanted: &HistoryRequest, now: Moment) -> HistoryReply {
        let wanted_ms = wanted
            .since_seconds
            .map(|seconds| seconds.saturating_mul(1000));
        let since = now.boot_ms.saturating_sub(wanted_ms.unwrap_or(COARSE.1));
        let tier = self.tier_for(since);
        let shown = self.shown(tier, since);
        let at = |boot_ms: u64| tell(boot_ms, now);
        let site = wanted.site.as_deref();
        let is_wanted = |name: &str| site.is_none_or(|site| site == name);
        let (series, next) = self.page(tier, &shown, wanted, now.boot_ms);
        let outages =
            self.outages.kept.iter().filter(|kept| {
                is_wanted(&kept.site) && kept.ended.is_none_or(|ended| ended >= since)
            });
        let warnings = self.warned.kept.iter();
        let warnings = warnings.filter(|kept| kept.ended.is_none_or(|ended| ended >= since));
        let steps = self.clock_steps.iter().filter(|(at, _)| *at >= since);
        HistoryReply {
            interval_milliseconds: self.axes[tier].step_ms,
            begins_unix_milliseconds: shown
                .clone()
                .map(|place| at(self.begin(tier, place)))
                .collect(),
            until_unix_milliseconds: now.wall_ms,
            series,
            series_left_out: self.left_out,
            drops: self.drops_of(tier, &shown),
            outages: outages
                .map(|kept| Outage {
                    kind: kept.kind,
                    name: kept.name.clone(),
                    site: kept.site.clone(),
                    began_unix_milliseconds: at(kept.began),
                    ended_unix_milliseconds: kept.ended.map(at),
                    cause: kept.cause.clone(),
                })
                .collect(),
            outages_left_out: self.outages.left_out,
            warnings: warnings
                .map(|kept| WarningSpan {
                    source: kept.source.clone(),
                    text: kept.text.clone(),
                    began_unix_milliseconds: at(kept.began),
                    ended_unix_milliseconds: kept.ended.map(at),
                })
                .collect(),
            warnings_left_out: self.warned.left_out,
            finished: self.heaviest.since(at(since), site),
            clock_steps: steps
                .map(|(at_boot, by_milliseconds)| ClockStep {
                    unix_milliseconds: at(*at_boot),
                    by_milliseconds: *by_milliseconds,
                })
                .collect(),
            memory_bytes: self.memory_bytes() as u64,
            memory_limit_bytes: self.room as u64,
            next,
            ..HistoryReply::default()
        }
    }

    /// The finest that reaches so far back, or as far as any.
    fn tier_for(&self, since: u64) -> usize {
        let begin = |tier: usize| self.begin(tier, 0);
        let oldest = begin(TIERS - 1);
        let mut tiers = 0..TIERS;
        let reaches = tiers.find(|tier| begin(*tier) <= since.max(oldest));
        reaches.unwrap_or(TIERS - 1)
    }

    /// When an interval begins; the one behind the last closed one is open.
    fn begin(&self, tier: usize, place: usize) -> u64 {
        let axis = &self.axes[tier];
        let begin = axis.begins.get(place).copied().or(axis.open);
        begin.unwrap_or_default()
    }

    /// The intervals that end after `since`; the last one is open.
    fn shown(&self, tier: usize, since: u64) -> Range<usize> {
        let axis = &self.axes[tier];
        if axis.open.is_none() {
            return 0..0;
        }
        let closed = axis.begins.len();
        let first = (0..closed).find(|place| self.begin(tier, place + 1) > since);
        first.unwrap_or(closed)..closed + 1
    }

    fn page(
        &self,
        tier: usize,
        shown: &Range<usize>,
        wanted: &HistoryRequest,
        now: u64,
    ) -> (Vec<Series>, Option<usize>) {
        let most = (PAGE / shown.len().max(1)).max(1);
        let site = wanted.site.as_deref();
        let records = self.records.iter().enumerate().skip(wanted.after);
        let of_site = records.filter(|(_, record)| site.is_none_or(|site| site == record.site));
        let mut wanted = of_site.map(|(place, record)| {
            let cells = cells_of(record, tier, shown, now);
            (place, series(record, &cells))
        });
        let page: Vec<(usize, Series)> = wanted.by_ref().take(most).collect();
        let next = wanted.next().map(|(place, _)| place);
        let watched = |series: &Series| series.states.contains(|state| state != '-');
        let page = page.into_iter().map(|(_, series)| series);
        (page.filter(watched).collect(), next)
    }

    fn drops_of(&self, tier: usize, shown: &Range<usize>) -> Vec<DropSeries> {
        let axis = &self.axes[tier];
        let packets = |reason: u16| -> Vec<u64> {
            let of_interval = shown.clone().map(|place| {
                let drops = axis.drops.get(place).unwrap_or(&axis.open_drops);
                let mut drops = drops.iter();
                let found = drops.find(|(of, _)| *of == reason);
                found.map_or(0, |(_, packets)| *packets)
            });
            of_interval.collect()
        };
        let reasons = DropReason::ALL.iter();
        let series = reasons.map(|reason| DropSeries {
            reason: reason.as_str().to_owned(),
            packets: packets(reason.index() as u16),
        });
        series
            .filter(|series| series.packets.iter().any(|packets| *packets > 0))
            .collect()
    }
}

/// A time since boot by the wall clock of now.
fn tell(boot_ms: u64, now: Moment) -> u64 {
    let ago = now.boot_ms.saturating_sub(boot_ms);
    now.wall_ms.saturating_sub(ago)
}

/// Its cells that are shown, the open one with the time up to now.
fn cells_of(record: &Record, tier: usize, shown: &Range<usize>, now: u64) -> Vec<Cell> {
    let closed = &record.closed[tier];
    let mut open = record.open[tier];
    let elapsed = now.saturating_sub(record.accounted);
    open.add_time(record.state, record.out, elapsed);
    let cells = shown.clone().map(|place| closed.get(place).copied());
    cells.map(|cell| cell.unwrap_or(open)).collect()
}

fn series(record: &Record, cells: &[Cell]) -> Series {
    Series {
        kind: record.kind,
        name: record.name.clone(),
        site: record.site.clone(),
        states: cells
            .iter()
            .map(|cell| match cell.watched_ms {
                0 => State::Unwatched.letter(),
                _ => cell.worst.letter(),
            })
            .collect(),
        watched_milliseconds: list(cells, |cell| cell.watched_ms),
        out_milliseconds: list(cells, |cell| cell.out_ms),
        to_site_bytes: list(cells, |cell| cell.to_site_bytes),
        from_site_bytes: list(cells, |cell| cell.from_site_bytes),
        to_site_peak: list(cells, |cell| cell.to_site_peak),
        from_site_peak: list(cells, |cell| cell.from_site_peak),
        received_messages: list(cells, |cell| cell.received),
        missing_messages: list(cells, Cell::lost),
        worst_loss: list(cells, |cell| cell.worst_loss.max(cell.loss().unwrap_or(0))),
        round_trip_min_microseconds: list(cells, |cell| cell.round_trip_min_us),
        round_trip_mean_microseconds: list(cells, Cell::round_trip_mean_us),
        round_trip_max_microseconds: list(cells, |cell| cell.round_trip_max_us),
    }
}

/// A number of each cell, unless all are zero.
fn list<N: Default + PartialEq>(cells: &[Cell], of: impl Fn(&Cell) -> N) -> Vec<N> {
    let numbers: Vec<N> = cells.iter().map(of).collect();
    if numbers.iter().all(|number| *number == N::default()) {
        return Vec::new();
    }
    numbers
}
