//! One peer's sessions from handshake to handshake (whitepaper 5 and 6). It reads no clock and no
//! socket: time and datagrams come in as arguments, messages to be sent go into the caller's buffer.

pub(super) mod answers;
mod due;
mod export;

use std::time::{Duration, Instant};

use datapath_abi::outcome::{DropReason, Tally};
use zeroize::Zeroizing;

use super::arrivals::Arrivals;
use super::badge::BadgeKey;
use super::keypair::{Keypair, Keypairs};
use super::macs::Stamper;
use super::message::{self, INITIATION_BYTES, RESPONSE_BYTES};
use super::noise::{Identity, Initiator, PresharedKey, Responder};
use super::queue::PacketQueue;
use super::tai64n::Calendar;
use super::timers::{REKEY_TIMEOUT, Timers, jitter};
use answers::Answers;
use crossway_liveness::round_trip::RoundTrip;
use crossway_types::packet;

/// What this gateway's sessions have in common.
pub(super) struct Local {
    /// Its key pair.
    pub(super) identity: Identity,
    /// Where the timestamps of its initiations come from.
    pub(super) calendar: Calendar,
    /// The longest inner packet of its tunnel.
    pub(super) mtu: usize,
}

/// What a data message held.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// An inner packet of this length, at the start of the landing place.
    Packet(usize),
    /// A keepalive.
    Keepalive,
}

/// What became of a packet for which there is no session.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// It waits; a handshake initiation of this length was written.
    Initiation(usize),
    /// It waits for the handshake under way.
    Queued,
    /// Too many wait already.
    QueueFull,
}

/// One peer's handshake state and sessions.
pub(super) struct Session {
    timers: Timers,
    /// When to look at the clock again, if nothing passes before.
    look_at: Option<Instant>,
    keypairs: Keypairs,
    queue: PacketQueue,
    /// Packets that waited in vain.
    given_up: Tally,
    /// The handshake that we began.
    attempt: Option<Attempt>,
    answers: Answers,
    round_trip: RoundTrip,
    stamper: Stamper,
    /// Made for the first initiation.
    badge: Option<BadgeKey>,
    peer: [u8; 32],
    preshared: PresharedKey,
    /// Our receiver index: 24 bits that stay, then those that number the handshakes.
    index: u32,
    /// A link that is kept alive is renewed even if it is quiet, and dialled for ever: its far end
    /// may come back at any time.
    kept_alive: bool,
}

/// A handshake that we began.
struct Attempt {
    handshake: Initiator,
    local_index: u32,
    /// When the first of its initiations was sent.
    began: Instant,
    /// When this one was: a response says which it answers.
    sent: Instant,
    retry_at: Instant,
    /// Whether it was tried again for a cookie.
    hastened: bool,
    /// Whether the last try showed a badge. Of two tries one does not: where it is not known, because the clocks are
    /// far apart, it counts as a wrong cookie, and then so many others may do so that none of them is answered.
    badged: bool,
}

impl Session {
    /// A session to be. `index` has 24 bits and is the receiver index without its session part;
    /// `keepalive` is in seconds.
    pub(super) fn new(
        peer: [u8; 32],
        preshared: Option<&[u8; 32]>,
        keepalive: Option<u16>,
        index: u32,
        now: Instant,
    ) -> Self {
        let interval = keepalive
            .filter(|seconds| *seconds > 0)
            .map(|seconds| Duration::from_secs(seconds.into()));
        Self {
            timers: Timers::new(interval),
            look_at: Some(now),
            keypairs: Keypairs::default(),
            queue: PacketQueue::default(),
            given_up: Tally::default(),
            attempt: None,
            answers: Answers::default(),
            round_trip: RoundTrip::default(),
            stamper: Stamper::new(&peer),
            badge: None,
            peer,
            preshared: Zeroizing::new(preshared.copied().unwrap_or_default()),
            index: index << 8,
            kept_alive: interval.is_some(),
        }
    }

    /// Writes `packet` as a data message to the start of `to`, padded within `mtu`; its length. `None` without a
    /// session: then [`Self::hold`] it.
    #[inline]
    pub(super) fn seal(&mut self, packet: &[u8], mtu: usize, to: &mut [u8]) -> Option<usize> {
        let length = self.keypairs.current()?.seal(packet, mtu, to)?;
        self.timers.on_data_sent();
        Some(length)
    }

    /// Keeps a packet until there is a session, and begins a handshake for it.
    pub(super) fn hold(
        &mut self,
        packet: &[u8],
        local: &Local,
        now: Instant,
        to: &mut [u8],
    ) -> Held {
        if !self.queue.push(packet) {
            return Held::QueueFull;
        }
        self.look_at = Some(now);
        if !self.may_begin(now) {
            return Held::Queued;
        }
        self.initiate(local, now, to)
            .map_or(Held::Queued, Held::Initiation)
    }

    /// Opens a data message for `receiver` to the start of `landing`.
    #[inline]
    pub(super) fn open(
        &mut self,
        receiver: u32,
        datagram: &[u8],
        now: Instant,
        landing: &mut [u8],
    ) -> Result<Opened, DropReason> {
        let (length, first) = self.keypairs.open(receiver, datagram, landing)?;
        if first {
            self.on_confirmed(receiver, datagram, now);
        }
        if length == 0 {
            self.timers.on_keepalive();
            return Ok(Opened::Keepalive);
        }
        self.timers.on_data_received();
        // A stock peer pads its packets.
        match packet::stated_length(&landing[..length]) {
            Some(stated) if stated <= length => Ok(Opened::Packet(stated)),
            _ => Err(DropReason::InnerMalformed),
        }
    }

    /// The peer has our answer: `datagram` is what came first under its keys. A peer sends its very first message as
    /// soon as it has them, so that one tells the round trip, and a later one does not.
    #[cold]
    fn on_confirmed(&mut self, receiver: u32, datagram: &[u8], now: Instant) {
        self.answers.on_confirmed();
        self.timers.on_response();
        let answered = self.keypairs.created(receiver);
        if let Some(answered) = answered.filter(|_| message::counter(datagram) == Some(0)) {
            let took = now.saturating_duration_since(answered);
            self.round_trip.on_measured(took);
        }
    }

    /// Whether packets wait that could be sent now.
    #[inline]
    pub(super) fn has_held(&self) -> bool {
        !self.queue.is_empty() && self.keypairs.peek().is_some()
    }

    /// The next packet that waited for the session, as a data message; the message's length and its own.
    pub(super) fn poll_held(&mut self, mtu: usize, to: &mut [u8]) -> Option<(usize, usize)> {
        let packet = self.queue.front()?;
        let lengths = (
            self.keypairs.current()?.seal(packet, mtu, to)?,
            packet.len(),
        );
        self.queue.pop();
        self.timers.on_data_sent();
        Some(lengths)
    }

    /// Packets that waited in vain since this was asked last.
    pub(super) fn take_given_up(&mut self) -> Tally {
        std::mem::take(&mut self.given_up)
    }

    /// Packets that wait, and those that waited in vain since that was asked last.
    pub(super) fn waiting(&self) -> Tally {
        self.given_up + self.queue.tally()
    }

    /// Writes a handshake initiation, unless a handshake is under way; its length.
    pub(super) fn initiate(&mut self, local: &Local, now: Instant, to: &mut [u8]) -> Option<usize> {
        if self.attempt.is_some() {
            return None;
        }
        self.send_initiation(local, now, now, to)
    }

    /// Answers the peer's initiation; the response's length.
    pub(super) fn answer(
        &mut self,
        initiation: Responder,
        now: Instant,
        to: &mut [u8],
    ) -> Result<usize, DropReason> {
        self.answers.check(initiation.timestamp, now)?;
        let (timestamp, remote) = (initiation.timestamp, initiation.sender);
        let local_index = self.next_index();
        let response = to
            .first_chunk_mut::<RESPONSE_BYTES>()
            .ok_or(DropReason::HandshakeInvalid)?;
        let keys = initiation
            .answer(&self.preshared, local_index, response)
            .ok_or(DropReason::HandshakeInvalid)?;
        self.stamper.stamp(response, now);
        self.answers.on_answered(timestamp, now);
        self.keypairs
            .add_unconfirmed(Keypair::new(keys, local_index, remote, false, now));
        // It answers nothing that we have sent: the peer may send it because it hears nothing of us.
        self.timers.on_control_sent();
        Ok(RESPONSE_BYTES)
    }

    /// Takes the response to our initiation. Unless packets wait, a keepalive is written, for the
    /// peer sends nothing before it was sent something; its length.
    pub(super) fn handle_response(
        &mut self,
        receiver: u32,
        response: &[u8],
        now: Instant,
        to: &mut [u8],
    ) -> Result<Option<usize>, DropReason> {
        let attempt = self
            .attempt
            .as_mut()
            .filter(|attempt| attempt.local_index == receiver)
            .ok_or(DropReason::HandshakeInvalid)?;
        let remote = message::sender(response).ok_or(DropReason::HandshakeInvalid)?;
        let keys = attempt
            .handshake
            .finish(response)
            .ok_or(DropReason::HandshakeInvalid)?;
        let took = now.saturating_duration_since(attempt.sent);
        self.round_trip.on_measured(took);
        self.attempt = None;
        self.answers.on_confirmed();
        self.keypairs
            .add_confirmed(Keypair::new(keys, receiver, remote, true, now));
        self.timers.on_response();
        if self.queue.is_empty() {
            Ok(self.send_keepalive(to))
        } else {
            Ok(None)
        }
    }

    /// Sends nothing more under the keys of now, which are older by `asleep`; whether there were any, or a handshake
    /// under way, which is given up.
    pub(super) fn forget_sending_keys(&mut self, asleep: Duration, now: Instant) -> bool {
        let attempt = self.attempt.take();
        let had_any = attempt.is_some() || !self.keypairs.is_empty();
        self.keypairs.forget_sending_keys(asleep);
        self.keypairs.expire(now);
        self.look_at = Some(now);
        had_any
    }

    /// Takes a cookie reply. The handshake under way is tried again at once with the cookie, so that a peer
    /// under load is reached within a round trip; its length. Once only: whoever answers that with another
    /// cookie waits for the next try, as the whitepaper has it (6.6) for every one.
    pub(super) fn handle_cookie(
        &mut self,
        reply: &[u8],
        local: &Local,
        now: Instant,
        to: &mut [u8],
    ) -> Result<Option<usize>, DropReason> {
        if !self.stamper.take_cookie(reply, now) {
            return Err(DropReason::HandshakeInvalid);
        }
        let Some(attempt) = self.attempt.as_mut().filter(|attempt| !attempt.hastened) else {
            return Ok(None);
        };
        let began = attempt.began;
        let written = self.send_initiation(local, began, now, to);
        if let Some(attempt) = &mut self.attempt {
            attempt.hastened = true;
        }
        Ok(written)
    }

    /// Whether the handshake under way waits for the answer with this receiver index.
    pub(super) fn awaits(&self, receiver: u32) -> bool {
        let attempt = self.attempt.as_ref();
        attempt.is_some_and(|attempt| attempt.local_index == receiver)
    }

    /// Time since the current session was agreed; `None` without a session.
    pub(super) fn handshake_age(&self, now: Instant) -> Option<Duration> {
        let current = self.keypairs.peek().filter(|current| now < current.ends());
        current.map(|current| now.saturating_duration_since(current.created))
    }

    /// Age of the handshake that waits for its answer.
    pub(super) fn unanswered_for(&self, now: Instant) -> Option<Duration> {
        let attempt = self.attempt.as_ref()?;
        Some(now.saturating_duration_since(attempt.began))
    }

    /// For how long the peer has begun handshakes and got none of our answers.
    pub(super) fn unheard_for(&self, now: Instant) -> Option<Duration> {
        self.answers.ignored_for(now)
    }

    /// What came, by the counters of the messages.
    pub(super) fn arrivals(&self) -> Arrivals {
        self.keypairs.arrivals()
    }

    /// Handshakes that gave a session.
    pub(super) fn handshakes(&self) -> u64 {
        self.answers.completed()
    }

    /// The round trip to the peer, by its handshakes.
    pub(super) fn round_trip(&self) -> RoundTrip {
        self.round_trip
    }

    /// Goes on counting where another agent ended.
    pub(super) fn continue_counting(&mut self, arrivals: Arrivals, handshakes: u64) {
        self.keypairs.set_arrivals(arrivals);
        self.answers.set_completed(handshakes);
    }

    /// Whether a packet is a reason for a handshake.
    fn may_begin(&self, now: Instant) -> bool {
        self.attempt.is_none() && !self.answers.may_give_a_session(now)
    }

    fn send_initiation(
        &mut self,
        local: &Local,
        began: Instant,
        now: Instant,
        to: &mut [u8],
    ) -> Option<usize> {
        let index = self.next_index();
        let initiation = to.first_chunk_mut::<INITIATION_BYTES>()?;
        let timestamp = local.calendar.timestamp(now);
        let handshake = Initiator::begin(
            &local.identity,
            &self.peer,
            &self.preshared,
            &timestamp,
            index,
            initiation,
        )?;
        let before = self.attempt.take();
        let badged = !self.stamper.stamp(initiation, now)
            && !before.as_ref().is_some_and(|before| before.badged);
        if badged {
            self.show_badge(local, now, initiation);
        }
        self.attempt = Some(Attempt {
            handshake,
            local_index: index,
            began,
            sent: now,
            retry_at: now + REKEY_TIMEOUT + jitter(),
            hastened: before.is_some_and(|before| before.hastened),
            badged,
        });
        self.timers.on_control_sent();
        Some(INITIATION_BYTES)
    }

    fn show_badge(&mut self, local: &Local, now: Instant, initiation: &mut [u8; INITIATION_BYTES]) {
        if self.badge.is_none() {
            self.badge = BadgeKey::towards(&local.identity, &self.peer);
        }
        if let Some(badge) = &self.badge {
            badge.show(initiation, local.calendar.since_epoch(now));
        }
    }

    fn send_keepalive(&mut self, to: &mut [u8]) -> Option<usize> {
        let length = self.keypairs.current()?.seal(&[], 0, to)?;
        self.timers.on_control_sent();
        Some(length)
    }

    /// A receiver index that no living session has: the low eight bits count on.
    fn next_index(&mut self) -> u32 {
        loop {
            let number = self.index.wrapping_add(1) & 0xff;
            self.index = (self.index & !0xff) | number;
            if !self.keypairs.contains(self.index) {
                return self.index;
            }
        }
    }
}

#[cfg(test)]
mod tests;
