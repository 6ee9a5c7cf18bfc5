//! A datagram there and back, one at a time: how long it takes, idle and beside other traffic.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use crossway::clock;
use vm_tests::sys;
use vm_tests::topology::{Family, Topology};

use crate::contender::Contender;
use crate::load::Load;
use crate::results::{Better, Results};
use crate::summary::percentile;

const PORT: u16 = 5301;
/// Bytes of payload, as a short question has.
const PAYLOAD: usize = 64;
/// An answer that takes longer counts as lost.
const PATIENCE: Duration = Duration::from_millis(500);
/// Fewer answers than this say nothing about one in a thousand.
const FEWEST_FOR_P999: usize = 2000;

/// Asks for `span` and adds the percentiles.
pub(crate) fn measure(
    results: &mut Results,
    topology: &Topology,
    contender: Contender,
    load: Load,
    span: Duration,
) -> Result<()> {
    let (from, to) = (&topology.sites[0], &topology.sites[1]);
    let target = SocketAddr::new(to.host_address(Family::V4), PORT);
    let source = SocketAddr::new(from.host_address(Family::V4), 0);
    let echo = to.host.enter(|| Echo::start(target))??;
    let (mut times, lost) = from.host.enter(|| ask(source, target, span))??;
    drop(echo);
    times.sort_unstable();
    ensure!(!times.is_empty(), "no answer came back: {lost} were lost");

    let mut add = |figure, better, sample| {
        results.add(load.name(), contender.name(), figure, better, sample);
    };
    let microseconds = |share| percentile(&times, share) as f64 / 1e3;
    add("p50 us", Better::Lower, microseconds(0.5));
    add("p99 us", Better::Lower, microseconds(0.99));
    if times.len() >= FEWEST_FOR_P999 {
        add("p99.9 us", Better::Lower, microseconds(0.999));
    }
    add("questions", Better::Neither, times.len() as f64);
    add("unanswered", Better::Neither, lost as f64);
    Ok(())
}

/// Nanoseconds of each answer, and how many did not come.
fn ask(source: SocketAddr, target: SocketAddr, span: Duration) -> Result<(Vec<u64>, u64)> {
    let socket = UdpSocket::bind(source)?;
    socket.connect(target)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let (mut times, mut lost) = (Vec::new(), 0);
    let mut question = [0; PAYLOAD];
    let mut answer = [0; PAYLOAD];
    let start = clock::now();
    let mut number: u64 = 0;
    while start.elapsed() < span {
        if sys::stop_requested() {
            bail!("interrupted");
        }
        number += 1;
        question[..8].copy_from_slice(&number.to_le_bytes());
        let sent = clock::monotonic_ns();
        socket.send(&question).context("asking")?;
        loop {
            match socket.recv(&mut answer) {
                // A late answer to an earlier question is passed over.
                Ok(_) if answer[..8] != question[..8] => {}
                Ok(_) => {
                    times.push(clock::monotonic_ns() - sent);
                    break;
                }
                Err(error) if is_timeout(error.kind()) => {
                    lost += 1;
                    break;
                }
                Err(error) => return Err(error).context("waiting for an answer"),
            }
        }
    }
    Ok((times, lost))
}

fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// A thread that answers. Dropped, it ends.
struct Echo {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    /// Binds in the namespace of the calling thread.
    fn start(listen: SocketAddr) -> Result<Self> {
        let socket = UdpSocket::bind(listen)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let stop = Arc::new(AtomicBool::new(false));
        let own = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("echo".into())
            .spawn(move || {
                let mut buffer = [0; 2048];
                while !own.load(Ordering::Relaxed) {
                    if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                        // The asker notices what does not come back.
                        let _ = socket.send_to(&buffer[..length], from);
                    }
                }
            })?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It does not panic.
            let _ = thread.join();
        }
    }
}
