//! A lane that does not run: before its start, and when it was stopped for another agent to take over.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use datapath_abi::outcome::DropReason;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use super::coalesce::Coalescer;
use super::drops::Drops;
use super::gaps::Gaps;
use super::load::Load;
use super::own::OwnDatagrams;
use super::policy::{FlowsOfLanes, Judge, Ruling};
use super::too_big::Teller;
use super::{Lane, LaneHandle, ToControl, command};
use crate::io::offload::ToldOff;
use crate::io::tun::{self, TunQueue};
use crate::io::udp::{ReceiveBatch, UdpSocket};
use crossway_sys::clock;
use crossway_tunnel::initiations::Initiations;
use crossway_tunnel::noise::Identity;
use crossway_tunnel::tai64n::Calendar;
use crossway_tunnel::transmit::Transmits;
use crossway_tunnel::{Imported, PeerSpec, Tunnel};
use crossway_types::codec::{Damaged, Reader, Writer};
use crossway_types::marks::DscpModel;
use crossway_types::routes::RouteTable;

/// A lane with all it owns, that carries nothing until [`Self::start`].
pub struct ParkedLane {
    lane: Box<Lane>,
    /// Since when it has carried nothing.
    since: Instant,
}

impl fmt::Debug for ParkedLane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ParkedLane")
    }
}

/// A lane that is yet to get its socket and its queue: all that can be made while another agent still has them.
pub struct EmptyLane {
    tunnel: Tunnel,
    send: Transmits,
    receive: ReceiveBatch,
    coalescer: Coalescer,
    outgoing: Box<[u8]>,
    too_big: Teller,
    judge: Judge,
    to_control: ToControl,
}

impl fmt::Debug for EmptyLane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmptyLane")
    }
}

impl EmptyLane {
    /// A lane without peers and routes. All lanes of a gateway share its `initiations`.
    pub fn new(
        identity: Identity,
        initiations: Arc<Initiations>,
        mtu: usize,
        to_control: ToControl,
    ) -> Self {
        let now = clock::now();
        let calendar = Calendar::new(now, clock::since_epoch());
        let mut tunnel = Tunnel::new(identity, calendar, initiations, now);
        tunnel.set_mtu(mtu, now);
        Self {
            tunnel,
            send: Transmits::new(),
            receive: ReceiveBatch::new(),
            coalescer: Coalescer::new(),
            outgoing: vec![0; tun::MAX_READ].into_boxed_slice(),
            too_big: Teller::open(now),
            judge: Judge::new(to_control.refused.clone(), now),
            to_control,
        }
    }

    /// Has the timestamps of its handshakes be no earlier than `since_epoch`.
    pub fn begin_calendar(&mut self, since_epoch: Duration) {
        self.tunnel.begin_calendar(clock::now(), since_epoch);
    }

    /// Shows the classes of inner packets outside, or not.
    pub fn set_dscp(&mut self, dscp: DscpModel) {
        self.send.set_dscp(dscp);
    }

    /// Has it judge by these rules, with what all lanes know of flows.
    pub fn set_policy(&mut self, flows: Arc<FlowsOfLanes>, ruling: Arc<Ruling>) {
        self.judge.share(flows);
        self.judge.set_ruling(ruling);
    }

    /// Gives it its routes.
    pub fn set_routes(&mut self, routes: Arc<RouteTable>) {
        self.tunnel.set_routes(routes);
    }

    /// The lane on a queue and a socket, and what commands it once it runs.
    pub fn on(self, tun: TunQueue, udp: UdpSocket) -> io::Result<(ParkedLane, LaneHandle)> {
        let (handle, commands, waker) = command::channel()?;
        let now = clock::now();
        let lane = Lane {
            own: OwnDatagrams::of(udp.local_address()?),
            tun,
            udp,
            tunnel: self.tunnel,
            dscp: self.send.dscp(),
            send: self.send,
            receive: self.receive,
            coalescer: self.coalescer,
            outgoing: self.outgoing,
            drops: Drops::default(),
            too_big: self.too_big,
            judge: self.judge,
            now,
            drained: now,
            commands,
            to_control: self.to_control,
            waker,
            gaps: Gaps::default(),
            load: Load::new(now),
            parks_with: None,
        };
        let lane = Box::new(lane);
        Ok((ParkedLane { lane, since: now }, handle))
    }
}

impl ParkedLane {
    /// Starts its thread, as that of lane `number` of `count`. Alone, the scheduler places a lane better than we can;
    /// several must not share a core. The first thing that the thread does is `settle`: it gives up the privileges that
    /// a lane does not need.
    pub fn start(
        mut self,
        number: usize,
        count: usize,
        settle: fn(),
    ) -> io::Result<JoinHandle<io::Result<()>>> {
        self.lane.own.seat(number as u16, count as u16);
        std::thread::Builder::new()
            .name(format!("lane-{number}"))
            .spawn(move || {
                if count > 1 {
                    pin_to_core(number);
                }
                settle();
                self.lane.run()
            })
    }

    /// Since when it has carried nothing.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Its socket and its queue.
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.lane.udp.as_fd(), self.lane.tun.as_fd()]
    }

    /// The offloads that are off.
    pub fn tell_off(&self, now: Instant) -> Vec<ToldOff> {
        let offloads = self.lane.offloads();
        offloads.iter().filter_map(|off| off.tell(now)).collect()
    }

    /// For the agent that takes over: its drops and its peers. What cannot come along counts as dropped.
    pub fn export(&self, now: Instant, to: &mut Writer) {
        let mut drops = self.lane.drops;
        to.part(|to| {
            let waiting = self.lane.tunnel.export(now, to);
            drops.add(DropReason::HandshakeTimedOut, waiting);
        });
        drops.export(to);
    }

    /// Gives it the peers of `specs`, with the sessions and drops that [`Self::export`] wrote.
    pub fn import(
        &mut self,
        from: &mut Reader<'_>,
        specs: &[PeerSpec],
        now: Instant,
    ) -> Result<Imported, Damaged> {
        let imported = self.lane.tunnel.import(&mut from.part()?, specs, now)?;
        self.lane.drops.import(from)?;
        Ok(imported)
    }

    /// Takes over the drops of a lane that there is no more.
    pub fn import_drops_of(&mut self, from: &mut Reader<'_>) -> Result<(), Damaged> {
        from.part()?;
        self.lane.drops.import(from)
    }

    /// Gives it peers without sessions; none is dialled.
    pub fn add_peers(&mut self, specs: &[PeerSpec], now: Instant) {
        for spec in specs {
            let spec = spec.clone();
            self.lane.tunnel.add_peer(spec, now, &mut self.lane.send);
        }
    }
}

impl Lane {
    /// The end of a run: whoever asked for it gets the lane, with its sockets and sessions. Given back
    /// to go on if nobody waits for it any more.
    pub(super) fn park(mut self: Box<Self>) -> Option<Box<Self>> {
        let reply = self.parks_with.take()?;
        let since = clock::now();
        let given = reply.give(ParkedLane { lane: self, since });
        given.err().map(|refused| refused.lane)
    }
}

/// Keeps the calling thread on one of the cores it may use. A lane that cannot be pinned runs all
/// the same.
fn pin_to_core(number: usize) {
    if let Err(error) = try_to_pin(number) {
        tracing::warn!(lane = number, %error, "the lane's thread could not be pinned to a core");
    }
}

fn try_to_pin(number: usize) -> nix::Result<()> {
    let this_thread = Pid::from_raw(0);
    let allowed = sched_getaffinity(this_thread)?;
    let cores: Vec<usize> = (0..CpuSet::count())
        .filter(|core| allowed.is_set(*core) == Ok(true))
        .collect();
    let Some(core) = cores.get(number % cores.len().max(1)) else {
        return Ok(());
    };
    let mut one = CpuSet::new();
    one.set(*core)?;
    sched_setaffinity(this_thread, &one)
}
