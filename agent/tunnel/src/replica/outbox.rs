//! Datagrams on their way out, spread over time so that neither the lane nor the far end's socket meets
//! them all at once.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use datapath_abi::outcome::Tally;

use super::datagram;

/// Datagrams sent at once: 115 kB of a socket's receive buffer, of which Linux gives 212,992 bytes.
const BURST: usize = 50;
/// Between two bursts.
const PACE: Duration = Duration::from_millis(25);
/// Datagrams sent in a second at most, 19 Mbit/s: one step of the sweep through the flow table never
/// needs more, whatever its flows are.
pub const MOST_PER_SECOND: usize = BURST * 40;
/// Datagrams that wait at most: those of two steps.
const MOST: usize = 2 * MOST_PER_SECOND;

/// Datagrams that wait.
#[derive(Debug, Default)]
pub struct Outbox {
    waiting: VecDeque<Vec<u8>>,
    next: Option<Instant>,
}

impl Outbox {
    /// Takes datagrams to be sent; returns those that found no room.
    pub fn push(&mut self, datagrams: Vec<Vec<u8>>, now: Instant) -> Tally {
        let mut refused = Tally::default();
        for datagram in datagrams {
            if self.waiting.len() < MOST {
                self.waiting.push_back(datagram);
            } else {
                refused.packets += 1;
                refused.bytes += datagram.len() as u64;
            }
        }
        self.next = self.next.or(Some(now)).filter(|_| !self.waiting.is_empty());
        refused
    }

    /// When the next burst is due.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.next
    }

    /// The burst that is due, stamped with `now_ns`.
    pub fn poll(&mut self, now: Instant, now_ns: u64) -> Vec<Vec<u8>> {
        if self.next.is_none_or(|next| now < next) {
            return Vec::new();
        }
        let burst = self.waiting.len().min(BURST);
        let mut burst: Vec<_> = self.waiting.drain(..burst).collect();
        for datagram in &mut burst {
            datagram::stamp(datagram, now_ns);
        }
        // Once more when the last is gone: what comes next keeps the pace, too.
        self.next = (!burst.is_empty()).then(|| now + PACE);
        burst
    }

    /// Nobody is there to take them.
    pub fn clear(&mut self) {
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossway_sys::clock;

    fn datagrams(count: usize) -> Vec<Vec<u8>> {
        vec![vec![1; 10]; count]
    }

    #[test]
    fn datagrams_leave_in_bursts_at_a_pace_and_say_when() {
        let start = clock::now();
        let mut outbox = Outbox::default();
        assert_eq!(outbox.next_timeout(), None);
        assert_eq!(outbox.push(datagrams(BURST + 1), start), Tally::default());
        let burst = outbox.poll(start, 7);
        assert_eq!(burst.len(), BURST);
        assert_eq!(burst[0][2..10], 7_u64.to_be_bytes());
        assert_eq!(outbox.next_timeout(), Some(start + PACE));
        assert!(outbox.poll(start, 7).is_empty());
        assert_eq!(outbox.poll(start + PACE, 8).len(), 1);
        outbox.push(datagrams(1), start + PACE);
        assert!(outbox.poll(start + PACE, 8).is_empty(), "too soon");
        assert_eq!(outbox.poll(start + 2 * PACE, 9).len(), 1);
        assert!(outbox.poll(start + 3 * PACE, 10).is_empty());
        assert_eq!(outbox.next_timeout(), None);
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let mut outbox = Outbox::default();
        let refused = outbox.push(datagrams(MOST + 3), clock::now());
        assert_eq!((refused.packets, refused.bytes), (3, 30));
        outbox.clear();
        assert_eq!(outbox.push(datagrams(MOST), clock::now()).packets, 0);
    }
}
