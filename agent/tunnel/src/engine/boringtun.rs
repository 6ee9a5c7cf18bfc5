//! The one file that knows boringtun: its `Tunn` runs the handshakes, the sessions and their timers.
//!
//! What `Tunn` does not tell is kept beside it: whether there is a session, which handshake of ours waits for an
//! answer, and the packets that wait for one, so that each that is given up is counted. Its own queue stays empty
//! but for keepalives, and its rate limiter admits everything: what comes here was admitted by the `Gatekeeper`.
//! A link that is kept alive is also dialled for ever and renewed while it is quiet, as with our own engine; `Tunn`
//! ends such a session after three minutes.
//!
//! `Tunn` reads the clock by itself (`CLOCK_BOOTTIME`), in [`Tunn::update_timers`] and for each handshake, though
//! not for a packet: between two looks its time stands still. So no test can turn its clock, unless boringtun is
//! built with `mock-instant`, which the feature `mock-clock` of this crate asks for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use boringtun::noise::errors::WireGuardError;
use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519::PublicKey;
use datapath_abi::outcome::{DropReason, Tally};

use crate::arrivals::{Arrivals, Refused};
use crate::message::{self, Message};
use crate::noise::Identity;
use crate::queue::PacketQueue;
use crate::session::answers::Answers;
use crate::session::{Held, Opened};
use crate::tai64n::Timestamp;
use crate::timers::doubt::Doubt;
use crate::timers::{REKEY_AFTER, REKEY_AFTER_AS_RESPONDER};
use crossway_liveness::round_trip::RoundTrip;

/// Time between two looks at boringtun's timers, as in its own device.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Sessions under which messages may still be on their way: `tunn` keeps eight, of which three live at a time.
const HEADS: usize = 4;

/// One peer's handshakes and sessions.
pub(crate) struct BoringtunSession {
    tunn: Tunn,
    /// Whether `tunn` has a session to send under. It gets one while it handles a datagram, and loses it nowhere
    /// but in `update_timers`.
    ready: bool,
    /// Whether the current session was begun from here.
    initiator: bool,
    queue: PacketQueue,
    /// Packets that waited in vain.
    given_up: Tally,
    /// The handshake under way that we began, and the receiver index of the one before it: `tunn` takes a late
    /// answer to that as well.
    begun: Option<Begun>,
    begun_before: Option<u32>,
    answers: Answers,
    /// Of the handshakes that were begun from here.
    round_trip: RoundTrip,
    arrivals: Arrivals,
    /// The sessions that messages came under last: our receiver index, and the counter that comes next. `tunn` has them,
    /// and tells nobody.
    heads: [(u32, u64); HEADS],
    /// `tunn` has doubts of its own, but takes every keepalive for an answer.
    doubt: Doubt,
    /// Our receiver index in the last answer, until the peer has sent something under it.
    answer_index: Option<u32>,
    look_at: Instant,
    /// Time between two messages on a link that is kept alive.
    interval: Option<Duration>,
    keepalive_at: Option<Instant>,
    /// Whether anything was sent since the last look.
    sent: bool,
    /// Where a packet gets its padding, which `tunn` does not give it.
    padded: Vec<u8>,
}

/// A handshake that we began.
struct Begun {
    local_index: u32,
    /// When the first of its initiations was sent.
    at: Instant,
    /// When this one was.
    sent: Instant,
    /// Whether it was tried again for a cookie.
    hastened: bool,
}

impl BoringtunSession {
    /// A session to be. `index` has 24 bits and is the receiver index without its session part; `keepalive` is in
    /// seconds.
    pub(super) fn new(
        identity: &Identity,
        peer: [u8; 32],
        preshared: Option<&[u8; 32]>,
        keepalive: Option<u16>,
        index: u32,
        now: Instant,
    ) -> Self {
        let own_key = PublicKey::from(identity.public_key());
        let limiter = Arc::new(RateLimiter::new(&own_key, u64::MAX));
        let (private, peer) = (identity.private().clone(), PublicKey::from(peer));
        // Keepalives are sent from here: `tunn` dials at each that is due without a session, even a peer that
        // nobody knows the endpoint of.
        let tunn = Tunn::new(
            private,
            peer,
            preshared.copied(),
            None,
            index,
            Some(limiter),
        );
        Self {
            tunn,
            ready: false,
            initiator: false,
            queue: PacketQueue::default(),
            given_up: Tally::default(),
            begun: None,
            begun_before: None,
            answers: Answers::default(),
            round_trip: RoundTrip::default(),
            arrivals: Arrivals::default(),
            heads: [(0, 0); HEADS],
            doubt: Doubt::default(),
            answer_index: None,
            look_at: now,
            interval: keepalive
                .filter(|seconds| *seconds > 0)
                .map(|seconds| Duration::from_secs(seconds.into())),
            keepalive_at: None,
            sent: false,
            padded: Vec::new(),
        }
    }

    /// Goes on as `blank` does, with all that is not keys; whether there was a session or a handshake under way.
    pub(super) fn begin_anew(&mut self, blank: Self) -> bool {
        let before = std::mem::replace(self, blank);
        self.queue = before.queue;
        self.given_up = before.given_up;
        self.answers = before.answers;
        self.arrivals = before.arrivals;
        self.round_trip = before.round_trip;
        before.ready || before.begun.is_some()
    }

    /// As [`super::PeerSession::seal`].
    #[inline]
    pub(super) fn seal(&mut self, packet: &[u8], mtu: usize, to: &mut [u8]) -> Option<usize> {
        if !self.ready {
            return None;
        }
        if !packet.is_empty() {
            self.doubt.on_data_sent();
        }
        let packet = with_padding(packet, mtu, &mut self.padded);
        let length = written(&self.tunn.encapsulate(packet, to));
        self.sent = true;
        length
    }

    /// As [`super::PeerSession::hold`].
    pub(super) fn hold(&mut self, packet: &[u8], now: Instant, to: &mut [u8]) -> Held {
        if !self.queue.push(packet) {
            return Held::QueueFull;
        }
        if !self.may_begin(now) {
            return Held::Queued;
        }
        self.initiate(now, to)
            .map_or(Held::Queued, Held::Initiation)
    }

    /// As [`super::PeerSession::open`].
    #[inline]
    pub(super) fn open(
        &mut self,
        datagram: &[u8],
        landing: &mut [u8],
    ) -> Result<Opened, DropReason> {
        let opened = match self.tunn.decapsulate(None, datagram, landing) {
            TunnResult::WriteToTunnelV4(packet, _) | TunnResult::WriteToTunnelV6(packet, _) => {
                Opened::Packet(packet.len())
            }
            TunnResult::Done => Opened::Keepalive,
            TunnResult::Err(error) => {
                self.on_refused(&error);
                return Err(reason(&error));
            }
            // Only a handshake is answered.
            TunnResult::WriteToNetwork(_) => return Err(DropReason::NoSession),
        };
        // The session that it came under is the current one now, unless a newer is.
        self.ready = true;
        self.on_accepted(datagram);
        match opened {
            Opened::Packet(_) => self.doubt.on_answered(),
            Opened::Keepalive => self.doubt.on_keepalive(),
        }
        if self.answer_index.is_some() && self.answer_index == message::receiver(datagram) {
            self.on_confirmed();
        }
        Ok(opened)
    }

    /// As [`super::PeerSession::has_held`].
    #[inline]
    pub(super) fn has_held(&self) -> bool {
        self.ready && !self.queue.is_empty()
    }

    /// As [`super::PeerSession::poll_held`].
    pub(super) fn poll_held(&mut self, mtu: usize, to: &mut [u8]) -> Option<(usize, usize)> {
        if !self.ready {
            return None;
        }
        let packet = self.queue.front()?;
        let padded = with_padding(packet, mtu, &mut self.padded);
        let lengths = (written(&self.tunn.encapsulate(padded, to))?, packet.len());
        self.queue.pop();
        self.doubt.on_data_sent();
        self.sent = true;
        Some(lengths)
    }

    /// As [`super::PeerSession::take_given_up`].
    pub(super) fn take_given_up(&mut self) -> Tally {
        std::mem::take(&mut self.given_up)
    }

    /// As [`super::PeerSession::waiting`].
    pub(super) fn waiting(&self) -> Tally {
        self.given_up + self.queue.tally()
    }

    /// As [`super::PeerSession::initiate`].
    pub(super) fn initiate(&mut self, now: Instant, to: &mut [u8]) -> Option<usize> {
        self.send_initiation(false, now, to)
    }

    /// As [`super::PeerSession::answer`]. `tunn` decrypts the initiation once more, for it takes nothing but whole
    /// datagrams; one with a public key of low order, which it would take, does not come so far.
    pub(super) fn answer(
        &mut self,
        timestamp: Timestamp,
        datagram: &[u8],
        now: Instant,
        to: &mut [u8],
    ) -> Result<usize, DropReason> {
        self.answers.check(timestamp, now)?;
        if self.is_due(now) {
            // The session is to count from now, not from the last look, which may be long ago where nobody could
            // be dialled. A handshake of ours that begins here gives way to this one.
            self.look(now, to);
        }
        let length = written(&self.tunn.decapsulate(None, datagram, to));
        let length = length.ok_or(DropReason::HandshakeInvalid)?;
        self.answers.on_answered(timestamp, now);
        self.answer_index = message::sender(&to[..length]);
        self.initiator = false;
        // `tunn` leaves off trying by itself, but still takes an answer.
        self.begun_before = self.begun.take().map(|begun| begun.local_index);
        self.sent = true;
        Ok(length)
    }

    /// As [`super::PeerSession::handle_response`]; the keepalive is always written.
    pub(super) fn handle_response(
        &mut self,
        receiver: u32,
        response: &[u8],
        now: Instant,
        to: &mut [u8],
    ) -> Result<Option<usize>, DropReason> {
        let keepalive = written(&self.tunn.decapsulate(None, response, to));
        let keepalive = keepalive.ok_or(DropReason::HandshakeInvalid)?;
        match self.begun.take() {
            Some(begun) if begun.local_index == receiver => {
                let time = now.saturating_duration_since(begun.sent);
                self.round_trip.on_measured(time);
            }
            other => self.begun = other,
        }
        self.begun_before = self.begun_before.filter(|before| *before != receiver);
        self.on_confirmed();
        self.ready = true;
        self.initiator = true;
        self.sent = true;
        Ok(Some(keepalive))
    }

    /// As [`super::PeerSession::handle_cookie`].
    pub(super) fn handle_cookie(
        &mut self,
        reply: &[u8],
        now: Instant,
        to: &mut [u8],
    ) -> Result<Option<usize>, DropReason> {
        if let TunnResult::Err(_) = self.tunn.decapsulate(None, reply, to) {
            return Err(DropReason::HandshakeInvalid);
        }
        if self.begun.as_ref().is_none_or(|begun| begun.hastened) {
            return Ok(None);
        }
        let again = self.send_initiation(true, now, to);
        if let Some(begun) = &mut self.begun {
            begun.hastened = true;
        }
        Ok(again)
    }

    /// As [`super::PeerSession::awaits`].
    pub(super) fn awaits(&self, receiver: u32) -> bool {
        let begun = self.begun.as_ref().map(|begun| begun.local_index);
        [begun, self.begun_before].contains(&Some(receiver))
    }

    /// As [`super::PeerSession::handshake_age`], by boringtun's clock.
    pub(super) fn handshake_age(&self) -> Option<Duration> {
        self.tunn.time_since_last_handshake().filter(|_| self.ready)
    }

    /// As [`super::PeerSession::unanswered_for`].
    pub(super) fn unanswered_for(&self, now: Instant) -> Option<Duration> {
        let begun = self.begun.as_ref()?;
        Some(now.saturating_duration_since(begun.at))
    }

    /// As [`super::PeerSession::unheard_for`].
    pub(super) fn unheard_for(&self, now: Instant) -> Option<Duration> {
        self.answers.ignored_for(now)
    }

    /// As [`super::PeerSession::is_due`].
    #[inline]
    pub(super) fn is_due(&self, now: Instant) -> bool {
        now >= self.look_at
    }

    /// As [`super::PeerSession::handle_timeout`].
    pub(super) fn handle_timeout(&mut self, now: Instant, to: &mut [u8]) -> Option<usize> {
        self.look(now, to)
            .or_else(|| self.begin_if_due(now, to))
            .or_else(|| self.keep_alive_if_due(now, to))
    }

    /// Lets `tunn` look at its clock, and writes what it sends.
    fn look(&mut self, now: Instant, to: &mut [u8]) -> Option<usize> {
        self.look_at = now + LOOK_EVERY;
        let result = self.tunn.update_timers(to);
        let length = written(&result);
        if let TunnResult::Err(WireGuardError::ConnectionExpired) = result {
            self.give_up();
        }
        self.ready = self.tunn.time_since_last_handshake().is_some();
        let length = length?;
        self.on_sent(&to[..length], now);
        Some(length)
    }

    /// `tunn` has given up its handshake, or had nothing to do for nine minutes.
    fn give_up(&mut self) {
        (self.begun, self.begun_before) = (None, None);
        self.given_up += self.queue.clear();
    }

    /// Dials for what `tunn` does not: packets that wait here, and a link that is kept alive.
    fn begin_if_due(&mut self, now: Instant, to: &mut [u8]) -> Option<usize> {
        let kept_alive = self.interval.is_some();
        let due = match self.handshake_age() {
            Some(age) if self.initiator => kept_alive && age >= REKEY_AFTER,
            Some(age) => kept_alive && age >= REKEY_AFTER_AS_RESPONDER,
            None => kept_alive || !self.queue.is_empty(),
        };
        self.answers.expire(now);
        self.doubt.look(now);
        let doubtful = self.doubt.take(now) | self.answers.ignored_for(now).is_some();
        if (due || doubtful) && self.may_begin(now) {
            self.initiate(now, to)
        } else {
            None
        }
    }

    fn keep_alive_if_due(&mut self, now: Instant, to: &mut [u8]) -> Option<usize> {
        let interval = self.interval?;
        if std::mem::take(&mut self.sent) {
            self.keepalive_at = None;
        }
        let at = *self.keepalive_at.get_or_insert(now + interval);
        if now < at || !self.ready {
            return None;
        }
        self.keepalive_at = Some(now + interval);
        written(&self.tunn.encapsulate(&[], to))
    }

    /// As [`super::PeerSession::arrivals`].
    pub(super) fn arrivals(&self) -> Arrivals {
        self.arrivals
    }

    /// As [`super::PeerSession::handshakes`].
    pub(super) fn handshakes(&self) -> u64 {
        self.answers.completed()
    }

    /// As [`super::PeerSession::round_trip`].
    pub(super) fn round_trip(&self) -> RoundTrip {
        self.round_trip
    }

    /// As [`super::PeerSession::continue_counting`].
    pub(super) fn continue_counting(&mut self, arrivals: Arrivals, handshakes: u64) {
        self.arrivals = arrivals;
        self.answers.set_completed(handshakes);
    }

    /// Counts a message that was authentic and new.
    fn on_accepted(&mut self, datagram: &[u8]) {
        let (Some(receiver), Some(counter)) =
            (message::receiver(datagram), message::counter(datagram))
        else {
            return;
        };
        let known = self.heads.iter().position(|(index, _)| *index == receiver);
        let at = known.unwrap_or_else(|| {
            self.heads.rotate_right(1);
            self.heads[0] = (receiver, 0);
            0
        });
        let (_, next) = &mut self.heads[at];
        self.arrivals.on_accepted(*next, counter);
        *next = (*next).max(counter + 1);
    }

    #[cold]
    fn on_refused(&mut self, error: &WireGuardError) {
        match error {
            WireGuardError::DuplicateCounter => self.arrivals.on_refused(Refused::Duplicate),
            WireGuardError::InvalidCounter => self.arrivals.on_refused(Refused::Outdated),
            _ => {}
        }
    }

    /// Our last answer has arrived.
    fn on_confirmed(&mut self) {
        self.answers.on_confirmed();
        self.doubt.on_answered();
        self.answer_index = None;
    }

    /// Whether a packet is a reason for a handshake.
    fn may_begin(&self, now: Instant) -> bool {
        self.begun.is_none() && !self.answers.may_give_a_session(now)
    }

    /// Writes an initiation; a second one of the same handshake only if `again`.
    fn send_initiation(&mut self, again: bool, now: Instant, to: &mut [u8]) -> Option<usize> {
        let length = written(&self.tunn.format_handshake_initiation(to, again))?;
        self.on_sent(&to[..length], now);
        Some(length)
    }

    /// `tunn` has written a message by itself.
    fn on_sent(&mut self, datagram: &[u8], now: Instant) {
        self.sent = true;
        if let (Some(Message::Initiation), Some(local_index)) =
            (Message::parse(datagram), message::sender(datagram))
        {
            let before = self.begun.take();
            self.begun_before = before.as_ref().map(|before| before.local_index);
            self.begun = Some(Begun {
                local_index,
                at: before.as_ref().map_or(now, |before| before.at),
                sent: now,
                hastened: before.is_some_and(|before| before.hastened),
            });
        }
    }
}

/// `packet` with its padding, in `place` where it has any.
fn with_padding<'a>(packet: &'a [u8], mtu: usize, place: &'a mut Vec<u8>) -> &'a [u8] {
    let padded = message::padded(packet, mtu);
    if padded == packet.len() {
        return packet;
    }
    place.clear();
    place.extend_from_slice(packet);
    place.resize(padded, 0);
    place
}

/// The length of what is to be sent, which lies at the start of the buffer that was given.
#[inline]
fn written(result: &TunnResult<'_>) -> Option<usize> {
    match result {
        TunnResult::WriteToNetwork(datagram) => Some(datagram.len()),
        _ => None,
    }
}

/// Why a data message was refused.
fn reason(error: &WireGuardError) -> DropReason {
    match error {
        WireGuardError::InvalidCounter | WireGuardError::DuplicateCounter => DropReason::Replayed,
        WireGuardError::InvalidAeadTag => DropReason::AuthenticationFailed,
        WireGuardError::InvalidPacket => DropReason::InnerMalformed,
        _ => DropReason::NoSession,
    }
}
