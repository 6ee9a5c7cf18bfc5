//! Compares the states of sites and interfaces with what they were, so that each change is recorded
//! once, whoever made it. Pure.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::links::{CONNECTING_FOR, LinkStatus, Links, site_state};
use super::plan::{Plan, PlannedSite};
use crate::control::message::{EventKind, LinkState, SiteState};
use crate::host::links::Interface;
use crate::ids::SiteId;
use crate::journal::Change;

/// Who drains a site's only link has another way: until hosts, or the other end, have turned to it, the site
/// goes on by this one.
const DRAINS_FOR: Duration = Duration::from_secs(2);

/// The states as they were last seen.
#[derive(Debug, Default)]
pub struct States {
    sites: HashMap<SiteId, SiteStatus>,
    interfaces: HashMap<String, InterfaceStatus>,
}

/// One site as it was last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteStatus {
    name: String,
    /// Whether traffic passes.
    pub state: SiteState,
    /// Why.
    pub why: String,
    /// Since when it has been in this state.
    pub since: Instant,
    /// Whether it counts as down.
    down: bool,
    /// Whether its state has been recorded.
    recorded: bool,
}

/// One interface as it was last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
struct InterfaceStatus {
    state: &'static str,
    /// Its index and MTU, while it is there.
    found: Option<(u32, u32)>,
}

impl States {
    /// Compares with the links and sites as they are now.
    pub fn follow(&mut self, plan: &Plan, links: &mut Links, now: Instant) -> Vec<Change> {
        let mut changes = links.poll_changes();
        let by_site = links.by_site();
        for site in &plan.sites {
            let links = by_site.get(&site.id).map_or(&[][..], Vec::as_slice);
            changes.extend(self.follow_site(site, links, now));
        }
        if self.sites.len() > plan.sites.len() {
            let planned: HashSet<SiteId> = plan.sites.iter().map(|site| site.id).collect();
            self.sites.retain(|id, _| planned.contains(id));
        }
        changes
    }

    /// A site as it was last seen.
    pub fn site(&self, id: SiteId) -> Option<&SiteStatus> {
        self.sites.get(&id)
    }

    /// Whether a site counts as down; see [`SiteStatus::is_down`].
    pub fn is_down(&self, site: &PlannedSite) -> bool {
        let seen = self.sites.get(&site.id);
        seen.is_some_and(|seen| seen.name == site.config.name && seen.is_down())
    }

    /// A site that has only just been configured is down without a word while its links connect.
    fn follow_site(
        &mut self,
        site: &PlannedSite,
        links: &[&LinkStatus],
        now: Instant,
    ) -> Option<Change> {
        let (state, why) = site_state(links);
        let name = &site.config.name;
        let fresh = || SiteStatus {
            name: name.clone(),
            state: SiteState::Down,
            why: String::new(),
            since: now,
            down: false,
            recorded: false,
        };
        let seen = self.sites.entry(site.id).or_insert_with(fresh);
        if seen.name != *name {
            // The number has gone to another site.
            *seen = fresh();
        }
        let down = state == SiteState::Down && links.iter().all(|link| link.has_failed(now));
        let from = seen.recorded.then(|| seen.state.as_str().to_owned());
        let recorded = seen.recorded || state != SiteState::Down || down;
        let changed = state != seen.state || recorded != seen.recorded;
        if state != seen.state {
            seen.since = now;
        }
        (seen.state, seen.down, seen.recorded) = (state, down, recorded);
        seen.why.clone_from(&why);
        changed.then(|| Change {
            kind: EventKind::Site,
            subject: name.clone(),
            from,
            to: state.as_str().to_owned(),
            cause: why,
        })
    }

    /// Compares with an interface as it is now; `None` where there is none of this name.
    pub fn follow_interface(&mut self, name: &str, found: Option<&Interface>) -> Option<Change> {
        let state = match found {
            None => "gone",
            Some(interface) if !interface.up => "down",
            Some(interface) if !interface.carrier => "no carrier",
            Some(_) => "up",
        };
        let found = found.map(|interface| (interface.index.0, interface.mtu));
        let now = InterfaceStatus { state, found };
        let before = self.interfaces.insert(name.to_owned(), now)?;
        let (from, to, cause) = match (before.found, found) {
            _ if before.state != state => (before.state.to_owned(), state.to_owned(), why(state)),
            (Some((old, _)), Some((new, _))) if old != new => (
                state.to_owned(),
                state.to_owned(),
                "another interface has its name now",
            ),
            (Some((_, old)), Some((_, new))) if old != new => {
                (format!("MTU {old}"), format!("MTU {new}"), "it was set")
            }
            _ => return None,
        };
        Some(Change {
            kind: EventKind::Host,
            subject: name.to_owned(),
            from: Some(from),
            to,
            cause: cause.to_owned(),
        })
    }

    /// The state of an interface as it was last seen, `up` if it has carrier.
    pub fn interface(&self, name: &str) -> Option<&'static str> {
        self.interfaces.get(name).map(|seen| seen.state)
    }

    /// Forgets the interfaces that `wanted` does not name.
    pub fn keep_interfaces(&mut self, wanted: &[&str]) {
        self.interfaces
            .retain(|name, _| wanted.contains(&name.as_str()));
    }
}

impl SiteStatus {
    /// Whether the site cannot be reached and is not merely about to be: no link is up, and none has
    /// begun to connect within the last [`CONNECTING_FOR`].
    pub fn is_down(&self) -> bool {
        self.down
    }
}

impl LinkStatus {
    /// Whether it is not up and has had its time.
    fn has_failed(&self, now: Instant) -> bool {
        let lasted = now.saturating_duration_since(self.since);
        match self.state {
            LinkState::Up => false,
            LinkState::Connecting => lasted >= CONNECTING_FOR,
            LinkState::Drained => lasted >= DRAINS_FOR,
            LinkState::Down => true,
        }
    }
}

fn why(interface_state: &str) -> &'static str {
    match interface_state {
        "gone" => "there is no interface of this name any more",
        "down" => "it was set down",
        "no carrier" => "its cable or its other end is away",
        _ => "it is set up and has carrier",
    }
}

#[cfg(test)]
mod tests;
