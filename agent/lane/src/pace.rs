//! So many of something in a second, and no more.

use std::time::{Duration, Instant};

/// How many there were in the second that began last.
#[derive(Debug)]
pub(crate) struct Pace {
    most: u32,
    count: u32,
    second: Instant,
}

impl Pace {
    /// At most so many in a second.
    pub(crate) fn new(most: u32, now: Instant) -> Self {
        Self {
            most,
            count: 0,
            second: now,
        }
    }

    /// Whether there may be one more, which then counts.
    pub(crate) fn admits(&mut self, now: Instant) -> bool {
        if now >= self.second + Duration::from_secs(1) {
            (self.count, self.second) = (0, now);
        }
        let admitted = self.count < self.most;
        self.count += u32::from(admitted);
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossway_sys::clock;

    #[test]
    fn a_second_has_room_for_so_many_and_the_next_begins_anew() {
        let start = clock::now();
        let mut pace = Pace::new(3, start);
        let admitted = |pace: &mut Pace, at| (0..10).filter(|_| pace.admits(at)).count();
        assert_eq!(admitted(&mut pace, start), 3);
        assert_eq!(admitted(&mut pace, start + Duration::from_millis(999)), 0);
        assert_eq!(admitted(&mut pace, start + Duration::from_secs(1)), 3);
    }
}
