//! Joins inner packets of one flow that follow each other into one super-packet for the TUN, so
//! that the kernel carries 45 packets at the cost of one.
//!
//! A packet is decrypted behind the super-packet under way, its headers over the tail of the
//! payload; if it continues the flow, the tail is put back and the new payload already lies where it
//! belongs. Only a packet that starts anew is moved.

mod growth;

use crate::io::virtio::{self, GsoType, Header};
use crossway_types::checksum;
use crossway_types::packet;
use crossway_types::packet::tcp_flags::PSH;
use growth::{Growth, MAX_HEADERS};

/// Longest IP packet.
const MAX_PACKET: usize = 65_535;
/// Room behind the packet for the tag of the message that is decrypted there.
const SLACK: usize = 64;

/// What may be joined.
#[derive(Clone, Copy, Debug)]
pub struct Joins {
    /// TCP segments.
    pub tcp: bool,
    /// UDP datagrams.
    pub udp: bool,
}

/// The super-packet under way.
pub struct Coalescer {
    /// A virtio header, then one IP packet.
    buffer: Box<[u8]>,
    /// Bytes of the IP packet; 0 when there is none.
    length: usize,
    /// How the packet can grow; `None` when it cannot.
    growth: Option<Growth>,
    /// What the headers of the packet being decrypted lie over.
    tail: [u8; MAX_HEADERS],
    /// A packet that starts anew, on its way to the front.
    moving: Vec<u8>,
}

impl Coalescer {
    /// Nothing under way.
    pub fn new() -> Self {
        Self {
            buffer: vec![0; virtio::HEADER_LEN + MAX_PACKET + SLACK].into_boxed_slice(),
            length: 0,
            growth: None,
            tail: [0; MAX_HEADERS],
            moving: Vec::with_capacity(MAX_PACKET + SLACK),
        }
    }

    /// Whether a message of `bytes` can be decrypted now, or the packet must be flushed first.
    pub fn has_room(&self, bytes: usize) -> bool {
        virtio::HEADER_LEN + self.length + bytes <= self.buffer.len()
    }

    /// Where the next packet is to be decrypted.
    pub fn landing(&mut self) -> &mut [u8] {
        let at = self.landing_at();
        if let Some(growth) = self.growth {
            self.tail[..growth.headers].copy_from_slice(&self.buffer[at..at + growth.headers]);
        }
        &mut self.buffer[at..]
    }

    fn landing_at(&self) -> usize {
        virtio::HEADER_LEN + self.length - self.growth.map_or(0, |growth| growth.headers)
    }

    /// Nothing was decrypted at the landing place: puts back what may have been overwritten.
    pub fn abandon(&mut self) {
        let at = self.landing_at();
        if let Some(growth) = self.growth {
            self.buffer[at..at + growth.headers].copy_from_slice(&self.tail[..growth.headers]);
        }
    }

    /// The packet of `length` bytes at the landing place, to be adapted before [`Self::take`].
    pub fn landed(&mut self, length: usize) -> &mut [u8] {
        let at = self.landing_at();
        &mut self.buffer[at..at + length]
    }

    /// Takes the packet of `length` bytes at the landing place: joins it, or hands the packet under
    /// way to `write` and starts anew.
    pub fn take(&mut self, length: usize, joins: Joins, write: impl FnMut(&mut [u8])) {
        let at = self.landing_at();
        if self.length == 0 {
            self.start(length, joins);
            return;
        }
        if let Some(growth) = self.growth
            && let Some(grown) = self.continues(growth, at, length)
        {
            let flags = self.buffer[at + growth.transport + 13];
            self.abandon();
            self.length += length - growth.headers;
            if growth.tcp {
                self.buffer[virtio::HEADER_LEN + growth.transport + 13] |= flags & PSH;
            }
            self.growth = Some(grown);
            // A short segment, a pushed one or a full packet ends it.
            let short = length - growth.headers < growth.segment;
            let full = self.length + growth.segment > MAX_PACKET;
            if short || full || (growth.tcp && flags & PSH != 0) {
                self.flush(write);
            }
            return;
        }
        self.moving.clear();
        self.moving.extend_from_slice(&self.buffer[at..at + length]);
        self.abandon();
        self.flush(write);
        self.buffer[virtio::HEADER_LEN..][..length].copy_from_slice(&self.moving);
        self.start(length, joins);
    }

    /// Hands the packet under way, with its virtio header, to `write`.
    pub fn flush(&mut self, mut write: impl FnMut(&mut [u8])) {
        if self.length == 0 {
            return;
        }
        let header = match self.growth {
            Some(growth) if growth.count > 1 => self.finish_headers(growth),
            _ => Header::PLAIN,
        };
        self.buffer[..virtio::HEADER_LEN].copy_from_slice(&header.encode());
        write(&mut self.buffer[..virtio::HEADER_LEN + self.length]);
        self.length = 0;
        self.growth = None;
    }

    fn start(&mut self, length: usize, joins: Joins) {
        self.length = length;
        self.growth = Growth::of(&self.buffer[virtio::HEADER_LEN..][..length], joins);
    }

    /// The packet at `at` continues the one under way: how that may grow then.
    fn continues(&mut self, growth: Growth, at: usize, length: usize) -> Option<Growth> {
        let new = &self.buffer[at..at + length];
        let first = &self.buffer[virtio::HEADER_LEN..][..growth.headers];
        // The first headers are whole: the landing place lies over payload, for a packet that can
        // grow has at least as much payload as headers (see `Growth::of`).
        let payload = length.checked_sub(growth.headers)?;
        if payload == 0
            || payload > growth.segment
            || self.length + payload > MAX_PACKET
            || !growth.same_flow(first, new)
            || !growth.sums_right(new)
        {
            return None;
        }
        if !growth.verified {
            // Joined packets get a new checksum at the end: a wrong one must not be made right.
            let kept = virtio::HEADER_LEN + growth.headers;
            let end = virtio::HEADER_LEN + self.length;
            let sum = checksum::add(growth.pseudo(first), &first[growth.transport..]);
            let sum = checksum::add(sum, &self.buffer[kept..end - growth.headers]);
            let sum = add_at(
                sum,
                end - growth.headers - kept,
                &self.tail[..growth.headers],
            );
            if checksum::fold(sum) != 0xffff {
                return None;
            }
        }
        Some(Growth {
            count: growth.count + 1,
            next_sequence: growth.next_sequence.wrapping_add(payload as u32),
            next_id: growth.next_id.wrapping_add(1),
            verified: true,
            ..growth
        })
    }

    /// Makes the first headers those of the whole super-packet.
    fn finish_headers(&mut self, growth: Growth) -> Header {
        let length = self.length;
        let packet = &mut self.buffer[virtio::HEADER_LEN..][..length];
        if growth.ipv4 {
            packet[2..4].copy_from_slice(&(length as u16).to_be_bytes());
            packet[10..12].fill(0);
            let sum = checksum::finish(0, &packet[..20]);
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
        } else {
            packet[4..6].copy_from_slice(&((length - 40) as u16).to_be_bytes());
        }
        let upper = length - growth.transport;
        let offset = if growth.tcp {
            16
        } else {
            let at = growth.transport + 4;
            packet[at..at + 2].copy_from_slice(&(upper as u16).to_be_bytes());
            6
        };
        let addresses = if growth.ipv4 { 12..20 } else { 8..40 };
        let protocol = if growth.tcp { packet::TCP } else { packet::UDP };
        let sum = checksum::pseudo_header(&packet[addresses], protocol, upper);
        let at = growth.transport + offset;
        packet[at..at + 2].copy_from_slice(&checksum::fold(sum).to_be_bytes());
        Header {
            flags: virtio::NEEDS_CSUM,
            gso: match (growth.tcp, growth.ipv4) {
                (true, true) => GsoType::Tcp4,
                (true, false) => GsoType::Tcp6,
                (false, _) => GsoType::UdpL4,
            },
            header_len: growth.headers as u16,
            gso_size: growth.segment as u16,
            csum_start: growth.transport as u16,
            csum_offset: offset as u16,
        }
    }
}

impl Default for Coalescer {
    fn default() -> Self {
        Self::new()
    }
}

/// Adds `bytes` that stand at `offset` of what is summed: on an odd offset their bytes are swapped.
fn add_at(sum: u64, offset: usize, bytes: &[u8]) -> u64 {
    let part = checksum::fold(checksum::add(0, bytes));
    sum + u64::from(if offset.is_multiple_of(2) {
        part
    } else {
        part.swap_bytes()
    })
}

#[cfg(test)]
mod tests;
