//! How much of its time a lane works. What is not work is the time in which it waits for packets, commands and timers.

use std::time::{Duration, Instant};

/// The time of one lane since it was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    began: Instant,
    waited: Duration,
    /// Since when it waits.
    waits: Option<Instant>,
}

impl Load {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            began: now,
            waited: Duration::ZERO,
            waits: None,
        }
    }

    /// The lane has nothing to do.
    pub(super) fn on_wait(&mut self, now: Instant) {
        self.waits = Some(now);
    }

    /// The lane looks for work.
    pub(super) fn on_awake(&mut self, now: Instant) {
        if let Some(since) = self.waits.take() {
            self.waited += now.saturating_duration_since(since);
        }
    }

    /// Time that it has worked.
    pub(super) fn busy(&self, now: Instant) -> Duration {
        let age = now.saturating_duration_since(self.began);
        age.saturating_sub(self.waited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossway_sys::clock;

    #[test]
    fn what_is_not_waiting_is_work() {
        let start = clock::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut load = Load::new(start);
        load.on_awake(after(1));
        assert_eq!(load.busy(after(1)), Duration::from_secs(1));
        load.on_wait(after(2));
        load.on_awake(after(12));
        load.on_awake(after(13));
        assert_eq!(load.busy(after(13)), Duration::from_secs(3));
    }
}
