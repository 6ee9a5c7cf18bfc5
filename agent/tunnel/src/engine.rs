//! The session of one peer, run by either engine: the seam between what is the same for both (peers, endpoints,
//! counters, liveness, admission of handshakes) and what each does in its own way. One match on an enum stands in
//! front of each packet, which the processor predicts; nothing is called through a table.

#[cfg(feature = "boringtun")]
mod boringtun;

use std::time::{Duration, Instant};

use datapath_abi::outcome::{DropReason, Tally};

#[cfg(feature = "boringtun")]
use self::boringtun::BoringtunSession;
use super::arrivals::Arrivals;
use super::noise::Responder;
use super::peer::PeerSpec;
use super::session::{Held, Local, Opened, Session};
use crossway_liveness::round_trip::RoundTrip;
use crossway_types::codec::{Damaged, Reader, Writer};
use crossway_types::engine::Engine;
use crossway_types::keys::SecretKey;

/// A session of one of the engines.
#[expect(
    clippy::large_enum_variant,
    reason = "a session of our own is reached without one more pointer; a peer holds several cache lines anyway"
)]
pub(super) enum PeerSession {
    /// Of our own.
    Crossway(Session),
    /// Of boringtun.
    #[cfg(feature = "boringtun")]
    Boringtun(Box<BoringtunSession>),
}

#[cfg(feature = "boringtun")]
use PeerSession::Boringtun;
use PeerSession::Crossway;

impl PeerSession {
    /// A session to be, of the engine that `spec` names.
    pub(super) fn new(spec: &PeerSpec, local: &Local, now: Instant) -> Self {
        let preshared = spec.preshared_key.as_ref().map(SecretKey::as_bytes);
        let (peer, keepalive, index) = (spec.public_key, spec.keepalive, spec.receiver_index);
        match spec.engine {
            // Without boringtun, which no gateway is, there is only this one.
            #[cfg(not(feature = "boringtun"))]
            Engine::Boringtun => Crossway(Session::new(peer, preshared, keepalive, index, now)),
            Engine::Crossway => Crossway(Session::new(peer, preshared, keepalive, index, now)),
            #[cfg(feature = "boringtun")]
            Engine::Boringtun => {
                let identity = &local.identity;
                let session =
                    BoringtunSession::new(identity, peer, preshared, keepalive, index, now);
                Boringtun(Box::new(session))
            }
        }
    }

    /// Writes `packet` as a data message to the start of `to`, padded within `mtu`; its length. `None` without a
    /// session: then [`Self::hold`] it.
    #[inline]
    pub(super) fn seal(&mut self, packet: &[u8], mtu: usize, to: &mut [u8]) -> Option<usize> {
        match self {
            Crossway(session) => session.seal(packet, mtu, to),
            #[cfg(feature = "boringtun")]
            Boringtun(session) => session.seal(packet, mtu, to),
        }
    }

    /// Keeps a packet until there is a session, and begins a handshake for it.
    pub(super) fn hold(
        &mut self,
        packet: &[u8],
        local: &Local,
        now: Instant,
        to: &mut [u8],
    ) -> Held {
        match self {
            Crossway(session) => session.hold(packet, local, now, to),
            #[cfg(feature = "boringtun")]
            Boringtun(session) => session.hold(packet, now, to),
        }
    }

    /// Opens a data message for `receiver` to the start of `landing`, which is as long as the message.
    #[inline]
    pub(super) fn open(
        &mut self,
        receiver: u32,
        datagram: &[u8],
        now: Instant,
        landing: &mut [u8],
    ) -> Result<Opened, DropReason> {
        match self {
            Crossway(session) => session.open(receiver, datagram, now, landing),
            #[cfg(feature = "boringtun")]
            Boringtun(session) => session.open(datagram, landing),
        }
    }

    /// Whether packets wait that could be sent now.
    #[inline]
    pub(super) fn has_held(&self) -> bool {
        match self {
            Crossway(session) => session.has_held(),
            #[cfg(feature = "boringtun")]
            Boringtun(session) => session.has_held(),
        }
    }

    /// The next packet that waited for the session, as a data message; the message's length and its own.
    pub(super) fn poll_held(&mut self, mtu: usize, to: &mut [u8]) -> Option<(usize, usize)> {
        match self {
            Crossway(session) => session.poll_held(mtu, to),
            #[cfg(feature = "boringtun")]
            Boringtun(session) => session.poll_held(mtu, to),
        }
    }

    /// Packets that waited in vain since this was asked last.
    pub(super) fn take_given_up(&mut self) -> Tally {
        match self {
            Crossway(session) => session.take_given_up(),
            #[cfg(feature = "boringtun")]
            Boringtun(session) => session.take_given_up(),
        }
    }

    /// Packets that wait, and those that waited in vain since that was asked last.
    pub(super) fn waiting(&self) -> Tally {
        match self {
            Crossway(session) => session.waiting(),
            #[cfg(feature = "boringtun")]
            Boringtun(session) => session.waiting(),
        }
    }

    /// Writes a handshake initiation, unless a handshake is under way; its length.
    pub(super) fn initiate(&mut self, local: &Local, now: Instant, to: &mut [u8]) -> Option<usize> {
        match self {
            Crossway(session) => session.initiate(local, now, to),
            #[cfg(feature = "boringtun")]
            Boringtun(session) => session.initiate(now, to),
        }
    }

    /// Answers the peer's initiation, which `datagram` is; the response's length.
    pub(super) fn answer(
        &mut self,
        initiation: Responder,
        datagram: &[u8],
        now: Instant,
        to: &mut [u8],
    ) -> Result<usize, DropReason> {
        match self {
            Crossway(session) => session.answer(initiation, now, to),
            #[cfg(feature = "boringtun")]
            Boringtun(session) => session.answer(initiation.timestamp, datagram, now, to),
        }
    }

    /// Takes the response to our initiation. A keepalive may be written, for the peer sends nothing before it
    /// was sent something; its length.
    pub(super) fn handle_response(
        &mut self,
        receiver: u32,
        response: &[u8],
        now: Instant,
        to: &mut [u8],
    ) -> Result<Option<usize>, DropReason> {
        match self {
            Crossway(session) => session.handle_response(receiver, response, now, to),
            #[cfg(feature = "boringtun")]
            Boringtun(session) => session.handle_response(receiver, response, now, to),
        }
    }

    /// Sends nothing more under the keys of now, which are older by `asleep`; whether there were any, or a handshake
    /// under way that is given up. boringtun hands no key out to be dropped by itself: with it, what the far end
    /// still sends under them is lost as well.
    pub(super) fn forget_sending_keys(
        &mut self,
        asleep: Duration,
        spec: &PeerSpec,
        local: &Local,
        now: Instant,
    ) -> bool {
        match self {
            Crossway(session) => session.forget_sending_keys(asleep, now),
            #[cfg(feature = "boringtun")]
            Boringtun(session) => {
                let preshared = spec.preshared_key.as_ref().map(SecretKey::as_bytes);
                let (keepalive, index) = (spec.keepalive, spec.receiver_index);
                let identity = &local.identity;
                let blank = BoringtunSession::new(
                    identity,
                    spec.public_key,
                    preshared,
                    keepalive,
                    index,
                    now,
                );
                session.begin_anew(blank)
            }
        }
    }

    /// Takes a cookie reply. The handshake under way is tried again at once, and once; its length.
    pub(super) fn handle_cookie(
        &mut self,
        reply: &[u8],
        local: &Local,
        now: Instant,
        to: &mut [u8],
    ) -> Result<Option<usize>, DropReason> {
        match self {
            Crossway(session) => session.handle_cookie(reply, local, now, to),
            #[cfg(feature = "boringtun")]
            Boringtun(session) => session.handle_cookie(reply, now, to),
        }
    }

    /// Whether a handshake of ours waits for the answer with this receiver index.
    pub(super) fn awaits(&self, receiver: u32) -> bool {
        match self {
            Crossway(session) => session.awaits(receiver),
            #[cfg(feature = "boringtun")]
            Boringtun(session) => session.awaits(receiver),
        }
    }

    /// Time since the current session was agreed; `None` without a session.
    pub(super) fn handshake_age(&self, now: Instant) -> Option<Duration> {
        match self {
            Crossway(session) => session.handshake_age(now),
            #[cfg(feature = "boringtun")]
            Boringtun(session) => session.handshake_age(),
        }
    }

    /// Age of the handshake that waits for its answer.
    pub(super) fn unanswered_for(&self, now: Instant) -> Option<Duration> {
        match self {
            Crossway(session) => session.unanswered_for(now),
            #[cfg(feature = "boringtun")]
            Boringtun(session) => session.unanswered_for(now),
        }
    }

    /// For how long the peer has begun handshake after handshake and got none of our answers; `None` where that is
    /// not so.
    pub(super) fn unheard_for(&self, now: Instant) -> Option<Duration> {
        match self {
            Crossway(session) => session.unheard_for(now),
            #[cfg(feature = "boringtun")]
            Boringtun(session) => session.unheard_for(now),
        }
    }

    /// What came, by the counters of the messages.
    pub(super) fn arrivals(&self) -> Arrivals {
        match self {
            Crossway(session) => session.arrivals(),
            #[cfg(feature = "boringtun")]
            Boringtun(session) => session.arrivals(),
        }
    }

    /// Handshakes that gave a session, whoever began them.
    pub(super) fn handshakes(&self) -> u64 {
        match self {
            Crossway(session) => session.handshakes(),
            #[cfg(feature = "boringtun")]
            Boringtun(session) => session.handshakes(),
        }
    }

    /// The round trip to the far end, as handshakes have measured it.
    pub(super) fn round_trip(&self) -> RoundTrip {
        match self {
            Crossway(session) => session.round_trip(),
            #[cfg(feature = "boringtun")]
            Boringtun(session) => session.round_trip(),
        }
    }

    /// Goes on counting where another agent ended.
    pub(super) fn continue_counting(&mut self, arrivals: Arrivals, handshakes: u64) {
        match self {
            Crossway(session) => session.continue_counting(arrivals, handshakes),
            #[cfg(feature = "boringtun")]
            Boringtun(session) => session.continue_counting(arrivals, handshakes),
        }
    }

    /// Whether [`Self::handle_timeout`] has anything to do.
    #[inline]
    pub(super) fn is_due(&self, now: Instant) -> bool {
        match self {
            Crossway(session) => session.is_due(now),
            #[cfg(feature = "boringtun")]
            Boringtun(session) => session.is_due(now),
        }
    }

    /// Writes a rekey, retry or keepalive that is due; its length.
    pub(super) fn handle_timeout(
        &mut self,
        local: &Local,
        now: Instant,
        to: &mut [u8],
    ) -> Option<usize> {
        match self {
            Crossway(session) => session.handle_timeout(local, now, to),
            #[cfg(feature = "boringtun")]
            Boringtun(session) => session.handle_timeout(now, to),
        }
    }

    /// For the agent that takes over; returns the packets that stay behind. boringtun hands nothing out, so
    /// nothing of its sessions is written.
    pub(super) fn export(&self, to: &mut Writer) -> Tally {
        match self {
            Crossway(session) => session.export(to),
            #[cfg(feature = "boringtun")]
            Boringtun(session) => session.waiting(),
        }
    }

    /// What [`Self::export`] wrote, for the same peer under the same receiver index; whether the session goes on.
    /// If not, this one dials as soon as it is looked at. After an error this session is to be thrown away.
    pub(super) fn import(&mut self, from: &mut Reader<'_>) -> Result<bool, Damaged> {
        match self {
            Crossway(session) => session.import(from).map(|()| true),
            #[cfg(feature = "boringtun")]
            Boringtun(_) => Ok(false),
        }
    }
}
