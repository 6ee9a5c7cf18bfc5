//! The running gateway: one task that owns all control state and makes the host, the eBPF data path
//! and the lane as the configuration says.
//!
//! [`plan`] numbers sites and links, [`start`] brings everything up in the order in which
//! nothing can be lost, [`take`] takes it over from an agent that runs and [`give`] gives it up, [`apply`] changes what differs, [`links`] says which far ends answer, and
//! [`answer`] tells the command line.

mod answer;
mod apply;
pub mod election;
mod give;
mod ground;
pub mod handover;
mod health;
mod lanes;
pub mod links;
pub mod on_down;
mod parts;
mod paths;
pub mod plan;
mod record;
mod reload;
mod replicas;
mod start;
pub mod states;
mod take;
mod upgrade;
mod vrrp;

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::net::UnixStream;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use crate::config::Config;
use crate::control::ControlRequest;
use crate::control::server::SharedSocket;
use crate::datapath::{Datapath, ProgramLog};
use crate::health::probe::Probers;
use crate::health::{Health, Outcome};
use crate::host::Host;
use crate::host::tunnel_mtu::TunnelMtu;
use crate::host::watch::Watch;
use crate::ids::{IfIndex, SiteId};
use crate::io::udp::Endpoint;
use crate::lane::{Command, FromLanes};
use crate::posture::{Part, Starter, capabilities, seccomp};
use crate::service;
use crate::tunnel::heartbeat::Service;
use crate::tunnel::noise::Identity;
use crate::vrrp::status::Event as VrrpEvent;
use answer::{PendingFlows, Rates};
use crossway_sys::clock;
use crossway_sys::memory;
use lanes::Lanes;
use links::{Dial, Links};
use on_down::DownSites;
use plan::{Numbers, Plan};
use record::SharedJournal;
use replicas::Replicas;
use states::States;
use upgrade::Upgrade;
use vrrp::Vrrp;

/// How often links, rates and idle flows are looked at.
const TICK: Duration = Duration::from_secs(1);
/// How long changes of the host are gathered before they are acted on.
const HOST_SETTLES: Duration = Duration::from_millis(100);

/// All control state of a running gateway.
struct Gateway {
    path: PathBuf,
    config: Config,
    identity: Identity,
    numbers: Numbers,
    plan: Plan,
    host: Host,
    /// `None` where the fast path is off; then the kernel stack forwards everything.
    datapath: Option<Datapath>,
    lanes: Lanes,
    links: Links,
    /// What far gateways are told of this one.
    service: Service,
    /// Names of the links that carried a site's flows on a lane last.
    carriers: HashMap<(SiteId, u16), String>,
    states: States,
    /// As the tables have it.
    down: DownSites,
    journal: SharedJournal,
    health: Health,
    probers: Probers,
    vrrp: Vrrp,
    replicas: Replicas,
    tun: Tun,
    rates: Rates,
    pending_flows: Vec<PendingFlows>,
    warnings: Warnings,
    started: Instant,
    started_since_epoch: Duration,
    /// Where it is commanded and where it is taken over, for the agent that does.
    sockets: [SharedSocket; 2],
    upgrade: Upgrade,
    /// Another agent has it.
    handed_over: bool,
}

/// The tunnel device.
struct Tun {
    name: String,
    index: IfIndex,
    mtu: TunnelMtu,
}

/// What a person should look at, by where it comes from, so that each can be said anew.
#[derive(Default)]
struct Warnings {
    config: Vec<String>,
    host: Vec<String>,
    routes: Vec<String>,
    paths: Vec<String>,
    fast_path: Vec<String>,
    vrrp: Vec<String>,
    posture: Vec<String>,
}

/// What the loop waits for beside the gateway itself.
struct Inputs {
    requests: mpsc::Receiver<ControlRequest>,
    dials: mpsc::Receiver<Dial>,
    from_lanes: FromLanes,
    outcomes: mpsc::Receiver<Outcome>,
    vrrp: mpsc::UnboundedReceiver<VrrpEvent>,
    watch: Watch,
    program_log: Option<ProgramLog>,
    /// Agents that ask to take over.
    successors: mpsc::Receiver<UnixStream>,
    signals: Signals,
}

/// What the agent is told by signals.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    upgrade: Signal,
}

/// Runs a gateway until it is told to stop by SIGTERM or SIGINT, then puts the host back. It ends and
/// leaves the host as it is when another agent takes over. With `take_over` it takes over itself from an
/// agent that runs, if one does. The `starter` starts one that takes over from this, at SIGUSR2.
///
/// When the gateway forwards, all threads lose what they need no more: see [`crate::posture`].
///
/// # Errors
/// What keeps it from starting, or from going on.
pub async fn run(config: Config, path: PathBuf, take_over: bool, starter: Starter) -> Result<()> {
    let signals = Signals::receive().context("to receive signals")?;
    let running = if take_over {
        take::ask_for(&config.gateway.name)?
    } else {
        None
    };
    let (mut gateway, mut inputs) = match running {
        Some(channel) => Box::pin(take::take_over(config, path, signals, channel)).await?,
        None => Box::pin(start::start(config, path, signals)).await?,
    };
    gateway.upgrade = Upgrade::new(starter);
    gateway.settle_posture();
    memory::give_back();
    service::ready();
    let cause = format!("started with {}", gateway.path.display());
    gateway.record_run(None, "running", cause);
    let ended = gateway.serve(&mut inputs).await;
    if gateway.handed_over {
        return Ok(());
    }
    service::stopping();
    let cause = match &ended {
        Ok(signal) => format!("told to by {signal}"),
        Err(error) => format!("{error:#}"),
    };
    gateway.record_run(Some("running"), "stopping", cause);
    let stopped = gateway.stop().await;
    ended.and(stopped)
}

impl Gateway {
    /// Gives up what only the start needed. What cannot be given up is told: the gateway forwards.
    fn settle_posture(&mut self) {
        let mut warnings = Vec::new();
        if let Err(error) = capabilities::settle(Part::Control) {
            warnings.push(format!("capabilities could not be dropped: {error}"));
        }
        if self.config.gateway.seccomp
            && let Err(error) = seccomp::confine()
        {
            warnings.push(format!(
                "system calls are not filtered: {error}: it needs a kernel with CONFIG_SECCOMP_FILTER; \
                 write seccomp = false in [gateway] to do without"
            ));
        }
        if let Err(error) = std::fs::File::open(&self.path) {
            warnings.push(format!(
                "{} cannot be read again ({error}), so that a reload will be refused: {}",
                self.path.display(),
                capabilities::mend_of_file()
            ));
        }
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        self.warnings.posture = warnings;
    }

    /// The loop; returns at a signal to stop, with its name, or when the lane has failed.
    async fn serve(&mut self, inputs: &mut Inputs) -> Result<&'static str> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut host_changed: Option<tokio::time::Instant> = None;
        loop {
            let ranks_due = self
                .links
                .next_timeout()
                .map(tokio::time::Instant::from_std);
            let replicas_due = self.replicas.next_timeout();
            let replicas_due = replicas_due.map(tokio::time::Instant::from_std);
            let flows_due = self.pending_flows.first().map(PendingFlows::due);
            tokio::select! {
                _ = inputs.signals.terminate.recv() => return Ok("SIGTERM"),
                _ = inputs.signals.interrupt.recv() => return Ok("SIGINT"),
                _ = inputs.signals.hang_up.recv() => self.reload_and_log().await,
                _ = inputs.signals.upgrade.recv() => self.upgrade.begin(),
                Some(successor) = inputs.successors.recv() => {
                    self.hand_over_and_log(successor).await;
                    if self.handed_over {
                        return Ok("a successor");
                    }
                }
                Some(request) = inputs.requests.recv() => self.handle_request(request).await,
                Some(dial) = inputs.dials.recv() => self.dial(dial)?,
                Some(change) = inputs.from_lanes.changes.recv() => {
                    // All that wait: a WAN that dies takes thousands of links with it.
                    let waiting = std::iter::from_fn(|| inputs.from_lanes.changes.try_recv().ok());
                    self.on_link_changes(std::iter::once(change).chain(waiting))?;
                    self.follow_down_sites().await;
                }
                Some(told) = inputs.from_lanes.replicas.recv() => self.on_replica(&told),
                () = at(replicas_due) => self.send_to_replicas()?,
                Some(outcome) = inputs.outcomes.recv() => self.on_probed(outcome),
                Some(event) = inputs.vrrp.recv() => self.on_vrrp_event(&event)?,
                changed = inputs.watch.changed() => {
                    if changed.context("watching the host")?.links {
                        // A carrier that is lost is not waited for.
                        self.follow_wans().await?;
                        self.record_interfaces().await;
                        self.follow_down_sites().await;
                    }
                    host_changed.get_or_insert(tokio::time::Instant::now() + HOST_SETTLES);
                }
                () = at(host_changed) => {
                    host_changed = None;
                    self.on_host_changed().await;
                }
                () = at(ranks_due) => self.follow_links(clock::now())?,
                () = at(flows_due) => self.answer_pending_flows(),
                result = follow_programs(&mut inputs.program_log) => if let Err(error) = result {
                    tracing::warn!(%error, "what the eBPF programs say cannot be read any more");
                    inputs.program_log = None;
                },
                _ = tick.tick() => self.handle_tick().await?,
            }
        }
    }

    async fn handle_tick(&mut self) -> Result<()> {
        let now = clock::now();
        self.refresh_links().await?;
        self.dial_due(now)?;
        self.sweep_flows();
        self.sample_rates(now);
        self.upgrade.look();
        Ok(())
    }

    /// Asks the lanes for their state, and lets only those carry a site's flows whose links are up.
    async fn refresh_links(&mut self) -> Result<()> {
        let peers = self.lanes.refresh().await?;
        let now = clock::now();
        self.links.on_snapshot(peers, now);
        self.follow_links(now)?;
        self.follow_down_sites().await;
        Ok(())
    }

    /// Dials the links whose turn it is.
    fn dial_due(&mut self, now: Instant) -> Result<()> {
        let due = self.links.handle_timeout(now);
        due.into_iter().try_for_each(|dial| self.dial(dial))
    }

    fn dial(&mut self, dial: Dial) -> Result<()> {
        let endpoint = Endpoint::new(dial.remote);
        let Some(link) = self.links.get(dial.link) else {
            return Ok(());
        };
        let lane = link.planned.lane;
        self.lanes
            .send(lane, Command::SetEndpoint(dial.link, endpoint))
    }

    /// The clean stop: what was changed on the host is put back.
    async fn stop(mut self) -> Result<()> {
        tracing::info!("stopping; the host is put back as it was");
        let mut failures = Vec::new();
        // First: the far sites turn to the mate, the LAN too, and all goes on until they have.
        if self.vrrp.is_running()
            && let Err(error) = self.set_service(Service::Drained)
        {
            failures.push(format!("{error:#}"));
        }
        self.vrrp.stop().await;
        self.refresh().await;
        let by_programs = self.dropped_by_programs();
        if let Some(datapath) = self.datapath.take()
            && let Err(error) = datapath.detach()
        {
            failures.push(format!("{error:#}"));
        }
        // What comes from now on is the kernel's to refuse, and to count; what has come is carried.
        if let Err(error) = self.host.close_tunnel().await {
            failures.push(error.to_string());
        }
        failures.extend(self.lanes.stop());
        self.say_last_words(&by_programs);
        let in_tun = self.host.dropped_in(&self.tun.name);
        if in_tun > 0 {
            tracing::info!(
                reason = "tun-queue",
                packets = in_tun,
                "dropped while it ran"
            );
        }
        if let Err(error) = self.host.restore().await {
            failures.push(error.to_string());
        }
        if !failures.is_empty() {
            bail!(
                "the host could not be put back in full: {}",
                failures.join("; ")
            );
        }
        Ok(())
    }
}

impl Signals {
    fn receive() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }
}

/// Waits until `time`, or for ever.
async fn at(time: Option<tokio::time::Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

async fn follow_programs(log: &mut Option<ProgramLog>) -> std::io::Result<()> {
    match log {
        Some(log) => log.follow().await,
        None => std::future::pending().await,
    }
}

impl Warnings {
    fn all(&self) -> Vec<String> {
        let Self {
            config,
            host,
            routes,
            paths,
            fast_path,
            vrrp,
            posture,
        } = self;
        [config, host, routes, paths, fast_path, vrrp, posture]
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }
}
