//! Whether the machine had time for what ran on it: a thread like any other that wants to run each moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::wait;

const MOMENT: Duration = Duration::from_millis(20);

/// Until dropped.
#[derive(Debug)]
pub(super) struct Canary {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// The longest that it was held up, in microseconds.
    longest: AtomicU64,
    stop: AtomicBool,
}

impl Canary {
    pub(super) fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let watching = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            while !watching.stop.load(Ordering::Relaxed) {
                let before = wait::now();
                thread::sleep(MOMENT);
                let held_up = before.elapsed().saturating_sub(MOMENT);
                let longest = &watching.longest;
                longest.fetch_max(held_up.as_micros() as u64, Ordering::Relaxed);
            }
        });
        Self {
            shared,
            thread: Some(thread),
        }
    }

    /// The longest that it was held up since this was asked last.
    pub(super) fn held_up(&self) -> Duration {
        Duration::from_micros(self.shared.longest.swap(0, Ordering::Relaxed))
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic in it was reported when it happened.
            let _ = thread.join();
        }
    }
}
