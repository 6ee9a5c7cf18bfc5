//! From the TUN to the WAN: read a super-packet, find its peer, cut, seal, send.

use std::io;

use datapath_abi::outcome::DropReason;

use super::policy::Way;
use super::{Lane, fragment, mss, too_big};
use crate::io::split;
use crate::io::virtio::{self, Header};
use crossway_tunnel::Sealed;
use crossway_tunnel::message::DATA_OVERHEAD;
use crossway_types::packet;

/// Reads of one turn, so that the other direction gets its own.
const READS_PER_TURN: usize = 64;
/// Sealed bytes that are worth a system call of their own: about one super-packet.
const SEND_BYTES: usize = 160 * 1024;
/// Room for the handshake that a packet may start.
const HANDSHAKE_ROOM: usize = 512;

impl Lane {
    /// Takes what waits in the TUN; whether there was anything.
    pub(super) fn turn_outbound(&mut self) -> io::Result<bool> {
        let mut reads = 0;
        while reads < READS_PER_TURN {
            let Some(length) = self.tun.read(&mut self.outgoing)? else {
                break;
            };
            reads += 1;
            self.handle_outgoing(length);
            if self.send.bytes() >= SEND_BYTES {
                self.flush_send();
            }
        }
        self.flush_send();
        Ok(reads > 0)
    }

    /// One read from the TUN: a virtio header and a packet.
    fn handle_outgoing(&mut self, length: usize) {
        let Some((header, bytes)) = self.outgoing[..length].split_first_chunk_mut() else {
            self.drops.count(DropReason::TunMalformed, length);
            return;
        };
        let Some(header) = Header::decode(*header) else {
            self.drops.count(DropReason::TunMalformed, bytes.len());
            return;
        };
        let Some((_, destination)) = packet::addresses(bytes) else {
            self.drops.count(DropReason::TunMalformed, bytes.len());
            return;
        };
        if self.own.contain(bytes, &self.tunnel, self.now) {
            self.drops.count(DropReason::OwnDatagram, bytes.len());
            return;
        }
        let Some(peer) = self.tunnel.peer_for(destination, bytes) else {
            self.drops.count(DropReason::NoRoute, bytes.len());
            return;
        };
        if !self.judge.admits(bytes, Way::Out, self.now) {
            self.drops.count(DropReason::PolicyDenied, bytes.len());
            return;
        }
        let (mut header, mut pieces) = (header, usize::MAX);
        let largest = too_big::largest(&header, bytes);
        if largest > self.tunnel.gate(peer)
            && let ipv4 = destination.is_ipv4()
            && let Some(mtu) = self.tunnel.judge_size(peer, largest, ipv4, self.now)
        {
            let fits = self
                .too_big
                .make_fit(&header, bytes, (largest, mtu), self.now);
            let Some(fits) = fits else {
                self.drops.count(DropReason::PacketTooBig, bytes.len());
                return;
            };
            (header, pieces) = fits;
        }
        let tunnel = &self.tunnel;
        tunnel.map_outbound(peer, bytes, virtio::unfinished_checksum(&header));
        let (datagrams, room) = worst_case(&header, bytes.len(), pieces);
        if !self.send.has_room(datagrams, room) {
            self.drops.add_send(self.udp.send(&mut self.send));
        }
        if !self.send.has_room(datagrams, room) {
            // Segments of a few bytes: no TCP sends them.
            self.drops.count(DropReason::TunMalformed, bytes.len());
            return;
        }
        let Some(mut sealer) = self.tunnel.sealer(peer, self.now) else {
            self.drops.count(DropReason::NoRoute, bytes.len());
            return;
        };
        let (send, drops, mtu) = (&mut self.send, &mut self.drops, sealer.mtu());
        let whole = bytes.len();
        let mut seal = |packet: &[u8]| {
            if let Sealed::Dropped(reason) = sealer.seal(packet, send) {
                drops.count(reason, packet.len());
            }
        };
        let cut = split::for_each_packet(&header, bytes, |packet| {
            mss::clamp(packet, mtu);
            if packet.len() <= pieces {
                seal(packet);
            } else {
                fragment::for_each_fragment(packet, pieces, &mut seal);
            }
        });
        if cut.is_err() {
            self.drops.count(DropReason::TunMalformed, whole);
        }
    }

    /// Sends everything that is sealed.
    pub(super) fn flush_send(&mut self) {
        if !self.send.is_empty() {
            self.drops.add_send(self.udp.send(&mut self.send));
        }
    }
}

/// Most datagrams and bytes that a packet of `length` bytes can become, fragmented to `pieces`.
fn worst_case(header: &Header, length: usize, pieces: usize) -> (usize, usize) {
    let datagrams = match header.gso {
        virtio::GsoType::None => 1,
        _ => length.div_ceil(usize::from(header.gso_size.max(1))) + 1,
    };
    let datagrams = match pieces {
        usize::MAX => datagrams,
        pieces => datagrams + length.div_ceil(fragment::payload_of(pieces)) + datagrams,
    };
    let headers = 256 + DATA_OVERHEAD;
    (datagrams, length + datagrams * headers + HANDSHAKE_ROOM)
}
