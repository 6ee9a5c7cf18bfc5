//! Traffic that goes on while a test does something to the gateways: what was lost meanwhile, and when
//! it went on.

use std::hash::Hasher;
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::tcp::{Noise, hasher, receive};
use crate::netns::Netns;
use crate::process::ProcessGuard;
use crate::wait;

/// Replies that must come before traffic counts as going on: one or two may have been under way.
const REPLIES: usize = 5;
/// One write and the pause after it: some 3 MB/s, which leaves the machine to what is tested.
const WRITE: usize = 16 * 1024;
const PAUSE: Duration = Duration::from_millis(5);
/// A write may wait as long as a restart with its handshake takes.
const STALL_LIMIT: Duration = Duration::from_secs(20);

/// `ping` without an end, one request every 10 ms. Dropped, it is gone.
#[derive(Debug)]
pub struct SteadyPing {
    process: ProcessGuard,
}

/// The replies so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Replies {
    /// Sequence number, and seconds on the wall clock.
    pub replies: Vec<(u32, f64)>,
}

impl SteadyPing {
    /// Starts it and waits for the first replies.
    pub fn start(from: &Netns, to: IpAddr, directory: &Path) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let log = directory.join(format!("ping-{number}.txt"));
        let to = to.to_string();
        let process = from.spawn("ping", "ping", &["-n", "-D", "-i", "0.01", &to], &log)?;
        let ping = Self { process };
        ping.goes_on(Duration::from_secs(5))?;
        Ok(ping)
    }

    /// What came back so far.
    pub fn replies(&self) -> Replies {
        Replies::parse(&self.process.output())
    }

    /// Waits until more replies have come.
    pub fn goes_on(&self, limit: Duration) -> Result<()> {
        let before = self.replies().replies.len();
        wait::until("pings to go on", limit, || {
            (self.replies().replies.len() >= before + REPLIES).then_some(())
        })
    }

    /// Waits for some more replies, and returns all. What was lost lies before the last of them.
    pub fn finish(self, limit: Duration) -> Result<Replies> {
        self.goes_on(limit)?;
        Ok(self.replies())
    }
}

impl Replies {
    /// Requests before the last reply that none came for.
    pub fn lost(&self) -> usize {
        let last = self.replies.iter().map(|(number, _)| *number).max();
        last.unwrap_or(0) as usize - self.replies.len()
    }

    /// The longest time between two replies.
    pub fn longest_gap(&self) -> Duration {
        let gaps = self.replies.windows(2).map(|pair| pair[1].1 - pair[0].1);
        Duration::from_secs_f64(gaps.fold(0.0, f64::max))
    }

    /// `[1700000000.123456] 64 bytes from 10.2.0.10: icmp_seq=12 ttl=62 time=0.4 ms`; duplicates are left out.
    fn parse(text: &str) -> Self {
        let replies = text.lines().filter_map(|line| {
            let (time, rest) = line.strip_prefix('[')?.split_once(']')?;
            let (_, rest) = rest.split_once("bytes from")?;
            let (_, rest) = rest.split_once("icmp_seq=")?;
            let complete = rest.ends_with("ms") && !rest.contains("DUP");
            let number = rest.split_whitespace().next()?;
            complete.then_some((number.parse().ok()?, time.parse().ok()?))
        });
        Self {
            replies: replies.collect(),
        }
    }
}

/// A TCP connection that sends without an end, its content checked by [`SteadyTcp::finish`].
#[derive(Debug)]
pub struct SteadyTcp {
    stop: Arc<AtomicBool>,
    taken: Arc<Mutex<Vec<(Instant, u64)>>>,
    sender: Option<JoinHandle<Result<u64>>>,
    receiver: Option<JoinHandle<Result<u64>>>,
}

impl SteadyTcp {
    /// Connects and begins.
    pub fn start(client: &Netns, server: &Netns, address: IpAddr) -> Result<Self> {
        let listener = server
            .enter(|| TcpListener::bind((address, 0)))?
            .with_context(|| format!("cannot listen on {address} in {}", server.name()))?;
        let to = listener.local_addr()?;
        let taken = Arc::new(Mutex::new(Vec::new()));
        let reads = Arc::clone(&taken);
        let receiver = thread::spawn(move || {
            let received = receive(&listener, STALL_LIMIT, |length| {
                let mut reads = reads.lock().unwrap_or_else(PoisonError::into_inner);
                let before = reads.last().map_or(0, |(_, bytes)| *bytes);
                reads.push((wait::now(), before + length as u64));
            })?;
            Ok(received.hash)
        });
        let stream = client
            .enter(|| TcpStream::connect_timeout(&to, STALL_LIMIT))?
            .with_context(|| format!("cannot connect from {} to {to}", client.name()))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let sender = thread::spawn(move || send(stream, &stopped));
        let steady = Self {
            stop,
            taken,
            sender: Some(sender),
            receiver: Some(receiver),
        };
        steady.goes_on(STALL_LIMIT)?;
        Ok(steady)
    }

    /// Bytes that the server has taken.
    pub fn taken(&self) -> u64 {
        self.reads().last().map_or(0, |(_, bytes)| *bytes)
    }

    /// How it went on from a moment until now.
    pub fn since(&self, from: Instant) -> Progress {
        Progress::between(&self.reads(), from, wait::now())
    }

    /// Whether both ends still have their connection.
    pub fn is_alive(&self) -> bool {
        let running = |thread: &Option<JoinHandle<Result<u64>>>| {
            thread.as_ref().is_some_and(|thread| !thread.is_finished())
        };
        running(&self.sender) && running(&self.receiver)
    }

    /// When the server took something, and its bytes so far.
    fn reads(&self) -> MutexGuard<'_, Vec<(Instant, u64)>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the server has taken some more: what was under way in buffers is passed.
    pub fn goes_on(&self, limit: Duration) -> Result<()> {
        let before = self.taken();
        wait::until("the TCP connection to go on", limit, || {
            (self.taken() >= before + 4 * WRITE as u64).then_some(())
        })
    }

    /// Ends the connection in order and checks that all content arrived unchanged; returns its bytes.
    pub fn finish(mut self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        // Both ends are heard: where one fails the other one fails of it.
        let ends = (join(self.sender.take()), join(self.receiver.take()));
        let (sent, received) = match ends {
            (Ok(sent), Ok(received)) => (sent, received),
            (Err(sender), Err(receiver)) => {
                bail!("the sender: {sender:#}; the receiver: {receiver:#}")
            }
            (sent, received) => (
                sent.context("the sender")?,
                received.context("the receiver")?,
            ),
        };
        ensure!(sent == received, "the content changed on its way");
        Ok(self.taken())
    }
}

/// How a transfer went in a span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that the server took.
    pub bytes: u64,
    /// The longest time in which it took none.
    pub stall: Duration,
}

impl Progress {
    /// From the server's reads, each with the bytes so far.
    fn between(reads: &[(Instant, u64)], from: Instant, to: Instant) -> Self {
        let first = reads.partition_point(|(at, _)| *at < from);
        let end = reads.partition_point(|(at, _)| *at <= to);
        let bytes = |index: usize| index.checked_sub(1).map_or(0, |index| reads[index].1);
        let within = reads[first..end].iter().map(|(at, _)| *at);
        let moments: Vec<Instant> = [from].into_iter().chain(within).chain([to]).collect();
        let stalls = moments
            .windows(2)
            .map(|pair| pair[1].saturating_duration_since(pair[0]));
        Self {
            bytes: bytes(end) - bytes(first),
            stall: stalls.max().unwrap_or_default(),
        }
    }
}

impl Drop for SteadyTcp {
    fn drop(&mut self) {
        // The threads end by themselves, at the latest after the limit for a stall.
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn send(mut stream: TcpStream, stop: &AtomicBool) -> Result<u64> {
    stream.set_write_timeout(Some(STALL_LIMIT))?;
    stream.set_read_timeout(Some(STALL_LIMIT))?;
    let mut source = Noise::new();
    let mut hash = hasher();
    let mut chunk = vec![0; WRITE];
    while !stop.load(Ordering::Relaxed) {
        source.fill(&mut chunk);
        hash.write(&chunk);
        stream.write_all(&chunk).context("stalled or broken")?;
        wait::pace(PAUSE);
    }
    stream.shutdown(Shutdown::Write)?;
    let mut confirmation = [0; 8];
    stream
        .read_exact(&mut confirmation)
        .context("the server did not confirm")?;
    Ok(hash.finish())
}

fn join(thread: Option<JoinHandle<Result<u64>>>) -> Result<u64> {
    let thread = thread.context("the connection has ended already")?;
    thread
        .join()
        .map_err(|_| anyhow!("a thread of the connection panicked"))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_stalls_where_nothing_was_read() {
        let start = wait::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let reads = [(at(0), 10), (at(10), 20), (at(500), 30), (at(510), 50)];
        let whole = Progress::between(&reads, at(5), at(520));
        assert_eq!((whole.bytes, whole.stall), (40, Duration::from_millis(490)));
        let end = Progress::between(&reads, at(505), at(1505));
        assert_eq!((end.bytes, end.stall), (20, Duration::from_millis(995)));
        assert_eq!(
            Progress::between(&[], at(0), at(7)).stall,
            Duration::from_millis(7)
        );
    }

    #[test]
    fn losses_and_gaps_are_read_from_the_lines_of_ping() {
        let text = "PING 10.2.0.10 (10.2.0.10) 56(84) bytes of data.\n\
            [100.00] 64 bytes from 10.2.0.10: icmp_seq=1 ttl=62 time=0.4 ms\n\
            [100.01] 64 bytes from 10.2.0.10: icmp_seq=2 ttl=62 time=0.4 ms\n\
            [100.01] 64 bytes from 10.2.0.10: icmp_seq=2 ttl=62 time=0.4 ms (DUP!)\n\
            [100.02] From 10.1.0.1 icmp_seq=3 Destination Net Unreachable\n\
            [100.54] 64 bytes from 10.2.0.10: icmp_seq=4 ttl=62 time=0.4 ms\n\
            [100.55] 64 bytes from 10.2.0.10: icmp_seq=5 ttl=62 ti";
        let replies = Replies::parse(text);
        assert_eq!(replies.replies.len(), 3);
        assert_eq!(replies.lost(), 1);
        assert!((replies.longest_gap().as_secs_f64() - 0.53).abs() < 0.001);
    }
}
