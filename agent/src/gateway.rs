//! The running gateway: one task that owns all control state and makes the host, the eBPF data path
//! and the lanes as the configuration says.
//!
//! [`start`] brings a gateway up, or [`take`] takes it over from an agent that runs and [`give`] hands it on.
//! Then the loop waits for one thing at a time ([`inputs`]), notes what it makes due, and lets [`reconcile`] act
//! on that, in the one order in which nothing can be lost.
//!
//! [`desired`] is what is wanted: the configuration and its numbers ([`plan`]). [`forwarding`], [`host_side`] and
//! [`lan_side`] are the parts that are made so. [`links`] says which far ends answer, [`election`] which links
//! carry flows, [`on_down`] what becomes of sites that are down; [`reload`] wants something else, and
//! [`answer`] is for the command line.

mod answer;
mod denied;
mod desired;
pub mod election;
mod forwarding;
mod give;
pub mod handover;
mod history;
mod host_side;
mod inputs;
mod judge;
mod judging;
mod lan_side;
mod lanes;
pub mod links;
mod machine;
mod metrics;
pub mod names;
pub mod on_down;
mod own_packets;
mod parts;
pub mod plan;
mod preflight;
mod process;
pub mod reconcile;
mod record;
mod reload;
mod replicas;
mod services;
mod start;
pub mod states;
mod sweep;
mod take;
mod timestamps;
mod upgrade;
mod vrrp;
mod warnings;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::config::Config;
use crate::discovery::Discovery;
use crate::export::Export;
use crate::journal::Damper;
use crate::logging::Log;
use crate::metrics::Exporter;
use crate::posture::{Part, Starter, capabilities, seccomp};
use crate::systemd;
use crate::tunnel::link_bfd::LanRole;
use crate::tunnel::noise::Identity;
pub use preflight::refusals;
pub use timestamps::told_ahead;

use answer::{PendingFlows, Rates};
use crossway_sys::{clock, memory};
use desired::Desired;
use forwarding::Forwarding;
use history::KeptHistory;
use host_side::HostSide;
use inputs::{Input, Inputs, Signals, Timeouts};
use judging::Judging;
use lan_side::LanSide;
use process::Process;
use reconcile::{Agenda, Event, Step};
use record::SharedJournal;
use replicas::Replicas;
use states::States;
use sweep::{SharedRecent, Sweep};
use timestamps::Timestamps;
use upgrade::Upgrade;
use warnings::{Source, Warnings};

/// All control state of a running gateway.
struct Gateway {
    identity: Identity,
    /// What is wanted.
    desired: Desired,
    /// What is not, or may not be, as it is wanted.
    agenda: Agenda,
    forwarding: Forwarding,
    judging: Judging,
    host: HostSide,
    lan: LanSide,
    replicas: Replicas,
    /// Sites and interfaces as they were last seen.
    states: States,
    journal: SharedJournal,
    history: KeptHistory,
    damper: Damper,
    timestamps: Timestamps,
    warnings: Warnings,
    rates: Rates,
    pending_flows: Vec<PendingFlows>,
    exporter: Exporter,
    sweep: Sweep,
    finished: SharedRecent,
    export: Export,
    discovery: Discovery,
    process: Process,
}

/// Runs a gateway until it is told to stop by SIGTERM or SIGINT, then puts the host back. It ends and
/// leaves the host as it is when another agent takes over. With `take_over` it takes over itself from an
/// agent that runs, if one does. The `starter` starts one that takes over from this, at SIGUSR2. The `log` is what the
/// command line reads.
///
/// Once the gateway forwards, every thread drops the privileges that it no longer needs: see [`crate::posture`].
///
/// # Errors
/// What keeps it from starting, or from going on.
pub async fn run(
    config: Config,
    path: PathBuf,
    take_over: bool,
    starter: Starter,
    log: Log,
) -> Result<()> {
    let signals = Signals::receive().context("to receive signals")?;
    let running = if take_over {
        take::ask_for(&config.gateway.name)?
    } else {
        None
    };
    let taken = match running {
        Some(channel) => Box::pin(take::take_or_none(&config, &path, channel)).await?,
        None => None,
    };
    let (mut gateway, sockets, sources) = if let Some(taken) = taken {
        taken
    } else {
        let mut started = Box::pin(start::start(config, path)).await?;
        started.0.find_flow_account();
        started.0.history.go_on(false);
        started
    };
    gateway.process.log = log;
    let mut inputs = gateway.listen(sockets, sources, signals)?;
    gateway.process.upgrade = Upgrade::new(starter);
    gateway.open_metrics();
    gateway.configure_discovery();
    gateway.settle_posture();
    memory::give_back();
    systemd::ready();
    let cause = format!("started with {}", gateway.process.path.display());
    gateway.record_run(None, "running", cause);
    let ended = gateway.serve(&mut inputs).await;
    if gateway.process.handed_over {
        gateway.export.finish();
        gateway.discovery.finish();
        return Ok(());
    }
    systemd::stopping();
    let cause = match &ended {
        Ok(signal) => format!("told to by {signal}"),
        Err(error) => format!("{error:#}"),
    };
    gateway.record_run(Some("running"), "stopping", cause);
    let stopped = Box::pin(gateway.stop()).await;
    ended.and(stopped)
}

impl Gateway {
    /// Drops the privileges that only the start needed. What cannot be dropped is a warning: the gateway forwards.
    fn settle_posture(&mut self) {
        let path = &self.process.path;
        let mut warnings = Vec::new();
        if let Err(error) = capabilities::settle(Part::Control) {
            warnings.push(format!("capabilities could not be dropped: {error}"));
        }
        if self.desired.config.gateway.seccomp
            && let Err(error) = seccomp::confine()
        {
            warnings.push(format!(
                "system calls are not filtered: {error}: it needs a kernel with CONFIG_SECCOMP_FILTER; \
                 write seccomp = false in [gateway] to do without"
            ));
        }
        if let Err(error) = std::fs::File::open(path) {
            warnings.push(format!(
                "{} cannot be read again ({error}), so that a reload will be refused: {}",
                path.display(),
                capabilities::mend_of_file()
            ));
        }
        self.warnings.replace(Source::Posture, warnings);
    }

    /// The loop; returns at a signal to stop, with its name, or when a lane has failed.
    async fn serve(&mut self, inputs: &mut Inputs) -> Result<&'static str> {
        loop {
            let input = inputs.next(self.timeouts()).await?;
            let now = clock::now();
            let looks_at_host = matches!(input, Input::HostSettled);
            let looks_at_firewall = matches!(input, Input::FirewallSettled);
            if let ControlFlow::Break(why) = self.handle_input(input, now).await {
                return Ok(why);
            }
            self.reconcile(now).await;
            if looks_at_host {
                inputs.on_host_followed(now, clock::now());
            }
            if looks_at_firewall {
                inputs.on_firewall_followed(now, clock::now());
            }
            self.forwarding.lanes.ended()?;
        }
    }

    fn timeouts(&self) -> Timeouts {
        Timeouts {
            links: self.forwarding.links.next_timeout(),
            replicas: self.replicas.next_timeout(),
            flows: self.flows_due(),
        }
    }

    /// Takes in what has happened and notes what it makes due. Breaks with the reason to end.
    async fn handle_input(&mut self, input: Input, now: Instant) -> ControlFlow<&'static str> {
        match input {
            Input::Stop(signal) => return ControlFlow::Break(signal),
            Input::Reload => self.reload_and_log(now).await,
            Input::Upgrade => self.process.upgrade.begin(),
            Input::Successor(successor) => {
                self.hand_over_and_log(successor, now).await;
                if self.process.handed_over {
                    return ControlFlow::Break("a successor");
                }
            }
            Input::Request(request) => self.handle_request(request, now).await,
            Input::Names(answers) => {
                self.on_names(answers, now);
                self.guard_moved(now).await;
            }
            Input::LinkChanges(changes) => {
                self.forwarding.on_link_changes(changes, now);
                self.mark(Event::LinksChanged);
            }
            Input::Replica(from) => {
                let (forwarding, plan) = (&mut self.forwarding, &self.desired.plan);
                self.replicas.on_datagram(&from, forwarding, plan);
            }
            Input::Refused(refused) => self.on_all_refused(&refused, now),
            Input::Probed(outcome) => {
                let dirty = self.change_health(|health| health.on_outcome(outcome, now));
                self.agenda.mark(dirty);
            }
            Input::VirtualRouter(event) => {
                self.record(vrrp::change(&event));
                self.mark(Event::LanChanged);
            }
            Input::ServicesOrdered(ordered) => self.on_services_ordered(ordered),
            Input::Reading(reply) => self.answer_reading(reply, now).await,
            Input::Fate(fate) => self.on_fate(fate),
            Input::InterfaceChanged => self.mark(Event::InterfaceChanged),
            Input::HostSettled => {
                self.forwarding.links.ask_about_sources();
                self.mark(Event::HostSettled);
            }
            Input::FirewallSettled => {
                self.host.on_firewall_changed();
                self.look_at_firewall().await;
            }
            Input::LinksDue => self.mark(Event::LinksDue),
            Input::ReplicasDue => self.replicas.send_due(&mut self.forwarding, now),
            Input::FlowsDue => self.answer_pending_flows(now),
            Input::Tick => self.handle_tick(now).await,
        }
        ControlFlow::Continue(())
    }

    async fn handle_tick(&mut self, now: Instant) {
        self.look_at_links(now).await;
        self.record_suppressed(now);
        self.timestamps.follow(now);
        self.follow_names(now);
        self.guard_moved(now).await;
        self.mark(Event::Tick);
        self.look_at_judges(now);
        if self.host.judges_otherwise(&self.desired) {
            self.agenda.mark(Step::InterfaceRoles.into());
        }
        let looks = self.host.is_look_due();
        if looks {
            self.look_at_firewall().await;
        }
        self.sweep_flows(now);
        let (forwarding, plan) = (&self.forwarding, &self.desired.plan);
        self.rates.sample(forwarding, plan, now);
        self.follow_history(now);
        self.process.upgrade.look();
        self.open_metrics();
        self.host.set_endpoints(self.forwarding.links.endpoints());
        if looks && self.host.kernel.has_drifted() {
            self.mark(Event::HostSettled);
        }
    }

    /// Warns of what the host's firewall would drop, and tells the programs whether it translates addresses.
    async fn look_at_firewall(&mut self) {
        let fast_path = self.forwarding.datapath.is_some();
        let config = &self.desired.config;
        let looked = match self.host.look_at_firewall(config, fast_path).await {
            Ok((warnings, nat_changed)) => {
                self.warnings.replace(Source::Firewall, warnings);
                nat_changed
            }
            Err(error) => {
                tracing::debug!("{error:#}");
                false
            }
        };
        if looked
            && let Ok(around) = self.host.surroundings(&self.desired.config).await
            && let Err(error) = self.forwarding.set_surroundings(around)
        {
            tracing::warn!("{error:#}");
        }
    }

    /// Asks the lanes for their state. A lane that has ended is noticed at the end of the turn.
    async fn look_at_links(&mut self, now: Instant) {
        if let Err(error) = self.forwarding.look_at_links(now).await {
            tracing::debug!("{error:#}");
        }
        self.warn_of_dropped();
        self.mark(Event::LinksDue);
    }

    /// Warns of endpoints whose datagrams came out of the tunnel, as far as the guard does not warn of them already.
    fn warn_of_dropped(&mut self) {
        let swallowed = self.forwarding.swallowed();
        self.warnings.replace(Source::Swallowed, swallowed);
    }

    /// The clean stop: what was changed on the host is put back.
    async fn stop(mut self) -> Result<()> {
        tracing::info!("stopping; the host is put back as it was");
        let mut failures = Vec::new();
        // First: the far sites turn to the mate, the LAN too, and all goes on until they have.
        if self.lan.vrrp.is_running()
            && let Err(error) = self.forwarding.tell_service(LanRole::Drained)
        {
            failures.push(format!("{error:#}"));
        }
        self.lan.vrrp.stop().await;
        // For the last words.
        self.look_at_links(clock::now()).await;
        let by_programs = self.forwarding.dropped_by_programs();
        if let Err(error) = self.judge_in_lanes(clock::now()) {
            failures.push(format!("{error:#}"));
        }
        if let Err(error) = self.forwarding.stop_counting() {
            failures.push(format!("{error:#}"));
        }
        self.finish_flows();
        if let Err(error) = self.forwarding.detach() {
            failures.push(format!("{error:#}"));
        }
        // What comes from now on is the kernel's to refuse, and to count; what has come is carried.
        if let Err(error) = self.host.kernel.close_tunnel().await {
            failures.push(error.to_string());
        }
        failures.extend(self.forwarding.lanes.stop());
        self.say_last_words(&by_programs);
        failures.extend(self.remember_names());
        self.timestamps.write(clock::now());
        self.history.write();
        let in_tun = self.host.kernel.dropped_in(&self.host.tun.name);
        if in_tun > 0 {
            tracing::info!(
                reason = "tun-queue",
                packets = in_tun,
                "dropped while it ran"
            );
        }
        match self.host.kernel.restore().await {
            Ok(report) => failures.extend(report.failures),
            Err(error) => failures.push(error.to_string()),
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
