//! Counts what arrives.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use crossway::io::udp::{ReceiveBatch, UdpSocket};
use crossway_sys::poll;

use super::header::Header;
use super::pattern::FLOWS;

/// How long it waits before it looks whether it shall end.
const PATIENCE: Duration = Duration::from_millis(200);

/// What arrived of the present trial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    trial: u32,
    pub(super) received: u64,
    pub(super) reordered: u64,
    highest: [u64; FLOWS],
}

impl Counts {
    fn take(&mut self, payload: &[u8]) {
        let Some(header) = Header::read(payload) else {
            return;
        };
        let Some(highest) = self.highest.get_mut(header.flow as usize) else {
            return;
        };
        if header.trial != self.trial {
            return;
        }
        self.received += 1;
        if header.number > *highest {
            *highest = header.number;
        } else {
            self.reordered += 1;
        }
    }
}

/// A thread that receives. Dropped, it ends.
pub(super) struct Receiver {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<io::Result<()>>>,
    /// Its line in `/proc/<thread>/net/udp`, which shows the namespace of that thread.
    port: u16,
}

#[derive(Default)]
struct Shared {
    counts: Mutex<Counts>,
    /// Datagrams of any trial.
    arrivals: AtomicU64,
    stop: AtomicBool,
    thread: AtomicU64,
}

impl Receiver {
    /// Binds in the namespace of the calling thread, which its own thread inherits.
    pub(super) fn start(listen: SocketAddr) -> Result<Self> {
        let socket = UdpSocket::bind(listen)?;
        ensure!(
            socket.gro.is_on(),
            "this kernel has no UDP receive offload (5.0), which the receiver needs"
        );
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("udp-receiver".into())
            .spawn(move || receive(&socket, &own))?;
        Ok(Self {
            shared,
            thread: Some(thread),
            port: listen.port(),
        })
    }

    /// From now on only this trial counts.
    pub(super) fn begin(&self, trial: u32) {
        *self.lock() = Counts {
            trial,
            ..Counts::default()
        };
    }

    pub(super) fn counts(&self) -> Counts {
        *self.lock()
    }

    pub(super) fn arrivals(&self) -> u64 {
        self.shared.arrivals.load(Ordering::Relaxed)
    }

    /// Datagrams that the socket had no room for, since it was opened.
    pub(super) fn socket_drops(&self) -> Result<u64> {
        let thread = self.shared.thread.load(Ordering::Acquire);
        if thread == 0 {
            return Ok(0);
        }
        let path = format!("/proc/self/task/{thread}/net/udp");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        drops_of(&text, self.port).with_context(|| format!("{path} has no port {}", self.port))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Counts> {
        let counts = self.shared.counts.lock();
        counts.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && let Ok(Err(error)) = thread.join()
        {
            eprintln!("the receiver of the bench ended: {error}");
        }
    }
}

fn receive(socket: &UdpSocket, shared: &Shared) -> io::Result<()> {
    // SAFETY: the call takes nothing and always succeeds.
    let thread = unsafe { libc::gettid() };
    shared.thread.store(thread as u64, Ordering::Release);
    let mut batch = ReceiveBatch::new();
    while !shared.stop.load(Ordering::Relaxed) {
        poll::wait(&[socket.as_fd(); 3], PATIENCE)?;
        while batch.receive(socket)? > 0 {
            let mut counts = shared.counts.lock().unwrap_or_else(PoisonError::into_inner);
            let mut arrivals = 0;
            for message in batch.messages() {
                for datagram in message.datagrams() {
                    counts.take(datagram);
                    arrivals += 1;
                }
            }
            shared.arrivals.fetch_add(arrivals, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// The last column of the line of a local port (proc(5), /proc/net/udp; ports in hexadecimal).
fn drops_of(table: &str, port: u16) -> Option<u64> {
    let local = format!(":{port:04X}");
    let line = table.lines().find(|line| {
        let address = line.split_whitespace().nth(1);
        address.is_some_and(|address| address.ends_with(&local))
    })?;
    line.split_whitespace().last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(trial: u32, flow: u32, number: u64) -> [u8; 64] {
        let mut payload = [0; 64];
        Header {
            trial,
            flow,
            number,
        }
        .write(&mut payload);
        payload
    }

    #[test]
    fn reordering_is_counted_in_each_flow_and_other_trials_are_not() {
        let mut counts = Counts {
            trial: 2,
            ..Counts::default()
        };
        for (trial, flow, number) in [(2, 0, 1), (2, 1, 1), (2, 0, 3), (2, 0, 2), (1, 0, 9)] {
            counts.take(&datagram(trial, flow, number));
        }
        counts.take(&datagram(2, 99, 1));
        counts.take(&[0; 3]);
        assert_eq!((counts.received, counts.reordered), (4, 1));
    }

    #[test]
    fn drops_are_the_last_column_of_the_ports_line() {
        let table = "\
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  271: 0A00020A:14B3 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 0000000000000000 3
  272: 0A00020A:14B4 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 0000000000000000 42
";
        assert_eq!(drops_of(table, 5300), Some(42));
        assert_eq!(drops_of(table, 5301), None);
    }
}
