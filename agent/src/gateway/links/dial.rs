//! Where links are dialled, and when.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{LinkStatus, Links, StateChange};
use crate::config::Endpoint;
use crate::control::message::LinkState;
use crate::ids::LinkId;

/// A link that is not up is dialled at its next endpoint, resolved anew, this often.
pub(super) const REDIAL_AFTER: Duration = Duration::from_secs(10);
/// Links dialled at once. A handshake takes the lane 80 µs in which it carries nothing; those of
/// thousands of links must not be due in the same moment, now and at every retry.
pub(super) const MOST_DIALS: usize = 256;

/// An endpoint to dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dial {
    /// The link.
    pub link: LinkId,
    /// Where it is to be dialled.
    pub remote: SocketAddr,
}

impl Links {
    /// The links that are not up and whose turn it is to be dialled, those first that have waited
    /// longest. Those whose endpoint is a name come when that is resolved.
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<Dial> {
        let mut at_once = Vec::new();
        let links = self.by_id.values_mut();
        let mut due: Vec<&mut LinkStatus> =
            links.filter(|link| link.is_to_be_dialled(now)).collect();
        due.sort_by_key(|link| (link.next_dial, link.planned.id));
        for link in due.into_iter().take(MOST_DIALS) {
            let endpoints = &link.planned.path.endpoints;
            let turn = link.next_endpoint % endpoints.len();
            let endpoint = endpoints[turn].clone();
            link.next_endpoint = turn + 1;
            link.next_dial = now + REDIAL_AFTER;
            let (id, lane) = (link.planned.id, link.planned.lane);
            let on_lane = move |mut remote: SocketAddr| {
                remote.set_port(remote.port().saturating_add(lane));
                Dial { link: id, remote }
            };
            if let Endpoint::Address(address) = endpoint {
                at_once.push(on_lane(address));
                continue;
            }
            let (resolved, ipv4_only) = (self.resolved.clone(), self.ipv4_only);
            tokio::spawn(async move {
                if let Some(remote) = resolve(&endpoint, ipv4_only).await {
                    // The gateway has stopped if nobody takes it.
                    let _ = resolved.send(on_lane(remote)).await;
                }
            });
        }
        at_once
    }

    /// Dials a link at once, whatever its state: its endpoint has changed in the file.
    pub fn redial(&mut self, link: LinkId, now: Instant) {
        if let Some(link) = self.by_id.get_mut(&link) {
            let (from, to) = (link.state, LinkState::Connecting);
            link.state = to;
            link.since = now;
            "dialling the new endpoint".clone_into(&mut link.why);
            if from != to {
                self.changes.push(link.describe(&StateChange { from, to }));
            }
        }
    }
}

impl LinkStatus {
    /// A link that is drained has its session, and needs none.
    fn is_to_be_dialled(&self, now: Instant) -> bool {
        matches!(self.state, LinkState::Connecting | LinkState::Down)
            && !self.planned.path.endpoints.is_empty()
            && now >= self.next_dial
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
