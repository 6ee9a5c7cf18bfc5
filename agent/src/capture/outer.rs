//! The tunnel's datagrams: a super-packet is taken apart into those that are on the wire, and a WireGuard message says
//! by its head what it is.

use crossway_types::checksum;
use crossway_types::packet::UDP;
use datapath_abi::capture::Captured;

/// Bytes of a UDP header, and of an IPv4 header without options.
const UDP_HEADER: usize = 8;
const IPV6_HEADER: usize = 40;

/// Hands each datagram of a packet to `then`, with the packet in front of it and its number, from 1, where there are
/// several.
pub(super) fn each(head: &Captured, bytes: &[u8], mut then: impl FnMut(&[u8], Option<Part>)) {
    let (payload, size) = (head.payload as usize, head.gso_size as usize);
    let whole = head.length as usize == bytes.len();
    if size == 0 || !whole || bytes.len() <= payload + size {
        then(bytes, None);
        return;
    }
    let (headers, messages) = bytes.split_at(payload);
    let count = messages.len().div_ceil(size) as u32;
    for (number, message) in messages.chunks(size).enumerate() {
        let mut datagram = [headers, message].concat();
        resize(&mut datagram, head.network as usize, payload, number as u16);
        let number = number as u32 + 1;
        then(&datagram, Some(Part { number, count }));
    }
}

/// One of several datagrams of a super-packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// From 1.
    pub(super) number: u32,
    /// How many there are.
    pub(super) count: u32,
}

/// Makes the headers say the length that the datagram has, as the network card does, and the checksums true.
fn resize(datagram: &mut [u8], network: usize, payload: usize, number: u16) {
    let length = datagram.len();
    let transport = payload.saturating_sub(UDP_HEADER);
    let of_ip = ((length - network) as u16).to_be_bytes();
    let of_udp = ((length - transport) as u16).to_be_bytes();
    let Some(ip) = datagram.get_mut(network..transport) else {
        return;
    };
    let addresses = match ip.first().map(|first| first >> 4) {
        Some(4) if ip.len() >= 20 => {
            ip[2..4].copy_from_slice(&of_ip);
            let id = u16::from_be_bytes([ip[4], ip[5]]).wrapping_add(number);
            ip[4..6].copy_from_slice(&id.to_be_bytes());
            ip[10..12].fill(0);
            let sum = checksum::finish(0, ip);
            ip[10..12].copy_from_slice(&sum.to_be_bytes());
            network + 12..network + 20
        }
        Some(6) if ip.len() >= IPV6_HEADER => {
            let behind = ((length - network - IPV6_HEADER) as u16).to_be_bytes();
            ip[4..6].copy_from_slice(&behind);
            network + 8..network + 40
        }
        _ => return,
    };
    let udp = transport;
    datagram[udp + 4..udp + 6].copy_from_slice(&of_udp);
    datagram[udp + 6..udp + 8].fill(0);
    let pseudo = checksum::pseudo_header(&datagram[addresses], UDP, length - transport);
    let sum = checksum::finish(pseudo, &datagram[udp..]);
    // Zero would say that there is none (RFC 768).
    let sum = if sum == 0 { 0xffff } else { sum };
    datagram[udp + 6..udp + 8].copy_from_slice(&sum.to_be_bytes());
}

/// What a WireGuard message says without a key (protocol paper, section 5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// Its kind in a word.
    pub(super) kind: &'static str,
    /// The receiver's index of the session.
    pub(super) receiver: Option<u32>,
    /// Of a data message: its number in the session.
    pub(super) counter: Option<u64>,
}

impl Message {
    /// Of a datagram's payload.
    pub(super) fn of(payload: &[u8]) -> Option<Self> {
        let number = |at: usize| {
            let bytes = payload.get(at..at + 4)?;
            Some(u32::from_le_bytes(bytes.try_into().ok()?))
        };
        let (kind, receiver, counter) = match payload.first()? {
            1 => ("initiation", None, None),
            2 => ("response", Some(number(8)?), None),
            3 => ("cookie", Some(number(4)?), None),
            4 => {
                let counter = u64::from(number(8)?) | u64::from(number(12)?) << 32;
                ("data", Some(number(4)?), Some(counter))
            }
            _ => return None,
        };
        Some(Self {
            kind,
            receiver,
            counter,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of IPv4 with a datagram of so many bytes.
    fn frame(payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([0x08, 0x00, 0x45, 0, 0xff, 0xff, 0, 7, 0x40, 0, 64, 17, 9, 9]);
        frame.extend([192, 0, 2, 1, 192, 0, 2, 2]);
        frame.extend([0xca, 0x6c, 0xca, 0x6c, 0xff, 0xff, 9, 9]);
        frame.extend(payload);
        frame
    }

    fn head(frame: &[u8], gso_size: u32) -> Captured {
        Captured {
            length: frame.len() as u32,
            kept: frame.len() as u32,
            network: 14,
            payload: 42,
            gso_size,
            ..Captured::default()
        }
    }

    #[test]
    fn a_super_packet_becomes_the_datagrams_on_the_wire() {
        let payload: Vec<u8> = (0..=255).cycle().take(3 * 100 + 40).collect();
        let frame = frame(&payload);
        let mut seen: Vec<u8> = Vec::new();
        each(&head(&frame, 100), &frame, |datagram, part| {
            let part = part.unwrap();
            assert_eq!(part.count, 4);
            let length = if part.number == 4 { 40 } else { 100 };
            assert_eq!(datagram.len(), 42 + length);
            let word = |at: usize| u16::from_be_bytes([datagram[at], datagram[at + 1]]);
            assert_eq!(usize::from(word(16)), 28 + length, "IPv4 length");
            assert_eq!(word(18), 7 + part.number as u16 - 1, "identification");
            assert_eq!(usize::from(word(38)), 8 + length, "UDP length");
            assert_eq!(checksum::finish(0, &datagram[14..34]), 0);
            let pseudo = checksum::pseudo_header(&datagram[26..34], UDP, 8 + length);
            assert_eq!(checksum::finish(pseudo, &datagram[34..]), 0, "a true sum");
            seen.extend(&datagram[42..]);
        });
        assert_eq!(seen, payload, "nothing is lost");
    }

    #[test]
    fn what_is_one_datagram_or_was_cut_stays_as_it_is() {
        let frame = frame(&[4; 100]);
        for (head, bytes) in [
            (head(&frame, 0), &frame[..]),
            (head(&frame, 100), &frame),
            (head(&frame, 60), &frame[..96]),
        ] {
            let mut seen = 0;
            each(&head, bytes, |datagram, part| {
                assert_eq!((datagram, part), (bytes, None));
                seen += 1;
            });
            assert_eq!(seen, 1);
        }
    }

    #[test]
    fn a_message_says_its_kind_and_for_whom_it_is() {
        let mut data = [0; 32];
        data[0] = 4;
        data[4..8].copy_from_slice(&0x0001_a203_u32.to_le_bytes());
        data[8..16].copy_from_slice(&77_u64.to_le_bytes());
        let message = Message::of(&data).unwrap();
        assert_eq!((message.kind, message.receiver), ("data", Some(0x1a203)));
        assert_eq!(message.counter, Some(77));
        data[0] = 1;
        let message = Message::of(&data).unwrap();
        assert_eq!((message.kind, message.receiver), ("initiation", None));
        data[0] = 2;
        data[8..12].copy_from_slice(&9_u32.to_le_bytes());
        assert_eq!(Message::of(&data).unwrap().receiver, Some(9));
        for junk in [&[][..], &[4, 0, 0, 0, 1], &[9; 32]] {
            assert_eq!(Message::of(junk), None);
        }
    }
}
