//! One remote gateway: its session, its endpoint, its counters.

use std::net::IpAddr;
use std::time::Duration;

use datapath_abi::outcome::DropReason;

use super::Sealed;
use super::noise::{Gatekeeper, Identity, Opened, Session, Wrapped};
use crate::ids::{LinkId, SiteId};
use crate::io::udp::{Endpoint, SendBatch};

/// What a peer is made from.
#[derive(Clone, Debug)]
pub struct PeerSpec {
    /// The link it is.
    pub link: LinkId,
    /// The site behind it.
    pub site: SiteId,
    /// 24 bits, unique among our peers: our receiver index without its session part.
    pub receiver_index: u32,
    /// Its WireGuard public key.
    pub public_key: [u8; 32],
    /// Key mixed into the handshake (WireGuard whitepaper 5.2).
    pub preshared_key: Option<[u8; 32]>,
    /// Seconds between keepalives; `None` sends none and dials only when there is traffic.
    pub keepalive: Option<u16>,
    /// Where it is dialled; `None` where only it dials.
    pub endpoint: Option<Endpoint>,
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
    /// Inner packets sent.
    pub sent_packets: u64,
    /// Inner bytes sent.
    pub sent_bytes: u64,
    /// Inner packets received.
    pub received_packets: u64,
    /// Inner bytes received.
    pub received_bytes: u64,
}

/// A peer.
pub struct Peer {
    spec: PeerSpec,
    session: Session,
    endpoint: Option<Endpoint>,
    /// The source address that was last found in the site's routes.
    checked_source: Option<IpAddr>,
    sent_packets: u64,
    sent_bytes: u64,
    received_packets: u64,
    received_bytes: u64,
}

impl Peer {
    /// A peer without a session.
    pub fn new(spec: PeerSpec, identity: &Identity, gatekeeper: &Gatekeeper) -> Self {
        let session = Session::new(
            identity,
            gatekeeper,
            spec.public_key,
            spec.preshared_key,
            spec.keepalive,
            spec.receiver_index,
        );
        Self {
            endpoint: spec.endpoint,
            spec,
            session,
            checked_source: None,
            sent_packets: 0,
            sent_bytes: 0,
            received_packets: 0,
            received_bytes: 0,
        }
    }

    /// Which link it is.
    pub fn link(&self) -> LinkId {
        self.spec.link
    }

    /// What it was made from.
    pub fn spec(&self) -> &PeerSpec {
        &self.spec
    }

    /// Sends there from now on, until the peer itself is heard from elsewhere.
    pub fn set_endpoint(&mut self, endpoint: Endpoint) {
        self.endpoint = Some(endpoint);
    }

    /// Starts a handshake if the endpoint is known and none is under way.
    pub fn dial(&mut self, out: &mut SendBatch) {
        if let Some(endpoint) = self.endpoint
            && let Some(length) = self.session.initiate(out.spare())
        {
            out.push(length, endpoint);
        }
    }

    /// Encrypts an inner packet.
    pub fn seal(&mut self, packet: &[u8], out: &mut SendBatch) -> Sealed {
        let Some(endpoint) = self.endpoint else {
            return Sealed::Dropped(DropReason::NoEndpoint);
        };
        match self.session.wrap(packet, out.spare()) {
            Wrapped::Data(length) => {
                out.push(length, endpoint);
                self.sent_packets += 1;
                self.sent_bytes += packet.len() as u64;
                Sealed::Ready
            }
            Wrapped::Initiation(length) => {
                out.push(length, endpoint);
                Sealed::Queued
            }
            Wrapped::Queued => Sealed::Queued,
            Wrapped::QueueFull => Sealed::Dropped(DropReason::HandshakeQueueFull),
        }
    }

    /// Decrypts a data message to the start of `landing`. The endpoint follows its source, for it
    /// is authentic.
    pub fn open(
        &mut self,
        datagram: &[u8],
        from: Endpoint,
        landing: &mut [u8],
        out: &mut SendBatch,
    ) -> Result<Opened, DropReason> {
        let opened = self.session.open(datagram, landing)?;
        self.endpoint = Some(from);
        self.send_queued(out);
        Ok(opened)
    }

    /// Takes an admitted handshake message. Only an initiation or response that authenticates moves
    /// the endpoint, not a cookie reply.
    pub fn handle_handshake(
        &mut self,
        datagram: &[u8],
        from: Endpoint,
        out: &mut SendBatch,
    ) -> Result<(), DropReason> {
        let reply = self
            .session
            .handle_handshake(datagram, from.remote.ip(), out.spare())?;
        if let Some(length) = reply {
            self.endpoint = Some(from);
            out.push(length, from);
            self.send_queued(out);
        }
        Ok(())
    }

    /// Whether an inner packet may have this source: one that `site_of` gives to this peer's site.
    pub fn may_send_from(
        &mut self,
        source: IpAddr,
        site_of: impl FnOnce(IpAddr) -> Option<SiteId>,
    ) -> bool {
        if self.checked_source == Some(source) {
            return true;
        }
        let may = site_of(source) == Some(self.spec.site);
        if may {
            self.checked_source = Some(source);
        }
        may
    }

    /// The routes have changed.
    pub fn forget_checked_source(&mut self) {
        self.checked_source = None;
    }

    /// An inner packet of `length` bytes was taken.
    pub fn on_received(&mut self, length: usize) {
        self.received_packets += 1;
        self.received_bytes += length as u64;
    }

    /// A rekey, retry or keepalive that is due.
    pub fn handle_timeout(&mut self, out: &mut SendBatch) {
        let Some(endpoint) = self.endpoint else {
            // Nothing can be sent; the session's clock must go on all the same.
            let _ = self.session.handle_timeout(out.spare());
            return;
        };
        if let Some(length) = self.session.handle_timeout(out.spare()) {
            out.push(length, endpoint);
        }
    }

    /// The state now.
    pub fn snapshot(&self) -> PeerSnapshot {
        PeerSnapshot {
            link: self.spec.link,
            endpoint: self.endpoint,
            handshake_age: self.session.handshake_age(),
            sent_packets: self.sent_packets,
            sent_bytes: self.sent_bytes,
            received_packets: self.received_packets,
            received_bytes: self.received_bytes,
        }
    }

    /// Sends what waited for the session, as far as the batch has room.
    fn send_queued(&mut self, out: &mut SendBatch) {
        let Some(endpoint) = self.endpoint else {
            return;
        };
        while out.has_room(1, LONGEST_QUEUED) {
            let Some(length) = self.session.poll_queued(out.spare()) else {
                return;
            };
            out.push(length, endpoint);
            self.sent_packets += 1;
            self.sent_bytes += (length - super::noise::DATA_OVERHEAD) as u64;
        }
    }
}

/// A queued packet is at most one IP packet.
const LONGEST_QUEUED: usize = 65_535 + super::noise::DATA_OVERHEAD;
