//! What control decides about links: which carry flows, where they leave, how they are watched.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Instant;

use super::link_bfd::LanRole;
use super::peer::Peer;
use super::{PeerSlot, Tunnel};
use crossway_liveness::path_mtu::Bounds;
use crossway_liveness::settings::Liveness;
use crossway_types::ids::{LinkId, SiteId};

impl Tunnel {
    /// Takes the order of a site's links, best first; those of equal rank share its flows. Links that
    /// have died may be chosen again.
    pub fn set_ranks(&mut self, site: SiteId, ranks: &[Vec<LinkId>]) {
        let slots: Vec<Vec<PeerSlot>> = ranks
            .iter()
            .map(|rank| rank.iter().filter_map(|link| self.by_link.get(link)))
            .map(|rank| rank.copied().collect())
            .collect();
        for slot in slots.iter().flatten() {
            if let Some(peer) = &mut self.peers[slot.0] {
                peer.unbench();
            }
        }
        self.serving_of(site).set(slots);
        self.choose(site);
    }

    /// Tells the far end of a link how we serve our LAN.
    pub fn set_lan_role(&mut self, link: LinkId, service: LanRole, now: Instant) {
        if let Some(peer) = self.peer_of(link) {
            peer.set_lan_role(service, now);
            self.hasten_pulses(now);
        }
    }

    /// Watches a link otherwise from now on; its probe is asked from `probe_source`.
    pub fn set_liveness(
        &mut self,
        link: LinkId,
        liveness: &Liveness,
        probe_source: Option<IpAddr>,
        now: Instant,
    ) {
        let own_key = self.local.identity.public_key();
        if let Some(peer) = self.peer_of(link) {
            peer.set_liveness(liveness, probe_source, &own_key, now);
            self.hasten_pulses(now);
        }
    }

    /// A link leaves by this interface from now on.
    pub fn set_interface(&mut self, link: LinkId, interface: Option<NonZeroU32>, now: Instant) {
        if let Some(peer) = self.peer_of(link) {
            peer.set_interface(interface, now);
            self.hasten_pulses(now);
        }
    }

    /// What the path of a link is held to, and whether it is looked at.
    pub fn set_path_bounds(&mut self, link: LinkId, bounds: Bounds, now: Instant) {
        if let Some(peer) = self.peer_of(link) {
            peer.set_path_bounds(bounds, now);
            self.hasten_pulses(now);
        }
    }

    pub(super) fn peer_of(&mut self, link: LinkId) -> Option<&mut Peer> {
        let slot = self.by_link.get(&link)?;
        self.peers[slot.0].as_mut()
    }
}
