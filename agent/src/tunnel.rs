//! Every peer of this gateway: which datagram belongs to which session, which packet to which peer.
//!
//! Owned by a lane's thread; nothing here waits, allocates per packet or reads a socket. Datagrams
//! to be sent are pushed into the caller's [`SendBatch`].

pub mod noise;
pub mod peer;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use datapath_abi::outcome::DropReason;

use crate::ids::{LinkId, SiteId};
use crate::io::udp::{Endpoint, SendBatch};
use crate::packet;
use crate::routes::RouteTable;
use noise::{Gatekeeper, Identity, Opened};
use peer::Peer;
pub use peer::{PeerSnapshot, PeerSpec};

/// Position of a peer in the table; stable while the peer is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerSlot(usize);

/// What a datagram turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub enum Handled {
    /// An inner packet of this length lies at the start of the landing place.
    Packet(usize),
    /// A handshake message, cookie or keepalive; what it asked for is in the send batch.
    Control,
    /// Refused.
    Dropped(DropReason),
}

/// What became of an inner packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sealed {
    /// It is in the send batch.
    Ready,
    /// There is no session yet: it waits for the handshake.
    Queued,
    /// Refused.
    Dropped(DropReason),
}

/// The peers and the routes that lead to them.
pub struct Tunnel {
    identity: Identity,
    gatekeeper: Gatekeeper,
    peers: Vec<Option<Peer>>,
    by_index: HashMap<u32, PeerSlot>,
    by_key: HashMap<[u8; 32], PeerSlot>,
    by_site: HashMap<SiteId, PeerSlot>,
    routes: Arc<RouteTable>,
    /// The peer that the last data message came from: runs of datagrams are the rule.
    last: Option<(u32, PeerSlot)>,
}

impl Tunnel {
    /// A tunnel without peers.
    pub fn new(identity: Identity) -> Self {
        let gatekeeper = Gatekeeper::new(&identity);
        Self {
            identity,
            gatekeeper,
            peers: Vec::new(),
            by_index: HashMap::new(),
            by_key: HashMap::new(),
            by_site: HashMap::new(),
            routes: Arc::new(RouteTable::default()),
            last: None,
        }
    }

    /// Adds a peer and dials it if its endpoint is known. A peer of the same link is replaced.
    pub fn add_peer(&mut self, spec: PeerSpec, out: &mut SendBatch) {
        self.remove_peer(spec.link);
        let free = self.peers.iter().position(Option::is_none);
        let slot = PeerSlot(free.unwrap_or_else(|| {
            self.peers.push(None);
            self.peers.len() - 1
        }));
        self.by_index.insert(spec.receiver_index, slot);
        self.by_key.insert(spec.public_key, slot);
        self.by_site.insert(spec.site, slot);
        let mut peer = Peer::new(spec, &self.identity, &self.gatekeeper);
        peer.dial(out);
        self.peers[slot.0] = Some(peer);
    }

    /// Forgets a peer and its session.
    pub fn remove_peer(&mut self, link: LinkId) {
        let Some(at) = self
            .peers
            .iter()
            .position(|peer| peer.as_ref().is_some_and(|peer| peer.link() == link))
        else {
            return;
        };
        if let Some(peer) = self.peers[at].take() {
            let spec = peer.spec();
            self.by_index.remove(&spec.receiver_index);
            self.by_key.remove(&spec.public_key);
            if self.by_site.get(&spec.site) == Some(&PeerSlot(at)) {
                self.by_site.remove(&spec.site);
            }
        }
        self.last = None;
    }

    /// Sends to `endpoint` from now on, until the peer itself is heard from elsewhere.
    pub fn set_endpoint(&mut self, link: LinkId, endpoint: Endpoint, out: &mut SendBatch) {
        if let Some(peer) = self
            .peers
            .iter_mut()
            .flatten()
            .find(|peer| peer.link() == link)
        {
            peer.set_endpoint(endpoint);
            peer.dial(out);
        }
    }

    /// Replaces the routes; gives back the old table, to be freed elsewhere.
    pub fn set_routes(&mut self, routes: Arc<RouteTable>) -> Arc<RouteTable> {
        for peer in self.peers.iter_mut().flatten() {
            peer.forget_checked_source();
        }
        std::mem::replace(&mut self.routes, routes)
    }

    /// The peer that serves `destination`.
    pub fn peer_for(&self, destination: IpAddr) -> Option<PeerSlot> {
        self.by_site
            .get(&self.routes.site_of(destination)?)
            .copied()
    }

    /// Encrypts an inner packet for a peer.
    pub fn seal(&mut self, slot: PeerSlot, packet: &[u8], out: &mut SendBatch) -> Sealed {
        match &mut self.peers[slot.0] {
            Some(peer) => peer.seal(packet, out),
            None => Sealed::Dropped(DropReason::NoRoute),
        }
    }

    /// Takes a datagram from the WAN. `landing` must be as long as the datagram; an inner packet is
    /// left at its start, its source checked against the routes of the site that sent it.
    pub fn handle_datagram(
        &mut self,
        datagram: &[u8],
        from: Endpoint,
        landing: &mut [u8],
        out: &mut SendBatch,
    ) -> Handled {
        match noise::Message::parse(datagram) {
            Some(noise::Message::Data { receiver }) => {
                let Some(slot) = self.slot_of(receiver) else {
                    return Handled::Dropped(DropReason::NoSession);
                };
                self.handle_data(slot, datagram, from, landing, out)
            }
            Some(message) => self.handle_handshake(message, datagram, from, out),
            None => Handled::Dropped(DropReason::NotWireGuard),
        }
    }

    fn slot_of(&mut self, receiver: u32) -> Option<PeerSlot> {
        if let Some((index, slot)) = self.last
            && index == receiver
        {
            return Some(slot);
        }
        let slot = *self.by_index.get(&receiver)?;
        self.last = Some((receiver, slot));
        Some(slot)
    }

    fn handle_data(
        &mut self,
        slot: PeerSlot,
        datagram: &[u8],
        from: Endpoint,
        landing: &mut [u8],
        out: &mut SendBatch,
    ) -> Handled {
        let Some(peer) = &mut self.peers[slot.0] else {
            return Handled::Dropped(DropReason::NoSession);
        };
        match peer.open(datagram, from, landing, out) {
            Ok(Opened::Control) => Handled::Control,
            Ok(Opened::Packet(length)) => {
                let Some((source, _)) = packet::addresses(&landing[..length]) else {
                    return Handled::Dropped(DropReason::InnerMalformed);
                };
                let routes = &self.routes;
                if !peer.may_send_from(source, |source| routes.site_of(source)) {
                    return Handled::Dropped(DropReason::SourceNotInSite);
                }
                peer.on_received(length);
                Handled::Packet(length)
            }
            Err(reason) => Handled::Dropped(reason),
        }
    }

    fn handle_handshake(
        &mut self,
        message: noise::Message,
        datagram: &[u8],
        from: Endpoint,
        out: &mut SendBatch,
    ) -> Handled {
        match self
            .gatekeeper
            .admit(datagram, from.remote.ip(), out.spare())
        {
            noise::Admission::Admitted => {}
            noise::Admission::Cookie(length) => {
                out.push(length, from);
                return Handled::Dropped(DropReason::CookieDemanded);
            }
            noise::Admission::Refused(reason) => return Handled::Dropped(reason),
        }
        let slot = match message {
            noise::Message::Initiation => match self.identity.initiator_of(datagram) {
                Some(key) => match self.by_key.get(&key) {
                    Some(slot) => *slot,
                    None => return Handled::Dropped(DropReason::UnknownPeer),
                },
                None => return Handled::Dropped(DropReason::HandshakeInvalid),
            },
            noise::Message::Answer { receiver } | noise::Message::Data { receiver } => {
                match self.slot_of(receiver) {
                    Some(slot) => slot,
                    None => return Handled::Dropped(DropReason::HandshakeInvalid),
                }
            }
        };
        let Some(peer) = &mut self.peers[slot.0] else {
            return Handled::Dropped(DropReason::UnknownPeer);
        };
        match peer.handle_handshake(datagram, from, out) {
            Ok(()) => Handled::Control,
            Err(reason) => Handled::Dropped(reason),
        }
    }

    /// Rekeys, keepalives and retries that are due. To be called several times a second.
    pub fn handle_timeout(&mut self, out: &mut SendBatch, mut flush: impl FnMut(&mut SendBatch)) {
        self.gatekeeper.handle_timeout();
        for peer in self.peers.iter_mut().flatten() {
            peer.handle_timeout(out);
            if !out.has_room(4, 4096) {
                flush(out);
            }
        }
    }

    /// The state of every peer.
    pub fn snapshot(&self) -> Vec<PeerSnapshot> {
        self.peers.iter().flatten().map(Peer::snapshot).collect()
    }
}

#[cfg(test)]
mod tests;
