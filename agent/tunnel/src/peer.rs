//! One link: its session, its endpoint, its counters.

mod export;
mod path;
mod pulse;

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use datapath_abi::outcome::{DropReason, Tally};

pub(super) use export::read_link;
use path::Path;
use pulse::Told;

use super::Sealed;
use super::arrivals::Arrivals;
use super::engine::PeerSession;
use super::link_bfd::{LinkBfd, LinkLiveness};
use super::noise::Responder;
use super::replica::Channel;
use super::session::{Held, Local, Opened};
use crate::transmit::{Endpoint, Transmits};
use crossway_liveness::echo::Echo;
use crossway_liveness::path_mtu;
use crossway_liveness::settings::Liveness;
use crossway_types::engine::Engine;
use crossway_types::ids::{LinkId, SiteId};
use crossway_types::keys::SecretKey;

/// What a peer is made from.
#[derive(Clone, Debug)]
pub struct PeerSpec {
    /// The link it is.
    pub link: LinkId,
    /// The site behind it; `None` where it is a replica of this gateway, which sends no traffic.
    pub site: Option<SiteId>,
    /// What runs its session.
    pub engine: Engine,
    /// 24 bits, unique among our peers: our receiver index without its session part.
    pub receiver_index: u32,
    /// Its WireGuard public key.
    pub public_key: [u8; 32],
    /// Key mixed into the handshake (WireGuard whitepaper 5.2).
    pub preshared_key: Option<SecretKey>,
    /// Seconds between keepalives; `None` sends none and dials only when there is traffic.
    pub keepalive: Option<u16>,
    /// Where it is dialled; `None` where only it dials.
    pub endpoint: Option<Endpoint>,
    /// Interface that it is reached by; `None` leaves that to the kernel's routes.
    pub interface: Option<NonZeroU32>,
    /// How it is watched.
    pub liveness: Liveness,
    /// Our address that its probe is asked from.
    pub probe_source: Option<IpAddr>,
}

/// State of a peer at one moment.
#[derive(Clone, Debug)]
pub struct PeerSnapshot {
    /// Which link.
    pub link: LinkId,
    /// Where it was last heard from or is dialled.
    pub endpoint: Option<Endpoint>,
    /// Age of the current session; `None` without one.
    pub handshake_age: Option<Duration>,
    /// Age of the handshake that waits for its answer.
    pub unanswered_for: Option<Duration>,
    /// For how long it has begun handshake after handshake and got none of our answers; `None` where that is not so.
    pub unheard_for: Option<Duration>,
    /// What BFD and its probe say.
    pub pulse: LinkLiveness,
    /// Inner packets sent.
    pub sent_packets: u64,
    /// Inner bytes sent.
    pub sent_bytes: u64,
    /// Inner packets received.
    pub received_packets: u64,
    /// Inner bytes received.
    pub received_bytes: u64,
    /// Data messages, by their counters: keepalives and BFD among them.
    pub arrivals: Arrivals,
    /// Handshakes that gave a session, whoever began them.
    pub handshakes: u64,
    /// How large a packet may be on its path; `None` of a replica.
    pub path: Option<path_mtu::Report>,
}

/// A peer.
pub(super) struct Peer {
    spec: PeerSpec,
    session: PeerSession,
    endpoint: Option<Endpoint>,
    /// The longest inner packet: padding makes none longer.
    mtu: usize,
    path: Path,
    /// Where it was dialled last.
    dialled: Option<SocketAddr>,
    bfd: Option<LinkBfd>,
    /// To a replica of this gateway.
    pub(super) channel: Option<Channel>,
    echo: Option<Echo>,
    /// What of both control was told.
    told: Told,
    /// Has died and is not chosen again until control says so.
    benched: bool,
    sent_packets: u64,
    sent_bytes: u64,
    received_packets: u64,
    received_bytes: u64,
    /// When the last inner packet came.
    received_at: Option<Instant>,
}

impl Peer {
    /// A peer without a session.
    pub(super) fn new(spec: PeerSpec, local: &Local, now: Instant) -> Self {
        let own_key = &local.identity.public_key();
        let session = PeerSession::new(&spec, local, now);
        let bfd = link_bfd_of(&spec, own_key, now);
        Self {
            endpoint: spec.endpoint,
            mtu: local.mtu,
            path: Path::new(&spec, own_key, local.mtu, now),
            dialled: spec.endpoint.map(|endpoint| endpoint.remote),
            told: Told::new(now),
            bfd,
            channel: channel_of(&spec, own_key),
            echo: echo_of(&spec, now),
            benched: false,
            spec,
            session,
            sent_packets: 0,
            sent_bytes: 0,
            received_packets: 0,
            received_bytes: 0,
            received_at: None,
        }
    }

    /// Which link it is.
    pub(super) fn link(&self) -> LinkId {
        self.spec.link
    }

    /// The site behind it: what it sends must come from there. A replica has none.
    pub(super) fn site(&self) -> Option<SiteId> {
        self.spec.site
    }

    /// What it was made from.
    pub(super) fn spec(&self) -> &PeerSpec {
        &self.spec
    }

    /// Sends there from now on, until the peer itself is heard from elsewhere.
    pub(super) fn set_endpoint(&mut self, endpoint: Endpoint, now: Instant) {
        self.dialled = Some(endpoint.remote);
        self.follow(endpoint);
        self.on_path_moved(now);
    }

    /// Leaves by this interface from now on.
    pub(super) fn set_interface(&mut self, interface: Option<NonZeroU32>, now: Instant) {
        self.spec.interface = interface;
        if let Some(endpoint) = self.endpoint {
            self.follow(Endpoint::new(endpoint.remote));
        }
        self.on_path_moved(now);
    }

    /// How well an initiation that came from `from` by `arrival` fits this link, which is one of several
    /// of its gateway's: by the interface, then by where it was dialled.
    pub(super) fn fit(&self, from: SocketAddr, arrival: Option<NonZeroU32>) -> (u8, u8) {
        let interface = match (self.spec.interface, arrival) {
            (Some(own), Some(arrival)) => u8::from(own == arrival) * 2,
            _ => 1,
        };
        let known = self
            .dialled
            .or(self.endpoint.map(|endpoint| endpoint.remote));
        let remote = match known {
            Some(known) if known == from => 3,
            Some(known) if known.ip() == from.ip() => 2,
            None => 1,
            Some(_) => 0,
        };
        (interface, remote)
    }

    /// Starts a handshake if the endpoint is known and none is under way.
    pub(super) fn dial(&mut self, local: &Local, now: Instant, out: &mut Transmits) {
        if let Some(endpoint) = self.endpoint
            && let Some(length) = self.session.initiate(local, now, out.spare())
        {
            out.push(length, endpoint);
        }
    }

    /// Encrypts an inner packet.
    #[inline]
    pub(super) fn seal(
        &mut self,
        packet: &[u8],
        local: &Local,
        now: Instant,
        out: &mut Transmits,
    ) -> Sealed {
        let Some(endpoint) = self.endpoint else {
            return Sealed::Dropped(DropReason::NoEndpoint);
        };
        let Some(length) = self.session.seal(packet, self.mtu, out.spare()) else {
            return self.hold(packet, endpoint, local, now, out);
        };
        out.push_packet(length, endpoint, packet);
        self.sent_packets += 1;
        self.sent_bytes += packet.len() as u64;
        Sealed::Ready
    }

    /// Encrypts a packet for a replica; says whether there was a session for it.
    pub(super) fn send_counted(&mut self, packet: &[u8], out: &mut Transmits) -> bool {
        let Some(endpoint) = self.endpoint else {
            return false;
        };
        let Some(length) = self.session.seal(packet, self.mtu, out.spare()) else {
            return false;
        };
        out.push_data(length, endpoint);
        self.sent_packets += 1;
        self.sent_bytes += packet.len() as u64;
        true
    }

    #[cold]
    fn hold(
        &mut self,
        packet: &[u8],
        endpoint: Endpoint,
        local: &Local,
        now: Instant,
        out: &mut Transmits,
    ) -> Sealed {
        match self.session.hold(packet, local, now, out.spare()) {
            Held::Initiation(length) => {
                out.push(length, endpoint);
                Sealed::Queued
            }
            Held::Queued => Sealed::Queued,
            Held::QueueFull => Sealed::Dropped(DropReason::HandshakeQueueFull),
        }
    }

    /// Decrypts a data message for `receiver` to the start of `landing`. The endpoint follows its
    /// source, for it is authentic.
    #[inline]
    pub(super) fn open(
        &mut self,
        receiver: u32,
        datagram: &[u8],
        from: Endpoint,
        landing: &mut [u8],
        out: &mut Transmits,
    ) -> Result<Opened, DropReason> {
        let opened = self.session.open(receiver, datagram, landing)?;
        self.follow(from);
        if self.session.has_held() {
            self.send_held(out);
        }
        Ok(opened)
    }

    /// Answers the peer's initiation, which `datagram` is. The endpoint follows its source where there is no session:
    /// else the first message of the new one moves it, for an initiation may have been held back by somebody on the
    /// way and sent from elsewhere.
    pub(super) fn answer(
        &mut self,
        initiation: Responder,
        datagram: &[u8],
        from: Endpoint,
        now: Instant,
        out: &mut Transmits,
    ) -> Result<(), DropReason> {
        let length = self
            .session
            .answer(initiation, datagram, now, out.spare())?;
        if self.session.handshake_age(now).is_none() {
            self.follow(from);
        }
        self.on_session(now);
        out.push(length, from);
        Ok(())
    }

    /// Takes the response to our initiation. The endpoint follows its source.
    pub(super) fn handle_response(
        &mut self,
        receiver: u32,
        response: &[u8],
        from: Endpoint,
        now: Instant,
        out: &mut Transmits,
    ) -> Result<(), DropReason> {
        let keepalive = self
            .session
            .handle_response(receiver, response, now, out.spare())?;
        self.follow(from);
        self.on_session(now);
        if let Some(length) = keepalive {
            out.push(length, from);
        }
        self.send_held(out);
        Ok(())
    }

    /// Whether a handshake of ours waits for the answer with this receiver index.
    pub(super) fn awaits(&self, receiver: u32) -> bool {
        self.session.awaits(receiver)
    }

    /// Where it is: where it was last heard from, or is dialled.
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.remotes().map(|remote| remote.ip())
    }

    /// As [`Self::addresses`], with the ports.
    pub(super) fn remotes(&self) -> impl Iterator<Item = SocketAddr> {
        let heard = self.endpoint.map(|endpoint| endpoint.remote);
        heard.into_iter().chain(self.dialled)
    }

    /// Sends nothing more under the keys of now, which are older by `asleep`; whether there were any, or were about to
    /// be.
    pub(super) fn forget_sending_keys(
        &mut self,
        asleep: Duration,
        local: &Local,
        now: Instant,
    ) -> bool {
        let session = &mut self.session;
        session.forget_sending_keys(asleep, &self.spec, local, now)
    }

    /// Takes a cookie reply. It proves too little to move the endpoint.
    pub(super) fn handle_cookie(
        &mut self,
        reply: &[u8],
        local: &Local,
        now: Instant,
        out: &mut Transmits,
    ) -> Result<(), DropReason> {
        let again = self.session.handle_cookie(reply, local, now, out.spare())?;
        if let (Some(length), Some(endpoint)) = (again, self.endpoint) {
            out.push(length, endpoint);
        }
        Ok(())
    }

    /// An inner packet of `length` bytes was taken.
    pub(super) fn on_received(&mut self, length: usize, now: Instant) {
        self.received_at = Some(now);
        self.received_packets += 1;
        self.received_bytes += length as u64;
    }

    /// Sends a rekey, retry or keepalive that is due. Returns the packets that have waited for a
    /// handshake in vain.
    #[inline]
    pub(super) fn handle_timeout(
        &mut self,
        local: &Local,
        now: Instant,
        out: &mut Transmits,
    ) -> Tally {
        // Without an endpoint there was no handshake yet, so nothing has a time.
        match self.endpoint {
            Some(endpoint) if self.session.is_due(now) => {
                if let Some(length) = self.session.handle_timeout(local, now, out.spare()) {
                    out.push(length, endpoint);
                }
                self.send_held(out);
                self.session.take_given_up()
            }
            _ => Tally::default(),
        }
    }

    /// Packets that wait for a handshake, or have waited in vain and are not counted yet.
    pub(super) fn waiting(&self) -> Tally {
        self.session.waiting()
    }

    /// The state now.
    pub(super) fn snapshot(&self, now: Instant) -> PeerSnapshot {
        PeerSnapshot {
            link: self.spec.link,
            endpoint: self.endpoint,
            handshake_age: self.session.handshake_age(now),
            unanswered_for: self.session.unanswered_for(now),
            unheard_for: self.session.unheard_for(now),
            pulse: self.pulse(),
            sent_packets: self.sent_packets,
            sent_bytes: self.sent_bytes,
            received_packets: self.received_packets,
            received_bytes: self.received_bytes,
            arrivals: self.session.arrivals(),
            handshakes: self.session.handshakes(),
            path: self.path.report(),
        }
    }

    #[inline]
    fn follow(&mut self, from: Endpoint) {
        self.endpoint = Some(Endpoint {
            interface: self.spec.interface,
            ..from
        });
    }

    /// Sends what waited for the session, as far as the batch has room.
    fn send_held(&mut self, out: &mut Transmits) {
        let Some(endpoint) = self.endpoint else {
            return;
        };
        while out.has_room(1, HELD_ROOM) {
            let Some((length, packet)) = self.session.poll_held(self.mtu, out.spare()) else {
                return;
            };
            out.push_data(length, endpoint);
            self.sent_packets += 1;
            self.sent_bytes += packet as u64;
        }
    }
}

fn link_bfd_of(spec: &PeerSpec, own_key: &[u8; 32], now: Instant) -> Option<LinkBfd> {
    let discriminator = discriminator(spec.receiver_index);
    LinkBfd::new(
        &spec.liveness,
        own_key,
        &spec.public_key,
        discriminator,
        now,
    )
}

fn channel_of(spec: &PeerSpec, own_key: &[u8; 32]) -> Option<Channel> {
    let replica = spec.site.is_none();
    replica.then(|| Channel::new(own_key, &spec.public_key))
}

fn echo_of(spec: &PeerSpec, now: Instant) -> Option<Echo> {
    let (source, target) = (spec.probe_source?, spec.liveness.probe?);
    let identifier = spec.receiver_index as u16;
    Some(Echo::new(source, target, identifier, now))
}

/// The BFD discriminator of the link with this receiver index: not 0, and found by the index.
fn discriminator(receiver_index: u32) -> u32 {
    receiver_index + 1
}

/// The receiver index, without its session part, of a link with this BFD discriminator.
pub(super) fn receiver_index_of(discriminator: u32) -> Option<u32> {
    discriminator.checked_sub(1)
}

/// Room for the longest IP packet, and for the answers that the rest of a batch may ask for.
const HELD_ROOM: usize = 80 * 1024;
