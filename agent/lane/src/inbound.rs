//! From the WAN to the TUN: receive, open, check, join, write.

use std::io;
use std::time::Instant;

use datapath_abi::outcome::DropReason;

use super::coalesce::{Coalescer, Joins};
use super::drops::Drops;
use super::policy::{Judge, Way};
use super::{FromReplica, Lane, ToControl, mss};
use crate::io::split;
use crate::io::tun::TunQueue;
use crate::io::virtio::{self, GsoType, Header};
use crossway_sys::clock;
use crossway_tunnel::Handled;
use crossway_tunnel::transmit::{Endpoint, Transmits};
use crossway_types::marks::{self, Congested, DscpModel};

/// `recvmmsg` calls of one turn, so that the other direction gets its own.
const RECEIVES_PER_TURN: usize = 4;
/// Room for the answers that one message (up to 64 datagrams) can ask for.
const ANSWERS: (usize, usize) = (4, 128 * 1024);

impl Lane {
    /// Takes what waits in the socket; whether there was anything.
    pub(super) fn turn_inbound(&mut self) -> io::Result<bool> {
        let mut any = false;
        for _ in 0..RECEIVES_PER_TURN {
            if self.receive.receive(&self.udp)? == 0 {
                self.drained = self.now;
                break;
            }
            any = true;
            self.handle_received();
        }
        self.flush_send();
        Ok(any)
    }

    fn handle_received(&mut self) {
        let joins = Joins {
            tcp: self.tun.tso.is_on(),
            udp: self.tun.uso.is_on(),
        };
        let mut inbound = Inbound {
            tunnel: &mut self.tunnel,
            coalescer: &mut self.coalescer,
            tun: &mut self.tun,
            drops: &mut self.drops,
            judge: &mut self.judge,
            send: &mut self.send,
            now: self.now,
            to_control: &self.to_control,
            dscp: self.dscp,
            marks: 0,
            joins,
        };
        for message in self.receive.messages() {
            if !inbound.send.has_room(ANSWERS.0, ANSWERS.1) {
                inbound.drops.add_send(self.udp.send(inbound.send));
            }
            inbound.marks = message.marks;
            for datagram in message.datagrams() {
                inbound.handle_datagram(datagram, message.from);
            }
        }
        inbound.flush();
    }
}

/// The parts of a lane that a datagram from the WAN goes through.
struct Inbound<'a> {
    tunnel: &'a mut crossway_tunnel::Tunnel,
    coalescer: &'a mut Coalescer,
    tun: &'a mut TunQueue,
    drops: &'a mut Drops,
    judge: &'a mut Judge,
    send: &'a mut Transmits,
    now: Instant,
    to_control: &'a ToControl,
    dscp: DscpModel,
    /// Of the datagrams under way.
    marks: u8,
    joins: Joins,
}

impl Inbound<'_> {
    fn handle_datagram(&mut self, datagram: &[u8], from: Endpoint) {
        if !self.coalescer.has_room(datagram.len()) {
            self.flush();
        }
        let landing = self.coalescer.landing();
        match self
            .tunnel
            .handle_datagram(datagram, from, self.now, landing, self.send)
        {
            Handled::Packet(length) => {
                let packet = self.coalescer.landed(length);
                if let Err(Congested) = marks::decapsulate(packet, self.marks, self.dscp) {
                    self.coalescer.abandon();
                    self.drops.count(DropReason::EcnIllegal, datagram.len());
                    return;
                }
                if !self.judge.admits(packet, Way::In, self.now) {
                    self.coalescer.abandon();
                    self.drops.count(DropReason::PolicyDenied, length);
                    return;
                }
                mss::clamp(packet, self.tunnel.mtu_to_sender());
                let (tun, drops) = (&mut *self.tun, &mut *self.drops);
                self.coalescer
                    .take(length, self.joins, |packet| write(tun, drops, packet));
            }
            Handled::FromReplica(link, payload) => {
                let payload = landing[payload].into();
                self.coalescer.abandon();
                let told = self
                    .to_control
                    .replicas
                    .try_send(FromReplica { link, payload });
                if told.is_err() {
                    self.drops
                        .count(DropReason::ReplicaQueueFull, datagram.len());
                }
            }
            Handled::Control => self.coalescer.abandon(),
            Handled::Dropped(reason) => {
                self.coalescer.abandon();
                self.drops.count(reason, datagram.len());
            }
        }
    }

    fn flush(&mut self) {
        let (tun, drops) = (&mut *self.tun, &mut *self.drops);
        self.coalescer.flush(|packet| write(tun, drops, packet));
    }
}

/// Writes a packet with its virtio header. A super-packet that the kernel refuses switches the
/// offload off and is written again packet by packet.
fn write(tun: &mut TunQueue, drops: &mut Drops, bytes: &mut [u8]) {
    let Err(error) = tun.write(bytes) else { return };
    let Some((header, packet)) = bytes.split_first_chunk_mut() else {
        return;
    };
    let super_packet = Header::decode(*header)
        .map(|header| (header, header.gso))
        .filter(|(_, kind)| *kind != GsoType::None);
    match (super_packet, error.raw_os_error()) {
        (Some((header, kind)), Some(libc::EINVAL | libc::EIO)) => {
            // A device that is down refuses single packets too: then the offload is not to blame.
            if write_singly(tun, drops, header, packet) {
                let offload = if kind == GsoType::UdpL4 {
                    &mut tun.uso
                } else {
                    &mut tun.tso
                };
                offload.fail(&error, clock::now());
            }
        }
        _ => drops.count(DropReason::TunWriteFailed, bytes.len() - virtio::HEADER_LEN),
    }
}

/// Writes the packets of a super-packet one by one; whether the kernel took any.
fn write_singly(tun: &TunQueue, drops: &mut Drops, header: Header, packet: &mut [u8]) -> bool {
    let mut single = Vec::new();
    let mut any = false;
    // A header that was made here describes its packet: there is nothing malformed.
    let _ = split::for_each_packet(&header, packet, |packet| {
        single.clear();
        single.extend_from_slice(&Header::PLAIN.encode());
        single.extend_from_slice(packet);
        if tun.write(&single).is_ok() {
            any = true;
        } else {
            drops.count(DropReason::TunWriteFailed, packet.len());
        }
    });
    any
}
