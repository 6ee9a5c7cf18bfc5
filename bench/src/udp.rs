//! Datagrams between the hosts: the highest rate that arrives, and what was lost or reordered.
//!
//! Sender and receiver are threads of this process in the hosts' namespaces. The sender hands over
//! bursts by `sendmmsg` with UDP_SEGMENT, which the wire-like cable cuts into frames; the receiver takes
//! them by `recvmmsg` with UDP_GRO into buffers of 8 MB. That neither is the bottleneck is checked: the
//! sender's rate with nothing behind it is among the checks, a search that ended because asking for more
//! brought no more is marked, drops at the receiver's socket are counted apart, and plain forwarding
//! through both is in the table.

mod header;
pub(crate) mod pattern;
mod receiver;
pub(crate) mod search;
mod sender;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use crossway::clock;
use vm_tests::netns::Netns;
use vm_tests::topology::{Family, Topology};
use vm_tests::wait;

use self::pattern::Pattern;
use self::receiver::Receiver;
use self::sender::Sender;

const PORT: u16 = 5300;
/// What arrives later than this after the last datagram was sent counts as lost: a queue that only
/// grows is no throughput.
const GRACE: Duration = Duration::from_millis(50);
/// Datagrams a second that no sender reaches.
const FLAT_OUT: f64 = 1e9;

/// Sender in host a, receiver in host b.
pub(crate) struct Udp {
    sender: Sender,
    receiver: Receiver,
    trial: u32,
}

/// What became of the datagrams of one trial.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Trial {
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// Behind a later one of the same flow.
    pub(crate) reordered: u64,
    /// Dropped at the receiver's socket: the receiver's fault, not the path's.
    pub(crate) receiver_drops: u64,
    pub(crate) seconds: f64,
}

impl Trial {
    /// Datagrams a second that were sent.
    pub(crate) fn offered(&self) -> f64 {
        self.sent as f64 / self.seconds
    }

    /// Share of the datagrams that did not arrive.
    pub(crate) fn loss(&self) -> f64 {
        self.sent.saturating_sub(self.received) as f64 / self.sent.max(1) as f64
    }
}

impl Udp {
    pub(crate) fn open(topology: &Topology) -> Result<Self> {
        let [from, to] = [0, 1].map(|site: usize| {
            let site = &topology.sites[site];
            (&site.host, site.host_address(Family::V4))
        });
        Self::between(from, to)
    }

    /// From one host at its address to another.
    pub(crate) fn between(from: (&Netns, IpAddr), to: (&Netns, IpAddr)) -> Result<Self> {
        let target = SocketAddr::new(to.1, PORT);
        let source = SocketAddr::new(from.1, 0);
        Ok(Self {
            receiver: to.0.enter(|| Receiver::start(target))??,
            sender: from.0.enter(|| Sender::open(source, target))??,
            trial: 0,
        })
    }

    /// Sends for `span` at `rate` datagrams a second, or as fast as it goes where that is too much.
    pub(crate) fn trial(&mut self, pattern: Pattern, rate: f64, span: Duration) -> Result<Trial> {
        self.trial += 1;
        let drops_before = self.receiver.socket_drops()?;
        self.receiver.begin(self.trial);
        let start = clock::now();
        let sent = self
            .sender
            .send(self.trial, pattern, rate, span)
            .context("sending datagrams")?;
        let seconds = start.elapsed().as_secs_f64();
        let end = clock::now();
        while self.receiver.counts().received < sent && end.elapsed() < GRACE {
            std::thread::sleep(Duration::from_millis(1));
        }
        let counts = self.receiver.counts();
        let trial = Trial {
            sent,
            received: counts.received,
            reordered: counts.reordered,
            receiver_drops: self.receiver.socket_drops()? - drops_before,
            seconds,
        };
        self.let_queues_drain()?;
        Ok(trial)
    }

    /// Datagrams a second that the sender can hand to the first cable, for a path that drops them there.
    pub(crate) fn sender_alone(&mut self, pattern: Pattern, span: Duration) -> Result<f64> {
        self.trial += 1;
        let start = clock::now();
        let sent = self.sender.send(self.trial, pattern, FLAT_OUT, span)?;
        Ok(sent as f64 / start.elapsed().as_secs_f64())
    }

    /// Sends in the background at `rate` while `work` runs.
    pub(crate) fn beside<T>(
        &mut self,
        pattern: Pattern,
        rate: f64,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        self.trial += 1;
        self.receiver.begin(self.trial);
        let (sender, trial) = (&mut self.sender, self.trial);
        let stop = sender.stop_flag();
        let value = std::thread::scope(|scope| {
            let background = std::thread::Builder::new()
                .name("udp-load".into())
                .spawn_scoped(scope, move || {
                    sender.send(trial, pattern, rate, Duration::MAX)
                })?;
            let value = work();
            stop.set();
            background
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            value
        });
        stop.clear();
        self.let_queues_drain()?;
        value
    }

    /// What a failed trial left in queues must not meet the next one.
    fn let_queues_drain(&self) -> Result<()> {
        let mut before = self.receiver.arrivals();
        wait::until("queues to drain", Duration::from_secs(5), || {
            let now = self.receiver.arrivals();
            let quiet = now == before;
            before = now;
            quiet.then_some(())
        })
    }
}
