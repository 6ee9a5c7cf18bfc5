//! The only place that asks what time it is.

use std::time::{Duration, Instant, SystemTime};

/// Now, on the monotonic clock.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> Instant {
    Instant::now()
}

/// Now, as `bpf_ktime_get_ns` counts: nanoseconds of CLOCK_MONOTONIC.
pub fn monotonic_ns() -> u64 {
    read(libc::CLOCK_MONOTONIC).as_nanos() as u64
}

/// Wall-clock time since the Unix epoch, for people to read.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn since_epoch() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

/// Since boot, the time that the machine slept with it: CLOCK_BOOTTIME.
pub fn since_boot() -> Duration {
    read(libc::CLOCK_BOOTTIME)
}

/// Processor time of this process, of all its threads.
pub fn of_processor() -> Duration {
    read(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// What three clocks show at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readings {
    /// CLOCK_MONOTONIC, which stands still while the machine sleeps.
    pub monotonic: Duration,
    /// CLOCK_BOOTTIME, which does not.
    pub boot: Duration,
    /// CLOCK_REALTIME, which somebody sets.
    pub wall: Duration,
}

/// Between the first and the last of readings that count as of one moment.
const ONE_MOMENT: Duration = Duration::from_millis(10);

/// Reads all three. `None` where the thread lost the processor, or the machine stood still, in between: then they
/// say nothing of each other.
pub fn readings() -> Option<Readings> {
    let monotonic = read(libc::CLOCK_MONOTONIC);
    let (boot, wall) = (read(libc::CLOCK_BOOTTIME), read(libc::CLOCK_REALTIME));
    let later = read(libc::CLOCK_MONOTONIC);
    (later.saturating_sub(monotonic) < ONE_MOMENT).then_some(Readings {
        monotonic,
        boot,
        wall,
    })
}

/// Whether something keeps the wall clock right (adjtimex(2), `STA_UNSYNC`); `None` where the kernel does not say.
pub fn is_synchronised() -> Option<bool> {
    // SAFETY: all fields are integers, for which zero is a value; no mode is set, so nothing is changed.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: `state` is valid and writable for the whole call.
    let answer = unsafe { libc::adjtimex(&raw mut state) };
    (answer >= 0).then_some(state.status & libc::STA_UNSYNC == 0)
}

fn read(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid, writable timespec for the whole call.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_are_of_one_moment() {
        let readings = std::iter::repeat_with(readings).take(1000);
        let readings: Vec<Readings> = readings.flatten().collect();
        assert!(readings.len() > 900, "{} of 1000", readings.len());
        for pair in readings.windows(2) {
            assert!(pair[1].monotonic >= pair[0].monotonic);
            assert!(pair[1].boot >= pair[1].monotonic.saturating_sub(ONE_MOMENT));
        }
        assert!(readings[0].wall.abs_diff(since_epoch()) < Duration::from_secs(10));
    }
}
