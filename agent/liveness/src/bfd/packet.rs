//! BFD control packets (RFC 5880, 4.1), without the authentication section.

use std::time::Duration;

/// UDP port of the control packets (RFC 5881, 4).
pub const PORT: u16 = 3784;
/// Bytes of a control packet.
pub const LEN: usize = 24;
/// TTL or hop limit that they are sent with, and must arrive with (RFC 5881, 5).
pub const TTL: u8 = 255;
/// The protocol's version.
const VERSION: u8 = 1;

const POLL: u8 = 0x20;
const FINAL: u8 = 0x10;
const AUTHENTICATION: u8 = 0x04;
const MULTIPOINT: u8 = 0x01;

/// State of a session (RFC 5880, 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum State {
    /// Held down by a person.
    AdminDown = 0,
    /// The far end is not heard, or has just begun.
    Down = 1,
    /// The far end is heard and does not hear us yet, as far as we know.
    Init = 2,
    /// Both hear each other.
    Up = 3,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::AdminDown, Self::Down, Self::Init, Self::Up];

    /// The RFC's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AdminDown => "AdminDown",
            Self::Down => "Down",
            Self::Init => "Init",
            Self::Up => "Up",
        }
    }
}

/// Why the session last left the state Up (RFC 5880, 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Diagnostic {
    /// It did not, or nobody knows.
    None = 0,
    /// Nothing was heard for the detection time.
    DetectionTimeExpired = 1,
    /// The far end said that it is down.
    NeighborSignaledDown = 3,
    /// The path itself is dead, such as a cable without a carrier.
    PathDown = 5,
    /// A path that it leads on to is dead, or not to be used (RFC 5880, 6.8.17).
    ConcatenatedPathDown = 6,
    /// A person holds it down.
    AdministrativelyDown = 7,
    /// Another code of the RFC's.
    Other = 31,
}

/// A control packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The sender's state.
    pub state: State,
    /// Why the sender's session went down last.
    pub diagnostic: Diagnostic,
    /// The sender asks for an answer with `is_final`.
    pub poll: bool,
    /// The answer to such a question.
    pub is_final: bool,
    /// Lost packets after which the receiver takes the sender for dead.
    pub multiplier: u8,
    /// The sender's session, never 0.
    pub my_discriminator: u32,
    /// The receiver's session, 0 where the sender does not know it.
    pub your_discriminator: u32,
    /// Between two packets that the sender would like to send.
    pub desired_min_tx: Duration,
    /// Between two packets that the sender can take; zero: it wants none.
    pub required_min_rx: Duration,
}

impl Packet {
    /// Reads the payload of a UDP datagram; `None` for what RFC 5880, 6.8.6 says to discard before a
    /// session is looked for, and for authenticated packets: there is no key.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let header: &[u8; LEN] = bytes.first_chunk()?;
        let length = usize::from(header[3]);
        let (flags, multiplier) = (header[1], header[2]);
        let packet = Self {
            state: State::from_bits(flags >> 6),
            diagnostic: Diagnostic::from_bits(header[0] & 0x1f),
            poll: flags & POLL != 0,
            is_final: flags & FINAL != 0,
            multiplier,
            my_discriminator: word(header, 4),
            your_discriminator: word(header, 8),
            desired_min_tx: Duration::from_micros(word(header, 12).into()),
            required_min_rx: Duration::from_micros(word(header, 16).into()),
        };
        let good = header[0] >> 5 == VERSION
            && (LEN..=bytes.len()).contains(&length)
            && multiplier != 0
            && flags & (AUTHENTICATION | MULTIPOINT) == 0
            && packet.my_discriminator != 0;
        good.then_some(packet)
    }

    /// The bytes of a UDP datagram's payload.
    pub fn encode(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[0] = VERSION << 5 | self.diagnostic as u8;
        bytes[1] = (self.state as u8) << 6
            | if self.poll { POLL } else { 0 }
            | if self.is_final { FINAL } else { 0 };
        bytes[2] = self.multiplier;
        bytes[3] = LEN as u8;
        for (at, word) in [
            (4, self.my_discriminator),
            (8, self.your_discriminator),
            (12, microseconds(self.desired_min_tx)),
            (16, microseconds(self.required_min_rx)),
        ] {
            bytes[at..at + 4].copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }
}

impl State {
    pub(super) fn from_bits(bits: u8) -> Self {
        match bits {
            0 => Self::AdminDown,
            1 => Self::Down,
            2 => Self::Init,
            _ => Self::Up,
        }
    }
}

impl Diagnostic {
    pub(super) fn from_bits(bits: u8) -> Self {
        match bits {
            0 => Self::None,
            1 => Self::DetectionTimeExpired,
            3 => Self::NeighborSignaledDown,
            5 => Self::PathDown,
            6 => Self::ConcatenatedPathDown,
            7 => Self::AdministrativelyDown,
            _ => Self::Other,
        }
    }
}

fn word(header: &[u8; LEN], at: usize) -> u32 {
    u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

fn microseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}
