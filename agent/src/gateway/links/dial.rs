//! Where links are dialled, and when.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{LinkStatus, Links, StateChange};
use crate::config::Endpoint;
use crate::control::message::LinkState;
use crate::gateway::names::{ASKED_AGAIN_AFTER, Answer, Names};
use crate::gateway::plan::PlannedLink;
use crate::ids::LinkId;

/// A link that is not up is dialled at the next of its addresses this often; its names are asked for again.
pub(super) const REDIAL_AFTER: Duration = Duration::from_secs(10);
/// Links dialled at once. A handshake takes the lane 80 µs in which it carries nothing; those of
/// thousands of links must not be due in the same moment, now and at every retry.
pub(super) const MOST_DIALS: usize = 256;

/// An endpoint to dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dial {
    /// The link.
    pub link: LinkId,
    /// The lane that has it.
    pub lane: u16,
    /// Where it is to be dialled.
    pub remote: SocketAddr,
}

impl Links {
    /// The links that are not up and whose turn it is to be dialled, those first that have waited
    /// longest. Names are asked for, and taken as far as they are known; see [`Self::on_names`].
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<Dial> {
        let links = self.by_id.values_mut();
        let mut due: Vec<&mut LinkStatus> =
            links.filter(|link| link.is_to_be_dialled(now)).collect();
        due.sort_by_key(|link| (link.next_dial, link.planned.id));
        let mut dials = Vec::new();
        for link in due {
            if dials.len() == MOST_DIALS {
                break;
            }
            let mut is_new = true;
            for host in link.hosts() {
                self.resolved.ask(host, now);
                is_new &= self.resolved.is_of(host, link.since);
            }
            // A name that was asked just before the link went down is asked once more, soon.
            let after = if is_new {
                REDIAL_AFTER
            } else {
                ASKED_AGAIN_AFTER
            };
            link.next_dial = now + after;
            let mut addresses = addresses(&link.planned, &self.resolved, self.ipv4_only);
            link.say_why_not_dialled(&addresses, &self.resolved, now);
            if link.planned.path.wan.is_none() {
                addresses.retain(|address| !self.swallowed.contains_key(&address.ip()));
            }
            if addresses.is_empty() {
                continue;
            }
            let turn = link.next_endpoint % addresses.len();
            link.next_endpoint = turn + 1;
            dials.push(Dial {
                link: link.planned.id,
                lane: link.planned.lane,
                remote: addresses[turn],
            });
        }
        for dial in &dials {
            self.leads_to(dial.link, dial.remote.ip(), now);
        }
        dials
    }

    /// Takes what names lead to. Links that are not up are dialled at once where that is another place than
    /// before.
    pub fn on_names(&mut self, answers: Vec<Answer>, now: Instant) {
        let mut changed = BTreeSet::new();
        for answer in answers {
            let host = answer.host.clone();
            if let Err(why) = &answer.addresses {
                tracing::debug!(host, why, "a name does not resolve");
            }
            if self.resolved.on_answer(answer) {
                changed.insert(host);
            }
        }
        if changed.is_empty() {
            return;
        }
        self.moved = true;
        for link in self.by_id.values_mut() {
            if link.state != LinkState::Up && link.hosts().any(|host| changed.contains(host)) {
                link.next_endpoint = 0;
                link.next_dial = now;
            }
        }
    }

    /// An address that answers is the first to be tried the next time.
    pub(super) fn learn_from(&mut self, id: LinkId) {
        let Some(link) = self.by_id.get(&id) else {
            return;
        };
        let endpoint = link.peer.as_ref().and_then(|peer| peer.endpoint);
        if let Some(endpoint) = endpoint.filter(|_| link.state == LinkState::Up) {
            for host in link.hosts() {
                self.resolved.on_reached(host, endpoint.remote.ip());
            }
        }
    }

    /// Forgets the names that no link of these has.
    pub fn keep_names(&mut self, planned: &[PlannedLink]) {
        let hosts = planned.iter().flat_map(hosts);
        self.resolved.keep(&hosts.collect());
    }

    /// The names that keep links from coming up, each with the reason.
    pub fn names_in_trouble(&self, now: Instant) -> Vec<(&str, &str)> {
        let down = self
            .by_id
            .values()
            .filter(|link| link.state != LinkState::Up);
        let hosts: BTreeSet<&str> = down.flat_map(LinkStatus::hosts).collect();
        let troubled = hosts.into_iter();
        troubled
            .filter_map(|host| Some((host, self.resolved.trouble(host, now)?)))
            .collect()
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

    /// The names among its endpoints.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &str> {
        hosts(&self.planned)
    }

    /// Of a link that has never been dialled, for want of an address.
    fn say_why_not_dialled(&mut self, addresses: &[SocketAddr], names: &Names, now: Instant) {
        let dialled = self
            .peer
            .as_ref()
            .is_some_and(|peer| peer.endpoint.is_some());
        if dialled || !addresses.is_empty() {
            return;
        }
        let of_hosts: Vec<String> = hosts(&self.planned)
            .map(|host| match names.trouble(host, now) {
                Some(trouble) => format!("{host}: {trouble}"),
                None if names.addresses(host).is_empty() => format!("{host} is looked up"),
                None => format!("{host} has no IPv4 address, and `listen` is one"),
            })
            .collect();
        self.why = of_hosts.join("; ");
    }
}

/// Every address that a link can be dialled at on its lane: its endpoints in their order, in the place of a name
/// all that it leads to.
pub(super) fn addresses(link: &PlannedLink, names: &Names, ipv4_only: bool) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    let mut add = |mut address: SocketAddr, port: u16| {
        address.set_port(port.saturating_add(link.lane));
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    };
    for endpoint in &link.path.endpoints {
        match endpoint {
            Endpoint::Address(address) => add(*address, address.port()),
            Endpoint::Name { host, port } => {
                let known = names.addresses(host).iter();
                for address in known.filter(|address| address.is_ipv4() || !ipv4_only) {
                    add(*address, *port);
                }
            }
        }
    }
    addresses
}

fn hosts(link: &PlannedLink) -> impl Iterator<Item = &str> {
    link.path
        .endpoints
        .iter()
        .filter_map(|endpoint| match endpoint {
            Endpoint::Name { host, .. } => Some(host.as_str()),
            Endpoint::Address(_) => None,
        })
}
