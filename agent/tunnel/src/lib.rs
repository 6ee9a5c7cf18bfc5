//! Every peer of this gateway: which datagram belongs to which session, which packet to which peer.
//!
//! Owned by a lane's thread; nothing here waits, allocates per packet or reads a socket. Datagrams
//! to be sent are pushed into the caller's [`Transmits`].
//!
//! Two engines can run a session ([`engine`]): our own ([`session`], [`noise`], [`keypair`]) and boringtun. Ours is
//! there because boringtun cannot do what a gateway on this path needs: seal from one buffer into another, a replay
//! window for network cards with many queues, sessions that the next agent goes on with, a clock that is the caller's,
//! keys that are cleared. It carries 1.7 times as much TCP in one stream and 1.4 times in four as the same gateway with
//! boringtun's sessions (2.54 and 2.32 against 1.51 and 1.70 Gbit/s, `cargo xtask bench --loads tcp-1,tcp-4,udp-64
//! --contenders crossway,crossway-boringtun`); at 64 bytes the two are equal within the noise. boringtun is there for
//! whoever prefers the implementation with the longest record.

#![cfg_attr(
    not(feature = "boringtun"),
    allow(
        dead_code,
        unused_variables,
        reason = "what only the second engine is given"
    )
)]

mod allowance;
pub mod arrivals;
mod engine;
mod export;
pub mod forgetting;
pub mod initiations;
mod keypair;
mod known_addresses;
pub mod link_bfd;
mod macs;
pub mod message;
pub mod noise;
mod orders;
mod peer;
mod pulses;
mod queue;
mod replay;
pub mod replica;
mod route_cache;
mod serving;
mod session;
pub mod tai64n;
mod timers;
pub mod transmit;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datapath_abi::outcome::{DropReason, Tally};

use crate::transmit::{Endpoint, Transmits};
use crossway_liveness::bfd::encapsulation;
use crossway_types::ids::{LinkId, SiteId};
use crossway_types::packet;
use crossway_types::routes::RouteTable;
pub use export::Imported;
use initiations::Initiations;
use known_addresses::KnownAddresses;
use link_bfd::LinkLiveness;
use macs::{Admission, Gatekeeper, Standing};
use message::Message;
use noise::{Identity, Responder};
use peer::Peer;
pub use peer::{PeerSnapshot, PeerSpec};
use route_cache::RouteCache;
use serving::Serving;
use session::{Local, Opened};
use tai64n::Calendar;

/// The longest inner packet until another is told: what every path carries (RFC 8200, 5).
const SMALLEST_MTU: usize = 1280;

/// Position of a peer in the table; stable while the peer is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerSlot(usize);

/// What a datagram turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub enum Handled {
    /// An inner packet of this length lies at the start of the landing place.
    Packet(usize),
    /// A replica's words for control lie there in the landing place.
    FromReplica(LinkId, Range<usize>),
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

/// What has become of a link, by its bfd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkChange {
    /// Which link.
    pub link: LinkId,
    /// What is known of it now.
    pub pulse: LinkLiveness,
}

/// The peers and the routes that lead to them.
pub struct Tunnel {
    local: Local,
    /// What was taken here and in the other lanes.
    initiations: Arc<Initiations>,
    gatekeeper: Gatekeeper,
    /// Where peers are, looked up under load.
    known_addresses: KnownAddresses,
    peers: Vec<Option<Peer>>,
    by_index: HashMap<u32, PeerSlot>,
    by_link: HashMap<LinkId, PeerSlot>,
    /// A far gateway has as many links as there are paths to it.
    by_key: HashMap<[u8; 32], Vec<PeerSlot>>,
    /// By the number of the site.
    by_site: Vec<Serving>,
    /// When BFD or a probe of a link has something to do.
    next_pulse: Instant,
    /// When all links were looked at last.
    looked_at: Option<Instant>,
    routes: RouteCache,
    /// The peer that the last data message came from: runs of datagrams are the rule.
    last: Option<(u32, PeerSlot)>,
}

impl Tunnel {
    /// A tunnel without peers. All tunnels of a gateway share its `initiations`.
    pub fn new(
        identity: Identity,
        calendar: Calendar,
        initiations: Arc<Initiations>,
        now: Instant,
    ) -> Self {
        Self {
            initiations,
            gatekeeper: Gatekeeper::new(&identity.public_key(), now),
            known_addresses: KnownAddresses::default(),
            local: Local {
                identity,
                calendar,
                mtu: SMALLEST_MTU,
            },
            peers: Vec::new(),
            by_index: HashMap::new(),
            by_link: HashMap::new(),
            by_key: HashMap::new(),
            by_site: Vec::new(),
            next_pulse: now,
            looked_at: None,
            routes: RouteCache::new(),
            last: None,
        }
    }

    /// Adds a peer and dials it if its endpoint is known. A peer of the same link is replaced; returns the
    /// packets that waited for it.
    pub fn add_peer(&mut self, spec: PeerSpec, now: Instant, out: &mut Transmits) -> Tally {
        let mut peer = Peer::new(spec, &self.local, now);
        peer.dial(&self.local, now, out);
        self.insert(peer, now)
    }

    fn insert(&mut self, peer: Peer, now: Instant) -> Tally {
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
    fn serving_of(&mut self, site: SiteId) -> &mut Serving {
        let site = site.0 as usize;
        if self.by_site.len() <= site {
            self.by_site.resize_with(site + 1, Serving::default);
        }
        &mut self.by_site[site]
    }

    /// Chooses the links that carry the flows of a site from those that are alive.
    fn choose(&mut self, site: SiteId) {
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
            peer.set_endpoint(endpoint);
            peer.dial(&self.local, now, out);
        }
    }

    /// Replaces the routes; gives back the old table, to be freed elsewhere.
    pub fn set_routes(&mut self, routes: Arc<RouteTable>) -> Arc<RouteTable> {
        self.routes.replace(routes)
    }

    /// No inner packet is longer from now on: padding makes none longer than that.
    pub fn set_mtu(&mut self, mtu: usize) {
        self.local.mtu = mtu;
        for peer in self.peers.iter_mut().flatten() {
            peer.set_mtu(mtu);
        }
    }

    /// The peer that carries the flow of `packet`, which goes to `destination`.
    pub fn peer_for(&mut self, destination: IpAddr, packet: &[u8]) -> Option<PeerSlot> {
        let site = self.routes.site_of(destination)?;
        let serving = self.by_site.get(site.0 as usize)?;
        serving.link_of(|| packet::flow_hash(packet))
    }

    /// What encrypts packets for a peer, so that it is looked up once for a super-packet; `None` when
    /// the peer is gone.
    pub fn sealer(&mut self, slot: PeerSlot, now: Instant) -> Option<Sealer<'_>> {
        let peer = self.peers[slot.0].as_mut()?;
        Some(Sealer {
            peer,
            local: &self.local,
            now,
        })
    }

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
        let length = match peer.open(receiver, datagram, from, landing, out)? {
            Opened::Keepalive => return Ok(Handled::Control),
            Opened::Packet(length) => length,
        };
        let inner = &landing[..length];
        // Is it traffic? What is for us is taken out before the source is checked: a control packet of BFD goes between
        // the ends' own addresses, which no route of the site holds; a reply to our probe does come from the site, and
        // would be forwarded. BFD is asked first, for a link that is not heard is dead. A replica's packets are for
        // control or for nobody. What is left is traffic, and must come from the site.
        let addresses = packet::addresses(inner).ok_or(DropReason::InnerMalformed)?;
        if encapsulation::is_control(inner) && peer.expects_control(addresses) {
            return self
                .handle_control(slot, inner, now)
                .map(|()| Handled::Control);
        }
        if peer.take_echo(inner) {
            self.hasten_pulses(now);
            return Ok(Handled::Control);
        }
        let (source, _) = addresses;
        let Some(site) = peer.site() else {
            return peer.handle_replica(inner, now);
        };
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
        let standing = self.standing(message, from.remote, now);
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

    /// What is known of a handshake message by its head and its source.
    fn standing(&mut self, message: Message, from: SocketAddr, now: Instant) -> Standing {
        if let Message::Response { receiver } = message {
            return match self.answered_peer(receiver) {
                Ok(peer) if peer.awaits(receiver) => Standing::Known,
                _ => Standing::Uninvited,
            };
        }
        let loaded = self.gatekeeper.is_loaded(now);
        if loaded && self.known_addresses.contains(from.ip(), &self.peers, now) {
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

    /// Has the timestamps of handshakes be no earlier than `since_epoch` from `now` on.
    pub fn begin_calendar(&mut self, now: Instant, since_epoch: Duration) {
        self.local.calendar.adjust(now, since_epoch);
    }

    /// Rekeys, keepalives and retries that are due. To be called several times a second, with the
    /// wall clock's time. Returns the packets that have waited for a handshake in vain.
    pub fn handle_timeout(
        &mut self,
        now: Instant,
        since_epoch: Duration,
        out: &mut Transmits,
        mut flush: impl FnMut(&mut Transmits),
    ) -> Tally {
        self.local.calendar.adjust(now, since_epoch);
        let mut given_up = Tally::default();
        for peer in self.peers.iter_mut().flatten() {
            given_up += peer.handle_timeout(&self.local, now, out);
            if !out.has_room(4, 4096) {
                flush(out);
            }
        }
        given_up
    }

    /// The link whose far end is, or is dialled, at an address; at any of its ports if none is given. Asks all peers.
    pub fn link_at(&self, address: IpAddr, port: Option<u16>) -> Option<LinkId> {
        let peers = self.peers.iter().flatten();
        let mut there = peers.filter(|peer| {
            let mut remotes = peer.remotes();
            remotes.any(|to| to.ip() == address && port.is_none_or(|port| port == to.port()))
        });
        there.next().map(Peer::link)
    }

    /// The peer of a link, for tests that send over it what no route leads there.
    pub fn slot_of_link(&self, link: LinkId) -> Option<PeerSlot> {
        self.by_link.get(&link).copied()
    }

    /// The state of every peer.
    pub fn snapshot(&self, now: Instant) -> Vec<PeerSnapshot> {
        let peers = self.peers.iter().flatten();
        peers.map(|peer| peer.snapshot(now)).collect()
    }
}

/// Encrypts packets for one peer.
pub struct Sealer<'a> {
    peer: &'a mut Peer,
    local: &'a Local,
    now: Instant,
}

impl Sealer<'_> {
    /// Encrypts an inner packet.
    #[inline]
    pub fn seal(&mut self, packet: &[u8], out: &mut Transmits) -> Sealed {
        self.peer.seal(packet, self.local, self.now, out)
    }
}

#[cfg(test)]
mod tests;
