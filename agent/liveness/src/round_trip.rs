//! The time to a far end and back, as it is measured now and then.

use std::time::Duration;

/// What was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoundTrip {
    /// The last time that was measured.
    pub last: Duration,
    /// How often one was; 0 where none was yet.
    pub count: u64,
}

impl RoundTrip {
    /// An answer took so long.
    pub fn on_measured(&mut self, last: Duration) {
        self.last = last;
        self.count += 1;
    }
}
