//! The rule of [`crossway_tunnel::forgetting`] on this machine's clocks.

use crossway_sys::clock;
use crossway_tunnel::forgetting::{Clocks, Gap, GapWatch};

/// Looks for gaps in the machine's time. Each lane does so by itself, for it must not send before it knows.
#[derive(Debug, Default)]
pub struct Gaps(GapWatch);

impl Gaps {
    /// What has happened since the last look.
    pub fn look(&mut self) -> Option<Gap> {
        let readings = clock::readings()?;
        self.0.look(Clocks {
            monotonic: readings.monotonic,
            boot: readings.boot,
            wall: readings.wall,
        })
    }
}
