//! The kernel's doors alone: reading from the TUN, and sending into a wire-like cable.

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use crossway::clock;
use crossway::io::tun::{self, TunQueue};
use crossway::io::udp::{Endpoint, UdpSocket};
use crossway::tunnel::transmit::Transmits;
use crossway_sys::poll;
use vm_tests::netns::Netns;
use vm_tests::traffic::LinkCounters;

use super::{SAMPLES, add, check_stop};
use crate::results::Results;

const TUN: &str = "bench0";
const FAR: &str = "far0";
/// Datagrams of one burst: the TUN holds 500 packets (its default txqueuelen).
const BURST: usize = 400;
const BURSTS: usize = 20;
/// Datagrams of one super-packet, and super-packets of one burst.
const SEGMENTS: usize = 40;
const PAYLOAD: usize = 1380;
/// What a sealed packet of 1420 bytes is.
const SEALED: usize = 1452;
const ARRIVAL: Duration = Duration::from_millis(100);

pub(super) fn measure(results: &mut Results, netns: &Netns) -> Result<()> {
    let tun = open_tun(netns)?;
    let (mut socket, endpoint) = open_cable(netns)?;
    let mut into_tun = UdpSocket::bind("10.9.0.1:0".parse()?)?;
    ensure!(
        into_tun.gso.is_on() && tun.uso.is_on(),
        "this kernel has no UDP segmentation offload for the TUN (6.2)"
    );
    for _ in 0..SAMPLES {
        check_stop()?;
        let single = read(&tun, &mut into_tun, 1)?;
        add(results, "TUN read, 1408 B", single);
        let joined = read(&tun, &mut into_tun, SEGMENTS)?;
        add(results, "TUN read, super-packets of 40 x 1408 B", joined);
        for size in [SEALED, 96] {
            let before = LinkCounters::of(netns, FAR)?;
            let sent = send(&mut socket, endpoint, size);
            let load = format!("UDP send, GSO of {size} B to a wire-like cable");
            add(results, &load, sent);
            let arrived = LinkCounters::of(netns, FAR)?.rx_packets - before.rx_packets;
            ensure!(
                arrived as usize >= BURSTS * SEGMENTS * 9 / 10,
                "only {arrived} of {} frames crossed the cable",
                BURSTS * SEGMENTS
            );
        }
    }
    Ok(())
}

/// Nanoseconds for one wire packet read from the TUN, where they lie in super-packets of `segments`.
fn read(tun: &TunQueue, sender: &mut UdpSocket, segments: usize) -> Result<f64> {
    let to = Endpoint::new("10.9.0.2:9".parse()?);
    let mut batch = Transmits::new();
    let mut buffer = vec![0; tun::MAX_READ];
    let (mut busy, mut bytes) = (0, 0);
    for _ in 0..BURSTS {
        for index in 0..BURST {
            if !batch.has_room(1, PAYLOAD) {
                sender.send(&mut batch);
            }
            batch.spare()[..PAYLOAD].fill(0x5a);
            batch.push(PAYLOAD, to);
            if (index + 1) % segments == 0 {
                sender.send(&mut batch);
            }
        }
        poll::wait(&[tun.as_fd(); 3], ARRIVAL)?;
        let start = clock::monotonic_ns();
        while let Some(length) = tun.read(&mut buffer)? {
            bytes += length;
        }
        busy += clock::monotonic_ns() - start;
    }
    let packets = bytes / PAYLOAD;
    ensure!(
        packets >= BURSTS * BURST * 9 / 10,
        "only {packets} of {} packets came out of the TUN",
        BURSTS * BURST
    );
    Ok(busy as f64 / packets as f64)
}

/// Nanoseconds for one datagram. It holds the far end's receive path up to where the kernel finds that
/// the frame is for another machine: on a virtual cable that runs inside the send.
fn send(socket: &mut UdpSocket, to: Endpoint, size: usize) -> f64 {
    let mut batch = Transmits::new();
    let mut busy = 0;
    for _ in 0..BURSTS {
        for _ in 0..SEGMENTS {
            batch.spare()[..size].fill(0x5a);
            batch.push(size, to);
        }
        let start = clock::monotonic_ns();
        socket.send(&mut batch);
        busy += clock::monotonic_ns() - start;
    }
    busy as f64 / (BURSTS * SEGMENTS) as f64
}

fn open_tun(netns: &Netns) -> Result<TunQueue> {
    let tun = TunQueue::open(TUN).context("opening a TUN, as root")?;
    netns.set_sysctl(&format!("net/ipv6/conf/{TUN}/disable_ipv6"), "1")?;
    netns.ip(&format!("address add 10.9.0.1/24 dev {TUN}"))?;
    netns.ip(&format!("link set {TUN} mtu 1420 up"))?;
    Ok(tun)
}

/// A cable whose far end drops what arrives: the frames are for a machine that is not there.
fn open_cable(netns: &Netns) -> Result<(UdpSocket, Endpoint)> {
    netns.ip(&format!("link add wan0 type veth peer name {FAR}"))?;
    for end in ["wan0", FAR] {
        let off = "tso off gso off tx-udp-segmentation off";
        netns.run(&format!("ethtool -K {end} {off} gro on"))?;
        netns.ip(&format!("link set {end} up"))?;
    }
    netns.ip("address add 10.8.0.1/24 dev wan0")?;
    netns.ip("neighbour add 10.8.0.2 lladdr 02:00:00:00:00:02 dev wan0")?;
    let remote: SocketAddr = "10.8.0.2:51820".parse()?;
    let local = None;
    let socket = UdpSocket::bind("10.8.0.1:0".parse()?)?;
    Ok((
        socket,
        Endpoint {
            local,
            ..Endpoint::new(remote)
        },
    ))
}
