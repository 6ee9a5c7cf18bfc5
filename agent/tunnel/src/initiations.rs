//! Which handshake initiations were taken, by the public key of who began them.
//!
//! WireGuard refuses a replayed initiation by its timestamp, which must be greater than the last one of the same
//! public key (whitepaper 5.1). A gateway here has several links with one key, in several lanes, and they dial within
//! milliseconds of each other, over ways of different length: one greatest timestamp for all of them would refuse
//! genuine ones, and one for each link would let through on one link what was recorded on another. So what was taken of
//! late is remembered as such, and what is older than that is refused. A session still wants its own link's timestamps
//! to rise.
//!
//! One table for all lanes. It is touched by handshakes of configured peers only, each of which costs a thousand times
//! as much as its lock.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::tai64n::{Timestamp, seconds_before};
use crossway_types::codec::{Damaged, Reader, Writer};

/// By so much an initiation may be older than the newest of its key: after that time its sender has sent another
/// (REKEY_TIMEOUT and its jitter).
const LATENESS: u64 = 6;
/// Initiations of one key that are remembered: those of as many links within [`LATENESS`]. 48 kB. Where a key has more,
/// what is as old as the forgotten ones is refused.
const REMEMBERED: usize = 1024;

/// An initiation: its timestamp, and the key that its sender made for it.
type Initiation = (Timestamp, [u8; 32]);

/// What was taken, of every key.
#[derive(Debug, Default)]
pub struct Initiations(Mutex<HashMap<[u8; 32], History>>);

/// What was taken of one key.
#[derive(Debug, Default)]
struct History {
    /// Nothing of this time or before is taken any more.
    forgotten: Timestamp,
    recent: Vec<Initiation>,
}

impl Initiations {
    /// Notes an initiation that the owner of `key` has begun; whether it is neither known nor too old to tell.
    pub(super) fn take(&self, key: &[u8; 32], timestamp: Timestamp, ephemeral: [u8; 32]) -> bool {
        let mut of_keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let history = of_keys.entry(*key).or_default();
        history.take((timestamp, ephemeral))
    }

    /// What is known of `key`, for the agent that takes over.
    pub(super) fn export(&self, key: &[u8; 32], to: &mut Writer) {
        let of_keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        to.option(of_keys.get(key), |to, history| history.export(to));
    }

    /// What [`Self::export`] wrote. Each lane brings what all of them knew.
    pub(super) fn import(&self, key: [u8; 32], from: &mut Reader<'_>) -> Result<(), Damaged> {
        let Some((forgotten, recent)) = from.option(History::import)? else {
            return Ok(());
        };
        let mut of_keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let history = of_keys.entry(key).or_default();
        for initiation in recent {
            history.take(initiation);
        }
        history.forget(forgotten);
        Ok(())
    }
}

impl History {
    fn take(&mut self, initiation: Initiation) -> bool {
        if initiation.0 <= self.forgotten || self.recent.contains(&initiation) {
            return false;
        }
        self.recent.push(initiation);
        self.forget(seconds_before(initiation.0, LATENESS));
        if self.recent.len() > REMEMBERED {
            let oldest = self.recent.iter().map(|(timestamp, _)| *timestamp).min();
            self.forget(oldest.unwrap_or_default());
        }
        true
    }

    /// Takes nothing of this time or before any more.
    fn forget(&mut self, until: Timestamp) {
        self.forgotten = self.forgotten.max(until);
        let forgotten = self.forgotten;
        self.recent.retain(|(timestamp, _)| *timestamp > forgotten);
    }

    fn export(&self, to: &mut Writer) {
        to.bytes(&self.forgotten);
        to.u32(self.recent.len() as u32);
        for (timestamp, ephemeral) in &self.recent {
            to.bytes(timestamp);
            to.bytes(ephemeral);
        }
    }

    fn import(from: &mut Reader<'_>) -> Result<(Timestamp, Vec<Initiation>), Damaged> {
        let forgotten = from.array()?;
        let recent = (0..from.u32()?).map(|_| Ok((from.array()?, from.array()?)));
        Ok((forgotten, recent.collect::<Result<_, _>>()?))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::tai64n::Calendar;
    use crossway_sys::clock;

    const KEY: [u8; 32] = [1; 32];

    /// The timestamp of so many milliseconds after a start.
    fn at(milliseconds: u64) -> Timestamp {
        let now = clock::now();
        let since_epoch = Duration::from_secs(1_000_000) + Duration::from_millis(milliseconds);
        Calendar::new(now, since_epoch).timestamp(now)
    }

    #[test]
    fn each_is_taken_once_in_any_order_within_some_seconds() {
        let taken = Initiations::default();
        let times = [0, 0, 40, 20, 5000, 2000, 900, 0];
        for (number, time) in times.into_iter().enumerate() {
            assert!(taken.take(&KEY, at(time), [number as u8; 32]), "{number}");
        }
        for (number, time) in times.into_iter().enumerate() {
            assert!(!taken.take(&KEY, at(time), [number as u8; 32]), "{number}");
        }
        assert!(taken.take(&[2; 32], at(0), [0; 32]), "of another key");
    }

    #[test]
    fn what_is_older_than_some_seconds_is_refused_unseen() {
        let taken = Initiations::default();
        assert!(taken.take(&KEY, at(60_000), [1; 32]));
        assert!(!taken.take(&KEY, at(53_900), [2; 32]));
        assert!(taken.take(&KEY, at(54_100), [3; 32]));
        assert!(taken.take(&KEY, at(120_000), [4; 32]));
        assert!(
            !taken.take(&KEY, at(60_000), [1; 32]),
            "forgotten, not taken"
        );
    }

    #[test]
    fn a_key_with_many_at_once_takes_no_more_memory_and_none_twice() {
        let taken = Initiations::default();
        let ephemeral = |number: u32| {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&number.to_be_bytes());
            bytes
        };
        let number = 5 * REMEMBERED as u32;
        let taken_of = |number: u32| taken.take(&KEY, at(u64::from(number) / 2), ephemeral(number));
        assert!((0..number).filter(|number| taken_of(*number)).count() > REMEMBERED);
        assert!(taken.0.lock().unwrap()[&KEY].recent.len() <= REMEMBERED);
        assert!((0..number).all(|number| !taken_of(number)));
    }

    #[test]
    fn the_next_agent_knows_them_whichever_lane_tells_it_first() {
        let taken = Initiations::default();
        assert!(taken.take(&KEY, at(60_000), [1; 32]));
        assert!(taken.take(&KEY, at(59_000), [2; 32]));
        let mut writer = Writer::new(clock::now());
        taken.export(&KEY, &mut writer);
        let bytes = writer.finish();
        let next = Initiations::default();
        for _lane in 0..2 {
            let mut reader = Reader::new(&bytes, clock::now());
            assert_eq!(next.import(KEY, &mut reader), Ok(()));
            assert!(reader.is_empty());
        }
        for (time, number) in [(60_000, 1), (59_000, 2), (50_000, 3)] {
            assert!(!next.take(&KEY, at(time), [number; 32]));
        }
        assert!(next.take(&KEY, at(59_000), [3; 32]), "not known");
        for length in 0..bytes.len() {
            let mut reader = Reader::new(&bytes[..length], clock::now());
            assert_eq!(next.import(KEY, &mut reader), Err(Damaged), "{length}");
        }
    }
}
