//! The links of a running gateway: which are up, which carry the flows, and where they are dialled.

mod damping;
mod dial;
mod export;
mod orders;
mod own_addresses;
pub mod sources;
mod status;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use crate::control::message::{LinkState, SiteState};
use crate::gateway::election::Election;
use crate::gateway::names::Names;
use crate::gateway::plan::PlannedLink;
use crate::ids::{LinkId, SiteId};
use crate::journal::Change;
use crate::tunnel::{LinkChange, PeerSnapshot};
pub use dial::Dial;
pub use export::LinkExport;
pub use own_addresses::OwnAddress;
pub(super) use status::CONNECTING_FOR;
pub use status::{LinkStatus, StateChange};

/// Seconds between keepalives where the file says nothing: keeps NAT mappings and the session, so
/// that `status` tells the truth and the first packet finds the way open.
pub const DEFAULT_KEEPALIVE: u16 = 25;

/// All links.
#[derive(Debug)]
pub struct Links {
    by_id: HashMap<LinkId, LinkStatus>,
    /// Each lane of a site chooses from its own links.
    elections: HashMap<(SiteId, u16), Election>,
    /// Of state, not yet told.
    changes: Vec<Change>,
    /// Only IPv4 can be dialled.
    ipv4_only: bool,
    /// Where the names of their endpoints lead.
    pub resolved: Names,
    /// Addresses whose packets would enter the tunnel, each with the reason.
    swallowed: HashMap<IpAddr, String>,
    /// Whether a link leads to another address than when this was asked for last.
    moved: bool,
}

/// A WAN interface as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wan {
    /// Its name.
    pub name: String,
    /// Whether it is up and has carrier.
    pub carrier: bool,
    /// Its index; `None` while it is away.
    pub index: Option<NonZeroU32>,
    /// Its MTU; `None` while it is away.
    pub mtu: Option<u32>,
}

/// What paths are held to, beside their WANs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathLimits {
    /// MTU of the tunnel.
    pub tunnel: u16,
    /// A person has chosen it.
    pub chosen: bool,
    /// Paths are looked at.
    pub probes: bool,
}

/// Which links carry a site's flows on a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranks {
    /// The lane that is to know.
    pub lane: u16,
    /// The site.
    pub site: SiteId,
    /// Best first; those of equal rank share the flows.
    pub links: Vec<Vec<LinkId>>,
}

impl PlannedLink {
    /// Seconds between keepalives. A file cannot turn them off: what it takes starts at 1.
    pub fn keepalive(&self) -> Option<u16> {
        Some(
            self.gateway
                .persistent_keepalive
                .unwrap_or(DEFAULT_KEEPALIVE),
        )
        .filter(|s| *s > 0)
    }
}

impl Links {
    /// No links.
    pub fn new(ipv4_only: bool) -> Self {
        Self {
            by_id: HashMap::new(),
            elections: HashMap::new(),
            changes: Vec::new(),
            ipv4_only,
            resolved: Names::default(),
            swallowed: HashMap::new(),
            moved: false,
        }
    }

    /// Adds a link, or replaces the one of the same id.
    pub fn insert(&mut self, planned: PlannedLink, hold_down: Duration, now: Instant) {
        self.remove(planned.id);
        self.rank(&planned, hold_down);
        self.by_id.insert(planned.id, LinkStatus::new(planned, now));
    }

    /// Takes what the file says now of a link that goes on.
    pub fn replan(&mut self, planned: PlannedLink, hold_down: Duration, now: Instant) {
        self.rank(&planned, hold_down);
        if let Some(link) = self.by_id.get_mut(&planned.id) {
            link.planned = planned;
            link.next_endpoint = 0;
            link.next_dial = now;
        }
    }

    /// Takes the hold-down of a site for what comes up from now on.
    pub fn set_hold_down(&mut self, site: SiteId, hold_down: Duration) {
        for ((of, _), election) in &mut self.elections {
            if *of == site {
                election.set_hold_down(hold_down);
            }
        }
    }

    fn rank(&mut self, planned: &PlannedLink, hold_down: Duration) {
        let Some(key) = election_of(planned) else {
            return;
        };
        let election = self
            .elections
            .entry(key)
            .or_insert_with(|| Election::new(hold_down));
        election.set_hold_down(hold_down);
        election.set(planned.id, planned.path.priority);
    }

    /// Forgets a link.
    pub fn remove(&mut self, link: LinkId) {
        let Some(link) = self.by_id.remove(&link) else {
            return;
        };
        if let Some(key) = election_of(&link.planned)
            && let Some(election) = self.elections.get_mut(&key)
            && election.remove(link.planned.id)
        {
            self.elections.remove(&key);
        }
    }

    /// What the file said of each, in the order of their ids.
    pub fn planned(&self) -> Vec<PlannedLink> {
        let links = self.by_id.values();
        let mut planned: Vec<_> = links.map(|link| link.planned.clone()).collect();
        planned.sort_by_key(|link| link.id);
        planned
    }

    /// A link.
    pub fn get(&self, link: LinkId) -> Option<&LinkStatus> {
        self.by_id.get(&link)
    }

    /// Those of a site.
    pub fn of_site(&self, site: SiteId) -> Vec<&LinkStatus> {
        let mut links: Vec<_> = self
            .by_id
            .values()
            .filter(|link| link.planned.site == Some(site))
            .collect();
        links.sort_by_key(|link| link.planned.id);
        links
    }

    /// The lanes that may carry the flows of each site that has a link, a bit each. Lane 0 always may:
    /// its session is begun by the first packet.
    pub fn lanes_up(&self) -> HashMap<SiteId, u32> {
        let mut masks = HashMap::new();
        for link in self.by_id.values() {
            let Some(site) = link.planned.site else {
                continue;
            };
            let mask = masks.entry(site).or_insert(1);
            if link.state == LinkState::Up {
                *mask |= 1 << link.planned.lane;
            }
        }
        masks
    }

    /// All of them by site, in the order of their ids.
    pub fn by_site(&self) -> HashMap<SiteId, Vec<&LinkStatus>> {
        let mut sites: HashMap<SiteId, Vec<&LinkStatus>> = HashMap::new();
        for link in self.by_id.values() {
            if let Some(site) = link.planned.site {
                sites.entry(site).or_default().push(link);
            }
        }
        for links in sites.values_mut() {
            links.sort_by_key(|link| link.planned.id);
        }
        sites
    }

    /// Those to replicas of this gateway, in the order of their ids.
    pub fn to_replicas(&self) -> Vec<&LinkStatus> {
        let links = self.by_id.values();
        let mut links: Vec<_> = links.filter(|link| link.planned.site.is_none()).collect();
        links.sort_by_key(|link| link.planned.id);
        links
    }

    /// Takes what a lane says of its peers.
    pub fn on_snapshot(&mut self, peers: Vec<PeerSnapshot>, now: Instant) {
        for peer in peers {
            let id = peer.link;
            if let Some(link) = self.by_id.get_mut(&id) {
                self.changes.extend(link.on_snapshot(peer, now));
            }
            self.follow_remote(id, now);
            self.assess(id, now);
            self.learn_from(id);
        }
    }

    /// Takes what BFD says of a link.
    pub fn on_change(&mut self, change: LinkChange, now: Instant) {
        if let Some(link) = self.by_id.get_mut(&change.link) {
            link.pulse = Some(change.pulse);
        }
        self.assess(change.link, now);
    }

    /// Judges a link anew, and tells the election.
    fn assess(&mut self, id: LinkId, now: Instant) {
        let Some(link) = self.by_id.get_mut(&id) else {
            return;
        };
        if let Some(change) = link.assess(now) {
            self.changes.push(link.describe(&change));
            if change.to == LinkState::Down {
                // Its name may lead elsewhere by now, or another endpoint may answer.
                link.next_dial = now;
            }
        }
        if let Some(key) = election_of(&link.planned)
            && let Some(election) = self.elections.get_mut(&key)
        {
            election.on_health(id, link.health(), now);
        }
    }

    /// The changes of state since this was asked last.
    pub fn poll_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// The ranks that have changed.
    pub fn poll_ranks(&mut self, now: Instant) -> Vec<Ranks> {
        let elections = self.elections.iter_mut();
        let changed = elections.filter_map(|((site, lane), election)| {
            election.poll(now).map(|links| Ranks {
                lane: *lane,
                site: *site,
                links,
            })
        });
        changed.collect()
    }

    /// When ranks change by the clock alone.
    pub fn next_timeout(&self) -> Option<Instant> {
        let elections = self.elections.values();
        elections.filter_map(Election::next_timeout).min()
    }

    /// Why a link is in its state, and what else decides whether it carries flows.
    pub fn why(&self, link: &LinkStatus, now: Instant) -> String {
        let mut why = link.why.clone();
        let site = link.planned.site;
        let election = site.and_then(|site| self.elections.get(&(site, link.planned.lane)));
        if let Some(election) = election {
            if election.is_preferred(link.planned.id) {
                why.push_str("; preferred");
            }
            if let Some(time) = election.held_for(link.planned.id, now) {
                let seconds = time.as_secs_f64().ceil();
                let _ = write!(why, "; held down, {seconds} s more");
            }
        }
        why
    }

    /// The links that share a site's flows on a lane, in the order in which the lane counts them: of the highest rank
    /// that has any that is up; all of the highest rank where none has.
    pub fn serving(&self, site: SiteId, lane: u16) -> Vec<&LinkStatus> {
        let election = self.elections.get(&(site, lane));
        let ranks = election.map(Election::ranks).unwrap_or_default();
        let links = |rank: &Vec<LinkId>| -> Vec<&LinkStatus> {
            rank.iter()
                .filter_map(|link| self.by_id.get(link))
                .collect()
        };
        let alive = ranks.iter().map(|rank| {
            let mut links = links(rank);
            links.retain(|link| link.state == LinkState::Up);
            links
        });
        let mut alive = alive.filter(|links| !links.is_empty());
        alive
            .next()
            .or_else(|| ranks.first().map(links))
            .unwrap_or_default()
    }

    /// Whether a link carries flows now.
    pub fn carries(&self, link: &LinkStatus) -> bool {
        let election = election_of(&link.planned).and_then(|key| self.elections.get(&key));
        let ranks = election.map(Election::ranks).unwrap_or_default();
        link.state == LinkState::Up
            && ranks
                .first()
                .is_some_and(|first| first.contains(&link.planned.id))
    }
}

/// The election that a link takes part in.
fn election_of(planned: &PlannedLink) -> Option<(SiteId, u16)> {
    Some((planned.site?, planned.lane))
}

/// The state of a site by the states of its links.
pub fn site_state(links: &[&LinkStatus]) -> (SiteState, String) {
    let up = links
        .iter()
        .filter(|link| link.state == LinkState::Up)
        .count();
    let troubled = || {
        let texts: Vec<String> = links
            .iter()
            .filter(|link| link.state != LinkState::Up)
            .map(|link| format!("{}: {}", link.planned.name(), link.why))
            .collect();
        texts.join("; ")
    };
    match up {
        0 => (SiteState::Down, troubled()),
        up if up < links.len() => (SiteState::Degraded, troubled()),
        _ => (SiteState::Active, "every link is up".to_owned()),
    }
}

#[cfg(test)]
mod tests;
