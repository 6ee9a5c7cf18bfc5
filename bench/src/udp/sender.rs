//! Sends bursts at a steady pace.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use crossway::clock;
use crossway::io::udp::{Endpoint, UdpSocket};
use crossway::tunnel::transmit::Transmits;
use vm_tests::sys;

use super::header::Header;
use super::pattern::{FLOWS, Pattern};

/// A sleep shorter than this costs more than it saves.
const SHORTEST_SLEEP: Duration = Duration::from_micros(30);
/// A sender that is further behind its pace than this has met its limit; it does not try to catch up,
/// which would be a burst that nobody asked for.
const FURTHEST_BEHIND: Duration = Duration::from_millis(5);

/// One socket for each flow.
pub(super) struct Sender {
    sockets: Vec<UdpSocket>,
    batch: Transmits,
    target: Endpoint,
    stop: StopFlag,
}

/// Ends a send from another thread.
#[derive(Clone, Default)]
pub(super) struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn clear(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Sender {
    /// Opens its sockets in the namespace of the calling thread.
    pub(super) fn open(source: SocketAddr, target: SocketAddr) -> Result<Self> {
        let mut sockets = Vec::new();
        for _ in 0..FLOWS {
            let socket = UdpSocket::bind(source)?;
            ensure!(
                socket.gso.is_on(),
                "this kernel has no UDP segmentation offload (4.18), which the sender needs"
            );
            sockets.push(socket);
        }
        let target = Endpoint::new(target);
        Ok(Self {
            sockets,
            batch: Transmits::new(),
            target,
            stop: StopFlag::default(),
        })
    }

    pub(super) fn stop_flag(&self) -> StopFlag {
        self.stop.clone()
    }

    /// Sends for `span` or until stopped; the datagrams that the kernel took.
    pub(super) fn send(
        &mut self,
        trial: u32,
        pattern: Pattern,
        rate: f64,
        span: Duration,
    ) -> Result<u64> {
        let _precise = PreciseSleep::begin();
        let gap = Duration::from_secs_f64(pattern.datagrams() as f64 / rate);
        let start = clock::now();
        let mut due = Duration::ZERO;
        let mut numbers = [0; FLOWS];
        let mut sent = 0;
        loop {
            let now = start.elapsed();
            if now >= span || self.stop.is_set() {
                return Ok(sent);
            }
            if sys::stop_requested() {
                bail!("interrupted");
            }
            let left = due.saturating_sub(now);
            if !left.is_zero() {
                if left >= SHORTEST_SLEEP {
                    std::thread::sleep(left);
                } else {
                    std::hint::spin_loop();
                }
                continue;
            }
            if now > due + FURTHEST_BEHIND {
                due = now;
            }
            sent += self.burst(trial, pattern, &mut numbers)?;
            due += gap;
        }
    }

    /// One run of datagrams on each flow.
    fn burst(&mut self, trial: u32, pattern: Pattern, numbers: &mut [u64; FLOWS]) -> Result<u64> {
        let mut sent = 0;
        for (flow, run) in pattern.runs().iter().enumerate() {
            for _ in 0..run.count {
                numbers[flow] += 1;
                let header = Header {
                    trial,
                    flow: flow as u32,
                    number: numbers[flow],
                };
                header.write(&mut self.batch.spare()[..run.payload]);
                self.batch.push(run.payload, self.target);
            }
            let socket = &mut self.sockets[flow];
            let unsent = socket.send(&mut self.batch);
            let refused = unsent.failed.packets + unsent.no_room.packets;
            sent += run.count as u64 - refused;
            ensure!(
                socket.gso.is_on(),
                "the kernel gave up segmentation for the sender: {}",
                socket.gso
            );
        }
        Ok(sent)
    }
}

/// Lets this thread wake within a microsecond of its time instead of the usual 50 (prctl(2),
/// PR_SET_TIMERSLACK); dropped, as before.
struct PreciseSleep;

impl PreciseSleep {
    fn begin() -> Self {
        set_timer_slack(1000);
        Self
    }
}

impl Drop for PreciseSleep {
    fn drop(&mut self) {
        // 0 is the thread's default.
        set_timer_slack(0);
    }
}

fn set_timer_slack(nanoseconds: libc::c_ulong) {
    // SAFETY: the call takes no pointer.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, nanoseconds) };
}
