//! The state of links for a hand-over to the next agent.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::damping::Damping;
use super::{Links, election_of};
use crate::control::message::LinkState;
use crate::gateway::election::MemberExport;
use crate::ids::LinkId;
use crate::tunnel::link_bfd::LanRole;

/// A far end that is there has answered by then.
const JUST_BEGUN: Duration = Duration::from_secs(1);

/// The state of a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkExport {
    /// The link.
    pub link: LinkId,
    /// Whether it can carry traffic.
    pub state: LinkState,
    /// Why it is in this state.
    pub why: String,
    /// Time since it is.
    pub since_ms: u64,
    /// A person has taken it out of service.
    pub drained: bool,
    /// What the far end was told last.
    pub service: LanRole,
    /// Time until it is to be dialled again, if it is not up by then.
    pub dial_in_ms: u64,
    /// Which of its endpoints is next.
    pub next_endpoint: usize,
    /// How often it has gone down soon after it had come up.
    #[serde(default)]
    pub flaps: u32,
    /// How it stands in its election.
    pub member: Option<MemberExport>,
}

impl Links {
    /// The states, for the agent that takes over.
    pub fn export(&self, now: Instant) -> Vec<LinkExport> {
        let links = self.by_id.values();
        links
            .map(|link| LinkExport {
                link: link.planned.id,
                state: link.state,
                why: link.why.clone(),
                since_ms: now.saturating_duration_since(link.since).as_millis() as u64,
                drained: link.drained,
                service: link.service,
                dial_in_ms: link.next_dial.saturating_duration_since(now).as_millis() as u64,
                next_endpoint: link.next_endpoint,
                flaps: link.damping.flaps(),
                member: election_of(&link.planned)
                    .and_then(|key| self.elections.get(&key))
                    .and_then(|election| election.export(link.planned.id, now)),
            })
            .collect()
    }

    /// Continues from a state that [`Self::export`] returned.
    pub fn import(&mut self, export: LinkExport, now: Instant) {
        let Some(link) = self.by_id.get_mut(&export.link) else {
            return;
        };
        let since = Duration::from_millis(export.since_ms);
        link.since = now.checked_sub(since).unwrap_or(now);
        link.state = export.state;
        link.why = export.why;
        link.drained = export.drained;
        link.service = export.service;
        let came_up = (export.state == LinkState::Up).then_some(link.since);
        link.damping = Damping::after(export.flaps, came_up);
        if export.state != LinkState::Connecting || since > JUST_BEGUN {
            // Its handshake stays behind, but the far ends of many links may be silent for good: not all
            // of them are dialled anew at once.
            link.next_dial = now + Duration::from_millis(export.dial_in_ms);
            link.next_endpoint = export.next_endpoint;
        }
        let election = election_of(&link.planned).and_then(|key| self.elections.get_mut(&key));
        if let (Some(election), Some(member)) = (election, export.member) {
            election.import(export.link, &member, now);
        }
    }
}
