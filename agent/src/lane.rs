//! A lane: one thread that owns a TUN queue, a UDP socket and the sessions on it, and runs each
//! packet to completion. On its path there is no lock, no channel and no allocation; commands are
//! looked at between batches.

pub mod coalesce;
pub mod command;
mod drops;
mod inbound;
pub mod mss;
mod outbound;

use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use datapath_abi::outcome::DropReason;
use tokio::sync::mpsc::UnboundedSender;

use crate::clock;
use crate::io::poll::{self, Waker};
use crate::io::tun::{self, TunQueue};
use crate::io::udp::{ReceiveBatch, SendBatch, UdpSocket};
use crate::tunnel::noise::Identity;
use crate::tunnel::tai64n::Calendar;
use crate::tunnel::{LinkChange, Tunnel};
use coalesce::Coalescer;
pub use command::{Command, LaneGone, LaneHandle, LaneSnapshot};
use drops::Drops;

/// How often sessions look at their timers (rekey, keepalive, retry).
const TIMER_PERIOD: Duration = Duration::from_millis(100);
/// Turns under load between two looks at the clock.
const TURNS_PER_CLOCK: u32 = 16;

/// The state of one lane.
struct Lane {
    tun: TunQueue,
    udp: UdpSocket,
    tunnel: Tunnel,
    send: SendBatch,
    receive: ReceiveBatch,
    coalescer: Coalescer,
    outgoing: Box<[u8]>,
    drops: Drops,
    mtu: usize,
    /// The time of the batch under way.
    now: Instant,
    commands: mpsc::Receiver<Command>,
    /// Where changes of links are told, at once.
    changes: UnboundedSender<LinkChange>,
    waker: Arc<Waker>,
}

/// Whether the lane goes on.
#[derive(PartialEq, Eq)]
enum Flow {
    On,
    Stop,
}

/// Starts the thread of lane `number`, on a core of its own if `pin`.
pub fn spawn(
    number: usize,
    pin: bool,
    tun: TunQueue,
    udp: UdpSocket,
    identity: Identity,
    mtu: usize,
    changes: UnboundedSender<LinkChange>,
) -> io::Result<(LaneHandle, JoinHandle<io::Result<()>>)> {
    let (handle, commands, waker) = command::channel()?;
    let now = clock::now();
    let calendar = Calendar::new(now, clock::since_epoch());
    let lane = Lane {
        tun,
        udp,
        tunnel: Tunnel::new(identity, calendar, now),
        send: SendBatch::new(),
        receive: ReceiveBatch::new(),
        coalescer: Coalescer::new(),
        outgoing: vec![0; tun::MAX_READ].into_boxed_slice(),
        drops: Drops::default(),
        mtu,
        now,
        commands,
        changes,
        waker,
    };
    let thread = std::thread::Builder::new()
        .name(format!("lane-{number}"))
        .spawn(move || {
            if pin {
                pin_to_core(number);
            }
            lane.run()
        })?;
    Ok((handle, thread))
}

/// Keeps the calling thread on one of the cores it may use. A lane that cannot be pinned runs all
/// the same.
fn pin_to_core(number: usize) {
    // SAFETY: `cpu_set_t` is plain data for which all zeroes is the empty set; the calls get its true
    // size and address, and the CPU_* functions stay inside it.
    let result = unsafe {
        let mut allowed: libc::cpu_set_t = std::mem::zeroed();
        let size = size_of::<libc::cpu_set_t>();
        libc::sched_getaffinity(0, size, &raw mut allowed);
        let cores: Vec<usize> = (0..libc::CPU_SETSIZE as usize)
            .filter(|core| libc::CPU_ISSET(*core, &allowed))
            .collect();
        let Some(core) = cores.get(number % cores.len().max(1)) else {
            return;
        };
        let mut one: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(*core, &mut one);
        libc::sched_setaffinity(0, size, &raw const one)
    };
    if result < 0 {
        let error = io::Error::last_os_error();
        tracing::warn!(lane = number, %error, "the lane's thread could not be pinned to a core");
    }
}

impl Lane {
    fn run(mut self) -> io::Result<()> {
        let mut next_timers = self.now;
        loop {
            self.now = clock::now();
            if self.handle_commands() == Flow::Stop {
                return Ok(());
            }
            let mut turns = 0;
            let mut busy = true;
            while busy && turns < TURNS_PER_CLOCK {
                let received = self.turn_inbound()?;
                let sent = self.turn_outbound()?;
                busy = received || sent;
                turns += 1;
            }
            if self.now >= next_timers {
                self.handle_timers();
                next_timers = self.now + TIMER_PERIOD;
            }
            // What waited in the socket has been taken by now: a far end that was heard is not dead.
            if self.now >= self.tunnel.next_pulse() {
                self.handle_pulses();
            }
            if !busy {
                let next = next_timers.min(self.tunnel.next_pulse());
                self.wait(next.saturating_duration_since(self.now))?;
            }
        }
    }

    fn wait(&self, timeout: Duration) -> io::Result<()> {
        // Rounded up, so that the timers are due when a quiet lane wakes.
        let timeout = timeout + Duration::from_millis(1);
        poll::wait(
            &[self.udp.as_fd(), self.tun.as_fd(), self.waker.as_fd()],
            timeout,
        )
    }

    fn handle_timers(&mut self) {
        let (udp, drops) = (&mut self.udp, &mut self.drops);
        let (now, send) = (self.now, &mut self.send);
        let given_up = self
            .tunnel
            .handle_timeout(now, clock::since_epoch(), send, |send| {
                drops.add_send(send.send(udp));
            });
        self.drops.add(DropReason::HandshakeTimedOut, given_up);
        self.flush_send();
    }

    fn handle_pulses(&mut self) {
        let (udp, drops) = (&mut self.udp, &mut self.drops);
        let (now, send, changes) = (self.now, &mut self.send, &self.changes);
        self.tunnel.handle_pulses(
            now,
            send,
            |send| drops.add_send(send.send(udp)),
            // Nobody takes it any more when the gateway stops.
            |change| {
                let _ = changes.send(change);
            },
        );
        self.flush_send();
    }

    fn handle_commands(&mut self) -> Flow {
        self.waker.clear();
        loop {
            let flow = match self.commands.try_recv() {
                Ok(command) => self.handle_command(command),
                Err(mpsc::TryRecvError::Empty) => return Flow::On,
                // Nobody is left who could ask it to stop.
                Err(mpsc::TryRecvError::Disconnected) => return Flow::Stop,
            };
            if flow == Flow::Stop {
                return flow;
            }
            self.flush_send();
        }
    }

    fn handle_command(&mut self, command: Command) -> Flow {
        match command {
            Command::AddPeer(spec) => self.tunnel.add_peer(*spec, self.now, &mut self.send),
            Command::RemovePeer(link) => self.tunnel.remove_peer(link),
            Command::SetEndpoint(link, endpoint) => {
                self.tunnel
                    .set_endpoint(link, endpoint, self.now, &mut self.send);
            }
            Command::SetInterface(link, interface) => self.tunnel.set_interface(link, interface),
            Command::SetLiveness(link, liveness, source) => {
                self.tunnel.set_liveness(link, &liveness, source, self.now);
            }
            Command::SetRanks(site, ranks) => self.tunnel.set_ranks(site, &ranks),
            Command::SetService(link, service) => self.tunnel.set_service(link, service, self.now),
            Command::PathDown(link) => {
                self.tunnel.on_path_down(link, self.now, &mut self.send);
            }
            Command::SetRoutes(routes, reply) => {
                // Nobody waits for it any more: then it is freed here.
                let _ = reply.send(self.tunnel.set_routes(routes));
            }
            Command::SetMtu(mtu) => self.mtu = mtu,
            Command::Snapshot(reply) => {
                let _ = reply.send(self.snapshot());
            }
            Command::Stop => return Flow::Stop,
        }
        Flow::On
    }

    fn snapshot(&self) -> LaneSnapshot {
        LaneSnapshot {
            peers: self.tunnel.snapshot(self.now),
            drops: self.drops.tallies(),
            offloads: vec![
                self.tun.tso.clone(),
                self.tun.uso.clone(),
                self.udp.gso.clone(),
                self.udp.gro.clone(),
            ],
        }
    }
}
