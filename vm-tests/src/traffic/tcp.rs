//! A TCP transfer whose content is checked at the far end.

use std::hash::Hasher;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use super::Segments;
use crate::netns::Netns;
use crate::wait;

/// No single read, write or connect may take longer: a stall is a failure, not a wait.
const STALL_LIMIT: Duration = Duration::from_secs(10);
const CHUNK: usize = 64 * 1024;

/// A transfer that arrived whole.
#[derive(Clone, Copy, Debug)]
pub struct TcpReport {
    /// Bytes of content.
    pub bytes: u64,
    /// The address that the server saw its client at.
    pub source_seen: IpAddr,
    /// From the connection request to the server's confirmation.
    pub duration: Duration,
    /// What the client's TCP sent.
    pub segments: Segments,
}

impl TcpReport {
    /// Mean rate in Mbit/s.
    pub fn mbit_per_second(&self) -> f64 {
        self.bytes as f64 * 8e-6 / self.duration.as_secs_f64()
    }
}

/// Sends `bytes` pseudo-random bytes from `client` to a server at `address` in `server`. The server
/// confirms with the hash of what it got; another hash, a missing byte or a stall of ten seconds is an error.
pub fn tcp_transfer(
    client: &Netns,
    server: &Netns,
    address: IpAddr,
    bytes: u64,
) -> Result<TcpReport> {
    tcp_transfer_to(client, address, (server, address), bytes)
}

/// As [`tcp_transfer`] to a server whose `address` is another one where the client is: there it is `target`.
pub fn tcp_transfer_to(
    client: &Netns,
    target: IpAddr,
    (server, address): (&Netns, IpAddr),
    bytes: u64,
) -> Result<TcpReport> {
    let listener = server
        .enter(|| TcpListener::bind((address, 0)))?
        .with_context(|| format!("cannot listen on {address} in {}", server.name()))?;
    let to = SocketAddr::new(target, listener.local_addr()?.port());
    let receiver = thread::spawn(move || receive(&listener, STALL_LIMIT, |_| ()));
    let start = wait::now();
    let sent = send(client, to, bytes);
    let duration = start.elapsed();
    // The sender's error comes first: without it the receiver only knows that nobody came.
    let context = || format!("TCP from {} to {to}", client.name());
    let delivered = sent.with_context(context)?;
    let received = receiver
        .join()
        .map_err(|_| anyhow!("the receiver panicked"))?
        .with_context(context)?;
    ensure!(
        received.hash == delivered.hash,
        "TCP from {} to {to}: the content changed on its way",
        client.name()
    );
    Ok(TcpReport {
        bytes,
        source_seen: received.source,
        duration,
        segments: delivered.segments,
    })
}

/// A connection that was received to its end.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// The client's address.
    pub source: IpAddr,
    /// Of the content.
    pub hash: u64,
}

/// A connection whose content the server has confirmed.
#[derive(Clone, Copy, Debug)]
pub struct Delivered {
    /// Of the content.
    pub hash: u64,
    /// What TCP sent for it.
    pub segments: Segments,
}

fn send(client: &Netns, to: SocketAddr, bytes: u64) -> Result<Delivered> {
    let stream = client
        .enter(|| TcpStream::connect_timeout(&to, STALL_LIMIT))?
        .context("cannot connect")?;
    let mut left = bytes;
    deliver(stream, STALL_LIMIT, || {
        let part = left.min(CHUNK as u64);
        left -= part;
        (part > 0).then_some(part as usize)
    })
}

/// Sends pieces of at most 64 KiB, as long as `next` tells a length, and waits for the server's confirmation.
pub fn deliver(
    mut stream: TcpStream,
    stall_limit: Duration,
    mut next: impl FnMut() -> Option<usize>,
) -> Result<Delivered> {
    limit_stalls(&stream, stall_limit)?;
    let mut source = Noise::new();
    let mut hash = hasher();
    let mut chunk = vec![0; CHUNK];
    let mut done = 0;
    while let Some(length) = next() {
        let part = &mut chunk[..length];
        source.fill(part);
        hash.write(part);
        stream
            .write_all(part)
            .with_context(|| format!("stalled or broken after {done} bytes"))?;
        done += length;
    }
    stream.shutdown(Shutdown::Write)?;
    let mut confirmation = [0; 8];
    stream
        .read_exact(&mut confirmation)
        .context("the server did not confirm")?;
    ensure!(
        u64::from_be_bytes(confirmation) == hash.finish(),
        "the server received other content"
    );
    // Its last segment is in, and ours for it out, when the stream has come to its end.
    ensure!(
        stream.read(&mut confirmation)? == 0,
        "the server said more than the hash"
    );
    Ok(Delivered {
        hash: hash.finish(),
        segments: Segments::of(&stream)?,
    })
}

/// Takes one connection to its end and confirms it with the hash; `taken` hears of each read's length.
pub(super) fn receive(
    listener: &TcpListener,
    stall_limit: Duration,
    taken: impl FnMut(usize),
) -> Result<Received> {
    listener.set_nonblocking(true)?;
    let (stream, peer) = wait::try_until("a TCP connection", STALL_LIMIT, || {
        Ok(listener.accept().ok())
    })?;
    stream.set_nonblocking(false)?;
    take(stream, peer, stall_limit, taken)
}

/// Takes a connection to its end, as [`receive`] does.
pub fn take(
    mut stream: TcpStream,
    peer: SocketAddr,
    stall_limit: Duration,
    mut taken: impl FnMut(usize),
) -> Result<Received> {
    limit_stalls(&stream, stall_limit)?;
    let mut hash = hasher();
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = match stream.read(&mut chunk) {
            // A socket with a time limit is not read again by the kernel after a signal (signal(7)).
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read.context("stalled or broken")?,
        };
        if length == 0 {
            break;
        }
        hash.write(&chunk[..length]);
        taken(length);
    }
    stream.write_all(&hash.finish().to_be_bytes())?;
    Ok(Received {
        source: peer.ip().to_canonical(),
        hash: hash.finish(),
    })
}

fn limit_stalls(stream: &TcpStream, limit: Duration) -> Result<()> {
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    Ok(())
}

/// FNV-1a over words of eight bytes: chunks of any size must give the same hash, so bytes are gathered.
#[derive(Debug)]
pub(crate) struct ContentHash {
    state: u64,
    word: u64,
    filled: u32,
}

pub(crate) fn hasher() -> ContentHash {
    ContentHash {
        state: 0xcbf2_9ce4_8422_2325,
        word: 0,
        filled: 0,
    }
}

impl Hasher for ContentHash {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.word = self.word << 8 | u64::from(byte);
            self.filled += 1;
            if self.filled == 8 {
                self.state = (self.state ^ self.word).wrapping_mul(0x0100_0000_01b3);
                self.state ^= self.state >> 29;
                (self.word, self.filled) = (0, 0);
            }
        }
    }

    fn finish(&self) -> u64 {
        let rest = self.word ^ u64::from(self.filled) << 60;
        (self.state ^ rest).wrapping_mul(0x0100_0000_01b3)
    }
}

/// Xorshift: content in which no two packets are alike.
pub(crate) struct Noise(u64);

impl Noise {
    pub(crate) fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    pub(crate) fn fill(&mut self, buffer: &mut [u8]) {
        for word in buffer.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            word.copy_from_slice(&self.0.to_ne_bytes()[..word.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_depends_on_content_and_length_but_not_on_chunks() {
        let hash = |parts: &[&[u8]]| {
            let mut hash = hasher();
            for part in parts {
                hash.write(part);
            }
            hash.finish()
        };
        assert_eq!(
            hash(&[b"one two three"]),
            hash(&[b"one ", b"two th", b"ree"])
        );
        assert_ne!(hash(&[b"one two three"]), hash(&[b"one two thref"]));
        assert_ne!(hash(&[b"\0"]), hash(&[b"\0\0"]));
    }
}
