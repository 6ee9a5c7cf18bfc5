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
mod badge;
mod engine;
mod export;
pub mod forgetting;
mod incoming;
pub mod initiations;
mod keypair;
mod known_addresses;
pub mod link_bfd;
mod macs;
mod mapping;
pub mod message;
pub mod noise;
mod orders;
mod peer;
mod peer_table;
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
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datapath_abi::outcome::{DropReason, Tally};

use crate::transmit::Transmits;
use badge::Badges;
use crossway_types::ids::LinkId;
use crossway_types::packet;
use crossway_types::routes::RouteTable;
pub use export::Imported;
use initiations::Initiations;
use known_addresses::KnownAddresses;
use link_bfd::LinkLiveness;
use macs::Gatekeeper;
use noise::Identity;
use peer::Peer;
pub use peer::{PeerSnapshot, PeerSpec};
use route_cache::RouteCache;
use serving::Serving;
use session::Local;
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
    /// What peers show under load.
    badges: Badges,
    /// Data messages that the gatekeeper has not been told of.
    data: u32,
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
            badges: Badges::new(now),
            data: 0,
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

    /// Replaces the routes; gives back the old table, to be freed elsewhere.
    pub fn set_routes(&mut self, routes: Arc<RouteTable>) -> Arc<RouteTable> {
        self.routes.replace(routes)
    }

    /// No inner packet is longer from now on, but for links with bounds of their own ([`Self::set_path_bounds`]):
    /// padding makes none longer than that.
    pub fn set_mtu(&mut self, mtu: usize, now: Instant) {
        self.local.mtu = mtu;
        for peer in self.peers.iter_mut().flatten() {
            peer.set_mtu(mtu, now);
        }
    }

    /// The peer that carries the flow of `packet`, which goes to `destination`.
    pub fn peer_for(&mut self, destination: IpAddr, packet: &[u8]) -> Option<PeerSlot> {
        let site = self.routes.site_of(destination)?;
        let serving = self.by_site.get(site.0 as usize)?;
        serving.link_of(|| packet::flow_hash(packet))
    }

    /// Packets for a peer up to this size are sent without a look; larger ones are to be judged by
    /// [`Self::judge_size`].
    #[inline]
    pub fn gate(&self, slot: PeerSlot) -> usize {
        self.peers[slot.0].as_ref().map_or(usize::MAX, Peer::gate)
    }

    /// The longest inner packet that the peer is sent which the last data message came from.
    #[inline]
    pub fn mtu_to_sender(&self) -> usize {
        self.last.map_or(usize::MAX, |(_, slot)| self.mtu(slot))
    }

    /// The longest inner packet that a peer is sent.
    #[inline]
    pub fn mtu(&self, slot: PeerSlot) -> usize {
        self.peers[slot.0].as_ref().map_or(usize::MAX, Peer::mtu)
    }

    /// Looks at a packet beyond [`Self::gate`]; the size that would do if it is too big.
    #[cold]
    pub fn judge_size(
        &mut self,
        slot: PeerSlot,
        size: usize,
        ipv4: bool,
        now: Instant,
    ) -> Option<usize> {
        let peer = self.peers[slot.0].as_mut()?;
        let too_big = peer.judge_size(size, ipv4, now);
        self.hasten_pulses(now);
        too_big
    }

    /// What encrypts packets for a peer, so that it is looked up once for a super-packet; `None` when
    /// the peer is gone.
    pub fn sealer(&mut self, slot: PeerSlot, now: Instant) -> Option<Sealer<'_>> {
        let peer = self.peers[slot.0].as_mut()?;
        Some(Sealer {
            peer,
            local: &self.local,
            data: &mut self.data,
            now,
        })
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
    data: &'a mut u32,
    now: Instant,
}

impl Sealer<'_> {
    /// The longest inner packet that the peer is sent.
    #[inline]
    pub fn mtu(&self) -> usize {
        self.peer.mtu()
    }

    /// Encrypts an inner packet.
    #[inline]
    pub fn seal(&mut self, packet: &[u8], out: &mut Transmits) -> Sealed {
        *self.data = self.data.wrapping_add(1);
        self.peer.seal(packet, self.local, self.now, out)
    }
}

#[cfg(test)]
mod tests;
