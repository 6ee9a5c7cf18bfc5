//! Numbered datagrams one way, counted where they arrive: each is lost, comes once, or comes more often.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::netns::Netns;
use crate::wait;

/// How often the receiver looks whether it shall end.
const LOOK: Duration = Duration::from_millis(50);

/// A stream of datagrams. Dropped, it ends.
#[derive(Debug)]
pub struct Numbered {
    source: SocketAddr,
    target: SocketAddr,
    taken: Arc<Mutex<Taken>>,
    stop: Arc<AtomicBool>,
    sender: Option<JoinHandle<u64>>,
    receiver: Option<JoinHandle<()>>,
}

/// What has arrived.
#[derive(Debug, Default)]
struct Taken {
    /// How often each number came.
    numbers: BTreeMap<u32, u32>,
    changed: u64,
}

/// What became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NumberedReport {
    /// Datagrams sent.
    pub sent: u64,
    /// Different ones that arrived with their content unchanged.
    pub received: u64,
    /// Those that arrived once more.
    pub again: u64,
    /// Datagrams with another content.
    pub changed: u64,
}

impl Numbered {
    /// Begins to send `count` datagrams of `size` bytes, `interval` apart, from a host's own address to a free
    /// port of another's.
    pub fn start(
        from: (&Netns, IpAddr),
        to: (&Netns, IpAddr),
        count: u32,
        size: usize,
        interval: Duration,
    ) -> Result<Self> {
        let open = |(netns, address): (&Netns, IpAddr)| {
            netns
                .enter(|| UdpSocket::bind((address, 0)))?
                .with_context(|| format!("cannot bind {address} in {}", netns.name()))
        };
        let (source, target) = (open(from)?, open(to)?);
        target.set_read_timeout(Some(LOOK))?;
        source.connect(target.local_addr()?)?;
        let mut stream = Self {
            source: source.local_addr()?,
            target: target.local_addr()?,
            taken: Arc::default(),
            stop: Arc::default(),
            sender: None,
            receiver: None,
        };
        let (taken, stop) = (stream.taken.clone(), stream.stop.clone());
        stream.receiver = Some(thread::spawn(move || receive(&target, size, &taken, &stop)));
        stream.sender = Some(thread::spawn(move || send(&source, count, size, interval)));
        Ok(stream)
    }

    /// Port of the sender and of the receiver.
    pub fn ports(&self) -> (u16, u16) {
        (self.source.port(), self.target.port())
    }

    /// Waits until all are sent; how many the kernel took.
    pub fn all_sent(&mut self) -> Result<u64> {
        let sender = self.sender.take().context("all were sent before")?;
        sender.join().map_err(|_| anyhow!("the sender panicked"))
    }

    /// What has arrived of `sent` datagrams so far.
    pub fn report(&self, sent: u64) -> NumberedReport {
        let taken = lock(&self.taken);
        let received = taken.numbers.len() as u64;
        let all: u64 = taken.numbers.values().map(|often| u64::from(*often)).sum();
        NumberedReport {
            sent,
            received,
            again: all - received,
            changed: taken.changed,
        }
    }
}

impl Drop for Numbered {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // A panic in one of them was reported when it happened.
        let _ = self.sender.take().map(JoinHandle::join);
        let _ = self.receiver.take().map(JoinHandle::join);
    }
}

fn send(socket: &UdpSocket, count: u32, size: usize, interval: Duration) -> u64 {
    let mut sent = 0;
    for number in 0..count {
        sent += u64::from(socket.send(&datagram(number, size)).is_ok());
        wait::pace(interval);
    }
    sent
}

fn receive(socket: &UdpSocket, size: usize, taken: &Mutex<Taken>, stop: &AtomicBool) {
    let mut buffer = vec![0; size + 1];
    while !stop.load(Ordering::Relaxed) {
        let Ok(length) = socket.recv(&mut buffer) else {
            continue;
        };
        let content = &buffer[..length];
        let number = content.first_chunk().map(|word| u32::from_be_bytes(*word));
        let mut taken = lock(taken);
        match number.filter(|number| content == datagram(*number, size)) {
            Some(number) => *taken.numbers.entry(number).or_default() += 1,
            None => taken.changed += 1,
        }
    }
}

fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

fn datagram(number: u32, size: usize) -> Vec<u8> {
    let mut bytes = vec![number as u8; size.max(4)];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    bytes
}
