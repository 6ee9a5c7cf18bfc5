//! The blocks of a pcapng file (draft-ietf-opsawg-pcapng), as far as a capture has them: a section, its interfaces with
//! times in nanoseconds, packets with comments, and what was lost.

/// Kinds of block.
const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const STATISTICS: u32 = 5;
const PACKET: u32 = 6;
/// Says which end of a number is first.
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
/// Length of a section that is not known.
const UNKNOWN_LENGTH: u64 = u64::MAX;

/// Numbers of options.
const END: u16 = 0;
const COMMENT: u16 = 1;
const APPLICATION: u16 = 4;
const NAME: u16 = 2;
const DESCRIPTION: u16 = 3;
const RESOLUTION: u16 = 9;
const FLAGS: u16 = 2;
const RECEIVED: u16 = 4;
const DROPPED: u16 = 5;

/// Times count in units of ten to the power of minus this.
const NANOSECONDS: u8 = 9;
/// Most bytes of an option; a comment is shorter.
const LONGEST: usize = u16::MAX as usize;

/// What the packets of an interface begin with: LINKTYPE of tcpdump.org.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum LinkType {
    Ethernet = 1,
    /// IPv4 or IPv6, as the first byte says.
    Raw = 101,
}

/// Which way a packet passed its interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Passed {
    In = 1,
    Out = 2,
}

/// A packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'a> {
    /// Number of its interface, in the order in which they were written.
    pub(super) interface: u32,
    /// Since the Unix epoch.
    pub(super) time_ns: u64,
    /// Bytes that it had.
    pub(super) length: u32,
    pub(super) bytes: &'a [u8],
    pub(super) passed: Passed,
    pub(super) comment: &'a str,
}

/// Begins a file.
pub(super) fn section(file: &mut Vec<u8>, application: &str) {
    block(file, SECTION, |body| {
        body.extend(BYTE_ORDER.to_ne_bytes());
        // Version 1.0.
        body.extend(1_u16.to_ne_bytes());
        body.extend(0_u16.to_ne_bytes());
        body.extend(UNKNOWN_LENGTH.to_ne_bytes());
        option(body, APPLICATION, application.as_bytes());
        option(body, END, &[]);
    });
}

/// An interface, in front of its packets.
pub(super) fn interface(
    file: &mut Vec<u8>,
    link_type: LinkType,
    snap: u32,
    name: &str,
    description: &str,
) {
    block(file, INTERFACE, |body| {
        body.extend((link_type as u16).to_ne_bytes());
        body.extend(0_u16.to_ne_bytes());
        body.extend(snap.to_ne_bytes());
        option(body, NAME, name.as_bytes());
        option(body, DESCRIPTION, description.as_bytes());
        option(body, RESOLUTION, &[NANOSECONDS]);
        option(body, END, &[]);
    });
}

pub(super) fn packet(file: &mut Vec<u8>, packet: &Packet<'_>) {
    block(file, PACKET, |body| {
        body.extend(packet.interface.to_ne_bytes());
        body.extend(time(packet.time_ns));
        body.extend((packet.bytes.len() as u32).to_ne_bytes());
        body.extend(packet.length.to_ne_bytes());
        padded(body, packet.bytes);
        option(body, COMMENT, packet.comment.as_bytes());
        option(body, FLAGS, &(packet.passed as u32).to_ne_bytes());
        option(body, END, &[]);
    });
}

/// What an interface has seen: packets that are here, and packets that found no room. It may say it of all interfaces
/// together.
pub(super) fn statistics(
    file: &mut Vec<u8>,
    interface: u32,
    time_ns: u64,
    received: u64,
    dropped: u64,
) {
    block(file, STATISTICS, |body| {
        body.extend(interface.to_ne_bytes());
        body.extend(time(time_ns));
        option(body, RECEIVED, &received.to_ne_bytes());
        option(body, DROPPED, &dropped.to_ne_bytes());
        option(body, END, &[]);
    });
}

/// The upper half first.
fn time(time_ns: u64) -> impl Iterator<Item = u8> {
    let halves = [(time_ns >> 32) as u32, time_ns as u32];
    halves.into_iter().flat_map(u32::to_ne_bytes)
}

/// Kind, length, body, and the length once more.
fn block(file: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = file.len();
    file.extend(kind.to_ne_bytes());
    file.extend([0; 4]);
    body(file);
    let length = ((file.len() - start + 4) as u32).to_ne_bytes();
    file[start + 4..start + 8].copy_from_slice(&length);
    file.extend(length);
}

fn option(body: &mut Vec<u8>, number: u16, value: &[u8]) {
    let value = &value[..value.len().min(LONGEST)];
    body.extend(number.to_ne_bytes());
    body.extend((value.len() as u16).to_ne_bytes());
    padded(body, value);
}

/// To a multiple of four bytes; every block starts at one.
fn padded(body: &mut Vec<u8>, bytes: &[u8]) {
    body.extend(bytes);
    body.resize(
        body.len() + bytes.len().next_multiple_of(4) - bytes.len(),
        0,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(file: &[u8], at: usize) -> u32 {
        u32::from_ne_bytes(file[at..at + 4].try_into().unwrap())
    }

    /// Kinds and lengths of the blocks.
    fn blocks(file: &[u8]) -> Vec<(u32, usize)> {
        let mut at = 0;
        let mut found = Vec::new();
        while at < file.len() {
            let (kind, length) = (word(file, at), word(file, at + 4) as usize);
            assert_eq!(length % 4, 0);
            assert_eq!(word(file, at + length - 4) as usize, length, "both lengths");
            found.push((kind, length));
            at += length;
        }
        assert_eq!(at, file.len());
        found
    }

    #[test]
    fn each_block_has_its_length_at_both_ends_and_is_padded() {
        let mut file = Vec::new();
        section(&mut file, "crossway");
        interface(&mut file, LinkType::Ethernet, 65_568, "eth1", "LAN");
        for length in 0..9 {
            let bytes: Vec<u8> = (0..length).collect();
            packet(
                &mut file,
                &Packet {
                    interface: 0,
                    time_ns: 1_800_000_000_123_456_789,
                    length: 1500,
                    bytes: &bytes,
                    passed: Passed::Out,
                    comment: "direction=to-site",
                },
            );
        }
        statistics(&mut file, 0, 5, 9, 2);
        let kinds: Vec<u32> = blocks(&file).iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds[..3], [SECTION, INTERFACE, PACKET]);
        assert_eq!(kinds[kinds.len() - 2..], [PACKET, STATISTICS]);
        // Fixed part 28 bytes, comment of 17 in 24, flags in 8, end in 4, and the length behind.
        let first = blocks(&file)[2].1;
        assert_eq!(first, 28 + 24 + 8 + 4 + 4);
    }

    #[test]
    fn the_time_of_a_packet_is_in_two_halves() {
        let mut file = Vec::new();
        let time_ns = 1_800_000_000_123_456_789_u64;
        packet(
            &mut file,
            &Packet {
                interface: 3,
                time_ns,
                length: 4,
                bytes: &[1, 2, 3, 4],
                passed: Passed::In,
                comment: "",
            },
        );
        assert_eq!(word(&file, 8), 3);
        let whole = u64::from(word(&file, 12)) << 32 | u64::from(word(&file, 16));
        assert_eq!(whole, time_ns);
        assert_eq!([word(&file, 20), word(&file, 24)], [4, 4]);
        assert_eq!(file[28..32], [1, 2, 3, 4]);
    }
}
