//! Heartbeats of the links: when they are due, whose a control packet is, what follows from a change.

use std::time::{Duration, Instant};

use datapath_abi::outcome::DropReason;

use super::peer::receiver_index_of;
use super::{LinkChange, PeerSlot, Tunnel};
use crate::transmit::Transmits;
use crossway_liveness::bfd::encapsulation::{self, LONGEST};
use crossway_liveness::bfd::packet::Packet;
use crossway_types::ids::LinkId;

/// Shortest time between two looks at all links: thousands of them are looked at in 10 µs or so.
const GRAIN: Duration = Duration::from_millis(2);
/// Room for a control packet and its WireGuard header.
const ROOM: (usize, usize) = (1, 256);

impl Tunnel {
    /// When [`Self::handle_pulses`] has something to do.
    pub fn next_pulse(&self) -> Instant {
        self.next_pulse
    }

    /// Sends the control packets that are due now, and takes for dead who was not heard by `heard_until`,
    /// up to which everything that came has been handled. Hands what has changed to `changed`: a link that
    /// has died carries no flow any more when this returns.
    pub fn handle_pulses(
        &mut self,
        (now, heard_until): (Instant, Instant),
        out: &mut Transmits,
        mut flush: impl FnMut(&mut Transmits),
        mut changed: impl FnMut(LinkChange),
    ) {
        let mut next: Option<Instant> = None;
        for slot in 0..self.peers.len() {
            let Some(peer) = &mut self.peers[slot] else {
                continue;
            };
            if peer.next_pulse().is_some_and(|due| due <= now) {
                peer.handle_pulse((now, heard_until), out);
                if !out.has_room(ROOM.0, ROOM.1) {
                    flush(out);
                }
            }
            next = [next, peer.next_pulse()].into_iter().flatten().min();
            if let Some(change) = peer.poll_change() {
                if let Some(site) = peer.site() {
                    self.choose(site);
                }
                changed(change);
            }
        }
        let idle = now + Duration::from_secs(1);
        self.next_pulse = next.unwrap_or(idle).max(now + GRAIN);
    }

    /// The interface of a link has lost its carrier, or is gone. The far end is told over the other links
    /// of the same gateway: a control packet names the session that it is for.
    pub fn on_path_down(&mut self, link: LinkId, now: Instant, out: &mut Transmits) {
        self.next_pulse = now;
        let mut inner = [0; LONGEST];
        let Some(peer) = self.peer_of(link) else {
            return;
        };
        peer.on_path_down(now);
        let Some(length) = peer.poll_control(now, &mut inner) else {
            return;
        };
        let (key, site) = (peer.spec().public_key, peer.site());
        if let Some(site) = site {
            self.choose(site);
        }
        for slot in self.by_key.get(&key).into_iter().flatten() {
            let Some(sibling) = self.peers[slot.0].as_mut() else {
                continue;
            };
            if sibling.link() != link {
                sibling.send_control(&inner[..length], out);
            }
        }
    }

    /// Takes a control packet that came over the link in `slot`, for this or another link of the same
    /// gateway.
    pub(super) fn handle_control(
        &mut self,
        slot: PeerSlot,
        inner: &[u8],
        now: Instant,
    ) -> Result<(), DropReason> {
        let payload = encapsulation::payload(inner);
        let packet = payload
            .and_then(Packet::decode)
            .ok_or(DropReason::LivenessInvalid)?;
        let addressed = receiver_index_of(packet.your_discriminator)
            .and_then(|index| self.by_index.get(&index).copied())
            .filter(|other| self.have_one_key(*other, slot));
        let session = addressed.unwrap_or(slot);
        let peer = self.peers[session.0].as_mut();
        if !peer.is_some_and(|peer| peer.handle_control(&packet, now)) {
            return Err(DropReason::LivenessInvalid);
        }
        self.next_pulse = now;
        Ok(())
    }

    fn have_one_key(&self, a: PeerSlot, b: PeerSlot) -> bool {
        let key = |slot: PeerSlot| Some(self.peers[slot.0].as_ref()?.spec().public_key);
        key(a) == key(b)
    }
}
