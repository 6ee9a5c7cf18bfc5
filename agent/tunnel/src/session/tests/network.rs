//! Two ends that both dial, over a network that delays and reorders everything and loses
//! handshakes: whatever crosses whatever, no data message that arrives is refused.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::keypair::REJECT_AFTER;

/// Seconds of one run: some renewals and more.
const RUN: u64 = 420;
/// Time between two looks at both ends.
const STEP: Duration = Duration::from_millis(10);
/// A datagram may take so much longer than another.
const JITTER: Duration = Duration::from_millis(20);

/// The end that it is for, and its bytes.
type Datagram = (usize, Vec<u8>);

struct Network {
    random: StdRng,
    delay: Duration,
    /// Of ten handshake messages, how many are lost.
    lost: u32,
    /// By the time of arrival, and a number that makes it unique.
    way: BTreeMap<(Instant, u64), Datagram>,
    sent: u64,
}

impl Network {
    fn new(seed: u64, delay: u64, lost: u32) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            delay: Duration::from_millis(delay),
            lost,
            way: BTreeMap::new(),
            sent: 0,
        }
    }

    fn send(&mut self, to: usize, datagram: Vec<u8>, now: Instant) {
        if datagram[0] != 4 && self.random.random_range(0..10) < self.lost {
            return;
        }
        let jitter = Duration::from_millis(self.random.random_range(0..JITTER.as_millis() as u64));
        self.sent += 1;
        let key = (now + self.delay + jitter, self.sent);
        self.way.insert(key, (to, datagram));
    }

    /// Age of a session at which the far end takes what is sent now: to who answered the handshake it is older by the
    /// way of the answer, and what is sent now is on its way as well.
    fn oldest(&self) -> Duration {
        REJECT_AFTER.saturating_sub(2 * (self.delay + JITTER + STEP))
    }

    /// The next datagram that has arrived by now.
    fn receive(&mut self, now: Instant) -> Option<Datagram> {
        let entry = self.way.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }
}

#[test]
fn no_data_is_refused_whatever_crosses() {
    exchange(0.0);
}

/// Each end is handed over some times in each run, some of them in the middle of a handshake.
#[test]
fn no_data_is_refused_whatever_crosses_while_both_ends_are_handed_over() {
    exchange(0.001);
}

/// In each step each end is handed over with this probability.
fn exchange(handed_over: f64) {
    for (seed, delay, lost) in [
        (1, 0, 0),
        (2, 30, 0),
        (3, 150, 0),
        (4, 150, 3),
        (5, 400, 3),
        (6, 10, 5),
        (7, 900, 5),
        (8, 60, 5),
    ] {
        let start = clock::now();
        let mut network = Network::new(seed, delay, lost);
        let mut ends = [
            End::new(1, 2, Some(25), start),
            End::new(2, 1, Some(25), start),
        ];
        let (mut packets, mut arrived) = (0, 0);
        for step in 0..RUN * 100 {
            let now = start + STEP * step as u32;
            for at in [0, 1] {
                let end = &mut ends[at];
                if handed_over > 0.0 && network.random.random_bool(handed_over) {
                    packets -= end.hand_over(now);
                }
                let mut out = Vec::new();
                // Ends look at their timers at different times.
                if step % 10 == 3 * at as u64 {
                    out.extend(end.tick(now));
                }
                if step == 0 {
                    out.extend(end.dial(now));
                }
                // A session may end at the far side first, and the queue in front of none is bounded.
                let due = match end.session.handshake_age(now) {
                    Some(age) => age < network.oldest() && step % 5 == at as u64,
                    None => step % 100 == 1,
                };
                if due && step < RUN * 100 - 1000 {
                    packets += 1;
                    out.extend(end.send(&inner(60), now));
                }
                for datagram in out {
                    network.send(1 - at, datagram, now);
                }
            }
            while let Some((to, datagram)) = network.receive(now) {
                let (got, answers) = ends[to].handle(&datagram, now);
                if datagram[0] == 4 {
                    assert!(got.is_ok(), "seed {seed}, {step}: {got:?}");
                    arrived += u64::from(got != Ok(Got::Keepalive));
                }
                for answer in answers {
                    network.send(1 - to, answer, now);
                }
            }
        }
        assert_eq!(arrived, packets, "seed {seed}");
    }
}
