//! The lanes of a running gateway: their threads, their commands, their state.

mod parked;

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use datapath_abi::outcome::{DropReason, Tally};

use super::judging::LanePolicy;
use crate::clock;
use crate::io::offload::Offload;
use crate::io::tun::TunQueue;
use crate::io::udp::UdpSocket;
use crate::lane::{
    Command, EmptyLane, LaneGone, LaneHandle, LaneSnapshot, ParkedLane, Swallowed, ToControl,
};
use crate::routes::RouteTable;
use crate::tunnel::PeerSnapshot;
use crate::tunnel::initiations::Initiations;
use crate::tunnel::noise::Identity;
use crossway_lane::policy::Ruling;
use crossway_lane::ticket::{Missed, Ticket, ticket};
use crossway_sys::bpf_link::Attached;
use crossway_types::marks::DscpModel;
pub(super) use parked::Parked;
use parked::Thread;

/// How long a lane may take to stop: some batches.
const PARK_LIMIT: Duration = Duration::from_secs(1);

/// All lanes; there is at least one.
pub(super) struct Lanes {
    /// Name of the device whose queues they own, for messages.
    tun: String,
    running: Vec<Running>,
    /// Why a lane has ended, once one has.
    ended: Option<String>,
}

struct Running {
    handle: LaneHandle,
    thread: Thread,
    state: Option<LaneSnapshot>,
}

/// What new lanes are held to.
#[derive(Clone)]
pub(super) struct HeldTo {
    pub(super) mtu: u16,
    pub(super) dscp: DscpModel,
    /// Timestamps of handshakes are not before this.
    pub(super) calendar_begins: Duration,
    /// From their first packet on.
    pub(super) policy: LanePolicy,
}

impl Lanes {
    /// Starts a lane on each pair of a queue of `tun` and a socket, in the order of their ports.
    pub(super) fn start(
        tun: &str,
        pairs: Vec<(TunQueue, UdpSocket)>,
        identity: &Identity,
        held_to: HeldTo,
        to_control: &ToControl,
    ) -> Result<Self> {
        let HeldTo {
            mtu,
            dscp,
            calendar_begins,
            policy,
        } = held_to;
        let initiations = Arc::<Initiations>::default();
        let made = pairs.into_iter().map(|(tun, udp)| {
            let (identity, to_control) = (identity.clone(), to_control.clone());
            let initiations = Arc::clone(&initiations);
            let mut lane = EmptyLane::new(identity, initiations, mtu.into(), to_control);
            lane.set_dscp(dscp);
            lane.begin_calendar(calendar_begins);
            lane.set_policy(Arc::clone(&policy.flows), Arc::clone(&policy.ruling));
            lane.on(tun, udp).context("to make a lane")
        });
        Self::run(tun, made.collect::<Result<_>>()?)
    }

    /// Starts lanes that are made already.
    pub(super) fn run(tun: &str, made: Vec<(ParkedLane, LaneHandle)>) -> Result<Self> {
        let mut parked = Parked::none_of(made.len());
        let running = made
            .into_iter()
            .enumerate()
            .map(|(number, (lane, handle))| {
                let thread = Thread::default();
                parked.put(number, lane, &thread);
                Running {
                    handle,
                    thread,
                    state: None,
                }
            });
        let lanes = Self {
            tun: tun.to_owned(),
            running: running.collect(),
            ended: None,
        };
        parked.resume()?;
        Ok(lanes)
    }

    /// Stops every lane and gives all of them out, or none: then they go on.
    pub(super) fn park(&mut self) -> Result<Parked> {
        let asked = self.running.iter().map(|running| {
            let (ticket, asked) = ticket();
            let sent = running.handle.send(Command::Park(asked));
            (ticket, sent)
        });
        let asked: Vec<(Ticket<ParkedLane>, Result<(), LaneGone>)> = asked.collect();
        let deadline = clock::now() + PARK_LIMIT;
        let mut parked = Parked::none_of(self.running.len());
        let (mut late, mut gone) = (Vec::new(), None);
        for (number, (ticket, sent)) in asked.into_iter().enumerate() {
            match (ticket.take_by(deadline), sent) {
                (Ok(lane), _) => parked.put(number, lane, &self.running[number].thread),
                (Err(Missed::Late), Ok(())) => late.push(number.to_string()),
                (Err(_), _) => gone = Some(number),
            }
        }
        if late.is_empty() && gone.is_none() {
            return Ok(parked);
        }
        parked.resume()?;
        if let Some(gone) = gone {
            return Err(self.failure(gone));
        }
        let word = if late.len() > 1 { "lanes" } else { "lane" };
        bail!(
            "{word} {} did not stop within {PARK_LIMIT:?}",
            late.join(", ")
        )
    }

    /// How many there are.
    pub(super) fn count(&self) -> u16 {
        self.running.len() as u16
    }

    /// Hands a command to one lane.
    pub(super) fn send(&mut self, lane: u16, command: Command) -> Result<()> {
        let sent = match self.running.get(usize::from(lane)) {
            Some(running) => running.handle.send(command),
            None => Err(LaneGone),
        };
        sent.map_err(|LaneGone| self.failure(usize::from(lane)))
    }

    /// Holds TCP to the size of the largest inner packet.
    pub(super) fn set_mtu(&mut self, mtu: u16) -> Result<()> {
        (0..self.count()).try_for_each(|lane| self.send(lane, Command::SetMtu(mtu.into())))
    }

    /// Has all of them show the classes of inner packets outside, or not.
    pub(super) fn set_dscp(&mut self, dscp: DscpModel) -> Result<()> {
        (0..self.count()).try_for_each(|lane| self.send(lane, Command::SetDscp(dscp)))
    }

    /// Has every lane begin its sessions anew: this machine is a copy.
    pub(super) fn forget_sending_keys(&mut self) -> Result<()> {
        (0..self.count()).try_for_each(|lane| self.send(lane, Command::ForgetSendingKeys))
    }

    /// Has every lane judge by these rules, and frees the old ones here.
    pub(super) async fn set_ruling(&mut self, ruling: &Arc<Ruling>) -> Result<()> {
        for lane in 0..self.running.len() {
            let handle = &self.running[lane].handle;
            let taken = handle.set_ruling(Arc::clone(ruling)).await;
            taken.map_err(|LaneGone| self.failure(lane))?;
        }
        Ok(())
    }

    /// Has every lane leave judging to these programs, or else judge itself.
    pub(super) fn set_programs(&mut self, programs: Option<&Attached>) -> Result<()> {
        for lane in 0..self.count() {
            let programs = programs.map(Attached::try_clone).transpose();
            let programs = programs.context("to have lanes look at the programs")?;
            self.send(lane, Command::SetPrograms(programs))?;
        }
        Ok(())
    }

    /// Replaces the routes of every lane, which share one table, and frees the old one here.
    pub(super) async fn set_routes(&mut self, routes: Arc<RouteTable>) -> Result<()> {
        for lane in 0..self.running.len() {
            let taken = self.running[lane]
                .handle
                .set_routes(Arc::clone(&routes))
                .await;
            taken.map_err(|LaneGone| self.failure(lane))?;
        }
        Ok(())
    }

    /// Asks every lane for its state now; the peers of all.
    pub(super) async fn refresh(&mut self) -> Result<Vec<PeerSnapshot>> {
        let mut peers = Vec::new();
        for lane in 0..self.running.len() {
            let taken = self.running[lane].handle.snapshot().await;
            let snapshot = taken.map_err(|LaneGone| self.failure(lane))?;
            peers.extend_from_slice(&snapshot.peers);
            self.running[lane].state = Some(snapshot);
        }
        Ok(peers)
    }

    /// What all lanes dropped for a reason, as of the last refresh.
    pub(super) fn drops(&self, reason: DropReason) -> Tally {
        let states = self
            .running
            .iter()
            .filter_map(|running| running.state.as_ref());
        states
            .map(|state| state.drops[reason.index() as usize])
            .sum()
    }

    /// Endpoints that the host's routes lead to through the tunnel, as of the last refresh.
    pub(super) fn swallowed(&self) -> impl Iterator<Item = &Swallowed> {
        let states = self.running.iter().filter_map(|lane| lane.state.as_ref());
        states.flat_map(|state| &state.swallowed)
    }

    /// Every offload with its lane, as of the last refresh.
    pub(super) fn offloads(&self) -> impl Iterator<Item = (usize, &Offload)> {
        self.running.iter().enumerate().flat_map(|(lane, running)| {
            let offloads = running.state.iter().flat_map(|state| &state.offloads);
            offloads.map(move |offload| (lane, offload))
        })
    }

    /// Time that each lane has worked, as of the last refresh.
    pub(super) fn busy(&self) -> impl Iterator<Item = Duration> {
        let states = self.running.iter().map(|lane| lane.state.as_ref());
        states.map(|state| state.map_or(Duration::ZERO, |state| state.busy))
    }

    /// Ends every lane once it has carried what waits for it, and waits for the threads; what went wrong in them.
    /// What they dropped is known to the last packet then.
    pub(super) fn stop(&mut self) -> Vec<String> {
        let asked = self.running.iter().map(|running| {
            let (told, drops) = channel();
            // One that ended on its own needs no telling.
            let _ = running.handle.send(Command::Stop(told));
            drops
        });
        let asked: Vec<_> = asked.collect();
        for (drops, running) in asked.into_iter().zip(&mut self.running) {
            if let Ok(drops) = drops.recv_timeout(PARK_LIMIT)
                && let Some(state) = &mut running.state
            {
                state.drops = drops.tallies();
            }
        }
        let ended = self
            .running
            .iter()
            .filter_map(|running| running.thread.take());
        ended
            .filter_map(|thread| match thread.join() {
                Ok(Err(error)) => Some(format!("lane: {error}")),
                _ => None,
            })
            .collect()
    }

    /// Whether every lane runs, as far as it was noticed.
    ///
    /// # Errors
    /// Why one does not.
    pub(super) fn ended(&self) -> Result<()> {
        match &self.ended {
            Some(why) => Err(anyhow!("{why}")),
            None => Ok(()),
        }
    }

    /// Why a lane has ended that takes no commands any more.
    fn failure(&mut self, lane: usize) -> anyhow::Error {
        let thread = self
            .running
            .get(lane)
            .and_then(|running| running.thread.take());
        let why = match thread.map(JoinHandle::join) {
            Some(Ok(Err(error))) => format!(
                "lane {lane} ended: its TUN {} or its socket failed (was the device deleted?): {error}",
                self.tun
            ),
            Some(Err(_)) => format!("the thread of lane {lane} panicked"),
            _ => format!("lane {lane} has ended"),
        };
        anyhow!("{}", self.ended.get_or_insert(why))
    }
}

#[cfg(test)]
mod tests;
