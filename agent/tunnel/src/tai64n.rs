//! The timestamps of handshake initiations (whitepaper 5.4.2, TAI64N): each must be greater than
//! the one before, for the far side refuses a replayed initiation by it.

use std::time::{Duration, Instant};

/// A TAI64N timestamp: seconds and nanoseconds, big-endian, so that later ones compare greater.
pub type Timestamp = [u8; 12];

/// TAI64's label of the Unix epoch.
const EPOCH: u64 = 0x4000_0000_0000_000a;
/// What a timestamp does not tell: about 17 ms, as in the kernel, so that it betrays no clock.
const WHITENED: u32 = (1 << 24) - 1;

/// Makes timestamps from the monotonic clock. It follows the wall clock forwards, for a gateway
/// without a battery learns the time after its start, but never back.
#[derive(Clone, Copy, Debug)]
pub struct Calendar {
    at: Instant,
    since_epoch: Duration,
}

impl Calendar {
    /// A calendar by which `now` is `since_epoch`.
    pub fn new(now: Instant, since_epoch: Duration) -> Self {
        Self {
            at: now,
            since_epoch,
        }
    }

    /// The wall clock shows `since_epoch`.
    pub fn adjust(&mut self, now: Instant, since_epoch: Duration) {
        *self = Self::new(now, since_epoch.max(self.since_epoch(now)));
    }

    /// The timestamp of `now`.
    pub fn timestamp(&self, now: Instant) -> Timestamp {
        let time = self.since_epoch(now);
        let mut timestamp = [0; 12];
        timestamp[..8].copy_from_slice(&(EPOCH + time.as_secs()).to_be_bytes());
        timestamp[8..].copy_from_slice(&(time.subsec_nanos() & !WHITENED).to_be_bytes());
        timestamp
    }

    /// What it shows at `now`, since the Unix epoch.
    pub fn since_epoch(&self, now: Instant) -> Duration {
        self.since_epoch + now.saturating_duration_since(self.at)
    }
}

/// A timestamp so many seconds before another.
pub(super) fn seconds_before(mut timestamp: Timestamp, seconds: u64) -> Timestamp {
    if let Some(whole) = timestamp.first_chunk_mut() {
        *whole = u64::from_be_bytes(*whole)
            .saturating_sub(seconds)
            .to_be_bytes();
    }
    timestamp
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossway_sys::clock;

    #[test]
    fn timestamps_follow_the_wall_clock_forwards_and_never_back() {
        let start = clock::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut calendar = Calendar::new(start, Duration::from_secs(1000));
        let first = calendar.timestamp(start);
        assert_eq!(first[..8], (EPOCH + 1000).to_be_bytes());
        assert!(calendar.timestamp(at(1)) > first);

        calendar.adjust(at(2), Duration::from_secs(5000));
        let set = calendar.timestamp(at(2));
        assert_eq!(set[..8], (EPOCH + 5000).to_be_bytes());
        calendar.adjust(at(3), Duration::from_secs(10));
        assert!(calendar.timestamp(at(3)) > set);
    }

    #[test]
    fn a_timestamp_hides_the_milliseconds() {
        let start = clock::now();
        let calendar = Calendar::new(start, Duration::from_secs(7));
        let soon = start + Duration::from_millis(16);
        assert_eq!(calendar.timestamp(soon), calendar.timestamp(start));
        let later = start + Duration::from_millis(17);
        assert!(calendar.timestamp(later) > calendar.timestamp(start));
    }
}
