//! What the replicas of a gateway say to each other of their flows, so that counters and times continue where
//! another takes a flow over. Pure: time and bytes come in, bytes and decisions come out.
//!
//! Who forwards a flow reports it: [`pass`] says which flows of the table are due, [`datagram`] writes
//! and reads them, [`outbox`] spreads the datagrams over time, [`merge`] says what becomes of a flow at the
//! other end. Nothing is acknowledged: a flow that continues is reported again, and one that rests was
//! reported twice.
//!
//! The datagrams are UDP inside the tunnel, between the same link-local addresses as the link's BFD. A
//! replica may send nothing else: it has no site, so no source is right.

pub mod datagram;
pub mod merge;
pub mod outbox;
pub mod pass;

use std::net::Ipv6Addr;
use std::ops::Range;
use std::time::Instant;

use datapath_abi::outcome::{DropReason, Tally};

use super::link_bfd::link_local;
use super::peer::Peer;
use super::{Handled, Tunnel};
use crate::transmit::Transmits;
use crossway_types::ids::LinkId;
use crossway_types::packet::UDP;
use crossway_types::packet::write::{IPV6, Ip, UDP_HEADER};

/// UDP port of both ends: the one that conntrackd's users know for the same purpose.
pub const PORT: u16 = 3780;
/// Bytes of the longest payload: with all headers a datagram fits the smallest MTU of IPv6 (1280).
pub const LONGEST: usize = 1150;

/// What has been forwarded has lost this hop limit.
const HOP_LIMIT: u8 = 255;
const HEADERS: usize = IPV6 + UDP_HEADER;
/// Room for a datagram and its WireGuard header.
const ROOM: (usize, usize) = (1, 2048);
// With WireGuard's 32 bytes, and outer UDP and IPv6.
const _: () = assert!(LONGEST + HEADERS + 32 + HEADERS <= 1280);

/// The two ends of the datagrams on a link.
#[derive(Clone, Copy, Debug)]
pub(super) struct Channel {
    local: Ipv6Addr,
    remote: Ipv6Addr,
}

impl Channel {
    pub(super) fn new(own_key: &[u8; 32], peer_key: &[u8; 32]) -> Self {
        Self {
            local: link_local(own_key),
            remote: link_local(peer_key),
        }
    }

    /// The inner packet for a payload of at most [`LONGEST`] bytes.
    fn write(&self, payload: &[u8], to: &mut [u8; HEADERS + LONGEST]) -> usize {
        let ip = Ip {
            source: self.local.into(),
            destination: self.remote.into(),
            class: 0,
            dont_fragment: false,
            ttl: HOP_LIMIT,
            protocol: UDP,
        };
        ip.write_udp((PORT, PORT), payload, to)
    }

    /// Where the payload is in an inner packet that the far end has written by [`Self::write`]. The
    /// session vouches for its bytes, so no sum is computed.
    fn payload_of(&self, inner: &[u8]) -> Option<Range<usize>> {
        let word = |at: usize| Some(u16::from_be_bytes([*inner.get(at)?, *inner.get(at + 1)?]));
        let ours = inner.first()? >> 4 == 6
            && inner.get(6..8)? == [UDP, HOP_LIMIT]
            && inner.get(8..24)? == self.remote.octets()
            && inner.get(24..40)? == self.local.octets()
            && word(IPV6 + 2)? == PORT;
        let end = IPV6 + usize::from(word(IPV6 + 4)?);
        let whole = (HEADERS..=inner.len().min(HEADERS + LONGEST)).contains(&end);
        (ours && whole).then_some(HEADERS..end)
    }
}

impl Peer {
    /// Takes an inner packet of a replica, which is a datagram for control or nothing.
    pub(super) fn handle_replica(
        &mut self,
        inner: &[u8],
        now: Instant,
    ) -> Result<Handled, DropReason> {
        let payload = self.channel.and_then(|channel| channel.payload_of(inner));
        let payload = payload.ok_or(DropReason::SourceNotInSite)?;
        self.on_received(inner.len(), now);
        Ok(Handled::FromReplica(self.link(), payload))
    }
}

impl Tunnel {
    /// Sends datagrams to a replica, each of at most [`LONGEST`] bytes. Returns those for which there
    /// was no session: unlike traffic they do not wait for one.
    pub fn send_to_replica(
        &mut self,
        link: LinkId,
        payloads: &[Vec<u8>],
        out: &mut Transmits,
        mut flush: impl FnMut(&mut Transmits),
    ) -> Tally {
        let mut lost = Tally::default();
        let mut inner = [0; HEADERS + LONGEST];
        for payload in payloads {
            let peer = self.peer_of(link);
            let sent = peer.is_some_and(|peer| {
                let Some(channel) = peer.channel.filter(|_| payload.len() <= LONGEST) else {
                    return false;
                };
                let length = channel.write(payload, &mut inner);
                peer.send_counted(&inner[..length], out)
            });
            if !sent {
                lost.packets += 1;
                lost.bytes += payload.len() as u64;
            }
            if !out.has_room(ROOM.0, ROOM.1) {
                flush(out);
            }
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossway_types::checksum;

    fn ends() -> (Channel, Channel) {
        let (a, b) = ([1; 32], [2; 32]);
        (Channel::new(&a, &b), Channel::new(&b, &a))
    }

    fn written(from: &Channel, payload: &[u8]) -> Vec<u8> {
        let mut bytes = [0xff; HEADERS + LONGEST];
        let length = from.write(payload, &mut bytes);
        bytes[..length].to_vec()
    }

    #[test]
    fn the_far_end_finds_the_payload_of_what_was_written() {
        let (a, b) = ends();
        for payload in [&b""[..], b"flows", &[7; LONGEST]] {
            let inner = written(&a, payload);
            assert_eq!(b.payload_of(&inner).map(|at| &inner[at]), Some(payload));
            assert_eq!(
                crossway_types::packet::stated_length(&inner),
                Some(inner.len())
            );
            let pseudo = checksum::pseudo_header(&inner[8..40], UDP, inner.len() - IPV6);
            assert_eq!(checksum::finish(pseudo, &inner[IPV6..]), 0);
        }
    }

    #[test]
    fn what_is_cut_short_forwarded_or_for_another_is_nothing() {
        let (a, b) = ends();
        let inner = written(&a, b"flows");
        for cut in 0..inner.len() {
            assert_eq!(b.payload_of(&inner[..cut]), None, "cut to {cut}");
        }
        assert_eq!(a.payload_of(&inner), None, "an echo of our own");
        for (at, value) in [(0, 0x45), (6, 6), (7, 254), (23, 9), (39, 9), (43, 1)] {
            let mut other = inner.clone();
            other[at] = value;
            assert_eq!(b.payload_of(&other), None, "byte {at}");
        }
        let mut longer = inner.clone();
        longer.resize(HEADERS + LONGEST + 1, 0);
        longer[44..46].copy_from_slice(&((UDP_HEADER + LONGEST + 1) as u16).to_be_bytes());
        assert_eq!(b.payload_of(&longer), None, "longer than any");
        for length in [0_u16, 7, 0xffff] {
            let mut other = inner.clone();
            other[44..46].copy_from_slice(&length.to_be_bytes());
            assert_eq!(b.payload_of(&other), None, "length {length}");
        }
    }
}
