//! The probes that may still be answered.

use std::time::Instant;

/// Probes that are remembered: those of several seconds.
const REMEMBERED: usize = 16;

/// What was sent, by number.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    probes: [Option<(u64, u16, Instant)>; REMEMBERED],
    next: usize,
    random: u64,
}

impl Sent {
    pub(super) fn new(seed: u32) -> Self {
        Self {
            probes: [None; REMEMBERED],
            next: 0,
            random: (u64::from(seed) << 32) | 0x9e37_79b9,
        }
    }

    /// A probe of this size is sent; its number. Numbers need not be secret, for the session is, but a restarted far end
    /// must not take an old answer for a new one.
    pub(super) fn add(&mut self, size: u16, now: Instant) -> u64 {
        // xorshift64.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.probes[self.next] = Some((self.random, size, now));
        self.next = (self.next + 1) % REMEMBERED;
        self.random
    }

    /// The size of the probe of this number and when it was sent. It is answered once.
    pub(super) fn take(&mut self, id: u64) -> Option<(u16, Instant)> {
        let slot = self.probes.iter_mut().find(|slot| {
            let known = slot.as_ref();
            known.is_some_and(|(known, _, _)| *known == id)
        })?;
        slot.take().map(|(_, size, at)| (size, at))
    }
}
