//! What is known of one service.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use crossway_api::message::{ReviewState, Service, ServiceName};
use crossway_api::protocol;

use super::running::Running;
use crate::clients::Clients;

/// Names of sites of clients that are kept for a service.
const MOST_CLIENT_SITES: usize = 64;

/// Name of the one virtual network of this version.
const VNET: &str = "default";

/// What tells a service from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceKey {
    /// Virtual network.
    pub vnet: u32,
    /// Its address.
    pub address: IpAddr,
    /// Its port; 0 where the protocol has none.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
}

impl ServiceKey {
    /// As people write it.
    pub fn name(&self) -> ServiceName {
        ServiceName {
            address: self.address,
            port: self.port,
            protocol: Some(self.protocol),
        }
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name().fmt(f)
    }
}

/// What people have decided about a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Review {
    /// Their decision.
    pub state: ReviewState,
    /// The group that it was put in.
    pub group: Option<String>,
    /// What they have noted.
    pub note: String,
    /// When and by whom it was last changed.
    pub changed: Option<(u64, String)>,
}

/// What is known of a service.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The site that it is in, unless it is on this gateway's side.
    pub site: Option<String>,
    /// Flows and bytes.
    pub counts: Running,
    /// Whom it has answered.
    pub clients: Clients,
    /// Whether there were any on this gateway's side.
    pub clients_here: bool,
    /// The sites of the others, at most 64.
    pub client_sites: BTreeSet<String>,
    /// Milliseconds since the epoch.
    pub first_seen: u64,
    /// Milliseconds since the epoch.
    pub last_seen: u64,
    /// Only the port says that this end is the service.
    pub guessed: bool,
    /// What people have decided about it.
    pub review: Review,
    pub(super) since: Since,
}

/// What this agent alone knows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Since {
    /// CLOCK_MONOTONIC of the last packet.
    pub(super) last_seen_ns: u64,
    /// It was entered in a pass that is not through.
    pub(super) is_new: bool,
    /// Something is not in the database.
    pub(super) changed: bool,
    /// Of its clients.
    pub(super) clients_changed: bool,
}

impl Entry {
    /// Nothing is known yet.
    pub fn new(address: IpAddr) -> Self {
        Self {
            site: None,
            counts: Running::default(),
            clients: Clients::none_of(address),
            clients_here: false,
            client_sites: BTreeSet::new(),
            first_seen: u64::MAX,
            last_seen: 0,
            guessed: false,
            review: Review::default(),
            since: Since::default(),
        }
    }

    /// Whether the row, and the clients, are to be written.
    pub fn to_write(&self) -> (bool, bool) {
        (self.since.changed, self.since.clients_changed)
    }

    /// Whether the names of all sites of its clients are kept.
    pub fn knows_client_sites(&self) -> bool {
        self.client_sites.len() < MOST_CLIENT_SITES
    }

    /// As it is told.
    pub fn describe(&self, key: &ServiceKey) -> Service {
        let total = self.counts.total();
        let (changed, by) = self.review.changed.clone().unzip();
        Service {
            real: None,
            vnet: VNET.to_owned(),
            address: key.address,
            port: key.port,
            protocol: protocol::name(key.protocol),
            protocol_number: key.protocol,
            site: self.site.clone(),
            state: self.review.state,
            group: self.review.group.clone(),
            note: self.review.note.clone(),
            changed_unix_milliseconds: changed,
            changed_by: by.unwrap_or_default(),
            clients: self.clients.count(),
            clients_exact: self.clients.is_exact(),
            clients_here: self.clients_here,
            client_sites: self.client_sites.iter().cloned().collect(),
            client_sites_complete: self.knows_client_sites(),
            flows: total.flows,
            to_service_bytes: total.to_bytes,
            from_service_bytes: total.from_bytes,
            first_seen_unix_milliseconds: self.first_seen,
            last_seen_unix_milliseconds: self.last_seen,
            guessed: self.guessed,
        }
    }
}
