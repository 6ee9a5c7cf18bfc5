//! Hysteresis: a state that changes only after several results of the other kind in a row. Pure.

/// What is known of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Too few results.
    Unknown,
    /// It answers.
    Up,
    /// It does not.
    Down,
}

impl State {
    /// The word of `--json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// The state with the results that speak for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threshold {
    state: State,
    /// Results in a row of the kind of the last, and whether those were successes.
    run: u32,
    good: bool,
    failures: u32,
    successes: u32,
}

impl Threshold {
    /// Down after `failures` in a row, up after `successes`; each at least 1.
    pub fn new(failures: u32, successes: u32) -> Self {
        Self {
            state: State::Unknown,
            run: 0,
            good: false,
            failures,
            successes,
        }
    }

    /// What is known so far.
    pub fn state(&self) -> State {
        self.state
    }

    /// Takes a result.
    pub fn on_result(&mut self, good: bool) {
        self.run = if good == self.good {
            self.run.saturating_add(1)
        } else {
            1
        };
        self.good = good;
        let (needed, state) = if good {
            (self.successes, State::Up)
        } else {
            (self.failures, State::Down)
        };
        if self.run >= needed {
            self.state = state;
        }
    }

    /// There is no way to know any more.
    pub fn forget(&mut self) {
        *self = Self::new(self.failures, self.successes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The state after each result; `1` is a success.
    fn states(failures: u32, successes: u32, results: &str) -> Vec<&'static str> {
        let mut threshold = Threshold::new(failures, successes);
        let results = results.chars().map(|result| result == '1');
        results
            .map(|good| {
                threshold.on_result(good);
                threshold.state().as_str()
            })
            .collect()
    }

    #[test]
    fn each_way_takes_its_own_number_in_a_row() {
        assert_eq!(
            states(3, 2, "110001011"),
            [
                "unknown", "up", "up", "up", "down", "down", "down", "down", "up"
            ]
        );
    }

    #[test]
    fn single_faults_never_add_up() {
        let results = "110".repeat(50);
        assert!(
            states(2, 2, &results)[1..]
                .iter()
                .all(|state| *state == "up")
        );
    }

    #[test]
    fn a_target_that_never_answers_is_down_after_its_failures() {
        assert_eq!(states(3, 1, "000"), ["unknown", "unknown", "down"]);
        assert_eq!(states(1, 1, "01"), ["down", "up"]);
    }

    #[test]
    fn what_cannot_be_known_starts_anew() {
        let mut threshold = Threshold::new(1, 2);
        threshold.on_result(false);
        threshold.forget();
        assert_eq!(threshold.state(), State::Unknown);
        threshold.on_result(true);
        assert_eq!(threshold.state(), State::Unknown);
    }
}
