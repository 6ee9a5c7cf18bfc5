//! Rates with a burst, for what costs public-key work: of one kind of message, and of each source.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Sources that are told apart. More share what one has; a number that is secret decides who, so that
/// nobody can choose to share with somebody.
const SOURCES: usize = 4096;

/// So many a second, and a burst of so many after a quiet time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    pub(super) per_second: u32,
    pub(super) burst: u32,
}

impl Rate {
    /// Takes one from an allowance of this rate (the virtual scheduling of ITU-T I.371, A.2); whether it had one.
    fn take(self, next: &mut Instant, now: Instant) -> bool {
        let interval = Duration::from_secs(1) / self.per_second;
        let due = (*next).max(now);
        let early = due.saturating_duration_since(now);
        let conforms = early <= interval * (self.burst - 1);
        if conforms {
            *next = due + interval;
        }
        conforms
    }
}

/// One allowance.
#[derive(Debug)]
pub(super) struct Allowance {
    rate: Rate,
    /// When the next one is due at an even pace.
    next: Instant,
}

impl Allowance {
    /// A full one.
    pub(super) fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, next: now }
    }

    /// Takes one; whether there was one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        self.rate.take(&mut self.next, now)
    }

    /// Takes `count` that something else has used, as far as it goes.
    pub(super) fn charge(&mut self, count: u32, now: Instant) {
        let interval = Duration::from_secs(1) / self.rate.per_second;
        let due = self.next.max(now) + interval * count;
        self.next = due.min(now + interval * self.rate.burst);
    }

    /// When there will be one.
    pub(super) fn ready_at(&self, now: Instant) -> Instant {
        let interval = Duration::from_secs(1) / self.rate.per_second;
        let early = self.next.saturating_duration_since(now);
        now + early.saturating_sub(interval * (self.rate.burst - 1))
    }
}

/// An allowance for each source, and one for all of them together. Its size does not grow.
#[derive(Debug)]
pub(super) struct Allowances {
    of_each: Rate,
    of_all: Allowance,
    next: Box<[Instant]>,
    hasher: RandomState,
}

impl Allowances {
    /// Full ones.
    pub(super) fn new(of_each: Rate, of_all: Rate, now: Instant) -> Self {
        Self {
            of_each,
            of_all: Allowance::new(of_all, now),
            next: vec![now; SOURCES].into_boxed_slice(),
            hasher: RandomState::new(),
        }
    }

    /// Takes one for `source`; whether there was one.
    pub(super) fn take(&mut self, source: IpAddr, now: Instant) -> bool {
        self.take_of(owner(source), now)
    }

    /// Takes one for the source that has this number; whether there was one.
    pub(super) fn take_of(&mut self, source: u64, now: Instant) -> bool {
        let number = self.hasher.hash_one(source) as usize % SOURCES;
        self.of_each.take(&mut self.next[number], now) && self.of_all.take(now)
    }
}

/// What one owner has of addresses: of IPv6 a subnet, which is the least that anybody is given (RFC 6177).
fn owner(source: IpAddr) -> u64 {
    match source.to_canonical() {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossway_sys::clock;

    const RATE: Rate = Rate {
        per_second: 20,
        burst: 5,
    };
    const PLENTY: Rate = Rate {
        per_second: 1000,
        burst: 1000,
    };

    fn taken(tries: u32, mut take: impl FnMut() -> bool) -> u32 {
        (0..tries).map(|_| u32::from(take())).sum()
    }

    #[test]
    fn a_burst_is_followed_by_the_rate() {
        let start = clock::now();
        let mut allowance = Allowance::new(RATE, start);
        assert_eq!(taken(100, || allowance.take(start)), 5);
        // 100 a second for 10 s: a fifth of them.
        let mut now = start;
        let later = taken(1000, || {
            now += Duration::from_millis(10);
            allowance.take(now)
        });
        assert_eq!(later, 200);
        now += Duration::from_mins(1);
        assert_eq!(taken(100, || allowance.take(now)), 5, "no more is saved up");
        let ready = allowance.ready_at(now);
        assert_eq!(ready, now + Duration::from_millis(50));
        assert!(!allowance.take(now + Duration::from_millis(49)));
        assert!(allowance.take(ready));
    }

    #[test]
    fn what_something_else_uses_is_missing_and_no_more() {
        let mut now = clock::now();
        let mut allowance = Allowance::new(RATE, now);
        allowance.charge(2, now);
        assert_eq!(taken(100, || allowance.take(now)), 3);
        allowance.charge(1_000_000, now);
        assert!(!allowance.take(now));
        now += Duration::from_secs(1);
        assert_eq!(taken(100, || allowance.take(now)), 5);
        // Used at twice the rate: nothing is left.
        let left = taken(100, || {
            now += Duration::from_millis(25);
            allowance.charge(1, now);
            allowance.take(now)
        });
        assert_eq!(left, 0);
    }

    #[test]
    fn sources_do_not_take_from_each_other_but_subnets_are_one_source() {
        let now = clock::now();
        let mut allowances = Allowances::new(RATE, PLENTY, now);
        let mut of = |address: &str| {
            let address = address.parse().unwrap();
            taken(20, || allowances.take(address, now))
        };
        assert_eq!(of("198.51.100.1"), 5);
        assert_eq!(of("198.51.100.2"), 5);
        assert_eq!(of("::ffff:198.51.100.2"), 0, "written in another way");
        assert_eq!(of("2001:db8:1:1::1"), 5);
        assert_eq!(of("2001:db8:1:1:9::2"), 0, "the same subnet");
        assert_eq!(of("2001:db8:1:2::1"), 5);
    }

    #[test]
    fn all_sources_together_have_a_limit_and_no_more_memory() {
        let now = clock::now();
        let mut allowances = Allowances::new(RATE, PLENTY, now);
        let sources = (0..100_000_u32).map(|number| IpAddr::V4(number.into()));
        let admitted: u32 = sources
            .map(|source| u32::from(allowances.take(source, now)))
            .sum();
        assert_eq!(admitted, 1000);
        assert_eq!(allowances.next.len(), SOURCES);
    }
}
