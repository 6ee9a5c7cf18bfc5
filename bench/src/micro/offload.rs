//! Cutting super-packets from the TUN, and joining packets for it.

use std::hint::black_box;

use anyhow::{Result, ensure};
use crossway::clock;
use crossway::io::split;
use crossway::io::virtio::Header;
use crossway::lane::coalesce::{Coalescer, Joins};

use super::{SAMPLES, add, check_stop, without_allocation};
use crate::packets::{self, Flow};
use crate::results::Results;

/// Super-packets of one sample.
const ROUNDS: usize = 500;
const MTU: usize = 1420;
/// Payload of a full TCP segment and of a full datagram in the tunnel.
const TCP_PAYLOAD: usize = MTU - 40;
const UDP_PAYLOAD: usize = MTU - 28;
/// Packets of one super-packet.
const FULL: usize = 45;
const ALL: Joins = Joins {
    tcp: true,
    udp: true,
};

pub(crate) fn measure(results: &mut Results) -> Result<()> {
    let flow = Flow::A_TO_B;
    for _ in 0..SAMPLES {
        check_stop()?;
        let (header, packet) = packets::tcp_super(flow, TCP_PAYLOAD, FULL);
        add(
            results,
            "split TCP, 45 x 1420 B",
            cut(header, &packet, FULL)?,
        );
        let (header, packet) = packets::udp_super(flow, UDP_PAYLOAD, FULL);
        add(
            results,
            "split UDP, 45 x 1420 B",
            cut(header, &packet, FULL)?,
        );
        let (header, packet) = packets::udp_super(flow, 64, 64);
        add(results, "split UDP, 64 x 92 B", cut(header, &packet, 64)?);

        let segments: Vec<_> = (0..FULL).map(|i| packets::tcp(flow, MTU, i)).collect();
        add(results, "coalesce TCP, 45 x 1420 B", join(&segments, 1)?);
        let datagrams = vec![packets::udp(flow, 92); 64];
        // The coalescer ends a super-packet by a rule of its own; how many there are does not matter.
        add(results, "coalesce UDP, 64 x 92 B", join(&datagrams, 64)?);
        let strangers: Vec<_> = (0..FULL as u16)
            .map(|port| {
                let source = (flow.source.0, 40_000 + port);
                packets::tcp(Flow { source, ..flow }, MTU, 0)
            })
            .collect();
        let nothing_joins = strangers.len();
        add(
            results,
            "coalesce nothing, 45 flows of 1420 B",
            join(&strangers, nothing_joins)?,
        );
    }
    Ok(())
}

/// Nanoseconds for one packet of `count`, without the copy that brings the super-packet back.
fn cut(header: Header, packet: &[u8], count: usize) -> Result<f64> {
    let mut scratch = packet.to_vec();
    let mut busy = 0;
    let mut emitted = 0;
    without_allocation("split", || {
        for _ in 0..ROUNDS {
            scratch.copy_from_slice(packet);
            let start = clock::monotonic_ns();
            let cut = split::for_each_packet(&header, &mut scratch, |packet| {
                black_box(packet);
                emitted += 1;
            });
            busy += clock::monotonic_ns() - start;
            debug_assert!(cut.is_ok());
        }
    })?;
    ensure!(
        emitted == ROUNDS * count,
        "split gave {emitted} packets where {} were expected",
        ROUNDS * count
    );
    Ok(busy as f64 / emitted as f64)
}

/// Nanoseconds for one of `packets`, which become at most `most` writes. The copy to the landing place,
/// which decryption makes on the real path, is in it.
fn join(packets: &[Vec<u8>], most: usize) -> Result<f64> {
    let mut coalescer = Coalescer::new();
    let mut writes = 0;
    let mut busy = 0;
    without_allocation("coalesce", || {
        for _ in 0..ROUNDS {
            let start = clock::monotonic_ns();
            for packet in packets {
                if !coalescer.has_room(packet.len()) {
                    coalescer.flush(|_| writes += 1);
                }
                coalescer.landing()[..packet.len()].copy_from_slice(packet);
                coalescer.take(packet.len(), ALL, |packet| {
                    black_box(packet);
                    writes += 1;
                });
            }
            coalescer.flush(|_| writes += 1);
            busy += clock::monotonic_ns() - start;
        }
    })?;
    ensure!(
        writes <= ROUNDS * most,
        "coalesce made {writes} writes where at most {} were expected",
        ROUNDS * most
    );
    Ok(busy as f64 / (ROUNDS * packets.len()) as f64)
}
