//! Which peers there are: added, removed, told where their far end is; and the links of each site.

use std::time::Instant;

use datapath_abi::outcome::Tally;

use crate::peer::{Peer, PeerSpec};
use crate::serving::Serving;
use crate::transmit::{Endpoint, Transmits};
use crate::{PeerSlot, Tunnel};
use crossway_types::ids::{LinkId, SiteId};

impl Tunnel {
    /// Adds a peer and dials it if its endpoint is known. A peer of the same link is replaced; returns the
    /// packets that waited for it.
    pub fn add_peer(&mut self, spec: PeerSpec, now: Instant, out: &mut Transmits) -> Tally {
        let mut peer = Peer::new(spec, &self.local, now);
        peer.dial(&self.local, now, out);
        self.insert(peer, now)
    }

    pub(crate) fn insert(&mut self, peer: Peer, now: Instant) -> Tally {
        let spec = peer.spec();
        let waiting = self.remove_peer(spec.link);
        let free = self.peers.iter().position(Option::is_none);
        let slot = PeerSlot(free.unwrap_or_else(|| {
            self.peers.push(None);
            self.peers.len() - 1
        }));
        self.by_index.insert(spec.receiver_index, slot);
        self.by_link.insert(spec.link, slot);
        self.by_key.entry(spec.public_key).or_default().push(slot);
        self.badges.add(&self.local.identity, &spec.public_key);
        let site = spec.site;
        self.peers[slot.0] = Some(peer);
        if let Some(site) = site {
            self.serving_of(site).add(slot);
            self.choose(site);
        }
        self.hasten_pulses(now);
        waiting
    }

    /// Forgets a peer and its session; returns the packets that waited for it.
    pub fn remove_peer(&mut self, link: LinkId) -> Tally {
        let Some(slot) = self.by_link.remove(&link) else {
            return Tally::default();
        };
        self.last = None;
        let mut waiting = Tally::default();
        if let Some(peer) = self.peers[slot.0].take() {
            waiting = peer.waiting();
            let spec = peer.spec();
            self.by_index.remove(&spec.receiver_index);
            if let Some(links) = self.by_key.get_mut(&spec.public_key) {
                links.retain(|other| *other != slot);
                if links.is_empty() {
                    self.by_key.remove(&spec.public_key);
                    self.badges.remove(&spec.public_key);
                }
            }
            if let Some(site) = spec.site {
                self.serving_of(site).remove(slot);
                self.choose(site);
            }
        }
        waiting
    }

    /// The links of a site, of which it may be the first.
    pub(crate) fn serving_of(&mut self, site: SiteId) -> &mut Serving {
        let site = site.0 as usize;
        if self.by_site.len() <= site {
            self.by_site.resize_with(site + 1, Serving::default);
        }
        &mut self.by_site[site]
    }

    /// Chooses the links that carry the flows of a site from those that are alive.
    pub(crate) fn choose(&mut self, site: SiteId) {
        let peers = &self.peers;
        let eligible = |slot: PeerSlot| peers[slot.0].as_ref().is_some_and(Peer::is_eligible);
        if let Some(serving) = self.by_site.get_mut(site.0 as usize) {
            serving.choose(eligible);
        }
    }

    /// Sends to `endpoint` from now on, until the peer itself is heard from elsewhere.
    pub fn set_endpoint(
        &mut self,
        link: LinkId,
        endpoint: Endpoint,
        now: Instant,
        out: &mut Transmits,
    ) {
        let slot = self.by_link.get(&link);
        if let Some(peer) = slot.and_then(|slot| self.peers[slot.0].as_mut()) {
            peer.set_endpoint(endpoint, now);
            peer.dial(&self.local, now, out);
        }
    }
}
