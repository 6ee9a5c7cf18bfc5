//! What a running gateway waits for, one thing at a time.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::net::UnixStream;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep_until};

use super::machine::{Fate, Machine};
use super::names::Answer;
use crate::control::ControlRequest;
use crate::datapath::{ProgramLog, RefusedPackets};
use crate::discovery::Ordered;
use crate::health::Outcome;
use crate::host::firewall::notes::Notes;
use crate::host::watch::Watch;
use crate::lane::{FromLanes, FromReplica};
use crate::metrics::Reading;
use crate::tunnel::LinkChange;
use crate::vrrp::status::Event as VrrpEvent;
use crossway_lane::policy::Refused;

/// How often links, rates and idle flows are looked at.
const TICK: Duration = Duration::from_secs(1);
/// How long changes of the host, or of its firewall, are gathered before they are acted on.
const SETTLES: Duration = Duration::from_millis(100);
/// Where a look at the host takes long, as with a million routes, the next is at least this many times as long away:
/// following changes costs a twentieth of a core.
const PAUSE_BEHIND_LOOK: u32 = 19;
/// But no change waits longer than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Where everything comes from.
pub(super) struct Inputs {
    pub(super) requests: mpsc::Receiver<ControlRequest>,
    pub(super) names: mpsc::UnboundedReceiver<Answer>,
    pub(super) from_lanes: FromLanes,
    pub(super) outcomes: mpsc::Receiver<Outcome>,
    pub(super) vrrp: mpsc::UnboundedReceiver<VrrpEvent>,
    /// What became of orders about services.
    pub(super) services: mpsc::UnboundedReceiver<Ordered>,
    /// Who waits for a reading of the metrics.
    pub(super) readings: mpsc::Receiver<oneshot::Sender<Reading>>,
    pub(super) watch: Watch,
    pub(super) firewall: Notes,
    pub(super) machine: Machine,
    pub(super) program_log: Option<ProgramLog>,
    /// Packets that the programs have denied.
    pub(super) refused: Option<RefusedPackets>,
    /// Agents that ask to take over.
    pub(super) successors: mpsc::Receiver<UnixStream>,
    pub(super) signals: Signals,
    pub(super) timers: Timers,
}

/// Signals that the agent handles.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    upgrade: Signal,
}

/// What the clock alone brings.
pub(super) struct Timers {
    tick: Interval,
    host: Settling,
    firewall: Settling,
}

/// When something that changes in bursts is looked at.
#[derive(Clone, Copy, Debug, Default)]
struct Settling {
    /// When it counts as settled, if it has changed.
    settled: Option<Instant>,
    /// When it may be looked at again at the soonest.
    next_look: Option<Instant>,
}

/// When the gateway itself wants to be woken.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timeouts {
    pub(super) links: Option<Instant>,
    pub(super) replicas: Option<Instant>,
    pub(super) flows: Option<Instant>,
}

/// One thing that has happened.
pub(super) enum Input {
    /// A signal to stop, by its name.
    Stop(&'static str),
    Reload,
    Upgrade,
    Successor(UnixStream),
    Request(ControlRequest),
    /// What names lead to.
    Names(Vec<Answer>),
    LinkChanges(Vec<LinkChange>),
    Replica(FromReplica),
    /// Packets that were denied.
    Refused(Vec<Refused>),
    Probed(Outcome),
    VirtualRouter(VrrpEvent),
    ServicesOrdered(Ordered),
    /// A reading of the metrics is wanted.
    Reading(oneshot::Sender<Reading>),
    Fate(Fate),
    InterfaceChanged,
    HostSettled,
    FirewallSettled,
    LinksDue,
    ReplicasDue,
    FlowsDue,
    Tick,
}

impl Signals {
    pub(super) fn receive() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }
}

impl Timers {
    pub(super) fn new() -> Self {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            tick,
            host: Settling::default(),
            firewall: Settling::default(),
        }
    }
}

impl Inputs {
    /// Waits for the next thing to happen.
    ///
    /// # Errors
    /// The host cannot be watched any more.
    pub(super) async fn next(&mut self, due: Timeouts) -> Result<Input> {
        loop {
            let changed = tokio::select! {
                _ = self.signals.terminate.recv() => return Ok(Input::Stop("SIGTERM")),
                _ = self.signals.interrupt.recv() => return Ok(Input::Stop("SIGINT")),
                _ = self.signals.hang_up.recv() => return Ok(Input::Reload),
                _ = self.signals.upgrade.recv() => return Ok(Input::Upgrade),
                Some(successor) = self.successors.recv() => return Ok(Input::Successor(successor)),
                Some(request) = self.requests.recv() => return Ok(Input::Request(request)),
                Some(answer) = self.names.recv() => {
                    // All that wait: a name server that comes back answers for thousands.
                    let waiting = std::iter::from_fn(|| self.names.try_recv().ok());
                    return Ok(Input::Names(std::iter::once(answer).chain(waiting).collect()));
                }
                Some(change) = self.from_lanes.changes.recv() => {
                    // All that wait: a WAN that dies takes thousands of links with it.
                    let waiting = std::iter::from_fn(|| self.from_lanes.changes.try_recv().ok());
                    return Ok(Input::LinkChanges(std::iter::once(change).chain(waiting).collect()));
                }
                Some(from) = self.from_lanes.replicas.recv() => return Ok(Input::Replica(from)),
                Some(first) = self.from_lanes.refused.recv() => {
                    let waiting = std::iter::from_fn(|| self.from_lanes.refused.try_recv().ok());
                    return Ok(Input::Refused(std::iter::once(first).chain(waiting).collect()));
                }
                Some(outcome) = self.outcomes.recv() => return Ok(Input::Probed(outcome)),
                Some(event) = self.vrrp.recv() => return Ok(Input::VirtualRouter(event)),
                Some(ordered) = self.services.recv() => return Ok(Input::ServicesOrdered(ordered)),
                Some(reply) = self.readings.recv() => return Ok(Input::Reading(reply)),
                fate = self.machine.changed() => return Ok(Input::Fate(fate)),
                changed = self.watch.changed() => changed.context("watching the host")?,
                () = at(self.timers.host.settled) => {
                    self.timers.host.settled = None;
                    return Ok(Input::HostSettled);
                }
                // While a look is due, more notes tell nothing.
                () = self.firewall.changed(), if self.timers.firewall.settled.is_none() => {
                    self.timers.firewall.on_changed(tokio::time::Instant::now().into_std());
                    continue;
                }
                () = at(self.timers.firewall.settled) => {
                    self.timers.firewall.settled = None;
                    return Ok(Input::FirewallSettled);
                }
                () = at(due.links) => return Ok(Input::LinksDue),
                () = at(due.replicas) => return Ok(Input::ReplicasDue),
                () = at(due.flows) => return Ok(Input::FlowsDue),
                refused = refused_by_programs(&mut self.refused) => return Ok(Input::Refused(refused)),
                () = follow_programs(&mut self.program_log) => continue,
                _ = self.timers.tick.tick() => return Ok(Input::Tick),
            };
            self.timers
                .host
                .on_changed(tokio::time::Instant::now().into_std());
            if changed.links {
                return Ok(Input::InterfaceChanged);
            }
        }
    }
}

impl Inputs {
    /// The host has been looked at, from `start` to `end`.
    pub(super) fn on_host_followed(&mut self, start: Instant, end: Instant) {
        self.timers.host.on_looked(start, end);
    }

    /// The host's firewall has been looked at, from `start` to `end`.
    pub(super) fn on_firewall_followed(&mut self, start: Instant, end: Instant) {
        self.timers.firewall.on_looked(start, end);
    }
}

impl Settling {
    fn on_changed(&mut self, now: Instant) {
        let settled = now + SETTLES;
        let settled = self.next_look.map_or(settled, |next| next.max(settled));
        self.settled.get_or_insert(settled);
    }

    fn on_looked(&mut self, start: Instant, end: Instant) {
        let took = end.saturating_duration_since(start);
        let pause = (took * PAUSE_BEHIND_LOOK).min(LONGEST_PAUSE);
        self.next_look = Some(end + pause);
    }
}

/// Waits until `time`, or for ever.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

/// Waits for packets that the eBPF programs have denied.
async fn refused_by_programs(packets: &mut Option<RefusedPackets>) -> Vec<Refused> {
    let mut refused = Vec::new();
    let Some(programs) = packets else {
        return std::future::pending().await;
    };
    let take = |packet: &datapath_abi::policy::Refused| {
        let kept = packet.kept as usize;
        refused.push(Refused::new(
            packet.head.get(..kept).unwrap_or(&packet.head),
        ));
    };
    if let Err(error) = programs.next(take).await {
        tracing::warn!(%error, "denied packets of the eBPF programs are not answered any more");
        *packets = None;
    }
    refused
}

/// Logs what the eBPF programs have said since the last look; nothing else depends on it.
async fn follow_programs(log: &mut Option<ProgramLog>) {
    let Some(programs) = log else {
        return std::future::pending().await;
    };
    if let Err(error) = programs.follow().await {
        tracing::warn!(%error, "what the eBPF programs say cannot be read any more");
        *log = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_storm_of_changes_costs_a_twentieth_of_a_core_and_one_change_waits_for_no_other() {
        let start = tokio::time::Instant::now().into_std();
        let mut settling = Settling::default();
        settling.on_changed(start);
        assert_eq!(settling.settled, Some(start + SETTLES));
        // Others that come meanwhile put it off no further.
        settling.on_changed(start + ms(90));
        assert_eq!(settling.settled.take(), Some(start + SETTLES));
        // A look of 50 ms: the next is a second later, however many changes come.
        let end = start + SETTLES + ms(50);
        settling.on_looked(start + SETTLES, end);
        settling.on_changed(end + ms(1));
        assert_eq!(settling.settled.take(), Some(end + ms(950)));
        // One that takes seconds is not waited for beyond reason.
        settling.on_looked(end, end + ms(5000));
        settling.on_changed(end + ms(5000));
        assert_eq!(settling.settled, Some(end + ms(5000) + LONGEST_PAUSE));
    }
}
