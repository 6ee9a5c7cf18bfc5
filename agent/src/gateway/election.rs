//! Which links carry a site's flows on one lane. Pure: time comes in, ranks come out.
//!
//! Links that are up are ranked: what a person promoted or prefers, then those that are not held down,
//! those whose gateway serves its LAN, and the priority of the file. Equals share the flows.

mod export;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::ids::LinkId;
pub use export::MemberExport;

/// A link that goes down before it was up for so many hold-downs is flapping.
const STABLE_AFTER: u32 = 10;
/// The hold-down of a flapping link doubles so often at most: 32 times its length.
const MOST_DOUBLINGS: u32 = 5;

/// What is known of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// It can carry traffic.
    pub up: bool,
    /// Another gateway of its site serves the LAN.
    pub standby: bool,
    /// A person has taken it out of service.
    pub drained: bool,
}

/// The links of a site on one lane.
#[derive(Debug)]
pub struct Election {
    hold_down: Duration,
    members: BTreeMap<LinkId, Member>,
    /// Something has changed since the ranks were asked for.
    changed: bool,
}

#[derive(Debug)]
struct Member {
    priority: u32,
    health: Health,
    preferred: bool,
    promoted: bool,
    /// Since when it is up, or was last.
    came_up: Option<Instant>,
    held_until: Option<Instant>,
    /// How often it went down again soon after it had come up.
    flaps: u32,
}

/// By what a link is ranked, the greater the better.
type Rank = (bool, bool, bool, bool, u32);

impl Election {
    /// No links.
    pub fn new(hold_down: Duration) -> Self {
        Self {
            hold_down,
            members: BTreeMap::new(),
            changed: false,
        }
    }

    /// Takes another hold-down for what comes up from now on.
    pub fn set_hold_down(&mut self, hold_down: Duration) {
        self.hold_down = hold_down;
    }

    /// Adds a link, or takes another priority of one.
    pub fn set(&mut self, link: LinkId, priority: u32) {
        self.changed = true;
        let member = self.members.entry(link).or_insert(Member {
            priority,
            health: Health::default(),
            preferred: false,
            promoted: false,
            came_up: None,
            held_until: None,
            flaps: 0,
        });
        member.priority = priority;
    }

    /// Forgets a link; whether it was the last.
    pub fn remove(&mut self, link: LinkId) -> bool {
        self.changed |= self.members.remove(&link).is_some();
        self.members.is_empty()
    }

    /// Takes what is known of a link now.
    pub fn on_health(&mut self, link: LinkId, health: Health, now: Instant) {
        let others_up = self
            .members
            .iter()
            .any(|(id, other)| *id != link && other.is_usable());
        let hold_down = self.hold_down;
        let Some(member) = self.members.get_mut(&link) else {
            return;
        };
        let before = std::mem::replace(&mut member.health, health);
        if before == health {
            return;
        }
        self.changed = true;
        if before.up && !health.up {
            member.on_down(hold_down, now);
        } else if !before.up && health.up {
            member.on_up(hold_down, others_up, now);
        }
    }

    /// Ranks a link above all that are not preferred, or no longer.
    pub fn prefer(&mut self, link: LinkId, preferred: bool) {
        if let Some(member) = self.members.get_mut(&link) {
            self.changed |= member.preferred != preferred;
            member.preferred = preferred;
        }
    }

    /// Ranks these links above all others at once, until they go down or others are promoted.
    pub fn promote(&mut self, links: &[LinkId]) {
        self.changed = true;
        for (id, member) in &mut self.members {
            member.promoted = links.contains(id);
            if member.promoted {
                member.held_until = None;
            }
        }
    }

    /// Whether a link is one of these.
    pub fn has(&self, link: LinkId) -> bool {
        self.members.contains_key(&link)
    }

    /// Whether a link is preferred.
    pub fn is_preferred(&self, link: LinkId) -> bool {
        self.members
            .get(&link)
            .is_some_and(|member| member.preferred)
    }

    /// How long a link is still held down.
    pub fn held_for(&self, link: LinkId, now: Instant) -> Option<Duration> {
        let until = self.members.get(&link)?.held_until?;
        (until > now).then(|| until - now)
    }

    /// When the ranks change by the clock alone.
    pub fn next_timeout(&self) -> Option<Instant> {
        let held = self.members.values().filter_map(|member| member.held_until);
        held.min()
    }

    /// The ranks, where something has changed since this was asked last.
    pub fn poll(&mut self, now: Instant) -> Option<Vec<Vec<LinkId>>> {
        for member in self.members.values_mut() {
            if member.held_until.is_some_and(|until| until <= now) {
                member.held_until = None;
                self.changed = true;
            }
        }
        std::mem::take(&mut self.changed).then(|| self.ranks())
    }

    /// The links, best first; where none is up, those that are not drained, for they may come up first
    /// where we know it last; where all are drained, all.
    pub fn ranks(&self) -> Vec<Vec<LinkId>> {
        let usable: Vec<_> = self.members.iter().filter(|(_, m)| m.is_usable()).collect();
        let mut candidates = usable;
        if candidates.is_empty() {
            candidates.extend(self.members.iter().filter(|(_, m)| !m.health.drained));
        }
        if candidates.is_empty() {
            // Until hosts and far ends have turned elsewhere.
            candidates.extend(&self.members);
        }
        candidates.sort_by_key(|(_, member)| Reverse(member.rank()));
        candidates
            .chunk_by(|(_, a), (_, b)| a.rank() == b.rank())
            .map(|equals| equals.iter().map(|(link, _)| **link).collect())
            .collect()
    }
}

impl Member {
    fn is_usable(&self) -> bool {
        self.health.up && !self.health.drained
    }

    fn rank(&self) -> Rank {
        let held = self.held_until.is_some();
        (
            self.promoted,
            self.preferred && !held,
            !held,
            !self.health.standby,
            self.priority,
        )
    }

    /// One that comes up for the first time has done nothing to be held down for.
    fn on_up(&mut self, hold_down: Duration, others_up: bool, now: Instant) {
        let again = self.came_up.replace(now).is_some();
        if again && others_up && !hold_down.is_zero() {
            self.held_until = Some(now + hold_down * (1 << self.flaps));
        }
    }

    fn on_down(&mut self, hold_down: Duration, now: Instant) {
        let stable = self
            .came_up
            .is_some_and(|came_up| now >= came_up + hold_down * STABLE_AFTER);
        self.flaps = match (stable, self.held_until) {
            (true, _) => 0,
            // The first time is an accident, not a habit.
            (false, None) => self.flaps,
            (false, Some(_)) => (self.flaps + 1).min(MOST_DOUBLINGS),
        };
        self.held_until = None;
        self.promoted = false;
    }
}

#[cfg(test)]
mod tests;
