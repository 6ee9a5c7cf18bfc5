//! Inner packets on their way to the TUN, joined where that may be: cut up again, they are what they were.

use std::collections::VecDeque;

use super::feed::{Feed, Script};
use super::gateways::{ipv4, source_and_length};
use super::inner::{mangled, sum_by_the_book, transport_sum_is_right};
use crossway::io::split;
use crossway::io::virtio;
use crossway::io::virtio::Header;
use crossway::lane::coalesce::{Coalescer, Joins};
use crossway::packet;
use crossway_types::checksum;

/// Steps of one input.
const STEPS: usize = 128;
/// What a data message has more than its packet.
const SEALED: usize = 32;

pub(super) fn run(data: &[u8]) {
    let mut feed = Feed::new(data);
    let mut joined = Rejoined::new(feed.u8());
    let mut flow = Flow::default();
    for _ in 0..STEPS {
        if feed.is_empty() {
            break;
        }
        match feed.u8() {
            0..=15 => joined.refuse(feed.chunk()),
            16..=31 => joined.flush(),
            32..=63 => joined.take(feed.chunk()),
            kind => {
                let packet = flow.next(kind, &mut feed);
                joined.take(&mangled(&mut feed, packet));
            }
        }
    }
    joined.end();
}

/// A coalescer, and what went in and has not come out.
pub(super) struct Rejoined {
    coalescer: Coalescer,
    joins: Joins,
    inside: VecDeque<Vec<u8>>,
}

impl Rejoined {
    /// Joins TCP where the lowest bit of `kinds` is set, UDP where the next one is.
    pub(super) fn new(kinds: u8) -> Self {
        Self {
            coalescer: Coalescer::new(),
            joins: Joins {
                tcp: kinds & 1 != 0,
                udp: kinds & 2 != 0,
            },
            inside: VecDeque::new(),
        }
    }

    /// A packet that was decrypted.
    pub(super) fn take(&mut self, packet: &[u8]) {
        // What states no length, or another, does not come so far.
        match source_and_length(packet) {
            Some((_, length)) if length <= packet.len() => self.take_whole(&packet[..length]),
            _ => self.refuse(packet),
        }
    }

    fn take_whole(&mut self, packet: &[u8]) {
        if !self.coalescer.has_room(packet.len() + SEALED) {
            self.flush();
        }
        let landing = self.coalescer.landing();
        landing[..packet.len()].copy_from_slice(packet);
        landing[packet.len()..packet.len() + SEALED].fill(0x5a);
        assert_eq!(self.coalescer.landed(packet.len()), packet);
        self.inside.push_back(packet.to_vec());
        let inside = &mut self.inside;
        self.coalescer
            .take(packet.len(), self.joins, |bytes| come_out(inside, bytes));
    }

    /// A message that did not open, and has left these bytes at the landing place.
    fn refuse(&mut self, rubbish: &[u8]) {
        if !self.coalescer.has_room(rubbish.len()) {
            self.flush();
        }
        self.coalescer.landing()[..rubbish.len()].copy_from_slice(rubbish);
        self.coalescer.abandon();
    }

    fn flush(&mut self) {
        let inside = &mut self.inside;
        self.coalescer.flush(|bytes| come_out(inside, bytes));
    }

    /// Everything has come out.
    pub(super) fn end(mut self) {
        self.flush();
        assert_eq!(self.inside, VecDeque::<Vec<u8>>::new());
    }
}

/// The kernel cuts up what is written to the TUN, as we do what is read from there.
fn come_out(inside: &mut VecDeque<Vec<u8>>, bytes: &mut [u8]) {
    let (header, packet) = bytes.split_first_chunk_mut().expect("a header is in front");
    let header = Header::decode(*header).expect("we wrote it");
    assert!(packet.len() <= 65_535, "{} bytes", packet.len());
    let joined = header.flags & virtio::NEEDS_CSUM != 0;
    let cut = split::for_each_packet(&header, packet, |packet| {
        let before = inside.pop_front().expect("nothing is made up");
        if joined {
            assert_same(&before, packet);
        } else {
            assert_eq!(before, packet);
        }
    });
    assert_eq!(cut, Ok(()));
}

/// Equal, but that ids of packets that may not be cut mean nothing (RFC 6864, 4.1), and zero has two forms.
fn assert_same(before: &[u8], after: &[u8]) {
    if before == after {
        return;
    }
    let (start, protocol) = packet::transport(before).expect("it was joined");
    let sum = start + if protocol == packet::TCP { 16 } else { 6 };
    let blank = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        bytes[sum..sum + 2].fill(0);
        if bytes[0] >> 4 == 4 {
            bytes[10..12].fill(0);
            if bytes[6] & 0x40 != 0 {
                bytes[4..6].fill(0);
            }
        }
        bytes
    };
    assert_eq!(blank(before), blank(after));
    for bytes in [before, after] {
        assert!(
            transport_sum_is_right(bytes, start, protocol),
            "{bytes:02x?}"
        );
        assert!(
            bytes[0] >> 4 == 6 || sum_by_the_book(&bytes[..20]) == 0xffff,
            "{bytes:02x?}"
        );
    }
}

/// Packets of a flow that follow each other, but for what the input wants otherwise.
#[derive(Default)]
struct Flow {
    sequence: u32,
    id: u16,
}

impl Flow {
    fn next(&mut self, kind: u8, feed: &mut Feed<'_>) -> Vec<u8> {
        let (tcp, v6) = (kind & 1 == 0, kind & 2 != 0);
        let payload = usize::from(feed.u16() & 0x7ff);
        let fill = feed.u8();
        let mut upper = if tcp {
            let options = usize::from(kind >> 2 & 3) * 4;
            let mut upper = vec![0; 20 + options];
            upper[..4].copy_from_slice(&[0x1f, 0x90, 0x9c, 0x40]);
            upper[4..8].copy_from_slice(&self.sequence.to_be_bytes());
            upper[12] = ((20 + options) << 2) as u8;
            upper[13] = if kind & 0x10 != 0 { feed.u8() } else { 0x10 };
            upper[20..].fill(1);
            upper
        } else {
            vec![0x1f, 0x90, 0x9c, 0x40, 0, 0, 0, 0]
        };
        upper.extend((0..payload).map(|at| fill.wrapping_add(at as u8)));
        let length = upper.len() as u16;
        if !tcp {
            upper[4..6].copy_from_slice(&length.to_be_bytes());
        }
        self.sequence = self.sequence.wrapping_add(payload as u32);
        self.id = self.id.wrapping_add(1);
        let mut packet = self.network(v6, tcp, length);
        let addresses = if v6 { 8..40 } else { 12..20 };
        let protocol = if tcp { packet::TCP } else { packet::UDP };
        let pseudo = checksum::pseudo_header(&packet[addresses], protocol, upper.len());
        let sum = checksum::finish(pseudo, &upper);
        let at = if tcp { 16 } else { 6 };
        upper[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        packet.extend(upper);
        packet
    }

    fn network(&self, v6: bool, tcp: bool, length: u16) -> Vec<u8> {
        let protocol = if tcp { packet::TCP } else { packet::UDP };
        if v6 {
            let mut packet = vec![0x20; 40];
            packet[..4].copy_from_slice(&[0x60, 0, 0, 0]);
            packet[4..6].copy_from_slice(&length.to_be_bytes());
            packet[6..8].copy_from_slice(&[protocol, 64]);
            return packet;
        }
        let mut packet = ipv4([10, 1, 0, 1], [10, 2, 0, 1], 20);
        packet[2..4].copy_from_slice(&(20 + length).to_be_bytes());
        packet[4..6].copy_from_slice(&self.id.to_be_bytes());
        packet[9] = protocol;
        let sum = checksum::finish(0, &packet);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let kinds = [0x40_u8, 0x41, 0x42, 0x43, 0x4c, 0x50];
    let run = |kind: u8| {
        let mut script = Script::default().u8(3);
        for length in [1000_u16, 1000, 1000, 300, 1000, 1000] {
            script = script.u8(kind).u16(length).u8(7);
            if kind & 0x11 == 0x10 {
                script = script.u8(0x18);
            }
            script = script.u8(0);
        }
        script
    };
    let mut seeds: Vec<Vec<u8>> = kinds.into_iter().map(|kind| run(kind).end()).collect();
    seeds.push(
        run(0x40)
            .u8(0)
            .chunk(&[9; 90])
            .u8(0x40)
            .u16(1000)
            .u8(7)
            .u8(0)
            .end(),
    );
    // A sum that is wrong, a time to live that differs, a length that lies.
    for (at, value) in [(16 + 20, 1), (8, 63), (24, 9)] {
        let script = run(0x41).u8(0x41).u16(1000).u8(7);
        seeds.push(script.u8(1).u16(at).u8(value).end());
    }
    seeds
}
