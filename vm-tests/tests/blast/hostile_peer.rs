//! A far gateway with a key that is configured, and no good will: its packets are sealed by the agent's own tunnel.

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
use crossway::tunnel::{Handled, PeerSpec, Sealed, Tunnel};
use vm_tests::netns::Netns;

use super::sinks::{Known, Seen};

/// Time between two looks at the session's timers.
const TICK: Duration = Duration::from_millis(50);
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

pub(crate) struct HostilePeer {
    tunnel: Tunnel,
    udp: UdpSocket,
    send: Transmits,
    receive: ReceiveBatch,
    landing: Vec<u8>,
    next_tick: Instant,
}

impl HostilePeer {
    /// Dials the gateway with `far_key` at `endpoint` from `netns`, and waits for a session.
    pub(crate) fn connect(
        netns: &Netns,
        port: u16,
        private_key: [u8; 32],
        far_key: [u8; 32],
        endpoint: std::net::SocketAddr,
    ) -> Result<Self> {
        let now = clock::now();
        let calendar = Calendar::new(now, clock::since_epoch());
        let udp = netns.enter(|| UdpSocket::bind(([0, 0, 0, 0], port).into()))??;
        let mut peer = Self {
            tunnel: Tunnel::new(Identity::new(private_key), calendar, Arc::default(), now),
            udp,
            send: Transmits::new(),
            receive: ReceiveBatch::new(),
            landing: vec![0; 1 << 16],
            next_tick: now,
        };
        let site = SiteId(0);
        let spec = PeerSpec {
            link: LinkId(0),
            site: Some(site),
            engine: Engine::Crossway,
            receiver_index: 0x00c0_ffee,
            public_key: far_key,
            preshared_key: None,
            keepalive: Some(25),
            endpoint: Some(Endpoint::new(endpoint)),
            interface: None,
            liveness: Liveness {
                mode: LivenessMode::WireGuard,
                ..Liveness::default()
            },
            probe_source: None,
        };
        peer.tunnel.add_peer(spec, now, &mut peer.send);
        let everything = ["0.0.0.0/0", "::/0"].map(|prefix| (prefix.parse().unwrap(), site));
        peer.tunnel
            .set_routes(Arc::new(RouteTable::new(everything)));
        let mut nothing = Seen::default();
        while peer.tunnel.snapshot(now)[0].handshake_age.is_none() {
            ensure!(
                clock::now() < now + CONNECT_LIMIT,
                "the hostile peer got no session"
            );
            peer.turn(&mut nothing, &Known::default())?;
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(peer)
    }

    /// Seals a packet of any bytes but none.
    pub(crate) fn seal(&mut self, packet: &[u8]) -> Result<()> {
        if !self.send.has_room(1, packet.len() + 64) {
            self.flush();
        }
        let sample = [0x45; 40];
        let slot = self.tunnel.peer_for([10, 2, 0, 1].into(), &sample);
        let now = clock::now();
        let mut sealer = slot
            .and_then(|slot| self.tunnel.sealer(slot, now))
            .context("no peer")?;
        ensure!(
            sealer.seal(packet, &mut self.send) == Sealed::Ready,
            "the hostile peer has no session"
        );
        Ok(())
    }

    /// Sends what was sealed.
    pub(crate) fn flush(&mut self) {
        self.udp.send(&mut self.send);
    }

    /// Takes what has come, and lets `seen` judge it.
    pub(crate) fn turn(&mut self, seen: &mut Seen, known: &Known) -> Result<()> {
        let now = clock::now();
        while self.receive.receive(&self.udp)? > 0 {
            for message in self.receive.messages() {
                for datagram in message.datagrams() {
                    let landing = &mut self.landing[..datagram.len()];
                    let handled = self.tunnel.handle_datagram(
                        datagram,
                        message.from,
                        now,
                        landing,
                        &mut self.send,
                    );
                    let Handled::Packet(length) = handled else {
                        continue;
                    };
                    let packet = &self.landing[..length];
                    // Its heartbeat.
                    let link_local = packet[0] >> 4 == 6 && packet[8..10] == [0xfe, 0x80];
                    if !link_local {
                        seen.judge("the hostile peer", packet, known);
                    }
                }
            }
        }
        if now >= self.next_tick {
            self.next_tick = now + TICK;
            let (udp, send) = (&mut self.udp, &mut self.send);
            self.tunnel
                .handle_timeout(now, clock::since_epoch(), send, |send| {
                    udp.send(send);
                });
        }
        self.flush();
        Ok(())
    }
}
