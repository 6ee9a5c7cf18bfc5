//! Sealing and opening by size, with real sessions between two tunnels on the loopback device, and
//! the timers of many.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use crossway::clock;
use crossway::config::{Liveness, LivenessMode};
use crossway::engine::Engine;
use crossway::ids::{LinkId, SiteId};
use crossway::io::udp::{Endpoint, ReceiveBatch, UdpSocket};
use crossway::routes::RouteTable;
use crossway::tunnel::noise::Identity;
use crossway::tunnel::tai64n::Calendar;
use crossway::tunnel::transmit::Transmits;
use crossway::tunnel::{Handled, PeerSlot, PeerSpec, Sealed, Tunnel};
use vm_tests::wait;

use super::{SAMPLES, add, check_stop, without_allocation};
use crate::packets::{self, Flow};
use crate::results::Results;

const SIZES: [usize; 4] = [64, 256, 576, 1420];
/// Packets sealed between two sends, so that the memory behind them stays warm as in a lane.
const BATCH: usize = 40;
/// Batches of one sample.
const BATCHES: usize = 50;
const DEADLINE: Duration = Duration::from_secs(5);
const LONGEST: usize = 2048;
/// Peers of a large hub.
const PEERS: u16 = 2000;
/// Looks at their timers in one sample.
const LOOKS: usize = 100;

pub(crate) fn measure(results: &mut Results) -> Result<()> {
    let (mut a, mut b) = pair()?;
    let slot = shake_hands(&mut a, &mut b).context("no session between two tunnels here")?;
    for _ in 0..SAMPLES {
        for size in SIZES {
            check_stop()?;
            let (seal, open) = sample(&mut a, &mut b, slot, size)?;
            add(results, &format!("seal {size} B"), seal);
            add(results, &format!("open {size} B"), open);
        }
    }
    let mut hub = hub()?;
    for _ in 0..SAMPLES {
        add(results, "timers of a quiet peer", look_at_timers(&mut hub)?);
    }
    Ok(())
}

/// A gateway that has dialled many peers and waits for them.
fn hub() -> Result<Node> {
    let mut hub = Node::new(1)?;
    for peer in 0..PEERS {
        let mut key = [9; 32];
        key[..2].copy_from_slice(&peer.to_le_bytes());
        let number = u32::from(peer);
        let spec = PeerSpec {
            link: LinkId(number),
            site: Some(SiteId(number)),
            engine: Engine::Crossway,
            receiver_index: number,
            public_key: Identity::new(key).public_key(),
            preshared_key: None,
            keepalive: Some(25),
            endpoint: Some(Endpoint::new("127.0.0.1:9".parse()?)),
            interface: None,
            liveness: unwatched(),
            probe_source: None,
        };
        hub.tunnel.add_peer(spec, hub.now, &mut hub.out);
    }
    Ok(hub)
}

/// No control packets between the packets that are counted.
fn unwatched() -> Liveness {
    Liveness {
        mode: LivenessMode::WireGuard,
        ..Liveness::default()
    }
}

/// Nanoseconds for one peer when nothing is due.
fn look_at_timers(hub: &mut Node) -> Result<f64> {
    let (tunnel, out, now) = (&mut hub.tunnel, &mut hub.out, hub.now);
    // What has passed becomes deadlines.
    tunnel.handle_timeout(now, Duration::ZERO, out, |_| {});
    let took = without_allocation("the timers", || {
        let start = clock::monotonic_ns();
        for _ in 0..LOOKS {
            tunnel.handle_timeout(now, Duration::ZERO, out, |_| {});
        }
        clock::monotonic_ns() - start
    })?;
    Ok(took as f64 / (LOOKS * usize::from(PEERS)) as f64)
}

/// Nanoseconds for one packet sealed, and for one opened.
fn sample(a: &mut Node, b: &mut Node, slot: PeerSlot, size: usize) -> Result<(f64, f64)> {
    let packet = packets::udp(Flow::A_TO_B, size);
    let (mut sealing, mut opening) = (0, 0);
    let mut landing = vec![0; LONGEST];
    for _ in 0..BATCHES {
        let (tunnel, out, now) = (&mut a.tunnel, &mut a.out, clock::now());
        sealing += without_allocation("seal", || {
            let start = clock::monotonic_ns();
            let mut ready = true;
            for _ in 0..BATCH {
                ready &= tunnel
                    .sealer(slot, now)
                    .is_some_and(|mut sealer| sealer.seal(&packet, out) == Sealed::Ready);
            }
            ready.then(|| clock::monotonic_ns() - start)
        })?
        .context("the session ended")?;
        a.flush();

        let mut left = BATCH;
        wait::try_until("sealed datagrams on the loopback device", DEADLINE, || {
            let (took, count) = b.open(&mut landing)?;
            opening += took;
            left -= count.min(left);
            Ok((left == 0).then_some(()))
        })?;
    }
    let packets = (BATCH * BATCHES) as f64;
    Ok((sealing as f64 / packets, opening as f64 / packets))
}

/// A tunnel and its socket.
struct Node {
    tunnel: Tunnel,
    out: Transmits,
    socket: UdpSocket,
    receive: ReceiveBatch,
    /// When it was made.
    now: Instant,
}

impl Node {
    fn new(key: u8) -> Result<Self> {
        let now = clock::now();
        let calendar = Calendar::new(now, clock::since_epoch());
        Ok(Self {
            tunnel: Tunnel::new(Identity::new([key; 32]), calendar, Arc::default(), now),
            out: Transmits::new(),
            socket: UdpSocket::bind("127.0.0.1:0".parse()?)?,
            receive: ReceiveBatch::new(),
            now,
        })
    }

    /// Adds the far node, whose site is behind 10.`site`.0.0/16.
    fn add(&mut self, site: u32, key: u8, endpoint: Option<Endpoint>) -> Result<()> {
        let spec = PeerSpec {
            link: LinkId(site),
            site: Some(SiteId(site)),
            engine: Engine::Crossway,
            receiver_index: site,
            public_key: Identity::new([key; 32]).public_key(),
            preshared_key: None,
            keepalive: None,
            endpoint,
            interface: None,
            liveness: unwatched(),
            probe_source: None,
        };
        self.tunnel.add_peer(spec, self.now, &mut self.out);
        let route = (format!("10.{site}.0.0/16").parse()?, SiteId(site));
        self.tunnel.set_routes(Arc::new(RouteTable::new([route])));
        Ok(())
    }

    fn flush(&mut self) {
        if !self.out.is_empty() {
            self.socket.send(&mut self.out);
        }
    }

    /// Opens what waits in the socket: nanoseconds that it took, inner packets.
    fn open(&mut self, landing: &mut [u8]) -> Result<(u64, usize)> {
        self.receive.receive(&self.socket)?;
        let (tunnel, receive, out) = (&mut self.tunnel, &self.receive, &mut self.out);
        let (mut took, mut count, now) = (0, 0, clock::now());
        for message in receive.messages() {
            let (nanoseconds, packets) = without_allocation("open", || {
                let start = clock::monotonic_ns();
                let mut packets = 0;
                for datagram in message.datagrams() {
                    let handled = tunnel.handle_datagram(datagram, message.from, now, landing, out);
                    packets += usize::from(matches!(handled, Handled::Packet(_)));
                }
                (clock::monotonic_ns() - start, packets)
            })?;
            took += nanoseconds;
            count += packets;
        }
        self.flush();
        Ok((took, count))
    }

    /// As [`Self::open`] for handshakes, which may allocate.
    fn answer(&mut self) -> Result<usize> {
        self.receive.receive(&self.socket)?;
        let mut landing = vec![0; LONGEST];
        let (mut packets, now) = (0, clock::now());
        for message in self.receive.messages() {
            for datagram in message.datagrams() {
                let (from, out) = (message.from, &mut self.out);
                let handled = self
                    .tunnel
                    .handle_datagram(datagram, from, now, &mut landing, out);
                packets += usize::from(matches!(handled, Handled::Packet(_)));
            }
        }
        self.flush();
        Ok(packets)
    }
}

/// A (site 1) knows where B (site 2) is.
fn pair() -> Result<(Node, Node)> {
    let (mut a, mut b) = (Node::new(1)?, Node::new(2)?);
    let endpoint = Endpoint::new(b.socket.local_address()?);
    a.add(2, 2, Some(endpoint))?;
    b.add(1, 1, None)?;
    Ok((a, b))
}

/// Returns the slot of B in A when a first packet has arrived.
fn shake_hands(a: &mut Node, b: &mut Node) -> Result<PeerSlot> {
    let packet = packets::udp(Flow::A_TO_B, 100);
    let slot = a
        .tunnel
        .peer_for(Flow::A_TO_B.destination.0.into(), &packet);
    let slot = slot.context("no route to the far node")?;
    let mut sealer = a
        .tunnel
        .sealer(slot, clock::now())
        .context("the far node is gone")?;
    let sealed = sealer.seal(&packet, &mut a.out);
    ensure!(
        sealed == Sealed::Queued,
        "the first packet was {sealed:?} where it should wait for the handshake"
    );
    a.flush();
    wait::try_until("a handshake on the loopback device", DEADLINE, || {
        let arrived = b.answer()?;
        a.answer()?;
        Ok((arrived > 0).then_some(slot))
    })
}
