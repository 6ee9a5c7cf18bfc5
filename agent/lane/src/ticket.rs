//! Asks another thread for something that it may not give in time, so that it never falls between the two: at any moment
//! either has it.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use crossway_sys::clock;

/// Who asks.
#[derive(Debug)]
pub struct Ticket<T>(Arc<Shared<T>>);

/// Who is asked.
#[derive(Debug)]
pub struct Asked<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
    given: Condvar,
}

#[derive(Debug)]
enum State<T> {
    Wanted,
    Given(T),
    /// Nobody waits for it any more, or it has been taken.
    Over,
}

/// Why it was not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// Not by the deadline: it stays with the other.
    Late,
    /// The other has gone without it.
    Gone,
}

/// A pair of ends.
pub fn ticket<T>() -> (Ticket<T>, Asked<T>) {
    let shared = Arc::new(Shared {
        state: Mutex::new(State::Wanted),
        given: Condvar::new(),
    });
    (Ticket(Arc::clone(&shared)), Asked(shared))
}

impl<T> Ticket<T> {
    /// Waits for it.
    ///
    /// # Errors
    /// Why it was not given.
    pub fn take_by(self, deadline: Instant) -> Result<T, Missed> {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        while matches!(*state, State::Wanted) {
            let left = deadline.saturating_duration_since(clock::now());
            if left.is_zero() {
                break;
            }
            let woken = self.0.given.wait_timeout(state, left);
            (state, _) = woken.unwrap_or_else(PoisonError::into_inner);
        }
        match std::mem::replace(&mut *state, State::Over) {
            State::Given(given) => Ok(given),
            State::Wanted => Err(Missed::Late),
            State::Over => Err(Missed::Gone),
        }
    }
}

impl<T> Asked<T> {
    /// Gives it; it comes back if nobody waits for it any more.
    ///
    /// # Errors
    /// What was to be given.
    pub fn give(self, what: T) -> Result<(), T> {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        match *state {
            State::Wanted => {
                *state = State::Given(what);
                self.0.given.notify_one();
                Ok(())
            }
            State::Given(_) | State::Over => Err(what),
        }
    }
}

impl<T> Drop for Asked<T> {
    /// Who asks waits no longer than there is somebody to give it.
    fn drop(&mut self) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::Wanted) {
            *state = State::Over;
            self.0.given.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_given_in_time_is_taken_and_what_comes_later_stays() {
        let (wants, asked) = ticket();
        asked.give(7).unwrap();
        assert_eq!(wants.take_by(clock::now()), Ok(7));
        let (wants, asked) = ticket();
        assert_eq!(wants.take_by(clock::now()), Err(Missed::Late));
        assert_eq!(asked.give(7), Err(7));
        let (wants, asked) = ticket();
        drop(asked);
        let far = clock::now() + Duration::from_mins(1);
        assert_eq!(
            wants.take_by(far),
            Err::<i32, _>(Missed::Gone),
            "and nobody waits for it"
        );
    }

    #[test]
    fn at_the_very_deadline_exactly_one_has_it() {
        let (mut taken, mut kept) = (0, 0);
        for round in 0..2000_u64 {
            let (wants, asked) = ticket();
            let deadline = clock::now() + Duration::from_micros(50);
            let gives = thread::spawn(move || {
                while clock::now() < deadline + Duration::from_micros(round % 20) {
                    std::hint::spin_loop();
                }
                asked.give(round).is_err()
            });
            let has = wants.take_by(deadline + Duration::from_micros(10));
            let stays = gives.join().unwrap();
            assert_ne!(has.is_ok(), stays, "round {round}");
            taken += u32::from(has.is_ok());
            kept += u32::from(stays);
        }
        assert_eq!(taken + kept, 2000);
    }
}
