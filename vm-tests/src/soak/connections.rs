//! TCP beside the streams: connections that last and connections that come and go, each chunk of either answered
//! with the hash of what arrived.

use std::fs::File;
use std::hash::Hasher;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::ground::Ground;
use crate::netns::Netns;
use crate::topology::Family;
use crate::traffic::{Noise, hasher};
use crate::{sys, wait};

/// No connection may take longer for anything: TCP repeats itself after half a minute at the latest here.
const PATIENCE: Duration = Duration::from_mins(1);
/// A request for a connection is given up after this and made anew.
const CONNECT: Duration = Duration::from_secs(20);
/// How often a thread looks whether it shall go on.
const LOOK: Duration = Duration::from_millis(20);
/// A connection that lasts ends after so many chunks, and another begins.
const CHUNKS: u32 = 300;

/// From site, to site, family, chunks of a connection, bytes of a chunk, pause between two.
type Spec = (usize, usize, Family, u32, usize, Duration);

#[rustfmt::skip]
const CLIENTS: &[Spec] = &[
    (0, 1, Family::V4, CHUNKS, 32 << 10, Duration::from_millis(200)),
    (1, 0, Family::V6, CHUNKS, 32 << 10, Duration::from_millis(200)),
    (2, 1, Family::V4, CHUNKS, 16 << 10, Duration::from_millis(200)),
    (0, 1, Family::V6, 1, 2000, Duration::from_millis(200)),
    (1, 2, Family::V4, 1, 2000, Duration::from_millis(200)),
    (1, 3, Family::V6, 1, 2000, Duration::from_millis(200)),
];

/// All connections, until dropped.
#[derive(Debug)]
pub(super) struct Connections {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    flowing: AtomicBool,
    stop: AtomicBool,
    /// Clients in the middle of something.
    busy: AtomicU64,
    finished: AtomicU64,
    bytes: AtomicU64,
    refused: AtomicU64,
    failures: Mutex<Vec<String>>,
}

/// What became of the connections so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// That ended in order.
    pub(super) finished: u64,
    /// That arrived unchanged.
    pub(super) bytes: u64,
    /// Requests that were refused or not answered.
    pub(super) refused: u64,
}

impl Connections {
    /// Opens the servers; nothing flows yet.
    pub(super) fn start(ground: &Ground) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let mut threads = Vec::new();
        for &spec in CLIENTS {
            let (from, to, family, ..) = spec;
            let hosts = ground.hosts();
            let address = ground.host_address(to, family);
            let listener = hosts[to]
                .enter(|| TcpListener::bind((address, 0)))?
                .with_context(|| format!("cannot listen on {address}"))?;
            listener.set_nonblocking(true)?;
            let to = listener.local_addr()?;
            let serving = Arc::clone(&shared);
            threads.push(thread::spawn(move || serve(&listener, &serving)));
            let asking = Arc::clone(&shared);
            threads.push(spawn_in(hosts[from], move || ask(to, spec, &asking))?);
        }
        Ok(Self { shared, threads })
    }

    /// Lets all go on, or has them pause: then waits until nothing is under way.
    pub(super) fn set_flowing(&self, flowing: bool) -> Result<()> {
        self.shared.flowing.store(flowing, Ordering::SeqCst);
        if flowing {
            return Ok(());
        }
        wait::until("connections to pause", PATIENCE + CONNECT, || {
            (self.shared.busy.load(Ordering::SeqCst) == 0).then_some(())
        })
    }

    /// What became of them so far.
    ///
    /// # Errors
    /// A connection broke, stalled, or carried something else than was sent.
    pub(super) fn progress(&self) -> Result<Progress> {
        let failures = self.shared.failures.lock();
        let failures = failures.unwrap_or_else(PoisonError::into_inner);
        ensure!(failures.is_empty(), "TCP: {}", failures.join("; "));
        let read = |count: &AtomicU64| count.load(Ordering::SeqCst);
        Ok(Progress {
            finished: read(&self.shared.finished),
            bytes: read(&self.shared.bytes),
            refused: read(&self.shared.refused),
        })
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            // A panic in it was reported when it happened.
            let _ = thread.join();
        }
    }
}

/// A thread that is in a namespace from its first moment.
fn spawn_in(netns: &Netns, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let namespace = File::open(netns.path())?;
    Ok(thread::spawn(move || {
        if let Err(error) = sys::enter_network_namespace(&namespace) {
            eprintln!("a client did not get into its namespace: {error}");
            return;
        }
        work();
    }))
}

fn ask(to: SocketAddr, spec: Spec, shared: &Shared) {
    let (from, site, family, chunks, ..) = spec;
    while shared.waits_to_flow() {
        shared.busy.fetch_add(1, Ordering::SeqCst);
        let stream = TcpStream::connect_timeout(&to, CONNECT);
        let Ok(stream) = stream else {
            shared.busy.fetch_sub(1, Ordering::SeqCst);
            shared.refused.fetch_add(1, Ordering::SeqCst);
            thread::sleep(LOOK);
            continue;
        };
        match talk(stream, spec, shared) {
            Ok(()) => {
                shared.finished.fetch_add(1, Ordering::SeqCst);
            }
            Err(error) => {
                let mut failures = shared
                    .failures
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                failures.push(format!(
                    "site {from} to {site}, IP{family:?}, {chunks} chunks: {error:#}"
                ));
            }
        }
        shared.busy.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Chunk by chunk; the caller has counted it busy, and it is again at the end.
fn talk(mut stream: TcpStream, spec: Spec, shared: &Shared) -> Result<()> {
    let (.., chunks, size, pause) = spec;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let mut noise = Noise::new();
    let mut chunk = vec![0; size];
    for _ in 0..chunks {
        noise.fill(&mut chunk);
        stream.write_all(&(size as u32).to_be_bytes())?;
        stream.write_all(&chunk).context("stalled or broken")?;
        let mut answer = [0; 8];
        stream
            .read_exact(&mut answer)
            .context("the server did not answer")?;
        ensure!(
            u64::from_be_bytes(answer) == hash(&chunk),
            "the content changed on its way"
        );
        shared.bytes.fetch_add(size as u64, Ordering::SeqCst);
        if chunks == 1 {
            break;
        }
        shared.busy.fetch_sub(1, Ordering::SeqCst);
        thread::sleep(pause);
        let goes_on = shared.waits_to_flow();
        shared.busy.fetch_add(1, Ordering::SeqCst);
        if !goes_on {
            break;
        }
    }
    drop(stream);
    // The pause after a short one is that between two of them; it is over before it counts as such.
    if chunks == 1 {
        thread::sleep(pause);
    }
    Ok(())
}

impl Shared {
    /// Waits until it may flow; false if it shall end.
    fn waits_to_flow(&self) -> bool {
        loop {
            if self.stop.load(Ordering::SeqCst) {
                return false;
            }
            if self.flowing.load(Ordering::SeqCst) {
                return true;
            }
            thread::sleep(LOOK);
        }
    }
}

fn serve(listener: &TcpListener, shared: &Arc<Shared>) {
    while !shared.stop.load(Ordering::SeqCst) {
        match listener.accept() {
            Ok((stream, _)) => {
                let shared = Arc::clone(shared);
                // Ends with its connection, or soon after the soak.
                thread::spawn(move || answer(stream, &shared));
            }
            Err(_) => thread::sleep(LOOK),
        }
    }
}

fn answer(mut stream: TcpStream, shared: &Shared) {
    // Failures show at the client.
    let _ = stream.set_nonblocking(false);
    let _ = stream.set_nodelay(true);
    let _ = stream.set_read_timeout(Some(Duration::from_millis(500)));
    let mut chunk = Vec::new();
    loop {
        let mut size = [0; 4];
        if read_all(&mut stream, &mut size, shared).is_none() {
            return;
        }
        chunk.resize(u32::from_be_bytes(size) as usize, 0);
        if read_all(&mut stream, &mut chunk, shared).is_none() {
            return;
        }
        if stream.write_all(&hash(&chunk).to_be_bytes()).is_err() {
            return;
        }
    }
}

/// `None` at the end of the connection or of the soak.
fn read_all(stream: &mut TcpStream, buffer: &mut [u8], shared: &Shared) -> Option<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        match stream.read(&mut buffer[filled..]) {
            Ok(0) => return None,
            Ok(length) => filled += length,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if shared.stop.load(Ordering::SeqCst) {
                    return None;
                }
            }
            Err(_) => return None,
        }
    }
    Some(())
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = hasher();
    hasher.write(bytes);
    hasher.finish()
}
