//! A datagram from the WAN: whose it is, and what it turns out to be.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Instant;

use datapath_abi::outcome::DropReason;

use crate::macs::{Admission, Standing};
use crate::mapping::map_inbound;
use crate::message::Message;
use crate::noise::Responder;
use crate::peer::Peer;
use crate::session::Opened;
use crate::transmit::{Endpoint, Transmits};
use crate::{Handled, PeerSlot, Tunnel};
use crossway_liveness::bfd::encapsulation;
use crossway_types::packet;

impl Tunnel {
    /// Takes a datagram from the WAN. `landing` must be as long as the datagram; an inner packet is
    /// left at its start, its source checked against the routes of the site that sent it.
    pub fn handle_datagram(
        &mut self,
        datagram: &[u8],
        mut from: Endpoint,
        now: Instant,
        landing: &mut [u8],
        out: &mut Transmits,
    ) -> Handled {
        // Answers leave by the interface only where the link is bound to one.
        let arrival = from.interface.take();
        let result = match Message::parse(datagram) {
            Some(Message::Data { receiver }) => {
                self.handle_data(receiver, datagram, from, now, landing, out)
            }
            Some(message) => self
                .handle_handshake(message, datagram, from, arrival, now, out)
                .map(|()| Handled::Control),
            None => Err(DropReason::NotWireGuard),
        };
        result.unwrap_or_else(Handled::Dropped)
    }

    fn handle_data(
        &mut self,
        receiver: u32,
        datagram: &[u8],
        from: Endpoint,
        now: Instant,
        landing: &mut [u8],
        out: &mut Transmits,
    ) -> Result<Handled, DropReason> {
        let slot = self.slot_of(receiver).ok_or(DropReason::NoSession)?;
        let peer = self.peers[slot.0].as_mut().ok_or(DropReason::NoSession)?;
        let length = match peer.open(receiver, datagram, (from, now), landing, out)? {
            Opened::Keepalive => return Ok(Handled::Control),
            Opened::Packet(length) => length,
        };
        self.data = self.data.wrapping_add(1);
        let inner = &landing[..length];
        // Is it traffic? What is for us is taken out before the source is checked: a control packet of BFD and a probe
        // of the path go between the ends' own addresses, which no route of the site holds; a reply to our echo does
        // come from the site, and would be forwarded. BFD is asked first, for a link that is not heard is dead. A
        // replica's packets are for control or for nobody. What is left is traffic, and must come from the site.
        let addresses = packet::addresses(inner).ok_or(DropReason::InnerMalformed)?;
        if encapsulation::is_control(inner) && peer.expects_control(addresses) {
            return self
                .handle_control(slot, inner, now)
                .map(|()| Handled::Control);
        }
        if peer.take_echo(inner) || peer.take_path_message(inner, now, out) {
            self.hasten_pulses(now);
            return Ok(Handled::Control);
        }
        let (source, _) = addresses;
        let Some(site) = peer.site() else {
            return peer.handle_replica(inner, now);
        };
        let source = map_inbound(&self.routes, site, &mut landing[..length], source);
        if !self.routes.may_come_from(source, site) {
            return Err(DropReason::SourceNotInSite);
        }
        peer.on_received(length, now);
        Ok(Handled::Packet(length))
    }

    /// The peer of a receiver index, whose low eight bits number the peer's sessions.
    fn slot_of(&mut self, receiver: u32) -> Option<PeerSlot> {
        let index = receiver >> 8;
        if let Some((last, slot)) = self.last
            && last == index
        {
            return Some(slot);
        }
        let slot = *self.by_index.get(&index)?;
        self.last = Some((index, slot));
        Some(slot)
    }

    fn handle_handshake(
        &mut self,
        message: Message,
        datagram: &[u8],
        from: Endpoint,
        arrival: Option<NonZeroU32>,
        now: Instant,
        out: &mut Transmits,
    ) -> Result<(), DropReason> {
        let standing = self.standing(message, datagram, from.remote, now);
        self.data = self.gatekeeper.on_data(self.data, now);
        let reply = out.spare();
        match self
            .gatekeeper
            .admit(datagram, from.remote, standing, now, reply)
        {
            Admission::Admitted => {}
            Admission::Cookie(length) => {
                out.push_data(length, from);
                return Err(DropReason::CookieDemanded);
            }
            Admission::Refused(reason) => return Err(reason),
        }
        match message {
            Message::Initiation => {
                let initiation = Responder::read(&self.local.identity, datagram)
                    .ok_or(DropReason::HandshakeInvalid)?;
                let (key, timestamp) = (initiation.peer, initiation.timestamp);
                let slot = self
                    .initiator(&key, from.remote, arrival)
                    .ok_or(DropReason::UnknownPeer)?;
                let peer = self.peers[slot.0].as_mut();
                let peer = peer.ok_or(DropReason::UnknownPeer)?;
                if !self.initiations.take(&key, timestamp, initiation.ephemeral) {
                    return Err(DropReason::HandshakeReplayed);
                }
                peer.answer(initiation, datagram, from, now, out)?;
            }
            Message::Response { receiver } => self
                .answered_peer(receiver)?
                .handle_response(receiver, datagram, from, now, out)?,
            Message::Cookie { receiver } => {
                let slot = self.slot_of(receiver);
                let peer = slot.and_then(|slot| self.peers[slot.0].as_mut());
                let peer = peer.ok_or(DropReason::HandshakeInvalid)?;
                return peer.handle_cookie(datagram, &self.local, now, out);
            }
            Message::Data { .. } => return Err(DropReason::HandshakeInvalid),
        }
        // A control packet goes out as soon as there is a session for it.
        self.hasten_pulses(now);
        Ok(())
    }

    /// What is known of a handshake message by its head, its source and its badge.
    fn standing(
        &mut self,
        message: Message,
        datagram: &[u8],
        from: SocketAddr,
        now: Instant,
    ) -> Standing {
        if let Message::Response { receiver } = message {
            return match self.answered_peer(receiver) {
                Ok(peer) if peer.awaits(receiver) => Standing::Known,
                _ => Standing::Uninvited,
            };
        }
        if !self.gatekeeper.is_loaded(now) {
            return Standing::Stranger;
        }
        let since_epoch = self.local.calendar.since_epoch(now);
        if self.badges.admit(datagram, since_epoch, now) {
            Standing::Introduced
        } else if self.known_addresses.contains(from.ip(), &self.peers, now) {
            Standing::Known
        } else {
            Standing::Stranger
        }
    }

    /// The link of a far gateway that an initiation is for. It says only whose it is; of several links
    /// the one that fits its way best is meant.
    fn initiator(
        &self,
        key: &[u8; 32],
        from: SocketAddr,
        arrival: Option<NonZeroU32>,
    ) -> Option<PeerSlot> {
        match self.by_key.get(key)?.as_slice() {
            [only] => Some(*only),
            // Of equals the first, as at the far end.
            several => several
                .iter()
                .rev()
                .max_by_key(|slot| Some(self.peers[slot.0].as_ref()?.fit(from, arrival)))
                .copied(),
        }
    }

    /// The peer that a handshake message with this receiver index answers.
    fn answered_peer(&mut self, receiver: u32) -> Result<&mut Peer, DropReason> {
        self.slot_of(receiver)
            .and_then(|slot| self.peers[slot.0].as_mut())
            .ok_or(DropReason::HandshakeInvalid)
    }
}
