//! The addresses that links lead to, and what becomes of a link whose packets would enter the tunnel.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

use super::dial::addresses;
use super::{LinkStatus, Links};
use crate::ids::LinkId;

/// An address that a link leads to, or may lead to in a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnAddress<'a> {
    /// Name of the site that it reaches; empty where it leads to a replica.
    pub site: &'a str,
    /// Name of the far gateway.
    pub gateway: &'a str,
    /// The address.
    pub address: IpAddr,
}

impl Links {
    /// All addresses that links lead to: where they were dialled or heard last, and what is dialled next. A link that is
    /// bound to an interface leaves by that, whatever routes say.
    pub fn own_addresses(&self) -> Vec<OwnAddress<'_>> {
        let mut own = Vec::new();
        for link in self.by_id.values().filter(|link| !link.is_bound()) {
            let planned = &link.planned;
            let dialled = addresses(planned, &self.resolved, self.ipv4_only).into_iter();
            let dialled = dialled.map(|address| address.ip());
            own.extend(dialled.chain(link.remote).map(|address| OwnAddress {
                site: &planned.site_name,
                gateway: &planned.gateway.name,
                address,
            }));
        }
        own.sort_by_key(|own| (own.site, own.gateway, own.address));
        own.dedup();
        own
    }

    /// Whether any link is dialled by a name.
    pub fn have_names(&self) -> bool {
        self.by_id
            .values()
            .any(|link| link.hosts().next().is_some())
    }

    /// Whether a link leads to another address than when this was asked last.
    pub fn poll_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// Takes which addresses would be swallowed, each with the reason; the links that have died by it, with their
    /// lanes.
    pub fn set_swallowed(
        &mut self,
        swallowed: HashMap<IpAddr, String>,
        now: Instant,
    ) -> Vec<(LinkId, u16)> {
        self.swallowed = swallowed;
        let mut ids: Vec<LinkId> = self.by_id.keys().copied().collect();
        ids.sort_unstable();
        ids.retain(|id| self.judge(*id, now));
        let lane_of = |id| self.by_id.get(&id).map(|link| (id, link.planned.lane));
        ids.into_iter().filter_map(lane_of).collect()
    }

    /// Whether an address would be swallowed, as far as that was told.
    pub fn is_swallowed(&self, address: IpAddr) -> bool {
        self.swallowed.contains_key(&address)
    }

    /// Takes where a lane hears a link's far end.
    pub(super) fn follow_remote(&mut self, id: LinkId, now: Instant) {
        let Some(link) = self.by_id.get(&id) else {
            return;
        };
        let endpoint = link.peer.as_ref().and_then(|peer| peer.endpoint);
        if let Some(endpoint) = endpoint {
            self.leads_to(id, endpoint.remote.ip(), now);
        }
    }

    /// A link leads to `remote` from now on.
    pub(super) fn leads_to(&mut self, id: LinkId, remote: IpAddr, now: Instant) {
        if let Some(link) = self.by_id.get_mut(&id)
            && link.remote != Some(remote)
        {
            link.remote = Some(remote);
            self.moved = true;
            self.judge(id, now);
        }
    }

    /// Whether a link has just died because its packets would be swallowed.
    fn judge(&mut self, id: LinkId, now: Instant) -> bool {
        let Some(link) = self.by_id.get_mut(&id) else {
            return false;
        };
        let known = addresses(&link.planned, &self.resolved, self.ipv4_only);
        let why = if link.is_bound() {
            None
        } else if let Some(remote) = link.remote {
            self.swallowed.get(&remote)
        } else {
            // It cannot be dialled anywhere.
            let mut reasons = known
                .iter()
                .map(|address| self.swallowed.get(&address.ip()));
            let first = reasons.next().flatten();
            first.filter(|_| reasons.all(|reason| reason.is_some()))
        };
        let before = std::mem::replace(&mut link.swallowed, why.cloned());
        let (was, is) = (before.is_some(), link.swallowed.is_some());
        if was != is {
            // Another address may do, or the same one again.
            link.next_dial = now;
        }
        if before != link.swallowed {
            self.assess(id, now);
        }
        is && !was
    }
}

impl LinkStatus {
    fn is_bound(&self) -> bool {
        self.planned.path.wan.is_some()
    }
}
