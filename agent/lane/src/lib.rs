//! A lane: one thread that owns a TUN queue, a UDP socket and the sessions on it, and runs each
//! packet to completion. On its path there is no lock, no channel and no allocation; commands are
//! looked at between batches. Where a lane judges packets itself ([`policy`]), it shares one table with the others.

pub mod coalesce;
pub mod command;
mod drops;
pub mod fragment;
pub mod gaps;
mod inbound;
pub mod io;
mod load;
pub mod mss;
mod outbound;
mod own;
mod pace;
mod parked;
pub mod policy;
pub mod refusal;
pub mod ticket;
pub mod too_big;

use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use datapath_abi::outcome::DropReason;

use crate::io::offload::Offload;
use crate::io::tun::TunQueue;
use crate::io::udp::{ReceiveBatch, UdpSocket};
use coalesce::Coalescer;
pub use command::{Command, FromLanes, FromReplica, LaneGone, LaneHandle, LaneSnapshot, ToControl};
use crossway_sys::clock;
use crossway_sys::poll::{self, Waker};
use crossway_tunnel::transmit::Transmits;
use crossway_tunnel::{Sealed, Tunnel};
use crossway_types::ids::LinkId;
use crossway_types::marks::DscpModel;
pub use drops::Drops;
use gaps::Gaps;
use load::Load;
use own::OwnDatagrams;
pub use own::Swallowed;
pub use parked::{EmptyLane, ParkedLane};
use policy::Judge;
use ticket::Asked;
use too_big::Teller;

/// How often sessions look at their timers (rekey, keepalive, retry).
const TIMER_PERIOD: Duration = Duration::from_millis(100);
/// Commands that are carried out at one look. Many links may be dialled at once, each a handshake of some
/// 100 µs, and packets must not wait for all of them.
const COMMANDS_PER_LOOK: usize = 8;
/// Turns under load between two looks at commands and timers.
const TURNS_PER_LOOK: u32 = 16;

/// Turns of a lane that stops, each way: more than socket or TUN hold, unless somebody fills them all the time.
const MOST_LAST_TURNS: u32 = 1024;

/// How long the socket may go without being emptied before silence counts: its buffer holds some tens of
/// milliseconds of traffic.
const LONGEST_BACKLOG: Duration = Duration::from_millis(500);

/// The state of one lane.
struct Lane {
    tun: TunQueue,
    udp: UdpSocket,
    tunnel: Tunnel,
    send: Transmits,
    receive: ReceiveBatch,
    coalescer: Coalescer,
    outgoing: Box<[u8]>,
    drops: Drops,
    own: OwnDatagrams,
    too_big: Teller,
    judge: Judge,
    dscp: DscpModel,
    /// The time of the batch under way.
    now: Instant,
    /// Whatever had come by this time has been taken from the socket.
    drained: Instant,
    commands: mpsc::Receiver<Command>,
    to_control: ToControl,
    waker: Arc<Waker>,
    gaps: Gaps,
    load: Load,
    /// Who gets the lane when it stops.
    parks_with: Option<Asked<ParkedLane>>,
}

impl Lane {
    fn run(mut self: Box<Self>) -> std::io::Result<()> {
        let mut next_timers = self.now;
        loop {
            self.now = clock::now();
            self.load.on_awake(self.now);
            self.judge.look(self.now);
            if self.handle_commands().is_break() {
                match self.park() {
                    Some(lane) => self = lane,
                    None => return Ok(()),
                }
            }
            let mut turns = 0;
            let mut busy = true;
            // A command is carried out at once: while one lane is parked, the others carry nothing for it.
            while busy && turns < TURNS_PER_LOOK && (turns == 0 || !self.waker.is_awake()) {
                let received = self.turn_inbound()?;
                let sent = self.turn_outbound()?;
                busy = received || sent;
                turns += 1;
                // One turn can move megabytes; sixteen could delay our BFD packets past the peer's detection time.
                self.now = clock::now();
                self.judge.look(self.now);
                if self.now >= self.tunnel.next_pulse() {
                    break;
                }
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
                self.load.on_wait(clock::now());
                self.wait(next.saturating_duration_since(self.now))?;
            }
        }
    }

    fn wait(&self, timeout: Duration) -> std::io::Result<()> {
        // Rounded up, so that the timers are due when a quiet lane wakes.
        let timeout = timeout + Duration::from_millis(1);
        poll::wait(
            &[self.udp.as_fd(), self.tun.as_fd(), self.waker.as_fd()],
            timeout,
        )
    }

    /// Sends nothing more under the keys of now: this machine may be a copy of another.
    fn forget_sending_keys(&mut self, asleep: Duration) {
        let (udp, drops) = (&mut self.udp, &mut self.drops);
        let times = (self.now, clock::since_epoch());
        self.tunnel
            .forget_sending_keys(asleep, times, &mut self.send, |send| {
                drops.add_send(udp.send(send));
            });
        self.flush_send();
    }

    fn handle_timers(&mut self) {
        if let Some(gap) = self.gaps.look() {
            self.forget_sending_keys(gap.asleep());
        }
        let (udp, drops) = (&mut self.udp, &mut self.drops);
        let (now, send) = (self.now, &mut self.send);
        let given_up = self
            .tunnel
            .handle_timeout(now, clock::since_epoch(), send, |send| {
                drops.add_send(udp.send(send));
            });
        self.drops.add(DropReason::HandshakeTimedOut, given_up);
        self.flush_send();
    }

    fn handle_pulses(&mut self) {
        let (udp, drops) = (&mut self.udp, &mut self.drops);
        let (now, send, changes) = (self.now, &mut self.send, &self.to_control.changes);
        // A peer whose packets are still queued is not dead; one whose packets we never reach is.
        let backlog = now.saturating_duration_since(self.drained);
        let excess = backlog.saturating_sub(LONGEST_BACKLOG);
        let heard_until = self.drained + excess;
        self.tunnel.handle_pulses(
            (now, heard_until),
            send,
            |send| drops.add_send(udp.send(send)),
            // Nobody takes it any more when the gateway stops.
            |change| {
                let _ = changes.send(change);
            },
        );
        self.flush_send();
    }

    /// Carries out what control asks; `Break` ends the lane's run.
    fn handle_commands(&mut self) -> ControlFlow<()> {
        self.waker.clear();
        for _ in 0..COMMANDS_PER_LOOK {
            match self.commands.try_recv() {
                Ok(command) => self.handle_command(command)?,
                Err(mpsc::TryRecvError::Empty) => return ControlFlow::Continue(()),
                // Nobody is left who could ask it to stop.
                Err(mpsc::TryRecvError::Disconnected) => return ControlFlow::Break(()),
            }
            self.flush_send();
        }
        // More may wait: after some packets, and without a sleep.
        self.waker.wake();
        ControlFlow::Continue(())
    }

    fn handle_command(&mut self, command: Command) -> ControlFlow<()> {
        match command {
            Command::AddPeer(spec) => {
                let waited = self.tunnel.add_peer(*spec, self.now, &mut self.send);
                self.drops.add(DropReason::PeerRemoved, waited);
            }
            Command::RemovePeer(link) => {
                let waited = self.tunnel.remove_peer(link);
                self.drops.add(DropReason::PeerRemoved, waited);
            }
            Command::SetEndpoint(link, endpoint) => {
                self.tunnel
                    .set_endpoint(link, endpoint, self.now, &mut self.send);
            }
            Command::SetInterface(link, interface) => {
                self.tunnel.set_interface(link, interface, self.now);
            }
            Command::SetPathBounds(link, bounds) => {
                self.tunnel.set_path_bounds(link, bounds, self.now);
            }
            Command::SetLiveness(link, liveness, source) => {
                self.tunnel.set_liveness(link, &liveness, source, self.now);
            }
            Command::SetRanks(site, ranks) => self.tunnel.set_ranks(site, &ranks),
            Command::SetLanRole(link, role) => self.tunnel.set_lan_role(link, role, self.now),
            Command::PathDown(link) => {
                self.tunnel.on_path_down(link, self.now, &mut self.send);
            }
            Command::SendToReplica(link, payloads) => self.send_to_replica(link, &payloads),
            Command::SendAnswer(packet) => self.send_answer(packet),
            Command::SetRoutes(routes, reply) => {
                // Nobody waits for it any more: then it is freed here.
                let _ = reply.send(self.tunnel.set_routes(routes));
            }
            Command::SetRuling(ruling, reply) => {
                // As with the routes.
                let _ = reply.send(self.judge.set_ruling(ruling));
            }
            Command::SetPrograms(programs) => self.judge.set_programs(programs),
            Command::SetMtu(mtu) => self.tunnel.set_mtu(mtu, self.now),
            Command::SetDscp(dscp) => {
                self.dscp = dscp;
                self.send.set_dscp(dscp);
            }
            Command::ForgetSendingKeys => self.forget_sending_keys(Duration::ZERO),
            Command::Snapshot(reply) => {
                let _ = reply.send(self.snapshot());
            }
            Command::Park(reply) => {
                self.parks_with = Some(reply);
                return ControlFlow::Break(());
            }
            Command::Stop(reply) => {
                self.empty();
                // Nobody waits for it any more: then nobody is told.
                let _ = reply.send(self.drops);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    /// The last of what was routed into the TUN, which is down by now, and of what has come for the socket. What
    /// waits for a session waits in vain.
    fn empty(&mut self) {
        self.now = clock::now();
        for _ in 0..MOST_LAST_TURNS {
            if !self.turn_outbound().unwrap_or(false) {
                break;
            }
        }
        if let Err(error) = self.udp.turn_away() {
            tracing::debug!(%error, "the socket still lets datagrams in");
        }
        for _ in 0..MOST_LAST_TURNS {
            if !self.turn_inbound().unwrap_or(false) {
                break;
            }
        }
        self.drops
            .add(DropReason::HandshakeTimedOut, self.tunnel.waiting());
    }

    fn send_answer(&mut self, mut packet: Vec<u8>) {
        let sealed = self.tunnel.send_own(&mut packet, self.now, &mut self.send);
        if let Sealed::Dropped(reason) = sealed {
            self.drops.count(reason, packet.len());
        }
    }

    fn send_to_replica(&mut self, link: LinkId, payloads: &[Vec<u8>]) {
        let (udp, drops) = (&mut self.udp, &mut self.drops);
        let lost = self
            .tunnel
            .send_to_replica(link, payloads, &mut self.send, |send| {
                drops.add_send(udp.send(send));
            });
        self.drops.add(DropReason::ReplicaUnreachable, lost);
    }

    fn snapshot(&self) -> LaneSnapshot {
        LaneSnapshot {
            peers: self.tunnel.snapshot(self.now),
            drops: self.drops.tallies(),
            offloads: self.offloads().map(Offload::clone).to_vec(),
            swallowed: self.own.swallowed(self.now),
            busy: self.load.busy(self.now),
        }
    }

    fn offloads(&self) -> [&Offload; 4] {
        [&self.tun.tso, &self.tun.uso, &self.udp.gso, &self.udp.gro]
    }
}
