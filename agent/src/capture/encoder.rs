//! From records of the programs to blocks of the file, up to the bounds.

use std::collections::HashMap;
use std::time::Duration;

use crossway_sys::clock;
use datapath_abi::capture::{Captured, LinkLayer, Place};

use super::ground::Ground;
use super::pcapng::{self, LinkType, Packet, Passed};
use super::session::Bounds;
use super::{comment, outer};
use crate::control::message::CaptureEnd;

/// Makes a file, in pieces that are taken as they come.
pub(super) struct Encoder {
    bounds: Bounds,
    snap: u32,
    /// What has not been taken yet.
    pieces: Vec<u8>,
    /// Number in the file of each interface, by its index.
    interfaces: HashMap<u32, u32>,
    pub(super) inner: u64,
    pub(super) outer: u64,
    /// Bytes of the file so far.
    pub(super) bytes: u64,
    ended: Option<CaptureEnd>,
}

impl Encoder {
    /// Begins a file with the interfaces that are there.
    pub(super) fn begin(bounds: Bounds, snap: u32, ground: &Ground) -> Self {
        let mut encoder = Self {
            bounds,
            snap,
            pieces: Vec::new(),
            interfaces: HashMap::new(),
            inner: 0,
            outer: 0,
            bytes: 0,
            ended: None,
        };
        let version = env!("CARGO_PKG_VERSION");
        pcapng::section(&mut encoder.pieces, &format!("crossway {version}"));
        for index in ground.interfaces.keys() {
            encoder.interface(*index, ground);
        }
        encoder.bytes = encoder.pieces.len() as u64;
        encoder
    }

    /// Adds a packet, unless a bound is reached.
    pub(super) fn add(&mut self, head: &Captured, bytes: &[u8], ground: &Ground) {
        let Some(place) = Place::of(head.place) else {
            return;
        };
        if let Place::Sent | Place::Received = place {
            outer::each(head, bytes, |datagram, part| {
                let text = comment::outer(head, place, datagram, part, ground);
                let length = match part {
                    Some(_) => datagram.len() as u32,
                    None => head.length,
                };
                self.write(head, place, (datagram, length), &text, ground);
            });
        } else {
            let layer = ground.layer(head.ifindex);
            let network = if layer == LinkLayer::Ethernet { 14 } else { 0 };
            let packet = bytes.get(network..).unwrap_or_default();
            let text = comment::inner(head, place, packet, ground);
            self.write(head, place, (bytes, head.length), &text, ground);
        }
    }

    fn write(
        &mut self,
        head: &Captured,
        place: Place,
        (bytes, length): (&[u8], u32),
        comment: &str,
        ground: &Ground,
    ) {
        if self.ended.is_some() {
            return;
        }
        let before = self.pieces.len();
        let interface = self.interface(head.ifindex, ground);
        let passed = match place {
            Place::Sent | Place::IntoTunnel => Passed::Out,
            Place::Lan | Place::OutOfTunnel | Place::Received => Passed::In,
        };
        pcapng::packet(
            &mut self.pieces,
            &Packet {
                interface,
                time_ns: wall_ns(head.time_ns),
                length,
                bytes: &bytes[..bytes.len().min(self.snap as usize)],
                passed,
                comment,
            },
        );
        let added = (self.pieces.len() - before) as u64;
        if self.bytes + added > self.bounds.bytes {
            self.pieces.truncate(before);
            self.ended = Some(CaptureEnd::Size);
            return;
        }
        self.bytes += added;
        match place {
            Place::Sent | Place::Received => self.outer += 1,
            _ => self.inner += 1,
        }
        if self.packets() >= self.bounds.packets {
            self.ended = Some(CaptureEnd::Count);
        }
    }

    /// The bound that is reached.
    pub(super) fn ended(&self) -> Option<CaptureEnd> {
        self.ended
    }

    /// Packets so far.
    pub(super) fn packets(&self) -> u64 {
        self.inner + self.outer
    }

    /// What has come since this was asked last.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.pieces)
    }

    /// Whether there is something to take.
    pub(super) fn is_waiting(&self) -> bool {
        !self.pieces.is_empty()
    }

    /// The end of the file: what was lost, said once, for it is known of all interfaces together.
    pub(super) fn finish(&mut self, lost: u64) {
        if self.interfaces.is_empty() {
            return;
        }
        let now = clock::since_epoch().as_nanos() as u64;
        let before = self.pieces.len();
        let received = self.packets() + lost;
        pcapng::statistics(&mut self.pieces, 0, now, received, lost);
        self.bytes += (self.pieces.len() - before) as u64;
    }

    /// The number of an interface in the file; new ones are entered.
    fn interface(&mut self, index: u32, ground: &Ground) -> u32 {
        if let Some(number) = self.interfaces.get(&index) {
            return *number;
        }
        let (link_type, what) = match ground.layer(index) {
            LinkLayer::Ethernet => (LinkType::Ethernet, "Ethernet"),
            LinkLayer::None => (LinkType::Raw, "IP"),
        };
        let known = ground.interfaces.get(&index);
        let name = known.map_or_else(|| format!("number {index}"), |known| known.name.clone());
        let roles = ground.roles(index);
        let description = format!("{roles} of gateway {} ({what})", ground.gateway);
        let pieces = &mut self.pieces;
        pcapng::interface(pieces, link_type, self.snap, &name, &description);
        let number = self.interfaces.len() as u32;
        self.interfaces.insert(index, number);
        number
    }
}

/// The wall clock at a time of the programs', nanoseconds since the Unix epoch.
fn wall_ns(time_ns: u64) -> u64 {
    let ago = clock::monotonic_ns().saturating_sub(time_ns);
    let then = clock::since_epoch().saturating_sub(Duration::from_nanos(ago));
    then.as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use datapath_abi::explanation::Explanation;

    use super::super::ground::tests::ground;
    use super::*;

    fn bounds(packets: u64, bytes: u64) -> Bounds {
        Bounds {
            packets,
            bytes,
            ..Bounds::default()
        }
    }

    fn head(place: Place) -> Captured {
        Captured {
            time_ns: clock::monotonic_ns(),
            place: place as u32,
            ifindex: 2,
            length: 60,
            kept: 60,
            explanation: Explanation::default(),
            ..Captured::default()
        }
    }

    #[test]
    fn the_file_holds_no_more_packets_and_bytes_than_asked_for() {
        let ground = ground();
        let mut encoder = Encoder::begin(bounds(3, u64::MAX), 65_568, &ground);
        for _ in 0..5 {
            encoder.add(&head(Place::Lan), &[0; 60], &ground);
        }
        assert_eq!(encoder.packets(), 3);
        assert_eq!(encoder.ended(), Some(CaptureEnd::Count));

        let mut encoder = Encoder::begin(bounds(u64::MAX, 2000), 65_568, &ground);
        let mut file = encoder.take();
        for _ in 0..100 {
            encoder.add(&head(Place::Received), &[0; 60], &ground);
            file.extend(encoder.take());
        }
        assert_eq!(encoder.ended(), Some(CaptureEnd::Size));
        assert!(file.len() <= 2000 && file.len() > 1800, "{}", file.len());
        assert_eq!(file.len() as u64, encoder.bytes);
        assert_eq!((encoder.inner, encoder.outer), (0, encoder.packets()));
    }

    #[test]
    fn times_are_those_of_the_wall() {
        let now = clock::since_epoch().as_nanos() as u64;
        let second = 1_000_000_000;
        let then = wall_ns(clock::monotonic_ns() - 5 * second);
        assert!((now - then).abs_diff(5 * second) < second);
    }

    #[test]
    fn an_interface_that_nobody_knows_has_a_number() {
        let ground = ground();
        let mut encoder = Encoder::begin(bounds(9, u64::MAX), 65_568, &ground);
        encoder.take();
        let mut head = head(Place::OutOfTunnel);
        head.ifindex = 99;
        encoder.add(&head, &[0x45; 60], &ground);
        let text = String::from_utf8_lossy(&encoder.take()).into_owned();
        assert!(text.contains("number 99"), "{text}");
    }
}
