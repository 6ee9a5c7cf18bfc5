//! The state of a member of an election for a hand-over to the next agent.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Election, Health};
use crate::ids::LinkId;

/// How a link stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberExport {
    health: Health,
    preferred: bool,
    promoted: bool,
    /// Time since it came up last.
    came_up_ms: Option<u64>,
    /// Time for which it is still held down.
    held_ms: Option<u64>,
    flaps: u32,
}

impl Election {
    /// How `link` stands.
    pub fn export(&self, link: LinkId, now: Instant) -> Option<MemberExport> {
        let member = self.members.get(&link)?;
        let milliseconds = |span: Duration| span.as_millis() as u64;
        let came_up = member.came_up;
        let held_until = member.held_until;
        Some(MemberExport {
            health: member.health,
            preferred: member.preferred,
            promoted: member.promoted,
            came_up_ms: came_up.map(|at| milliseconds(now.saturating_duration_since(at))),
            held_ms: held_until.map(|at| milliseconds(at.saturating_duration_since(now))),
            flaps: member.flaps,
        })
    }

    /// Continues from what [`Self::export`] returned; the priority is the file's.
    pub fn import(&mut self, link: LinkId, export: &MemberExport, now: Instant) {
        let Some(member) = self.members.get_mut(&link) else {
            return;
        };
        self.changed = true;
        member.health = export.health;
        member.preferred = export.preferred;
        member.promoted = export.promoted;
        let ago = |span| now.checked_sub(Duration::from_millis(span)).unwrap_or(now);
        member.came_up = export.came_up_ms.map(ago);
        member.held_until = export.held_ms.map(|span| now + Duration::from_millis(span));
        member.flaps = export.flaps;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossway_sys::clock;

    #[test]
    fn ranks_orders_and_hold_downs_go_on() {
        let (start, hold_down) = (clock::now(), Duration::from_secs(5));
        let (a, b, c) = (LinkId(1), LinkId(2), LinkId(3));
        let blank = || {
            let mut election = Election::new(hold_down);
            for (link, priority) in [(a, 300), (b, 200), (c, 100)] {
                election.set(link, priority);
            }
            election
        };
        let up = Health {
            up: true,
            ..Health::default()
        };
        let mut before = blank();
        for link in [a, b, c] {
            before.on_health(link, up, start);
        }
        before.on_health(a, Health::default(), start);
        before.on_health(a, up, start + Duration::from_secs(1));
        before.prefer(c, true);
        let now = start + Duration::from_secs(2);
        let mut after = blank();
        for link in [a, b, c] {
            let export = before.export(link, now).unwrap();
            after.import(link, &export, now);
        }
        assert_eq!(after.poll(now), before.poll(now));
        assert_eq!(after.ranks(), [[c], [b], [a]]);
        assert_eq!(after.held_for(a, now), Some(Duration::from_secs(4)));
        let later = now + Duration::from_secs(4);
        after.poll(later).unwrap();
        assert_eq!(after.ranks(), [[c], [a], [b]]);
    }
}
