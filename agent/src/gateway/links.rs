//! The state of each link, and where it is dialled.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::config::Endpoint;
use crate::control::message::{LinkState, SiteState};
use crate::gateway::plan::PlannedLink;
use crate::ids::{LinkId, SiteId};
use crate::tunnel::PeerSnapshot;

/// How long a link may look for its far end before it counts as down: three handshake retries
/// (REKEY_TIMEOUT is 5 s, WireGuard whitepaper 6.1).
const CONNECTING_FOR: Duration = Duration::from_secs(15);
/// A link that is not up is dialled at its next endpoint, resolved anew, this often.
const REDIAL_AFTER: Duration = Duration::from_secs(10);
/// Links dialled at once. A handshake takes the lane 80 µs in which it carries nothing; those of
/// thousands of links must not be due in the same moment, now and at every retry.
const MOST_DIALS: usize = 256;
/// Seconds between keepalives where the file says nothing: keeps NAT mappings and the session, so
/// that `status` tells the truth and the first packet finds the way open.
pub const DEFAULT_KEEPALIVE: u16 = 25;

/// One link at run time.
#[derive(Debug)]
pub struct LinkStatus {
    /// What it is.
    pub planned: PlannedLink,
    /// Whether it can carry traffic.
    pub state: LinkState,
    /// Why it is in this state.
    pub why: String,
    /// Since when.
    pub since: Instant,
    /// What the lane said last.
    pub peer: Option<PeerSnapshot>,
    next_endpoint: usize,
    next_dial: Instant,
}

/// An endpoint to dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dial {
    /// The link.
    pub link: LinkId,
    /// Where it is to be dialled.
    pub remote: SocketAddr,
}

/// All links.
#[derive(Debug)]
pub struct Links {
    by_id: HashMap<LinkId, LinkStatus>,
    /// Only IPv4 can be dialled.
    ipv4_only: bool,
    resolved: mpsc::Sender<Dial>,
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
    /// No links. What is resolved comes out of the other end of `resolved`.
    pub fn new(ipv4_only: bool, resolved: mpsc::Sender<Dial>) -> Self {
        Self {
            by_id: HashMap::new(),
            ipv4_only,
            resolved,
        }
    }

    /// Adds a link, or replaces the one of the same id.
    pub fn insert(&mut self, planned: PlannedLink, now: Instant) {
        let why = if planned.gateway.endpoints.is_empty() {
            "waits for the far gateway to dial: it has no endpoint here".to_owned()
        } else {
            "dialling".to_owned()
        };
        let status = LinkStatus {
            state: LinkState::Connecting,
            why,
            since: now,
            peer: None,
            next_endpoint: 0,
            next_dial: now,
            planned,
        };
        self.by_id.insert(status.planned.id, status);
    }

    /// Takes what the file says now of a link that goes on.
    pub fn replan(&mut self, planned: PlannedLink, now: Instant) {
        if let Some(link) = self.by_id.get_mut(&planned.id) {
            link.planned = planned;
            link.next_endpoint = 0;
            link.next_dial = now;
        }
    }

    /// Forgets a link.
    pub fn remove(&mut self, link: LinkId) {
        self.by_id.remove(&link);
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
            .filter(|link| link.planned.site == site)
            .collect();
        links.sort_by_key(|link| link.planned.id);
        links
    }

    /// The lanes that may carry the flows of each site that has a link, a bit each. Lane 0 always may:
    /// its session is begun by the first packet.
    pub fn lanes_up(&self) -> HashMap<SiteId, u32> {
        let mut masks = HashMap::new();
        for link in self.by_id.values() {
            let mask = masks.entry(link.planned.site).or_insert(1);
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
            sites.entry(link.planned.site).or_default().push(link);
        }
        for links in sites.values_mut() {
            links.sort_by_key(|link| link.planned.id);
        }
        sites
    }

    /// Takes what a lane says of its peers.
    pub fn on_snapshot(&mut self, peers: Vec<PeerSnapshot>, now: Instant) {
        for peer in peers {
            if let Some(link) = self.by_id.get_mut(&peer.link) {
                link.on_snapshot(peer, now);
            }
        }
    }

    /// Dials the links that are not up and whose turn it is, those first that have waited longest;
    /// names are resolved beside.
    pub fn handle_timeout(&mut self, now: Instant) {
        let links = self.by_id.values_mut();
        let mut due: Vec<&mut LinkStatus> =
            links.filter(|link| link.is_to_be_dialled(now)).collect();
        due.sort_by_key(|link| (link.next_dial, link.planned.id));
        for link in due.into_iter().take(MOST_DIALS) {
            let endpoints = &link.planned.gateway.endpoints;
            let endpoint = endpoints[link.next_endpoint % endpoints.len()].clone();
            link.next_endpoint += 1;
            link.next_dial = now + REDIAL_AFTER;
            let (id, lane) = (link.planned.id, link.planned.lane);
            let (resolved, ipv4_only) = (self.resolved.clone(), self.ipv4_only);
            tokio::spawn(async move {
                if let Some(mut remote) = resolve(&endpoint, ipv4_only).await {
                    remote.set_port(remote.port().saturating_add(lane));
                    // The gateway has stopped if nobody takes it.
                    let _ = resolved.send(Dial { link: id, remote }).await;
                }
            });
        }
    }

    /// Dials a link at once, whatever its state: its endpoint has changed in the file.
    pub fn redial(&mut self, link: LinkId, now: Instant) {
        if let Some(link) = self.by_id.get_mut(&link) {
            link.state = LinkState::Connecting;
            link.since = now;
            "dialling the new endpoint".clone_into(&mut link.why);
        }
    }
}

impl LinkStatus {
    fn is_to_be_dialled(&self, now: Instant) -> bool {
        self.state != LinkState::Up
            && !self.planned.gateway.endpoints.is_empty()
            && now >= self.next_dial
    }

    fn on_snapshot(&mut self, peer: PeerSnapshot, now: Instant) {
        let endpoint = peer.endpoint.map(|endpoint| endpoint.remote);
        let waited = now.saturating_duration_since(self.since);
        let (state, why) = match (peer.handshake_age, endpoint) {
            (Some(_), _) => (LinkState::Up, "handshake completed".to_owned()),
            (None, Some(remote)) => {
                let long = self.state == LinkState::Down || waited >= CONNECTING_FOR;
                // A session that ended (nothing heard for 180 s) is down at once.
                let state = if self.state == LinkState::Up || long {
                    LinkState::Down
                } else {
                    LinkState::Connecting
                };
                (state, format!("no answer from {remote}"))
            }
            (None, None) => (self.state, self.why.clone()),
        };
        self.peer = Some(peer);
        if state != self.state {
            tracing::info!(
                site = self.planned.site_name,
                gateway = self.planned.gateway.name,
                from = self.state.as_str(),
                to = state.as_str(),
                why,
                "link"
            );
            self.state = state;
            self.since = now;
        }
        self.why = why;
    }
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
            .map(|link| format!("{}: {}", link.planned.gateway.name, link.why))
            .collect();
        texts.join("; ")
    };
    match up {
        0 => (SiteState::Down, troubled()),
        up if up < links.len() => (SiteState::Degraded, troubled()),
        _ => (SiteState::Active, "every link is up".to_owned()),
    }
}

async fn resolve(endpoint: &Endpoint, ipv4_only: bool) -> Option<SocketAddr> {
    match endpoint {
        Endpoint::Address(address) => Some(*address),
        Endpoint::Name { host, port } => {
            match tokio::net::lookup_host((host.as_str(), *port)).await {
                Ok(mut addresses) => {
                    let found = addresses.find(|address| address.is_ipv4() || !ipv4_only);
                    if found.is_none() {
                        tracing::warn!(
                            host,
                            "the name has no address that this gateway's socket can reach"
                        );
                    }
                    found
                }
                Err(error) => {
                    tracing::warn!(host, %error, "the endpoint's name does not resolve; tried again soon");
                    None
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
