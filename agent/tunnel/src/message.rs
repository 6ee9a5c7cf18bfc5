//! The four messages by their heads, and where their fields lie (WireGuard whitepaper 5.4).

use wireguard_aead::PAD_TO;

use crossway_types::packet;

/// Bytes that a data message adds to an inner packet and its padding: header 16, tag 16.
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

/// Length of an inner packet with the padding that hides its exact size: to a multiple of 16 bytes, and not beyond `mtu`,
/// as in the kernel (whitepaper 5.4.6). Equal lengths stay equal and none gets in front of a longer one, so that the
/// segments of a super-packet can still be sent as one. A packet that is shorter than its header says gets none: the far
/// side would take the padding for the rest of it.
#[inline]
pub fn padded(packet: &[u8], mtu: usize) -> usize {
    let length = packet.len();
    match packet::stated_length(packet) {
        Some(stated) if stated <= length => length.next_multiple_of(PAD_TO).min(mtu.max(length)),
        _ => length,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// `calculate_skb_padding` of the kernel's drivers/net/wireguard/send.c.
    fn in_the_kernel(length: usize, mtu: usize) -> usize {
        let last_unit = if length > mtu { length % mtu } else { length };
        let padded = mtu.min(last_unit.next_multiple_of(16));
        length + padded - last_unit
    }

    fn packet(length: usize, stated: usize) -> Vec<u8> {
        let mut packet = vec![0x5a; length];
        packet[0] = 0x45;
        packet[2..4].copy_from_slice(&(stated as u16).to_be_bytes());
        packet
    }

    #[test]
    fn packets_are_padded_as_in_the_kernel() {
        for mtu in [1280, 1392, 1419, 1420, 1421, 8920] {
            for length in 20..=mtu {
                let padded = padded(&packet(length, length), mtu);
                assert_eq!(padded, in_the_kernel(length, mtu), "{length} of {mtu}");
            }
            // Longer ones were on their way when the MTU changed.
            assert_eq!(padded(&packet(mtu + 1, mtu + 1), mtu), mtu + 1);
        }
        assert_eq!(padded(&[], 1420), 0, "a keepalive");
    }

    #[test]
    fn no_padded_packet_gets_in_front_of_a_longer_one() {
        let padded = |length| padded(&packet(length, length), 1420);
        assert!((20..1500).all(|length| padded(length) <= padded(length + 1)));
    }

    #[test]
    fn what_is_no_whole_packet_is_not_made_one() {
        for (length, stated) in [(99, 100), (20, 21), (100, 65_535)] {
            assert_eq!(padded(&packet(length, stated), 1420), length);
        }
        assert_eq!(padded(&packet(99, 60), 1420), 112, "it has junk at its end");
    }
}
