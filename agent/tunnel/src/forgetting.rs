//! The machine was restored from a snapshot, cloned, or asleep.
//!
//! A copy of a machine has the counters that the original had when it was copied. What both then send under one key has
//! the same counters with other contents, which gives the contents away to whoever sees both (RFC 8439, 4). So a
//! gateway that learns that it may be a copy sends nothing more under the keys it has, and begins anew with every far
//! end, as the kernel's WireGuard does (`wg_vm_notification` in drivers/net/wireguard/device.c). It goes on receiving
//! under them: what the far end still sends is lost otherwise. A handshake under way is given up, for its answer would
//! give both copies the same keys.
//!
//! While a machine sleeps its monotonic clock stands still, by which sessions grow old. They are made older by that
//! time, so that a key is gone three minutes after it was made, whatever happened in them.

use std::time::{Duration, Instant};

use super::Tunnel;
use crate::transmit::Transmits;

/// What a machine's clocks show at one moment, each since a time of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// Stands still while the machine sleeps.
    pub monotonic: Duration,
    /// Goes on while it sleeps.
    pub boot: Duration,
    /// The time of day, which somebody sets.
    pub wall: Duration,
}

/// Time that has passed without the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// The machine was asleep for so long.
    Asleep(Duration),
    /// The wall clock was set forward by so much: after a snapshot was restored it is set to the time that it is now.
    /// So it is by whoever corrects it, and which of both cannot be told. A handshake too many costs little.
    SetForward(Duration),
}

/// Watches the clocks for gaps.
#[derive(Debug, Default)]
pub struct GapWatch(Option<Clocks>);

impl GapWatch {
    /// A machine that sleeps does so for longer. Between clocks that are read one after the other a moment may pass.
    const SHORTEST_SLEEP: Duration = Duration::from_secs(1);
    /// What a time service slews, and does not set, is less than half a second.
    const SHORTEST_SET: Duration = Duration::from_secs(2);

    /// Looks at the clocks, some times a second; what has happened since the last look. Clocks that run faster or
    /// slower, or are set back, are no gap: they do not go back in a copy.
    pub fn look(&mut self, clocks: Clocks) -> Option<Gap> {
        let before = self.0.replace(clocks)?;
        let passed = |of: fn(Clocks) -> Duration| of(clocks).saturating_sub(of(before));
        let asleep = passed(|clocks| clocks.boot).saturating_sub(passed(|clocks| clocks.monotonic));
        let set = passed(|clocks| clocks.wall).saturating_sub(passed(|clocks| clocks.boot));
        if asleep >= Self::SHORTEST_SLEEP {
            Some(Gap::Asleep(asleep))
        } else if set >= Self::SHORTEST_SET {
            Some(Gap::SetForward(set))
        } else {
            None
        }
    }
}

impl Gap {
    /// By how much sessions are older than their clock says.
    pub fn asleep(self) -> Duration {
        match self {
            Self::Asleep(time) => time,
            Self::SetForward(_) => Duration::ZERO,
        }
    }
}

impl Tunnel {
    /// Sends nothing more under the keys of now and begins anew with every far end that there was a session or a
    /// handshake with. All of them are older by `asleep`.
    pub fn forget_sending_keys(
        &mut self,
        asleep: Duration,
        (now, since_epoch): (Instant, Duration),
        out: &mut Transmits,
        mut flush: impl FnMut(&mut Transmits),
    ) {
        self.local.calendar.adjust(now, since_epoch);
        // A copy draws the same numbers. Those of handshakes come from the kernel, which knows; if this fails, only
        // nonces of cookies and jitters are drawn twice.
        let _ = rand::rng().reseed();
        for peer in self.peers.iter_mut().flatten() {
            if peer.forget_sending_keys(asleep, &self.local, now) {
                peer.dial(&self.local, now, out);
            }
            if !out.has_room(4, 4096) {
                flush(out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clocks after so many milliseconds of each.
    fn clocks(monotonic: u64, boot: u64, wall: u64) -> Clocks {
        Clocks {
            monotonic: Duration::from_millis(100_000 + monotonic),
            boot: Duration::from_millis(200_000 + boot),
            wall: Duration::from_millis(1_700_000_000_000 + wall),
        }
    }

    fn gap(monotonic: u64, boot: u64, wall: u64) -> Option<Gap> {
        let mut watch = GapWatch::default();
        assert_eq!(watch.look(clocks(0, 0, 0)), None);
        let gap = watch.look(clocks(monotonic, boot, wall));
        let again = clocks(monotonic + 100, boot + 100, wall + 100);
        assert_eq!(watch.look(again), None, "told once");
        gap
    }

    #[test]
    fn a_sleep_and_a_clock_that_is_set_forward_are_told_apart() {
        let hour = 3_600_000;
        assert_eq!(gap(100, 100, 100), None);
        let asleep = Gap::Asleep(Duration::from_millis(hour));
        assert_eq!(gap(100, hour + 100, hour + 100), Some(asleep));
        assert_eq!(
            gap(100, hour + 100, 100),
            Some(asleep),
            "by a wall clock that slept too"
        );
        let set = Gap::SetForward(Duration::from_millis(hour));
        assert_eq!(gap(100, 100, hour + 100), Some(set));
        assert_eq!(
            (asleep.asleep(), set.asleep()),
            (Duration::from_millis(hour), Duration::ZERO)
        );
    }

    #[test]
    fn what_time_services_and_busy_machines_do_is_no_gap() {
        assert_eq!(
            gap(10_000, 10_000, 10_000),
            None,
            "the thread did not run for long"
        );
        assert_eq!(
            gap(100, 100, 600),
            None,
            "slewed, or set by less than it matters"
        );
        assert_eq!(gap(100, 110, 130), None, "a moment between two readings");
        let mut watch = GapWatch::default();
        assert_eq!(watch.look(clocks(0, 0, 3_600_000)), None);
        assert_eq!(watch.look(clocks(100, 100, 100)), None, "set back");
        // A clock that is too fast by 500 ppm, the most that the kernel slews, for a day.
        for turn in 1..864_000 {
            let time = 100 + turn * 100;
            assert_eq!(watch.look(clocks(time, time, time + time / 2000)), None);
        }
    }
}
