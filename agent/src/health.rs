//! Whether the LAN behind this gateway is alive: by the carrier of its LAN interfaces and by targets
//! in the LAN that are probed.
//!
//! The LAN is dead when no LAN interface has carrier, or when targets are configured and every one of
//! them is down: one server that is being restarted must not take a site off the network, and a
//! switch that has died takes them all. A target is down after so many failures in a row and up
//! after so many successes, see [`threshold`](crossway_liveness::threshold); until its first verdict, and while it cannot be probed
//! at all, it counts as up. [`probe`] asks and tells [`Health`], which is pure.

pub mod echo;
pub mod probe;

use std::time::Instant;

use crate::config::HealthTarget;
use crate::control::message::{self, EventKind};
use crate::journal::Change;
use crossway_liveness::threshold::{State, Threshold};

/// What came of one probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Of which target.
    pub target: HealthTarget,
    /// What it did.
    pub answer: Answer,
}

/// What a target did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It answered in time.
    Yes,
    /// It did not; why.
    No(String),
    /// It could not be asked, which is no fault of its own; why.
    Unknown(String),
}

/// The verdict on the LAN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lan {
    /// Whether hosts can be reached behind this gateway.
    pub alive: bool,
    /// Why.
    pub cause: String,
    /// Since when.
    pub since: Instant,
}

/// All that the verdict is made from.
#[derive(Debug)]
pub struct Health {
    targets: Vec<Target>,
    /// Each LAN interface with its state, `up` if it has carrier.
    interfaces: Vec<(String, &'static str)>,
    lan: Lan,
}

/// A target with its state.
#[derive(Debug)]
struct Target {
    config: HealthTarget,
    threshold: Threshold,
    why: String,
    since: Instant,
    /// The last probe could not be made.
    impossible: bool,
}

impl Health {
    /// Nothing is known: alive.
    pub fn new(now: Instant) -> Self {
        Self {
            targets: Vec::new(),
            interfaces: Vec::new(),
            lan: Lan {
                alive: true,
                cause: "nothing is known yet".to_owned(),
                since: now,
            },
        }
    }

    /// The verdict.
    pub fn lan(&self) -> &Lan {
        &self.lan
    }

    /// Takes the targets of a configuration; those that stay keep their state.
    pub fn set_targets(&mut self, wanted: &[HealthTarget], now: Instant) -> Vec<Change> {
        let mut before = std::mem::take(&mut self.targets);
        self.targets = wanted
            .iter()
            .map(|config| {
                let at = before.iter().position(|target| target.config == *config);
                at.map_or_else(
                    || Target {
                        config: config.clone(),
                        threshold: Threshold::new(config.failures, config.successes),
                        why: "not probed yet".to_owned(),
                        since: now,
                        impossible: false,
                    },
                    |at| before.swap_remove(at),
                )
            })
            .collect();
        self.judge(now).into_iter().collect()
    }

    /// Takes the states of the LAN interfaces, `up` for one that has carrier.
    pub fn set_interfaces(
        &mut self,
        interfaces: Vec<(String, &'static str)>,
        now: Instant,
    ) -> Vec<Change> {
        self.interfaces = interfaces;
        self.judge(now).into_iter().collect()
    }

    /// Takes what came of a probe; the changes of the target and of the LAN.
    pub fn on_outcome(&mut self, outcome: Outcome, now: Instant) -> Vec<Change> {
        let mut targets = self.targets.iter_mut();
        let Some(target) = targets.find(|target| target.config == outcome.target) else {
            return Vec::new();
        };
        let mut changes: Vec<Change> = target.on_answer(outcome.answer, now).into_iter().collect();
        changes.extend(self.judge(now));
        changes
    }

    /// As `status` tells it.
    pub fn describe(&self, seconds_since: impl Fn(Instant) -> u64) -> message::Health {
        let describe = |target: &Target| message::HealthTarget {
            target: target.config.target_text(),
            kind: target.config.kind_word().to_owned(),
            interface: target.config.interface.clone(),
            state: target.threshold.state().as_str().to_owned(),
            since_seconds: seconds_since(target.since),
            why: target.why.clone(),
        };
        message::Health {
            lan_alive: self.lan.alive,
            since_seconds: seconds_since(self.lan.since),
            why: self.lan.cause.clone(),
            targets: self.targets.iter().map(describe).collect(),
        }
    }

    /// Targets that cannot be probed, one line each.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        let impossible = self.targets.iter().filter(|target| target.impossible);
        impossible.map(|target| format!("health target {}", target.failure()))
    }

    fn judge(&mut self, now: Instant) -> Option<Change> {
        let (alive, cause) = self.verdict();
        let before = self.lan.alive;
        self.lan.cause.clone_from(&cause);
        if alive == before {
            return None;
        }
        self.lan.alive = alive;
        self.lan.since = now;
        let word = |alive| if alive { "alive" } else { "dead" }.to_owned();
        Some(Change {
            kind: EventKind::Health,
            subject: "LAN".to_owned(),
            from: Some(word(before)),
            to: word(alive),
            cause,
        })
    }

    fn verdict(&self) -> (bool, String) {
        if !self.interfaces.is_empty() && self.interfaces.iter().all(|(_, state)| *state != "up") {
            let list = self.interfaces.iter();
            let list: Vec<String> = list
                .map(|(name, state)| format!("{name}: {state}"))
                .collect();
            return (false, list.join(", "));
        }
        let all = self.targets.len();
        let down = |target: &&Target| target.threshold.state() == State::Down;
        let down = self.targets.iter().filter(down).count();
        match (all, down) {
            (0, _) => (true, "a LAN interface has carrier".to_owned()),
            (1, 1) => (
                false,
                format!("health target {}", self.targets[0].failure()),
            ),
            (_, down) if down == all => {
                let targets = self.targets.iter().map(Target::failure);
                let list: Vec<String> = targets.collect();
                (
                    false,
                    format!("every health target is down: {}", list.join("; ")),
                )
            }
            (all, 0) => (true, format!("no health target of {all} is down")),
            (all, down) => (true, format!("{down} of {all} health targets down")),
        }
    }
}

impl Target {
    fn on_answer(&mut self, answer: Answer, now: Instant) -> Option<Change> {
        let before = self.threshold.state();
        self.impossible = matches!(answer, Answer::Unknown(_));
        match answer {
            Answer::Yes => {
                self.threshold.on_result(true);
                "it answers".clone_into(&mut self.why);
            }
            Answer::No(why) => {
                self.threshold.on_result(false);
                self.why = why;
            }
            Answer::Unknown(why) => {
                self.threshold.forget();
                self.why = why;
            }
        }
        let state = self.threshold.state();
        if state == before {
            return None;
        }
        self.since = now;
        Some(Change {
            kind: EventKind::Health,
            subject: self.config.to_string(),
            from: Some(before.as_str().to_owned()),
            to: state.as_str().to_owned(),
            cause: self.why.clone(),
        })
    }

    fn failure(&self) -> String {
        format!("{}: {}", self.config, self.why)
    }
}

#[cfg(test)]
mod tests;
