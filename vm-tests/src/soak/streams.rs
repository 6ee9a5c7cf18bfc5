//! Steady streams whose every packet is known by its number: UDP of several sizes, fragments, echoes.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::ground::Ground;
use crate::netns::Netns;
use crate::topology::Family;
use crate::{sys, wait};

mod datagram;
mod sockets;

use datagram::{ECHO_ID, Kind, Seen};

/// How often a receiver looks whether it shall end.
const LOOK: Duration = Duration::from_millis(100);
/// A sender that was held up longer than this leaves packets out.
const FURTHEST_BEHIND: Duration = Duration::from_millis(20);

/// From site, to site, family, bytes of payload, packets a second.
type Spec = (usize, usize, Family, usize, u64, Kind);

#[rustfmt::skip]
const STREAMS: &[Spec] = &[
    (0, 1, Family::V4, 64, 100, Kind::Udp), (1, 0, Family::V4, 64, 100, Kind::Udp),
    (0, 1, Family::V6, 512, 50, Kind::Udp), (1, 0, Family::V6, 512, 50, Kind::Udp),
    (0, 1, Family::V4, 1372, 50, Kind::Udp), (1, 0, Family::V4, 1372, 50, Kind::Udp),
    (0, 2, Family::V4, 200, 50, Kind::Udp), (2, 0, Family::V6, 200, 50, Kind::Udp),
    (1, 2, Family::V6, 1000, 50, Kind::Udp), (2, 1, Family::V4, 1000, 50, Kind::Udp),
    (1, 3, Family::V4, 300, 50, Kind::Udp), (3, 1, Family::V4, 300, 50, Kind::Udp),
    // Fragments: three of each.
    (0, 1, Family::V4, 4000, 5, Kind::Udp), (1, 0, Family::V6, 3000, 5, Kind::Udp),
    (0, 1, Family::V4, 56, 10, Kind::Echo), (2, 0, Family::V6, 56, 10, Kind::Echo),
    (3, 1, Family::V4, 56, 10, Kind::Echo),
    // Sent in bursts, from a port of its own each; and to a site that never answers.
    (1, 0, Family::V4, 32, 0, Kind::Udp),
];
/// The stream of the bursts.
const BURST: usize = STREAMS.len() - 1;

/// What became of a stream's packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// That the sender's kernel took.
    pub(super) sent: u64,
    /// That it refused: nobody's loss.
    pub(super) refused: u64,
    /// Different ones that came whole.
    pub(super) received: u64,
    /// That came once more.
    pub(super) duplicates: u64,
    /// That came changed.
    pub(super) damaged: u64,
}

#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    refused: AtomicU64,
    received: AtomicU64,
    duplicates: AtomicU64,
    damaged: AtomicU64,
}

#[derive(Debug)]
struct Shared {
    counts: Vec<Counts>,
    flowing: AtomicBool,
    stop: AtomicBool,
}

/// The streams, until dropped.
#[derive(Debug)]
pub(super) struct Streams {
    shared: Arc<Shared>,
    burst_to: SocketAddr,
    threads: Vec<JoinHandle<()>>,
}

/// The sending end of a stream.
struct Sender {
    stream: usize,
    socket: UdpSocket,
    to: SocketAddr,
    interval: Duration,
    due: Instant,
}

impl Streams {
    /// Opens all sockets; nothing flows yet.
    pub(super) fn start(ground: &Ground) -> Result<Self> {
        let shared = Arc::new(Shared {
            counts: STREAMS.iter().map(|_| Counts::default()).collect(),
            flowing: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let (mut senders, mut threads) = (Vec::new(), Vec::new());
        let mut burst_to = None;
        for (stream, &(from, to, family, _, rate, kind)) in STREAMS.iter().enumerate() {
            let hosts = ground.hosts();
            let ends = [from, to].map(|site| (hosts[site], ground.host_address(site, family)));
            let (sending, receiving, to) = sockets::open(kind, ends)?;
            receiving.set_read_timeout(Some(LOOK))?;
            let heard = Arc::clone(&shared);
            threads.push(thread::spawn(move || receive(stream, &receiving, &heard)));
            if rate == 0 {
                burst_to = Some(to);
                continue;
            }
            senders.push(Sender {
                stream,
                socket: sending,
                to,
                interval: Duration::from_secs(1) / rate as u32,
                due: wait::now(),
            });
        }
        let told = Arc::clone(&shared);
        threads.push(thread::spawn(move || send(senders, &told)));
        Ok(Self {
            shared,
            burst_to: burst_to.context("a stream of bursts")?,
            threads,
        })
    }

    /// Lets all flow, or none.
    pub(super) fn set_flowing(&self, flowing: bool) {
        self.shared.flowing.store(flowing, Ordering::SeqCst);
    }

    /// So many datagrams, each a flow of its own.
    pub(super) fn burst(&self, from: &Netns, flows: u32, interval: Duration) -> Result<()> {
        let counts = &self.shared.counts[BURST];
        let send = || -> Result<()> {
            for _ in 0..flows {
                let socket = UdpSocket::bind(("0.0.0.0", 0))?;
                let number = counts.sent.fetch_add(1, Ordering::SeqCst);
                let bytes = datagram::make(BURST, number, STREAMS[BURST].3);
                socket.send_to(&bytes, self.burst_to)?;
                thread::sleep(interval);
            }
            Ok(())
        };
        from.enter(send)?
    }

    /// What became of each stream's packets so far.
    pub(super) fn tallies(&self) -> Vec<Tally> {
        let counts = self.shared.counts.iter();
        counts.map(Counts::read).collect()
    }

    /// What a stream is called.
    pub(super) fn name(stream: usize) -> String {
        let (from, to, family, size, _, kind) = STREAMS[stream];
        let site = |site: usize| ["a", "b", "c", "d"][site];
        let (from, to) = (site(from), site(to));
        format!("{kind:?} {from} to {to}, IP{family:?}, {size} bytes")
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            // A panic in it was reported when it happened.
            let _ = thread.join();
        }
    }
}

impl Counts {
    fn read(&self) -> Tally {
        let read = |count: &AtomicU64| count.load(Ordering::SeqCst);
        Tally {
            // First what came: it was sent before.
            received: read(&self.received),
            duplicates: read(&self.duplicates),
            damaged: read(&self.damaged),
            sent: read(&self.sent),
            refused: read(&self.refused),
        }
    }
}

fn send(mut senders: Vec<Sender>, shared: &Shared) {
    // Where it is not allowed, packets are sent later, which is no loss.
    let _ = sys::run_first();
    while !shared.stop.load(Ordering::SeqCst) {
        let now = wait::now();
        let flowing = shared.flowing.load(Ordering::SeqCst);
        for sender in &mut senders {
            if flowing && now >= sender.due {
                sender.send(shared);
                sender.due += sender.interval;
            }
            if now.saturating_duration_since(sender.due) > FURTHEST_BEHIND {
                sender.due = now;
            }
        }
        let next = senders.iter().map(|sender| sender.due).min();
        let pause = next.map(|next| next.saturating_duration_since(now));
        let least = if flowing {
            Duration::from_micros(500)
        } else {
            LOOK / 10
        };
        thread::sleep(pause.unwrap_or(LOOK).max(least));
    }
}

impl Sender {
    fn send(&self, shared: &Shared) {
        let counts = &shared.counts[self.stream];
        let number = counts.sent.load(Ordering::SeqCst);
        let (_, _, family, size, _, kind) = STREAMS[self.stream];
        let mut bytes = datagram::make(self.stream, number, size);
        let sent = match kind {
            Kind::Udp => self.socket.send_to(&bytes, self.to),
            Kind::Echo => {
                bytes = datagram::echo_request(family, self.stream, &bytes);
                self.socket.send(&bytes)
            }
        };
        // What is refused has no number: the next packet gets it.
        let count = if sent.is_ok() {
            &counts.sent
        } else {
            &counts.refused
        };
        count.fetch_add(1, Ordering::SeqCst);
    }
}

fn receive(stream: usize, socket: &UdpSocket, shared: &Shared) {
    let _ = sys::run_first();
    let (_, _, family, size, _, kind) = STREAMS[stream];
    let mut seen = Seen::default();
    let mut buffer = vec![0; 65_536];
    let counts = &shared.counts[stream];
    while !shared.stop.load(Ordering::SeqCst) {
        // An error is the end of a look, or an ICMP answer to what was sent.
        let Ok(length) = socket.recv(&mut buffer) else {
            continue;
        };
        let mut bytes = &buffer[..length];
        if kind == Kind::Echo {
            match datagram::echo_reply(family, ECHO_ID + stream as u16, bytes) {
                Some(payload) => bytes = payload,
                // Anything else that the raw socket is shown.
                None => continue,
            }
        }
        let count = match datagram::read(stream, size, bytes) {
            Some(number) if seen.insert(number) => &counts.received,
            Some(_) => &counts.duplicates,
            None => &counts.damaged,
        };
        count.fetch_add(1, Ordering::SeqCst);
    }
}
