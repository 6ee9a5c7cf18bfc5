//! Waiting on a condition with a deadline. Nothing here or in a test sleeps for a fixed time and hopes.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, bail};

use crate::sys;

/// Set to 1 where every instruction is emulated.
const EMULATED: &str = "CROSSWAY_EMULATED";
/// How much longer all takes there.
const EMULATED_FACTOR: u32 = 8;

/// Time between two looks at a condition.
const POLL: Duration = Duration::from_millis(20);

/// Polls until `condition` gives a value. Fails after `limit` (longer where the CPU is emulated), or when a signal asked to stop
/// (see [`sys::watch_stop_signals`]); `what` completes "waited 5s for ...".
pub fn until<T>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Option<T>,
) -> Result<T> {
    try_until(what, limit, || Ok(condition()))
}

/// As [`until`], but an error of `condition` ends the waiting at once.
pub fn try_until<T>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = now();
    let limit = if is_emulated() {
        limit * EMULATED_FACTOR
    } else {
        limit
    };
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if sys::stop_requested() {
            bail!("interrupted while waiting for {what}");
        }
        if start.elapsed() >= limit {
            bail!("waited {limit:?} for {what}");
        }
        std::thread::sleep(POLL);
    }
}

/// Lets `span` pass, or less if a signal asks to stop; says whether the whole of it passed. For the
/// pace of a display or a measurement, not for hoping that something has happened meanwhile.
pub fn pace(span: Duration) -> bool {
    let start = now();
    while start.elapsed() < span {
        if sys::stop_requested() {
            return false;
        }
        std::thread::sleep(POLL.min(span.saturating_sub(start.elapsed())));
    }
    true
}

/// Whether this runs in a guest whose every instruction is emulated, so that nothing can be said of speed.
pub fn is_emulated() -> bool {
    std::env::var_os(EMULATED).is_some_and(|value| value == "1")
}

/// Now, on the monotonic clock.
#[expect(
    clippy::disallowed_methods,
    reason = "tests of real traffic run in real time, and this is the one place that reads it"
)]
pub fn now() -> Instant {
    Instant::now()
}

/// The date, for what a machine writes down.
#[expect(
    clippy::disallowed_methods,
    reason = "tests of real traffic run in real time, and this is the one place that reads it"
)]
pub fn date() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_never_holds_fails_with_its_name() {
        let result = until::<()>("the moon", Duration::from_millis(1), || None);
        let message = result.unwrap_err().to_string();
        assert!(message.contains("the moon"), "{message}");
    }

    #[test]
    fn a_condition_that_holds_later_gives_its_value() {
        let mut looks = 0;
        let value = until("three looks", Duration::from_secs(5), || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(value.unwrap(), 3);
    }
}
