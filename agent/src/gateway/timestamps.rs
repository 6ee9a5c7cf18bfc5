//! The latest time that this gateway's handshakes have told, remembered over restarts of the agent. A far end takes
//! only initiations that are later than the last (whitepaper 5.4.2). A running agent's calendar never goes back; after a
//! restart it would, where the wall clock had been ahead for a while, and far ends would refuse it until their own
//! clock had caught up.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crossway_sys::whole_file;

use crate::clock;
use crate::control::run_dir;
use crate::tunnel::tai64n::Calendar;

/// How often the time is written.
const WRITTEN_EVERY: Duration = Duration::from_secs(10);
/// After a kill, the last timestamp may have been later than what was written by this: the time between two writings,
/// and two ticks.
const MARGIN: Duration = Duration::from_secs(12);
/// A calendar is ahead of the wall clock by less than this where that is slowed down: nobody has set it back.
const SLOWED: Duration = Duration::from_secs(1);
/// Digits of a millisecond, and a line break.
const LONGEST: u64 = 32;
/// What a damaged file cannot claim: the year 2500.
const LATEST: Duration = Duration::from_hours(530 * 365 * 24);

/// Keeps the file up to date.
#[derive(Debug)]
pub(super) struct Timestamps {
    file: PathBuf,
    /// As the lanes' calendars, which follow the same clock.
    calendar: Calendar,
    written: Option<Instant>,
}

impl Timestamps {
    /// For the gateway called `gateway`.
    pub(super) fn new(gateway: &str, now: Instant) -> Self {
        Self {
            file: path_of(gateway),
            calendar: Calendar::new(now, start_of_calendars(gateway)),
            written: None,
        }
    }

    /// To be called each second.
    pub(super) fn follow(&mut self, now: Instant) {
        self.calendar.adjust(now, clock::since_epoch());
        if self.written.is_none_or(|at| now >= at + WRITTEN_EVERY) {
            self.written = Some(now);
            self.write(now);
        }
    }

    /// Writes the time. A failure matters only if the clock goes back before a restart.
    pub(super) fn write(&self, now: Instant) {
        let text = format!("{}\n", self.calendar.since_epoch(now).as_millis() + 1);
        if let Err(error) = whole_file::write(&self.file, text.as_bytes()) {
            tracing::debug!(file = %self.file.display(), %error, "the time of handshakes is not remembered");
        }
    }
}

/// When the calendars of lanes begin: now, or later than what was told before.
pub(super) fn start_of_calendars(gateway: &str) -> Duration {
    begin(clock::since_epoch(), read(&path_of(gateway)))
}

/// How far what earlier handshakes have told is ahead of the clock.
pub fn told_ahead(gateway: &str) -> Duration {
    let told = read(&path_of(gateway)).filter(|told| *told < LATEST);
    told.unwrap_or_default()
        .saturating_sub(clock::since_epoch())
}

fn begin(wall: Duration, told: Option<Duration>) -> Duration {
    let Some(told) = told.filter(|told| *told < LATEST) else {
        return wall;
    };
    let ahead = told.saturating_sub(wall);
    if ahead < SLOWED {
        return wall.max(told);
    }
    tracing::warn!(
        ahead_seconds = ahead.as_secs(),
        "the clock of this host is behind the time that earlier handshakes told: they go on from that"
    );
    told + MARGIN
}

fn path_of(gateway: &str) -> PathBuf {
    run_dir().join(format!("{gateway}.handshakes"))
}

fn read(file: &Path) -> Option<Duration> {
    let content = whole_file::read(file, LONGEST).map_err(|error| {
        if error.kind() != io::ErrorKind::NotFound {
            tracing::warn!(file = %file.display(), %error, "the time of earlier handshakes cannot be read");
        }
    });
    let text = String::from_utf8(content.ok()?).ok()?;
    text.trim().parse().ok().map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_went_back_does_not_take_the_timestamps_with_it() {
        let at = Duration::from_secs;
        assert_eq!(begin(at(1000), None), at(1000));
        assert_eq!(begin(at(1000), Some(at(900))), at(1000));
        assert_eq!(begin(at(1000), Some(at(5000))), at(5000) + MARGIN);
        let slowed = at(1000) + SLOWED / 2;
        assert_eq!(
            begin(at(1000), Some(slowed)),
            slowed,
            "no step at each start"
        );
        assert_eq!(begin(at(1000), Some(at(u64::MAX))), at(1000), "nonsense");
    }

    #[test]
    fn the_time_that_is_written_is_not_before_the_last_timestamp() {
        let folder = std::env::temp_dir().join(format!("crossway-times-{}", std::process::id()));
        let (file, now) = (folder.join("a.handshakes"), clock::now());
        let calendar = Calendar::new(now, Duration::from_millis(4_000_000_000_998));
        let first = Duration::from_millis(4_000_000_000_999);
        let mut timestamps = Timestamps {
            file: file.clone(),
            calendar,
            written: None,
        };
        timestamps.follow(now);
        assert_eq!(read(&file), Some(first));
        timestamps.follow(now + WRITTEN_EVERY / 2);
        assert_eq!(read(&file), Some(first));
        timestamps.follow(now + WRITTEN_EVERY);
        assert_eq!(read(&file), Some(first + WRITTEN_EVERY));
        std::fs::write(&file, "soon").unwrap();
        assert_eq!(read(&file), None);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
