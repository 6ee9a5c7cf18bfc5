//! The history as bytes, for the next agent: the one that takes over, or the one that starts after this has ended. They
//! mean something until the host boots.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::axis::Axis;
use super::cell::{Cell, Counters, State};
use super::heaviest::Heaviest;
use super::outages::Outages;
use super::record::Record;
use super::warned::Warned;
use super::{COARSE, FINE, History, LONGEST, Moment, TIERS};
use crate::control::message::SeriesKind;
use crate::liveness::round_trip::RoundTrip;
use crossway_sys::clock;
use crossway_types::codec::{Damaged, Reader, Writer};

/// Of the form of the bytes: another one is not read.
const VERSION: u32 = 1;
/// More sites and links than this are none.
const MOST_RECORDS: u32 = 1 << 20;

/// What is small, and may get more fields.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Lists {
    outages: Outages,
    warned: Warned,
    heaviest: Heaviest,
    clock_steps: VecDeque<(u64, i64)>,
}

impl History {
    /// For the next agent.
    pub fn export(&self, boot: &str) -> Vec<u8> {
        let mut to = Writer::new(clock::now());
        to.u32(VERSION);
        text(&mut to, boot);
        to.option(self.last_look, |to, look| {
            to.u64(look.boot_ms);
            to.u64(look.wall_ms);
        });
        to.option(self.drops.as_ref(), |to, drops| numbers(to, drops));
        for axis in &self.axes {
            write_axis(&mut to, axis);
        }
        to.u32(self.records.len() as u32);
        for record in &self.records {
            write_record(&mut to, record);
        }
        let lists = Lists {
            outages: self.outages.clone(),
            warned: self.warned.clone(),
            heaviest: self.heaviest.clone(),
            clock_steps: self.clock_steps.clone(),
        };
        let lists = serde_json::to_vec(&lists).unwrap_or_default();
        to.part(|to| to.bytes(&lists));
        to.finish().to_vec()
    }

    /// Goes on with what [`Self::export`] wrote on the same boot. What was counted since goes on as well if that agent
    /// `handed_over`; else there is a time in which nobody looked.
    ///
    /// # Errors
    /// The bytes are of another boot or version, or damaged: this one stays as it is.
    pub fn go_on(
        &mut self,
        bytes: &[u8],
        boot: &str,
        handed_over: bool,
        now: Moment,
    ) -> Result<(), Damaged> {
        let mut from = Reader::new(bytes, clock::now());
        let from = &mut from;
        if from.u32()? != VERSION || read_text(from)? != boot {
            return Err(Damaged);
        }
        let last_look = from.option(|from| {
            Ok(Moment {
                boot_ms: from.u64()?,
                wall_ms: from.u64()?,
            })
        })?;
        let drops = from.option(read_numbers)?;
        let axes = [read_axis(from, FINE)?, read_axis(from, COARSE)?];
        let count = from.u32()?;
        let lengths = axes.each_ref().map(|axis| axis.begins.len());
        let records = (0..count.min(MOST_RECORDS)).map(|_| read_record(from, lengths));
        let records: Vec<Record> = records.collect::<Result<_, _>>()?;
        let length = from.u32()?;
        let lists = serde_json::from_slice(from.bytes(length as usize)?).map_err(|_| Damaged)?;
        if last_look.is_some_and(|look| look.boot_ms > now.boot_ms) {
            return Err(Damaged);
        }
        let Lists {
            outages,
            warned,
            heaviest,
            clock_steps,
        } = lists;
        let places = records.iter().enumerate();
        let places = places.map(|(place, record)| ((record.kind, record.name.clone()), place));
        *self = Self {
            room: self.room,
            places: places.collect(),
            axes,
            records,
            left_out: 0,
            outages,
            warned,
            heaviest,
            clock_steps,
            last_look,
            interrupted: !handed_over,
            drops,
        };
        if !handed_over {
            // A link that connects anew has not failed for that. What was down still is.
            let running = self.records.iter_mut().filter(|record| !record.out);
            running.for_each(|record| record.state = State::Unwatched);
        }
        let count = self.records.len();
        if !self.fit(count) {
            *self = Self {
                room: self.room,
                ..Self::new(0)
            };
        }
        Ok(())
    }
}

fn text(to: &mut Writer, text: &str) {
    to.u32(text.len() as u32);
    to.bytes(text.as_bytes());
}

fn read_text(from: &mut Reader<'_>) -> Result<String, Damaged> {
    let length = from.u32()?;
    let bytes = from.bytes(length as usize)?;
    String::from_utf8(bytes.to_vec()).map_err(|_| Damaged)
}

fn numbers(to: &mut Writer, numbers: &[u64]) {
    to.u32(numbers.len() as u32);
    for number in numbers {
        to.u64(*number);
    }
}

fn read_numbers(from: &mut Reader<'_>) -> Result<Vec<u64>, Damaged> {
    let count = from.u32()?;
    (0..count).map(|_| from.u64()).collect()
}

fn write_axis(to: &mut Writer, axis: &Axis) {
    to.u64(axis.step_ms);
    to.option(axis.open, Writer::u64);
    numbers(
        to,
        axis.begins.iter().copied().collect::<Vec<_>>().as_slice(),
    );
    for drops in axis.drops.iter().chain([&axis.open_drops]) {
        to.u16(drops.len() as u16);
        for (reason, packets) in drops {
            to.u16(*reason);
            to.u64(*packets);
        }
    }
}

fn read_axis(from: &mut Reader<'_>, (step, span): (u64, u64)) -> Result<Axis, Damaged> {
    let mut axis = Axis::new(from.u64()?, span);
    let longer = axis.step_ms / step;
    if !axis.step_ms.is_multiple_of(step) || !longer.is_power_of_two() || longer > LONGEST {
        return Err(Damaged);
    }
    axis.open = from.option(Reader::u64)?;
    axis.begins = read_numbers(from)?.into();
    if axis.begins.len() > axis.capacity() {
        return Err(Damaged);
    }
    let mut drops = || {
        let count = from.u16()?;
        let drops = (0..count).map(|_| Ok((from.u16()?, from.u64()?)));
        drops.collect::<Result<Vec<_>, _>>()
    };
    for _ in 0..axis.begins.len() {
        axis.drops.push_back(drops()?);
    }
    axis.open_drops = drops()?;
    Ok(axis)
}

fn write_record(to: &mut Writer, record: &Record) {
    to.bool(record.kind == SeriesKind::Link);
    text(to, &record.name);
    text(to, &record.site);
    to.bytes(&[record.state as u8]);
    to.bool(record.out);
    to.u64(record.accounted);
    to.option(record.counters, |to, counters| {
        to.u64(counters.to_site_bytes);
        to.u64(counters.from_site_bytes);
        to.u64(counters.received);
        to.u64(counters.missing);
        to.duration(counters.round_trip.last);
        to.u64(counters.round_trip.count);
    });
    for cell in record.closed.iter().flatten().chain(&record.open) {
        let blank = *cell == Cell::default();
        to.option((!blank).then_some(cell), write_cell);
    }
}

fn read_record(from: &mut Reader<'_>, lengths: [usize; TIERS]) -> Result<Record, Damaged> {
    let kind = if from.bool()? {
        SeriesKind::Link
    } else {
        SeriesKind::Site
    };
    let (name, site) = (read_text(from)?, read_text(from)?);
    let mut record = Record::new(kind, &name, &site, lengths);
    let [state] = from.array()?;
    record.state = State::of_number(state).ok_or(Damaged)?;
    record.out = from.bool()?;
    record.accounted = from.u64()?;
    record.counters = from.option(|from| {
        Ok(Counters {
            to_site_bytes: from.u64()?,
            from_site_bytes: from.u64()?,
            received: from.u64()?,
            missing: from.u64()?,
            round_trip: RoundTrip {
                last: from.duration()?,
                count: from.u64()?,
            },
        })
    })?;
    let cells = record.closed.iter_mut().flatten().chain(&mut record.open);
    for cell in cells {
        *cell = from.option(read_cell)?.unwrap_or_default();
    }
    Ok(record)
}

fn write_cell(to: &mut Writer, cell: &Cell) {
    for number in [
        cell.to_site_bytes,
        cell.from_site_bytes,
        cell.to_site_peak,
        cell.from_site_peak,
        cell.round_trip_sum_us,
    ] {
        to.u64(number);
    }
    for number in [
        cell.round_trips,
        cell.round_trip_min_us,
        cell.round_trip_max_us,
        cell.watched_ms,
        cell.out_ms,
        cell.received,
        cell.missing.cast_unsigned(),
    ] {
        to.u32(number);
    }
    to.u16(cell.worst_loss);
    to.bytes(&[cell.worst as u8]);
}

fn read_cell(from: &mut Reader<'_>) -> Result<Cell, Damaged> {
    Ok(Cell {
        to_site_bytes: from.u64()?,
        from_site_bytes: from.u64()?,
        to_site_peak: from.u64()?,
        from_site_peak: from.u64()?,
        round_trip_sum_us: from.u64()?,
        round_trips: from.u32()?,
        round_trip_min_us: from.u32()?,
        round_trip_max_us: from.u32()?,
        watched_ms: from.u32()?,
        out_ms: from.u32()?,
        received: from.u32()?,
        missing: from.u32()?.cast_signed(),
        worst_loss: from.u16()?,
        worst: from
            .array()
            .and_then(|[number]| State::of_number(number).ok_or(Damaged))?,
    })
}
