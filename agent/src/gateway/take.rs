//! Taking over from the agent that runs; see [`crate::handover`] for the order of what is said.

mod new_lanes;
mod received;

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use self::new_lanes::NewLanes;
use self::received::Received;
use super::Gateway;
use super::desired::Desired;
use super::handover::{Answer, Ask, GatewayExport, Offer, Word};
use super::host_side::Tun;
use super::judging::LanePolicy;
use super::lanes::{HeldTo, Lanes};
use super::links::LinkExport;
use super::parts::{Parts, Sockets, Sources};
use super::plan::Numbers;
use super::preflight::Preflight;
use super::reconcile::Event;
use super::start::{lanes_to_run, load_datapath, without_fast_path};
use super::timestamps::start_of_calendars;
use super::warnings::{Source, Warnings};
use crate::config::Config;
use crate::control::message::LinkState;
use crate::control::socket_path;
use crate::datapath::{Datapath, Holder, Prepared, TcAttach};
use crate::handover::priority::Priority;
use crate::handover::socket::Channel;
use crate::handover::{self, STATE_VERSION};
use crate::lane::ToControl;
use crossway_sys::{clock, memory, netns};

/// How long the running agent may take to answer: it may be reloading.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// How long an agent that is killed takes to end.
const ENDS_WITHIN: Duration = Duration::from_millis(500);
/// How long it may take to send its lanes.
const SEND_LIMIT: Duration = Duration::from_secs(2);

/// A connection with the agent that runs the gateway; `None` if none does.
pub(super) fn ask_for(gateway: &str) -> Result<Option<Channel>> {
    let path = handover::socket_path(gateway);
    match UnixStream::connect(&path) {
        Ok(stream) => Ok(Some(Channel::new(stream)?)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error).with_context(|| {
            format!(
                "{}: to take over, be the same user as the running agent",
                path.display()
            )
        }),
    }
}

/// As [`take_over`]; `None` where the running agent has ended meanwhile, so that nobody runs the gateway and this one
/// is to start it, as after a kill.
pub(super) async fn take_or_none(
    config: &Config,
    path: &Path,
    channel: Channel,
) -> Result<Option<(Gateway, Sockets, Sources)>> {
    match Box::pin(take_over(config.clone(), path.to_owned(), channel)).await {
        Ok(taken) => Ok(Some(taken)),
        Err(error) if has_ended(&config.gateway.name).await => {
            tracing::warn!("{error:#}: the agent that ran has ended, this one starts in its place");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Whether the agent that ran is no more. Its sockets are closed a moment after the connection with us.
async fn has_ended(gateway: &str) -> bool {
    let socket = socket_path(gateway);
    let deadline = clock::now() + ENDS_WITHIN;
    loop {
        if UnixStream::connect(&socket).is_err() {
            return true;
        }
        if clock::now() >= deadline {
            return false;
        }
        tokio::time::sleep(ENDS_WITHIN / 10).await;
    }
}

/// Takes the gateway over. Until the lanes are taken, an error leaves the running agent as it was.
pub(super) async fn take_over(
    config: Config,
    path: PathBuf,
    mut channel: Channel,
) -> Result<(Gateway, Sockets, Sources)> {
    ensure!(
        channel.is_ours()?,
        "the running agent is another user's: to take over, be the same"
    );
    let patient = Priority::patient();
    let Preflight {
        identity,
        mut host,
        watch,
        mtu,
    } = Preflight::look(&config).await?;
    let mut warnings = Warnings::default();
    let prepared = prepare(&config, &mut warnings);
    let count = lanes_to_run(&config, config.gateway.fast_path, &mut warnings);
    memory::give_back();

    let offer = ask(&mut channel)?;
    let before = numbers_of(&offer);
    let desired = Desired::new(config, before.clone(), count);
    let (to_control, from_lanes) = ToControl::new();
    let policy = LanePolicy::new(&desired.config.policy);
    let held_to = HeldTo {
        mtu: mtu.mtu,
        dscp: desired.config.gateway.dscp,
        calendar_begins: start_of_calendars(&desired.config.gateway.name),
        policy: policy.clone(),
    };
    let new_lanes = NewLanes::of(&desired, count, &identity, &held_to, &to_control)?;
    if let Some(prepared) = &prepared {
        policy.learn_before(prepared, clock::now());
    }
    drop(patient);
    let mut taken = Taken::take(&mut channel, new_lanes, &desired.config, count)?;

    let export: GatewayExport = channel.receive().unwrap_or_else(|error| {
        tracing::warn!(%error, "the agent before did not send the links' states");
        GatewayExport::default()
    });
    let config = &desired.config;
    let sockets = taken.received.sockets(config)?;
    host.take_over()?;
    host.keep_virtual_macs();
    let mut datapath = finish(prepared, config, &mut warnings, &export);
    if let Some(datapath) = &mut datapath {
        // Those that have come since; the lanes judge until it is known that the programs do.
        policy.learn_from(datapath, clock::now());
    }
    let name = config.gateway.tun_name();
    let index = host.interface(&name).await?.index;
    let parts = Parts {
        tun: Tun { name, index, mtu },
        desired,
        path,
        identity,
        host,
        datapath,
        lanes: taken.lanes,
        policy,
        warnings,
    };
    let now = clock::now();
    let (mut gateway, sources) = parts.assemble(sockets.share()?, from_lanes, watch, now);
    gateway.forwarding.continue_counting(&before);
    gateway.forwarding.spread_by_another(taken.queue);
    gateway.continue_from(export, now).await;
    gateway.take_over_metrics(taken.received.metrics());
    // What fails is a warning: what the agent before has set up is there and works.
    gateway.mark(Event::TakenOver);
    gateway.reconcile(now).await;
    Ok((gateway, sockets, sources))
}

/// The lanes are ours, and run.
struct Taken {
    lanes: Lanes,
    received: Received,
    /// The first queue of the TUN.
    queue: OwnedFd,
}

impl Taken {
    /// Has the running agent stop its lanes, and starts ours in their place.
    fn take(
        channel: &mut Channel,
        new_lanes: NewLanes,
        config: &Config,
        count: u16,
    ) -> Result<Self> {
        let urgent = Priority::urgent();
        channel.patience(SEND_LIMIT)?;
        channel.send(&Word::Go)?;
        let mut received = Received::receive(channel)?;
        let at = clock::now();
        let pairs = received.pairs(config, count)?;
        let queue = pairs.first().map(|(queue, _)| queue.try_clone());
        let queue = queue.context("a gateway has a lane")??;
        let (made, imported) = new_lanes.make(pairs, &received)?;
        let filled = clock::now();
        channel
            .send(&Word::Taken)
            .context("the running agent goes on by itself")?;
        // The point of no return. If this agent ends now, the next start takes over as after a kill.
        // Its threads are as urgent as any other's.
        drop(urgent);
        let lanes = Lanes::run(&config.gateway.tun_name(), made)?;
        received.log_gap(at, filled, &imported);
        received.forget_state();
        Ok(Self {
            lanes,
            received,
            queue,
        })
    }
}

/// Loads the programs as far as that is possible beside the running agent.
fn prepare(config: &Config, warnings: &mut Warnings) -> Option<Prepared> {
    let gateway = &config.gateway;
    if !gateway.fast_path {
        return None;
    }
    Prepared::load_for(&gateway.name, TcAttach::Auto, gateway.flows).unwrap_or_else(|error| {
        warnings.replace(Source::FastPath, vec![without_fast_path(&error)]);
        None
    })
}

/// The fast path, with the maps of the agent before; those of another version are replaced.
fn finish(
    prepared: Option<Prepared>,
    config: &Config,
    warnings: &mut Warnings,
    export: &GatewayExport,
) -> Option<Datapath> {
    let Some(prepared) = prepared else {
        return load_datapath(config, Holder::Successor, warnings).unwrap_or_else(|error| {
            warnings.replace(Source::FastPath, vec![without_fast_path(&error)]);
            None
        });
    };
    match prepared.finish() {
        Ok(mut datapath) => {
            if let Some(account) = &export.flows {
                datapath.flows.set_account(account.clone());
            }
            Some(datapath)
        }
        Err(error) => {
            warnings.replace(Source::FastPath, vec![without_fast_path(&error)]);
            None
        }
    }
}

fn ask(channel: &mut Channel) -> Result<Offer> {
    channel.patience(ANSWER_LIMIT)?;
    channel.send(&Ask {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        state_version: STATE_VERSION,
        network_namespace: netns::cookie(),
    })?;
    let answer = channel.receive().context(
        "the running agent does not answer: if it hangs, end it by SIGKILL and start this one again",
    )?;
    match answer {
        Answer::Offer(offer) => Ok(offer),
        Answer::Refused { why } => bail!("the running agent does not hand over: {why}"),
    }
}

fn numbers_of(offer: &Offer) -> Numbers {
    Numbers::import(offer.numbers.clone()).unwrap_or_else(|| {
        tracing::warn!(
            version = offer.version,
            "the running agent numbers sites otherwise: counters of sites begin anew"
        );
        Numbers::default()
    })
}

impl Gateway {
    /// It runs since the first of its agents was started, serves its LAN as before, and remembers.
    async fn continue_from(&mut self, export: GatewayExport, now: Instant) {
        self.forwarding.service = export.service;
        self.lan.vrrp.resume(export.virtual_routers);
        self.journal
            .send_modify(|journal| journal.adopt(export.events));
        // Its agent has written it down before it sent this.
        self.history.go_on(true);
        let uptime = Duration::from_millis(export.uptime_ms);
        let since_epoch = Duration::from_millis(export.started_since_epoch_ms);
        self.process.continue_from(uptime, since_epoch, now);
        if let Err(error) = self.import_links(export.links, now).await {
            tracing::debug!("{error:#}");
        }
    }

    /// The lanes have their links already.
    async fn import_links(&mut self, exports: Vec<LinkExport>, now: Instant) -> Result<()> {
        let (plan, links) = (&self.desired.plan, &mut self.forwarding.links);
        for link in &plan.links {
            links.insert(link.clone(), plan.hold_down(link.site), now);
        }
        let peers = self.forwarding.lanes.refresh().await?;
        let with_session = |link| {
            let mut peers = peers.iter();
            peers.any(|peer| peer.link == link && peer.handshake_age.is_some())
        };
        let is_so = |link: &LinkExport| link.state != LinkState::Up || with_session(link.link);
        for export in exports.into_iter().filter(is_so) {
            self.forwarding.links.import(export, now);
        }
        self.forwarding.links.on_snapshot(peers, now);
        Ok(())
    }
}
