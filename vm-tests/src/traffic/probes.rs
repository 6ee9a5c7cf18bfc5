//! A datagram a millisecond each way between two hosts, numbered: how many were lost on the way, and for
//! how long none came.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::netns::Netns;
use crate::{sys, wait};

mod record;

use record::Record;
pub use record::WayReport;

/// Time between two probes of a way.
const INTERVAL: Duration = Duration::from_millis(1);
/// A sender that was held up longer than this leaves probes out: what it would send at once afterwards, nobody asked for.
const FURTHEST_BEHIND: Duration = Duration::from_millis(5);
/// How often a receiver looks whether it shall end.
const LOOK: Duration = Duration::from_millis(20);
/// A probe that has not come after this counts as lost.
const PATIENCE: Duration = Duration::from_millis(100);
/// Bytes of payload: number, and as much again as a short voice packet has.
const PAYLOAD: usize = 64;

/// Probes in both directions, until dropped.
#[derive(Debug)]
pub struct Probes {
    start: Instant,
    stop: Arc<AtomicBool>,
    /// From the first host to the second, and back.
    ways: [Arc<Mutex<Record>>; 2],
    threads: Vec<JoinHandle<()>>,
}

impl Probes {
    /// Starts the probes between two hosts at their addresses.
    pub fn start(one: (&Netns, IpAddr), other: (&Netns, IpAddr)) -> Result<Self> {
        let mut probes = Self {
            start: wait::now(),
            stop: Arc::default(),
            ways: Default::default(),
            threads: Vec::new(),
        };
        let (near, far) = (bind(one)?, bind(other)?);
        let (near_at, far_at) = (near.local_addr()?, far.local_addr()?);
        let ways = [(&near, far_at, &far), (&far, near_at, &near)];
        for (index, (from, to, at)) in ways.into_iter().enumerate() {
            probes.spawn_way(index, from.try_clone()?, to, at.try_clone()?);
        }
        Ok(probes)
    }

    fn spawn_way(&mut self, way: usize, from: UdpSocket, to: SocketAddr, at: UdpSocket) {
        let (start, record) = (self.start, &self.ways[way]);
        let (stop, sent) = (Arc::clone(&self.stop), Arc::clone(record));
        let sender = move || send(&from, to, start, &sent, &stop);
        let (stop, came) = (Arc::clone(&self.stop), Arc::clone(record));
        let receiver = move || receive(&at, start, &came, &stop);
        self.threads
            .extend([thread::spawn(sender), thread::spawn(receiver)]);
    }

    /// Waits until none is lost either way for `span`; an error after `limit`.
    pub fn steady(&self, span: Duration, limit: Duration) -> Result<()> {
        self.steady_from(wait::now(), span, limit)
    }

    /// As [`Self::steady`], for a span that begins at `earliest` or later.
    pub fn steady_from(&self, earliest: Instant, span: Duration, limit: Duration) -> Result<()> {
        wait::until("probes to pass both ways", limit, || {
            // Those under way are not lost.
            let to = wait::now().checked_sub(PATIENCE)?;
            let from = to.checked_sub(span)?;
            let whole = from >= earliest;
            let reports = self.between(from, to);
            (whole && reports.iter().all(|way| way.sent > 0 && way.lost == 0)).then_some(())
        })
    }

    /// What became of the probes that were sent from `from` until `to`, there and back. Those that are under way
    /// still count as lost: look a moment later.
    pub fn between(&self, from: Instant, to: Instant) -> [WayReport; 2] {
        let microseconds =
            |moment: Instant| moment.saturating_duration_since(self.start).as_micros() as u64;
        let (from, to) = (microseconds(from), microseconds(to));
        [0, 1].map(|way| lock(&self.ways[way]).between(from, to))
    }

    /// Lets what is under way arrive, then [`Self::between`].
    pub fn since(&self, from: Instant) -> [WayReport; 2] {
        let to = wait::now();
        wait::pace(PATIENCE);
        self.between(from, to)
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A panic in it was reported when it happened.
            let _ = thread.join();
        }
    }
}

fn bind((netns, address): (&Netns, IpAddr)) -> Result<UdpSocket> {
    let socket = netns
        .enter(|| UdpSocket::bind((address, 0)))?
        .with_context(|| format!("cannot bind {address} in {}", netns.name()))?;
    socket.set_read_timeout(Some(LOOK))?;
    Ok(socket)
}

fn send(
    socket: &UdpSocket,
    to: SocketAddr,
    start: Instant,
    record: &Mutex<Record>,
    stop: &AtomicBool,
) {
    // Where it is not allowed, the record says how late the sender was.
    let _ = sys::run_first();
    let mut due = start.elapsed();
    let mut probe = [0; PAYLOAD];
    while !stop.load(Ordering::Relaxed) {
        let now = start.elapsed();
        if let Some(early) = due.checked_sub(now).filter(|early| !early.is_zero()) {
            thread::sleep(early);
            continue;
        }
        if now.saturating_sub(due) > FURTHEST_BEHIND {
            due = now;
        }
        due += INTERVAL;
        let number = lock(record).sent(now.as_micros() as u64);
        probe[..4].copy_from_slice(&number.to_be_bytes());
        // Refused where there is no route, for example: a loss like any other.
        let _ = socket.send_to(&probe, to);
    }
}

fn receive(socket: &UdpSocket, start: Instant, record: &Mutex<Record>, stop: &AtomicBool) {
    let _ = sys::run_first();
    let mut probe = [0; PAYLOAD];
    while !stop.load(Ordering::Relaxed) {
        // An error is the end of a look, or an ICMP answer to an earlier probe.
        if socket.recv(&mut probe).is_err() {
            continue;
        }
        let at = start.elapsed().as_micros() as u64;
        let number = u32::from_be_bytes([probe[0], probe[1], probe[2], probe[3]]);
        lock(record).arrived(number, at);
    }
}

fn lock(record: &Mutex<Record>) -> std::sync::MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}
