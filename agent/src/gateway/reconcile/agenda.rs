//! Which steps are due, which have failed, and when those are tried again. Pure: time comes in.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::step::{Dirty, Step};

/// Until a step that has failed is tried again, for the first time; doubled each time after that. The tick is no
/// finer.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause: whoever mends the cause need not wait long, and a host that cannot be brought in order is
/// asked for all its routes once a minute at most.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// The steps that are due.
#[derive(Debug, Default)]
pub struct Agenda {
    dirty: Dirty,
    failures: BTreeMap<Step, Failure>,
}

#[derive(Debug)]
struct Failure {
    why: String,
    attempts: u32,
    /// `None`: at once.
    retry_at: Option<Instant>,
}

/// The steps that failed at some moment, each with the reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failures(BTreeMap<Step, String>);

impl Agenda {
    /// Makes steps due, also those that wait to be tried again: the cause may be gone.
    pub fn mark(&mut self, dirty: Dirty) {
        self.dirty |= dirty;
        for (step, failure) in &mut self.failures {
            if dirty.contains(*step) {
                failure.retry_at = None;
            }
        }
    }

    /// The next step to take.
    pub fn next(&self, now: Instant) -> Option<Step> {
        let rules = Step::RULES.iter();
        let due = |step| match self.failures.get(&step).map(|failure| failure.retry_at) {
            Some(Some(retry_at)) => retry_at <= now,
            Some(None) | None => true,
        };
        let mut ready = rules.filter(|rule| {
            self.dirty.contains(rule.step) && !self.dirty.meets(rule.waits_for) && due(rule.step)
        });
        ready.next().map(|rule| rule.step)
    }

    /// A step has succeeded, and made others due; whether it had failed before.
    pub fn on_done(&mut self, step: Step, effects: Dirty) -> bool {
        let done = step.rule().covers | step;
        self.dirty = self.dirty.without(done);
        let failed_before = self.failures.contains_key(&step);
        self.failures.retain(|failed, _| !done.contains(*failed));
        self.mark(effects);
        failed_before
    }

    /// A step has failed and stays due; whether that is news.
    pub fn on_failed(&mut self, step: Step, why: String, now: Instant) -> bool {
        let known = self.why().any(|(_, known)| *known == why);
        let before = self
            .failures
            .get(&step)
            .map_or(0, |failure| failure.attempts);
        let failure = Failure {
            why,
            attempts: before + 1,
            retry_at: Some(now + pause(before)),
        };
        self.failures.insert(step, failure);
        !known
    }

    /// What fails now, a line each. A cause that keeps several steps from succeeding is told once.
    pub fn warnings(&self) -> Vec<String> {
        let mut causes: Vec<&str> = Vec::new();
        let mut warnings = Vec::new();
        for (step, why) in self.why() {
            if !causes.contains(&why) {
                causes.push(why);
                warnings.push(describe(step, why));
            }
        }
        warnings
    }

    /// What fails now, for [`Self::new_since`].
    pub fn failures(&self) -> Failures {
        Failures(
            self.why()
                .map(|(step, why)| (step, why.to_owned()))
                .collect(),
        )
    }

    /// What fails now and did not, or for another reason, at the time of `before`; a line for each cause.
    pub fn new_since(&self, before: &Failures) -> Vec<String> {
        let mut causes: Vec<&str> = Vec::new();
        for (step, why) in self.why() {
            let known = before.0.get(&step).is_some_and(|known| known == why);
            if !known && !causes.contains(&why) {
                causes.push(why);
            }
        }
        causes.into_iter().map(str::to_owned).collect()
    }

    fn why(&self) -> impl Iterator<Item = (Step, &str)> {
        let failures = self.failures.iter();
        failures.map(|(step, failure)| (*step, failure.why.as_str()))
    }
}

/// What a person is told of a step that fails.
pub fn describe(step: Step, why: &str) -> String {
    format!(
        "{}: {why} (tried again until it succeeds)",
        step.rule().name
    )
}

/// How long to wait after a failure that `attempts` others came before.
fn pause(attempts: u32) -> Duration {
    let doubled = FIRST_PAUSE.checked_mul(1 << attempts.min(16));
    doubled.unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests;
