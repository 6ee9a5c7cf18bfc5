//! Numbered datagrams to an echo server: what is lost, and who the server thinks it talks with.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::netns::Netns;
use crate::wait;

/// How often the server looks whether it shall end.
const LOOK: Duration = Duration::from_millis(50);
/// The last echo may take this long.
const LAST_ECHO: Duration = Duration::from_secs(1);

/// Sends every datagram back, until dropped.
#[derive(Debug)]
pub struct UdpEcho {
    address: SocketAddr,
    sources: Arc<Mutex<BTreeSet<IpAddr>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl UdpEcho {
    /// Listens at `address` on a free port.
    pub fn start(server: &Netns, address: IpAddr) -> Result<Self> {
        let socket = server
            .enter(|| UdpSocket::bind((address, 0)))?
            .with_context(|| format!("cannot bind {address} in {}", server.name()))?;
        socket.set_read_timeout(Some(LOOK))?;
        let mut echo = Self {
            address: socket.local_addr()?,
            sources: Arc::default(),
            stop: Arc::default(),
            thread: None,
        };
        let (sources, stop) = (echo.sources.clone(), echo.stop.clone());
        echo.thread = Some(thread::spawn(move || serve(&socket, &sources, &stop)));
        Ok(echo)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The addresses that datagrams came from.
    pub fn sources_seen(&self) -> Vec<IpAddr> {
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.iter().copied().collect()
    }
}

impl Drop for UdpEcho {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic in it was reported when it happened.
            let _ = thread.join();
        }
    }
}

/// How many echoes came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpEchoReport {
    /// Datagrams sent.
    pub sent: u32,
    /// Different datagrams that came back with their content unchanged.
    pub received: u32,
}

/// Sends `count` datagrams of `size` bytes (at least 4), `interval` apart, and collects the echoes. Loss
/// is no error; a send that the kernel refuses is a loss.
pub fn udp_echo(
    client: &Netns,
    server: SocketAddr,
    count: u32,
    size: usize,
    interval: Duration,
) -> Result<UdpEchoReport> {
    let any: IpAddr = if server.is_ipv4() {
        [0; 4].into()
    } else {
        [0; 16].into()
    };
    let socket = client
        .enter(|| {
            UdpSocket::bind((any, 0)).and_then(|socket| socket.connect(server).map(|()| socket))
        })?
        .with_context(|| format!("cannot reach {server} from {}", client.name()))?;
    let mut seen = BTreeSet::new();
    for number in 0..count {
        // Refused while a gateway restarts, for example: counted as lost.
        let _ = socket.send(&datagram(number, size));
        collect(&socket, size, &mut seen, interval, usize::MAX)?;
    }
    collect(&socket, size, &mut seen, LAST_ECHO, count as usize)?;
    Ok(UdpEchoReport {
        sent: count,
        received: seen.len() as u32,
    })
}

/// Receives for `span`, or until `enough` have been seen.
fn collect(
    socket: &UdpSocket,
    size: usize,
    seen: &mut BTreeSet<u32>,
    span: Duration,
    enough: usize,
) -> Result<()> {
    let start = wait::now();
    let mut buffer = vec![0; size + 1];
    while seen.len() < enough {
        let left = span.saturating_sub(start.elapsed());
        if left.is_zero() {
            break;
        }
        socket.set_read_timeout(Some(left))?;
        // An error is the end of the time or an ICMP answer to an earlier datagram.
        let Ok(length) = socket.recv(&mut buffer) else {
            continue;
        };
        if let Some(number) = buffer[..length].first_chunk::<4>() {
            let number = u32::from_be_bytes(*number);
            if buffer[..length] == datagram(number, size) {
                seen.insert(number);
            }
        }
    }
    Ok(())
}

fn datagram(number: u32, size: usize) -> Vec<u8> {
    let mut bytes = vec![number as u8; size.max(4)];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    bytes
}

fn serve(socket: &UdpSocket, sources: &Mutex<BTreeSet<IpAddr>>, stop: &AtomicBool) {
    let mut buffer = vec![0; 65_536];
    while !stop.load(Ordering::Relaxed) {
        // A time-out, or an ICMP answer to an echo: look at `stop` and go on.
        let Ok((length, peer)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        sources
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(peer.ip().to_canonical());
        // A lost echo is what the client counts.
        let _ = socket.send_to(&buffer[..length], peer);
    }
}
