//! BFD and echoes of the links: when they are due, whose a control packet is, what follows from a change.
//!
//! A link dies, and who decides what follows:
//!
//! ```text
//!  lane ── silence, or the carrier is lost                                       within a turn of the lane
//!   │  LinkBfd, Echo             the far end is not heard any more
//!   │  Peer::poll_change         tells the change once, and benches the peer
//!   │  Peer::is_eligible         a benched or dead peer may carry nothing
//!   ▼  Tunnel::choose            the flows are on the links of the best rank that has an eligible one
//!  LinkChange ──────────────────────────────────────────────────────────────────────────────────────────
//!   │  LinkStatus::verdict       up or down, with the reason that people read    in the gateway's loop
//!   │  Election                  ranks the links: orders, hold-down, LAN role, priority
//!   ▼
//!  Tunnel::set_ranks ── unbenches the links that it names: they may carry again once they are alive
//! ```
//!
//! A far end that is authentic may still be hostile, and change its state as fast as it can send. So nothing that comes in
//! makes the lane look at its links more often than every [`GRAIN`], and of each link control is told only so many
//! changes a second ([`super::peer`]): of those between, the last one.
//!
//! The lane leaves a dead link by itself, for that must be quick. It does not return to one by itself: whether a link
//! that came back has earned its flows is the election's to say. Until then it is benched.

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
/// Room for what one link has to send: a control packet, an echo, and two probes of its path, of which one may be as
/// long as a packet can be.
const ROOM: (usize, usize) = (4, 68 * 1024);

impl Tunnel {
    /// When [`Self::handle_pulses`] has something to do.
    pub fn next_pulse(&self) -> Instant {
        self.next_pulse
    }

    /// Something has come or been ordered that a look at the links is due for: as soon as the grain allows.
    pub(super) fn hasten_pulses(&mut self, now: Instant) {
        let earliest = self.looked_at.map_or(now, |looked| now.max(looked + GRAIN));
        self.next_pulse = self.next_pulse.min(earliest);
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
        self.looked_at = Some(now);
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
            let (altered, site) = (peer.look(), peer.site());
            if let Some(change) = peer.poll_change(now) {
                changed(change);
            }
            let due = [next, peer.next_pulse(), peer.tells_at(now)];
            next = due.into_iter().flatten().min();
            if let Some(site) = site.filter(|_| altered) {
                self.choose(site);
            }
        }
        let idle = now + Duration::from_secs(1);
        self.next_pulse = next.unwrap_or(idle).max(now + GRAIN);
    }

    /// The interface of a link has lost its carrier, or is gone. The far end is told over the other links
    /// of the same gateway: a control packet names the session that it is for.
    pub fn on_path_down(&mut self, link: LinkId, now: Instant, out: &mut Transmits) {
        self.hasten_pulses(now);
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
        self.hasten_pulses(now);
        Ok(())
    }

    fn have_one_key(&self, a: PeerSlot, b: PeerSlot) -> bool {
        let key = |slot: PeerSlot| Some(self.peers[slot.0].as_ref()?.spec().public_key);
        key(a) == key(b)
    }
}
