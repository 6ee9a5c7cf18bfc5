//! Bidirectional Forwarding Detection in asynchronous mode (RFC 5880), without authentication: it runs
//! inside the tunnel, which authenticates each packet.
//!
//! A [`Session`] is told of each packet and of the time, and says when it wants to be asked again
//! ([`Session::next_timeout`]). Both ends are active (RFC 5880, 6.1).

pub mod encapsulation;
mod export;
mod measurement;
pub mod packet;

use std::time::{Duration, Instant};

use crate::round_trip::RoundTrip;
use measurement::Measurement;
use packet::{Diagnostic, Packet, State};

/// Slowest that a session which is not up may be (RFC 5880, 6.8.3).
const SLOW: Duration = Duration::from_secs(1);
/// Between two measurements of the round trip.
const MEASURED_EVERY: Duration = Duration::from_secs(10);

/// What both ends tell each other about their pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Between two packets that we would like to send, and between two that we can take.
    pub interval: Duration,
    /// After how many lost packets the far end counts as dead.
    pub multiplier: u8,
}

impl Default for Pace {
    /// Three times 100 ms.
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(100),
            multiplier: 3,
        }
    }
}

/// A change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The state before.
    pub from: State,
    /// The state now.
    pub to: State,
    /// Why, where the session went down.
    pub diagnostic: Diagnostic,
}

/// One session (RFC 5880, 6.8.1; the names are those of its variables).
#[derive(Clone, Debug)]
pub struct Session {
    pace: Pace,
    state: State,
    diagnostic: Diagnostic,
    local_discriminator: u32,
    remote_discriminator: u32,
    remote: Remote,
    /// While up, the far end is told that the path beyond us is not to be used (RFC 5880, 6.8.17).
    standby: bool,
    /// A change of our pace that the far end has not confirmed (Poll Sequence, RFC 5880, 6.5).
    polling: bool,
    /// The far end has asked for a confirmation.
    final_due: bool,
    measurement: Measurement,
    /// When the next packet is due; `None` where the far end wants none.
    next_transmit: Option<Instant>,
    /// When the far end counts as dead; `None` where nothing has been heard of it.
    dead_at: Option<Instant>,
    random: u32,
}

/// What the far end said last.
#[derive(Clone, Copy, Debug)]
struct Remote {
    state: State,
    diagnostic: Diagnostic,
    desired_min_tx: Duration,
    required_min_rx: Duration,
    multiplier: u8,
}

impl Session {
    /// A session that is down. The discriminator is not 0 and differs from those of all other sessions
    /// of this system; `seed` is for the jitter.
    pub fn new(pace: Pace, discriminator: u32, seed: u32, now: Instant) -> Self {
        Self {
            pace,
            state: State::Down,
            diagnostic: Diagnostic::None,
            local_discriminator: discriminator,
            remote_discriminator: 0,
            remote: Remote {
                state: State::Down,
                diagnostic: Diagnostic::None,
                desired_min_tx: SLOW,
                // RFC 5880, 6.8.1: 1 microsecond until the far end has said it.
                required_min_rx: Duration::from_micros(1),
                multiplier: 0,
            },
            standby: false,
            polling: false,
            final_due: false,
            measurement: Measurement::default(),
            next_transmit: Some(now),
            dead_at: None,
            random: seed | 1,
        }
    }

    /// The state.
    pub fn state(&self) -> State {
        self.state
    }

    /// Why it went down last.
    pub fn diagnostic(&self) -> Diagnostic {
        self.diagnostic
    }

    /// The state that the far end said last, and why it is in it.
    pub fn remote(&self) -> (State, Diagnostic) {
        (self.remote.state, self.remote.diagnostic)
    }

    /// Our discriminator.
    pub fn discriminator(&self) -> u32 {
        self.local_discriminator
    }

    /// How long the far end may be silent (RFC 5880, 6.8.4); `None` until it has been heard.
    pub fn detection_time(&self) -> Option<Duration> {
        (self.remote.multiplier > 0).then(|| {
            let interval = self.pace.interval.max(self.remote.desired_min_tx);
            interval * u32::from(self.remote.multiplier)
        })
    }

    /// The round trip to the far end. While the session is up, a packet every [`MEASURED_EVERY`] asks for a
    /// confirmation, which every far end gives at once (RFC 5880, 6.5).
    pub fn round_trip(&self) -> RoundTrip {
        self.measurement.measured()
    }

    /// When [`Session::handle_timeout`] and [`Session::poll_transmit`] have something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        match (self.next_transmit, self.dead_at) {
            (Some(transmit), Some(dead)) => Some(transmit.min(dead)),
            (transmit, dead) => transmit.or(dead),
        }
    }

    /// Whether a packet is for this session (RFC 5880, 6.8.6): names it, or is of a far end that does not know it yet.
    pub fn is_for_us(&self, packet: &Packet) -> bool {
        let greeting = packet.your_discriminator == 0
            && matches!(packet.state, State::Down | State::AdminDown);
        greeting || packet.your_discriminator == self.local_discriminator
    }

    /// Takes a packet that was addressed to this session (RFC 5880, 6.8.6). One whose discriminator is
    /// neither ours nor, from a far end that is down, missing, is not taken.
    pub fn handle_packet(&mut self, packet: &Packet, now: Instant) -> Option<Change> {
        if !self.is_for_us(packet) {
            return None;
        }
        self.remote_discriminator = packet.my_discriminator;
        let pace_before = self.transmit_interval();
        self.remote = Remote {
            state: packet.state,
            diagnostic: packet.diagnostic,
            desired_min_tx: packet.desired_min_tx,
            required_min_rx: packet.required_min_rx,
            multiplier: packet.multiplier,
        };
        if packet.is_final && !std::mem::take(&mut self.polling) {
            self.measurement.on_answer(now);
        }
        if self.state == State::AdminDown {
            return None;
        }
        self.dead_at = self.detection_time().map(|time| now + time);
        let change = self.follow(packet.state, now);
        if packet.poll {
            self.final_due = true;
            self.next_transmit = Some(now);
        } else if self.transmit_interval() != pace_before && change.is_none() {
            self.schedule(now);
        }
        change
    }

    /// Ends the session where the far end has been silent too long (RFC 5880, 6.8.4).
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Change> {
        if self.dead_at.is_none_or(|dead_at| now < dead_at) {
            return None;
        }
        self.dead_at = None;
        self.remote_discriminator = 0;
        match self.state {
            State::Init | State::Up => {
                Some(self.go(State::Down, Diagnostic::DetectionTimeExpired, now))
            }
            State::Down | State::AdminDown => None,
        }
    }

    /// The packet that is due, if any.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Packet> {
        if self.next_transmit.is_none_or(|next| now < next) {
            return None;
        }
        let is_final = std::mem::take(&mut self.final_due);
        self.schedule(now);
        // Never both (RFC 5880, 6.5). What is asked again and again says nothing of the time that an answer takes.
        let polls = self.polling && !is_final;
        let measures = self.state == State::Up && !self.polling && !is_final;
        let measures = measures && self.measurement.begin(now);
        Some(Packet {
            state: self.state,
            diagnostic: if self.standby && self.state == State::Up {
                Diagnostic::ConcatenatedPathDown
            } else {
                self.diagnostic
            },
            poll: polls || measures,
            is_final,
            multiplier: self.pace.multiplier,
            my_discriminator: self.local_discriminator,
            your_discriminator: self.remote_discriminator,
            desired_min_tx: self.desired_min_tx(),
            required_min_rx: self.pace.interval,
        })
    }

    /// Holds the session down for a reason, or lets it come up again (RFC 5880, 6.8.16). The far end is
    /// told.
    pub fn set_admin_down(&mut self, reason: Option<Diagnostic>, now: Instant) -> Option<Change> {
        match (reason, self.state) {
            (Some(reason), State::AdminDown) if reason == self.diagnostic => None,
            (Some(reason), _) => Some(self.go(State::AdminDown, reason, now)),
            (None, State::AdminDown) => Some(self.go(State::Down, Diagnostic::None, now)),
            (None, _) => None,
        }
    }

    /// Tells the far end whether the path beyond us is to be used only where there is no other.
    pub fn set_standby(&mut self, standby: bool, now: Instant) {
        if std::mem::replace(&mut self.standby, standby) != standby {
            self.transmit_now(now);
        }
    }

    /// The path is known to be dead before anything is missed on it.
    pub fn on_path_down(&mut self, now: Instant) -> Option<Change> {
        self.dead_at = None;
        match self.state {
            State::Init | State::Up => Some(self.go(State::Down, Diagnostic::PathDown, now)),
            State::Down | State::AdminDown => None,
        }
    }

    /// The far end was heard at this time otherwise than by a control packet: by data that authenticates.
    pub fn on_heard(&mut self, at: Instant) {
        if let Some((dead_at, time)) = self.dead_at.zip(self.detection_time()) {
            self.dead_at = Some(dead_at.max(at + time));
        }
    }

    /// The next packet is due now, where the far end wants any.
    pub fn transmit_now(&mut self, now: Instant) {
        if self.next_transmit.is_some() {
            self.next_transmit = Some(now);
        }
    }

    /// Takes another pace; the far end is asked to confirm it.
    pub fn set_pace(&mut self, pace: Pace, now: Instant) {
        if pace != self.pace {
            self.pace = pace;
            self.polling = self.state == State::Up;
            self.measurement.give_up();
            self.schedule(now);
        }
    }

    /// The state table of RFC 5880, 6.8.6.
    fn follow(&mut self, remote: State, now: Instant) -> Option<Change> {
        let signaled = Diagnostic::NeighborSignaledDown;
        match (self.state, remote) {
            (State::Init | State::Up, State::AdminDown) | (State::Up, State::Down) => {
                Some(self.go(State::Down, signaled, now))
            }
            (State::Down, State::Down) => Some(self.go(State::Init, self.diagnostic, now)),
            (State::Down, State::Init) | (State::Init, State::Init | State::Up) => {
                Some(self.go(State::Up, Diagnostic::None, now))
            }
            _ => None,
        }
    }

    fn go(&mut self, to: State, diagnostic: Diagnostic, now: Instant) -> Change {
        let from = std::mem::replace(&mut self.state, to);
        self.diagnostic = diagnostic;
        // Up and down are two paces: the far end is told of the new one.
        self.polling = to == State::Up;
        self.measurement.give_up();
        // The far end learns of it at once.
        self.next_transmit = Some(now);
        Change {
            from,
            to,
            diagnostic,
        }
    }

    fn desired_min_tx(&self) -> Duration {
        if self.state == State::Up {
            self.pace.interval
        } else {
            self.pace.interval.max(SLOW)
        }
    }

    /// Between two packets of ours, before jitter; `None` where the far end wants none.
    fn transmit_interval(&self) -> Option<Duration> {
        let wanted = self.remote.required_min_rx;
        (!wanted.is_zero()).then(|| self.desired_min_tx().max(wanted))
    }

    /// The next packet: up to a quarter early, so that many sessions do not keep in step (RFC 5880,
    /// 6.8.7); with a multiplier of 1 at least a tenth early.
    fn schedule(&mut self, now: Instant) {
        // xorshift32: any spread will do.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        let (least, most) = if self.pace.multiplier == 1 {
            (10, 25)
        } else {
            (0, 25)
        };
        let early = least + self.random % (most - least + 1);
        self.next_transmit = self
            .transmit_interval()
            .map(|interval| now + interval * (100 - early) / 100);
    }
}

#[cfg(test)]
mod tests;
