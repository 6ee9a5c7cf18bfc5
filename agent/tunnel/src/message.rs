//! The four messages by their heads, and where their fields lie (WireGuard whitepaper 5.4).

/// Bytes that a data message adds to an inner packet: header 16, tag 16.
pub const DATA_OVERHEAD: usize = 32;
/// Bytes of a handshake initiation, the longest message of a handshake.
pub const INITIATION_BYTES: usize = 148;
/// Bytes of a handshake response.
pub const RESPONSE_BYTES: usize = 92;
/// Bytes of a cookie reply.
pub const COOKIE_BYTES: usize = 64;
/// Bytes in front of a data message's sealed packet.
pub const DATA_HEADER: usize = 16;

const INITIATION: u32 = 1;
const RESPONSE: u32 = 2;
const COOKIE: u32 = 3;
const DATA: u32 = 4;

/// A WireGuard message by its head alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Handshake initiation.
    Initiation,
    /// Handshake response to the initiation with this receiver index.
    Response {
        /// Ours, with its session part.
        receiver: u32,
    },
    /// Cookie reply to the handshake message with this receiver index.
    Cookie {
        /// Ours, with its session part.
        receiver: u32,
    },
    /// Transport data.
    Data {
        /// Ours, with its session part.
        receiver: u32,
    },
}

impl Message {
    /// Judges type, reserved bytes and length.
    pub fn parse(datagram: &[u8]) -> Option<Self> {
        let receiver_at = |at: usize| word(datagram, at);
        match (word(datagram, 0)?, datagram.len()) {
            (DATA, DATA_OVERHEAD..) => Some(Self::Data {
                receiver: receiver_at(4)?,
            }),
            (INITIATION, INITIATION_BYTES) => Some(Self::Initiation),
            (RESPONSE, RESPONSE_BYTES) => Some(Self::Response {
                receiver: receiver_at(8)?,
            }),
            (COOKIE, COOKIE_BYTES) => Some(Self::Cookie {
                receiver: receiver_at(4)?,
            }),
            _ => None,
        }
    }
}

/// The sender's index in an initiation or response.
pub fn sender(datagram: &[u8]) -> Option<u32> {
    word(datagram, 4)
}

/// Our receiver index in a data message.
pub fn receiver(datagram: &[u8]) -> Option<u32> {
    word(datagram, 4)
}

/// The counter of a data message.
pub fn counter(datagram: &[u8]) -> Option<u64> {
    let bytes = datagram.get(8..DATA_HEADER)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// Writes the head of an initiation.
pub fn write_initiation(to: &mut [u8], sender: u32) {
    write_words(to, [INITIATION, sender]);
}

/// Writes the head of a response.
pub fn write_response(to: &mut [u8], sender: u32, receiver: u32) {
    write_words(to, [RESPONSE, sender, receiver]);
}

/// Writes the head of a cookie reply.
pub fn write_cookie(to: &mut [u8], receiver: u32) {
    write_words(to, [COOKIE, receiver]);
}

/// Writes the head of a data message.
pub fn write_data(to: &mut [u8], receiver: u32, counter: u64) {
    write_words(to, [DATA, receiver]);
    to[8..DATA_HEADER].copy_from_slice(&counter.to_le_bytes());
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

fn write_words<const N: usize>(to: &mut [u8], words: [u32; N]) {
    for (place, word) in to.chunks_exact_mut(4).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
}
