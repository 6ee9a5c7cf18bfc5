//! The one file that knows boringtun: WireGuard's handshake, sessions and cookies.
//!
//! boringtun's `Tunn` reads its own clock in `handle_timeout` and at handshakes, not per packet.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use boringtun::noise::errors::WireGuardError;
use boringtun::noise::handshake::parse_handshake_anon;
use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Packet, Tunn, TunnResult};
use boringtun::x25519::{PublicKey, StaticSecret};
use datapath_abi::outcome::DropReason;

/// Bytes that a data message adds to an inner packet: header 16, tag 16.
pub const DATA_OVERHEAD: usize = 32;
/// Longest handshake message (initiation).
pub const HANDSHAKE_BYTES: usize = 148;
/// Packets that wait for a handshake; boringtun drops silently beyond, so we count to it.
const MAX_QUEUED: usize = 256;
/// Handshake messages a second that are answered without a cookie. boringtun counts each twice
/// (here and in the session), so this is half of what it is given.
const HANDSHAKES_PER_SECOND: u64 = 200;

/// A WireGuard message by its head alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Handshake initiation.
    Initiation,
    /// Handshake response or cookie reply to one of ours. The index is shifted right by 8.
    Answer {
        /// Receiver index without its session part.
        receiver: u32,
    },
    /// Transport data.
    Data {
        /// Receiver index without its session part.
        receiver: u32,
    },
}

impl Message {
    /// Judges type, reserved bytes and length (WireGuard whitepaper 5.4).
    pub fn parse(datagram: &[u8]) -> Option<Self> {
        let word = |at: usize| {
            let bytes = datagram.get(at..at + 4)?;
            Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        };
        match (word(0)?, datagram.len()) {
            (1, HANDSHAKE_BYTES) => Some(Self::Initiation),
            (2, 92) => Some(Self::Answer {
                receiver: word(8)? >> 8,
            }),
            (3, 64) => Some(Self::Answer {
                receiver: word(4)? >> 8,
            }),
            (4, DATA_OVERHEAD..) => Some(Self::Data {
                receiver: word(4)? >> 8,
            }),
            _ => None,
        }
    }
}

/// This gateway's key pair.
#[derive(Clone)]
pub struct Identity {
    private: StaticSecret,
    public: PublicKey,
}

impl Identity {
    /// From the private key's 32 bytes.
    pub fn new(private: [u8; 32]) -> Self {
        let private = StaticSecret::from(private);
        let public = PublicKey::from(&private);
        Self { private, public }
    }

    /// The public key's 32 bytes.
    pub fn public_key(&self) -> [u8; 32] {
        self.public.to_bytes()
    }

    /// Who sent a handshake initiation, by its encrypted static key.
    pub fn initiator_of(&self, datagram: &[u8]) -> Option<[u8; 32]> {
        match Tunn::parse_incoming_packet(datagram).ok()? {
            Packet::HandshakeInit(initiation) => {
                let half = parse_handshake_anon(&self.private, &self.public, &initiation).ok()?;
                Some(half.peer_static_public)
            }
            _ => None,
        }
    }
}

/// What the gatekeeper says of a handshake message.
#[derive(Debug, PartialEq, Eq)]
pub enum Admission {
    /// Its first authentication code is right, and its second where one is demanded.
    Admitted,
    /// Under load: a cookie reply of this length was written.
    Cookie(usize),
    /// Refused.
    Refused(DropReason),
}

/// Checks handshake messages before any public-key work is spent on them (whitepaper 5.3).
pub struct Gatekeeper(Arc<RateLimiter>);

impl Gatekeeper {
    /// For messages to this identity.
    pub fn new(identity: &Identity) -> Self {
        Self(Arc::new(RateLimiter::new(
            &identity.public,
            HANDSHAKES_PER_SECOND * 2,
        )))
    }

    /// Judges a handshake message; a cookie reply goes to the start of `reply`.
    pub fn admit(&self, datagram: &[u8], source: IpAddr, reply: &mut [u8]) -> Admission {
        match self.0.verify_packet(Some(source), datagram, reply) {
            Ok(_) => Admission::Admitted,
            Err(TunnResult::WriteToNetwork(cookie)) => Admission::Cookie(cookie.len()),
            Err(TunnResult::Err(WireGuardError::InvalidMac)) => {
                Admission::Refused(DropReason::BadMac)
            }
            Err(_) => Admission::Refused(DropReason::HandshakeInvalid),
        }
    }

    /// Lets the next second's handshakes in.
    pub fn handle_timeout(&self) {
        self.0.reset_count();
    }
}

/// What a datagram held.
#[derive(Debug, PartialEq, Eq)]
pub enum Opened {
    /// An inner packet of this length, at the start of the landing place.
    Packet(usize),
    /// A keepalive.
    Control,
}

/// What became of a packet to be sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Wrapped {
    /// A data message of this length was written.
    Data(usize),
    /// The packet waits; a handshake initiation of this length was written.
    Initiation(usize),
    /// The packet waits for the handshake under way.
    Queued,
    /// Too many wait already.
    QueueFull,
}

/// Age at which the side that began a session renews it, as WireGuard does when it sends data
/// (REKEY_AFTER_TIME, whitepaper 6.1). boringtun does not count keepalives as a reason, and would
/// let the session of a quiet link run out.
const REKEY_AFTER: Duration = Duration::from_mins(2);
/// Age at which the other side does, if the first has not.
const REKEY_AFTER_AS_RESPONDER: Duration = Duration::from_secs(150);

/// One peer's handshake state and sessions.
pub struct Session {
    tunn: Tunn,
    /// Packets that we know to wait in boringtun's queue.
    queued: usize,
    /// Whether anything may wait there: boringtun queues its own keepalives as well.
    may_wait: bool,
    keepalive: bool,
    /// Whether the current session was begun from here.
    initiator: bool,
}

impl Session {
    /// A session to be. `index` has 24 bits and is the receiver index without its session part.
    pub fn new(
        identity: &Identity,
        gatekeeper: &Gatekeeper,
        peer: [u8; 32],
        preshared: Option<[u8; 32]>,
        keepalive: Option<u16>,
        index: u32,
    ) -> Self {
        let tunn = Tunn::new(
            identity.private.clone(),
            PublicKey::from(peer),
            preshared,
            keepalive,
            index,
            Some(Arc::clone(&gatekeeper.0)),
        );
        Self {
            tunn,
            queued: 0,
            may_wait: false,
            keepalive: keepalive.is_some_and(|seconds| seconds > 0),
            initiator: false,
        }
    }

    /// Encrypts `packet` to the start of `to`, which has room for it, its overhead and a handshake.
    pub fn wrap(&mut self, packet: &[u8], to: &mut [u8]) -> Wrapped {
        if self.queued >= MAX_QUEUED {
            return Wrapped::QueueFull;
        }
        let wrapped = match self.tunn.encapsulate(packet, to) {
            TunnResult::WriteToNetwork(message) if message[0] == 4 => {
                return Wrapped::Data(message.len());
            }
            TunnResult::WriteToNetwork(message) => Wrapped::Initiation(message.len()),
            _ => Wrapped::Queued,
        };
        self.queued += 1;
        self.may_wait = true;
        wrapped
    }

    /// A handshake initiation, unless one is under way; its length.
    pub fn initiate(&mut self, to: &mut [u8]) -> Option<usize> {
        written(&self.tunn.format_handshake_initiation(to, false))
    }

    /// Decrypts a data message to the start of `landing`.
    pub fn open(&mut self, datagram: &[u8], landing: &mut [u8]) -> Result<Opened, DropReason> {
        match self.tunn.decapsulate(None, datagram, landing) {
            TunnResult::WriteToTunnelV4(packet, _) | TunnResult::WriteToTunnelV6(packet, _) => {
                Ok(Opened::Packet(packet.len()))
            }
            TunnResult::Err(error) => Err(data_drop(&error)),
            TunnResult::Done | TunnResult::WriteToNetwork(_) => Ok(Opened::Control),
        }
    }

    /// Takes a handshake message that was admitted; the length of the reply written to `to`.
    pub fn handle_handshake(
        &mut self,
        datagram: &[u8],
        source: IpAddr,
        to: &mut [u8],
    ) -> Result<Option<usize>, DropReason> {
        let response = datagram.first() == Some(&2);
        match self.tunn.decapsulate(Some(source), datagram, to) {
            // The session asks for a cookie just as the gatekeeper's last place was taken. It proves
            // nothing about the sender, who will try again and get one there.
            TunnResult::WriteToNetwork(message) if message[0] == 3 => {
                Err(DropReason::CookieDemanded)
            }
            TunnResult::Err(_) => Err(DropReason::HandshakeInvalid),
            result => {
                let reply = written(&result);
                if reply.is_some() {
                    self.initiator = response;
                }
                Ok(reply)
            }
        }
    }

    /// The next packet that waited for the session, encrypted; `None` when there is none.
    pub fn poll_queued(&mut self, to: &mut [u8]) -> Option<usize> {
        if !self.may_wait {
            return None;
        }
        match self.tunn.decapsulate(None, &[], to) {
            TunnResult::WriteToNetwork(message) if message[0] == 4 => Some(message.len()),
            // Still no session: boringtun has put it back.
            TunnResult::WriteToNetwork(_) => None,
            _ => {
                self.queued = 0;
                self.may_wait = false;
                None
            }
        }
    }

    /// A rekey, retry or keepalive that is due; its length.
    pub fn handle_timeout(&mut self, to: &mut [u8]) -> Option<usize> {
        let due = match self.tunn.update_timers(to) {
            TunnResult::Err(WireGuardError::ConnectionExpired) => {
                // boringtun gives up after 90 s and drops what waited. A link that is kept alive
                // is dialled for ever: its far end may come back at any time.
                self.queued = 0;
                if self.keepalive {
                    self.initiate(to)
                } else {
                    None
                }
            }
            result => written(&result),
        };
        if due.is_some() {
            // Perhaps a keepalive that had to be queued.
            self.may_wait = true;
            return due;
        }
        if self.keepalive && rekey_due(self.handshake_age(), self.initiator) {
            self.initiate(to)
        } else {
            None
        }
    }

    /// Time since the current session was agreed; `None` without a session.
    pub fn handshake_age(&self) -> Option<Duration> {
        self.tunn.time_since_last_handshake()
    }
}

/// Whether a link that is kept alive needs a new session, whether or not data flows.
fn rekey_due(age: Option<Duration>, initiator: bool) -> bool {
    let after = if initiator {
        REKEY_AFTER
    } else {
        REKEY_AFTER_AS_RESPONDER
    };
    age.is_some_and(|age| age >= after)
}

fn written(result: &TunnResult<'_>) -> Option<usize> {
    match result {
        TunnResult::WriteToNetwork(message) => Some(message.len()),
        _ => None,
    }
}

fn data_drop(error: &WireGuardError) -> DropReason {
    match error {
        WireGuardError::InvalidCounter | WireGuardError::DuplicateCounter => DropReason::Replayed,
        WireGuardError::InvalidAeadTag => DropReason::AuthenticationFailed,
        WireGuardError::NoCurrentSession | WireGuardError::WrongIndex => DropReason::NoSession,
        _ => DropReason::InnerMalformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_session_is_renewed_by_its_initiator_and_late_by_the_other_side() {
        let after = |seconds| Some(Duration::from_secs(seconds));
        assert!(!rekey_due(None, true), "there is nothing to renew");
        assert!(!rekey_due(after(119), true));
        assert!(rekey_due(after(120), true));
        assert!(!rekey_due(after(149), false));
        assert!(
            rekey_due(after(150), false),
            "before the session's end at 180 s"
        );
    }
}
