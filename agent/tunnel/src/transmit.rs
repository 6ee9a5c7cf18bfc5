//! Datagrams that wait to be sent. A tunnel writes them; a carrier's socket sends them. No socket is known here.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;

use crossway_types::marks::{self, DscpModel};

/// Room for several super-packets' worth of datagrams.
const PAYLOAD_BYTES: usize = 512 * 1024;
/// Transmits that a batch holds before [`Transmits::has_room`] says no.
pub const MAX_TRANSMITS: usize = 64;
/// Datagrams of one transmit that every kernel with UDP_SEGMENT takes (UDP_MAX_SEGMENTS before 6.9).
const MAX_SEGMENTS: usize = 64;
/// Payload of one transmit: 65,535 less an IPv6 header and UDP's, rounded down.
const MAX_TRANSMIT_BYTES: usize = 65_000;

/// Where a datagram goes to or came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The far gateway.
    pub remote: SocketAddr,
    /// Our address that it dialled, which replies must leave from; `None` lets the kernel choose.
    pub local: Option<IpAddr>,
    /// Index of the interface that it came in by, or must leave by; `None` lets the kernel's routes choose.
    pub interface: Option<NonZeroU32>,
}

impl Endpoint {
    /// A far gateway, by whatever way the kernel's routes choose.
    pub fn new(remote: SocketAddr) -> Self {
        Self {
            remote,
            local: None,
            interface: None,
        }
    }
}

/// Datagrams to one endpoint, back to back in the batch's payload: all of one size, but the last may be shorter.
#[derive(Clone, Copy, Debug)]
pub struct Transmit {
    /// Where they go.
    pub to: Endpoint,
    /// Where the first starts in the payload.
    pub start: usize,
    /// Where the last ends.
    pub end: usize,
    /// Size of each but the last.
    pub segment: usize,
    /// How many they are.
    pub count: usize,
    /// Their type of service or traffic class.
    pub marks: u8,
    /// Whether they carry inner packets, or what keeps links alive, which goes first and has its own buffer.
    pub load: Load,
}

/// What a datagram is sent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// A session and the knowledge that its link is alive: handshakes, keepalives, BFD, probes. What a far end can
    /// have of it is bounded.
    Control,
    /// Inner packets, and answers to strangers: as much as somebody likes to send.
    Data,
    /// A probe of the path's MTU: nobody may fragment it, and it is lost where it does not fit.
    Probe,
}

impl Transmit {
    /// Bytes of all datagrams together.
    pub fn bytes(&self) -> usize {
        self.end - self.start
    }

    /// One transmit for each datagram.
    pub fn singles(self) -> impl Iterator<Item = Self> {
        (self.start..self.end)
            .step_by(self.segment.max(1))
            .map(move |start| Self {
                start,
                end: self.end.min(start + self.segment),
                count: 1,
                ..self
            })
    }
}

/// A batch of datagrams, allocated once.
pub struct Transmits {
    payload: Box<[u8]>,
    used: usize,
    waiting: Vec<Transmit>,
    dscp: DscpModel,
}

impl Transmits {
    /// An empty batch.
    pub fn new() -> Self {
        Self {
            payload: vec![0; PAYLOAD_BYTES].into_boxed_slice(),
            used: 0,
            waiting: Vec::with_capacity(MAX_TRANSMITS),
            dscp: DscpModel::default(),
        }
    }

    /// Shows the classes of packets so from now on.
    pub fn set_dscp(&mut self, dscp: DscpModel) {
        self.dscp = dscp;
    }

    /// How it shows them.
    pub fn dscp(&self) -> DscpModel {
        self.dscp
    }

    /// Whether nothing waits to be sent.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Bytes that wait to be sent.
    pub fn bytes(&self) -> usize {
        self.used
    }

    /// Whether `datagrams` more, of `bytes` in all, certainly fit.
    #[inline]
    pub fn has_room(&self, datagrams: usize, bytes: usize) -> bool {
        let transmits = datagrams
            .div_ceil(MAX_SEGMENTS)
            .max(bytes.div_ceil(MAX_TRANSMIT_BYTES))
            + 1;
        self.payload.len() - self.used >= bytes && MAX_TRANSMITS - self.waiting.len() >= transmits
    }

    /// Where the next datagram is to be written; all that is left of the buffer.
    #[inline]
    pub fn spare(&mut self) -> &mut [u8] {
        &mut self.payload[self.used..]
    }

    /// Takes the first `length` bytes of [`Self::spare`] as a datagram for `to`, which keeps a link alive.
    #[inline]
    pub fn push(&mut self, length: usize, to: Endpoint) {
        self.push_marked(length, to, Load::Control, 0);
    }

    /// As [`Self::push`], for an answer to a stranger, or a packet that is not known any more.
    #[inline]
    pub fn push_data(&mut self, length: usize, to: Endpoint) {
        self.push_marked(length, to, Load::Data, 0);
    }

    /// As [`Self::push`], for a probe of the path's MTU.
    #[inline]
    pub fn push_probe(&mut self, length: usize, to: Endpoint) {
        self.push_marked(length, to, Load::Probe, 0);
    }

    /// As [`Self::push`], for the inner packet `packet`, whose marks the datagram gets.
    #[inline]
    pub fn push_packet(&mut self, length: usize, to: Endpoint, packet: &[u8]) {
        let marks = marks::outer_of(marks::of(packet), self.dscp);
        self.push_marked(length, to, Load::Data, marks);
    }

    #[inline]
    fn push_marked(&mut self, length: usize, to: Endpoint, load: Load, marks: u8) {
        let start = self.used;
        self.used += length;
        if let Some(last) = self.waiting.last_mut() {
            // A shorter datagram may end a transmit: the kernel cuts every `segment` bytes.
            let open = last.bytes().is_multiple_of(last.segment);
            if open
                && load != Load::Probe
                && last.to == to
                && (last.load, last.marks) == (load, marks)
                && length <= last.segment
                && last.count < MAX_SEGMENTS
                && last.bytes() + length <= MAX_TRANSMIT_BYTES
            {
                last.end += length;
                last.count += 1;
                return;
            }
        }
        self.waiting.push(Transmit {
            to,
            start,
            end: self.used,
            segment: length,
            count: 1,
            marks,
            load,
        });
    }

    /// What waits, in the order of [`Self::push`], and the payload that it points into.
    pub fn parts(&self) -> (&[Transmit], &[u8]) {
        (&self.waiting, &self.payload)
    }

    /// Forgets what waits: it has been sent.
    pub fn clear(&mut self) {
        self.waiting.clear();
        self.used = 0;
    }

    /// Takes the datagrams out one by one, each in a buffer of its own: for a network that is played in memory.
    pub fn take_datagrams(&mut self) -> Vec<(Endpoint, Vec<u8>)> {
        let singles = self.waiting.iter().flat_map(|transmit| transmit.singles());
        let datagrams = singles
            .map(|single| (single.to, self.payload[single.start..single.end].to_vec()))
            .collect();
        self.clear();
        datagrams
    }
}

impl Default for Transmits {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
