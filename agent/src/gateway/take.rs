//! Taking over from the agent that runs; see [`handover`] for what is said in which
//! order.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use zeroize::Zeroizing;

use super::apply::spec_of;
use super::ground::Ground;
use super::handover::{Answer, Ask, Header, Later, Offer, Word};
use super::lanes::Lanes;
use super::parts::{Parts, Sockets};
use super::plan::{Numbers, Plan};
use super::start::{address_of, bind, lanes_to_run, load_datapath, tun_failure, without_fast_path};
use super::{Gateway, Inputs, Signals, Tun, Warnings};
use crate::clock;
use crate::config::Config;
use crate::control::message::LinkState;
use crate::control::{Server, socket_path};
use crate::datapath::{Datapath, Prepared, TcAttach};
use crate::handover::priority::Priority;
use crate::handover::socket::Channel;
use crate::handover::{self, STATE_VERSION};
use crate::ids::SiteId;
use crate::io::tun::{self, TunQueue};
use crate::io::udp::UdpSocket;
use crate::lane::{LaneHandle, ParkedLane, ToControl};
use crate::routes::RouteTable;
use crate::tunnel::{Imported, PeerSpec};
use crossway_sys::memory;
use crossway_sys::netns;
use crossway_types::codec::{Damaged, Reader};

/// How long the running agent may take to answer: it may be reloading.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
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

/// Takes the gateway over. Until the lanes are taken, an error leaves the running agent as it was.
pub(super) async fn take_over(
    config: Config,
    path: PathBuf,
    signals: Signals,
    mut channel: Channel,
) -> Result<(Gateway, Inputs)> {
    ensure!(
        channel.is_ours()?,
        "the running agent is another user's: to take over, be the same"
    );
    let patient = Priority::patient();
    let Ground {
        identity,
        mut host,
        watch,
        mtu,
    } = Ground::look(&config).await?;
    let mut warnings = Warnings::default();
    let prepared = prepare(&config, &mut warnings);
    let count = lanes_to_run(&config, config.gateway.fast_path, &mut warnings);
    memory::give_back();

    let offer = ask(&mut channel)?;
    let before = numbers_of(&offer);
    let mut numbers = before.clone();
    let plan = numbers.plan(&config, count);
    let coming = Coming::of(&plan, &config, count)?;

    drop(patient);
    let urgent = Priority::urgent();
    channel.patience(SEND_LIMIT)?;
    channel.send(&Word::Go)?;
    let mut given = Given::receive(&mut channel)?;
    let received = clock::now();
    let pairs = given.pairs(&config, count)?;
    let steered = pairs.first().map(|(queue, _)| queue.try_clone());
    let steered = steered.context("a gateway has a lane")??;
    let (to_control, from_lanes) = ToControl::new();
    let mut made = Vec::new();
    for (queue, socket) in pairs {
        let (identity, to_control) = (identity.clone(), to_control.clone());
        made.push(ParkedLane::new(
            queue,
            socket,
            identity,
            mtu.mtu.into(),
            to_control,
        )?);
    }
    let imported = coming.fill(&mut made, &given);
    let filled = clock::now();
    channel
        .send(&Word::Taken)
        .context("the running agent goes on by itself")?;
    // The point of no return. If this agent ends now, the next start takes over as after a kill.
    let name = config.gateway.tun_name();
    // Its threads are as urgent as any other's.
    drop(urgent);
    let lanes = Lanes::run(&name, made)?;
    given.tell_gap(received, filled, &imported);
    given.state = Zeroizing::default();

    let mut later: Later = channel.receive().unwrap_or_else(|error| {
        tracing::warn!(%error, "the agent before did not tell the links' states");
        Later::default()
    });
    let sockets = given.sockets(&config)?;
    host.take_over()?;
    host.keep_virtual_macs();
    let datapath = finish(prepared, &config, &mut warnings, &later);
    let index = host.interface(&name).await?.index;
    let parts = Parts {
        tun: Tun { name, index, mtu },
        config,
        path,
        identity,
        numbers,
        host,
        datapath,
        lanes,
        warnings,
    };
    let (mut gateway, sources) = parts.assemble(sockets.share()?, from_lanes, watch);
    gateway.adopt_past(&mut later);
    if let Err(error) = gateway.settle(plan, &before, later, &steered).await {
        // What the agent before has set up is there and works.
        let warning = format!("part of the file is not in force: {error:#}: mend it and reload");
        tracing::error!("{warning}");
        gateway.warnings.host.push(warning);
    }
    let inputs = gateway.listen(sockets, sources, signals)?;
    Ok((gateway, inputs))
}

/// Loads the programs as far as that is possible beside the running agent.
fn prepare(config: &Config, warnings: &mut Warnings) -> Option<Prepared> {
    let gateway = &config.gateway;
    if !gateway.fast_path {
        return None;
    }
    Prepared::load_for(&gateway.name, TcAttach::Auto, gateway.flows).unwrap_or_else(|error| {
        warnings.fast_path = vec![without_fast_path(&error)];
        None
    })
}

/// The fast path, with the maps of the agent before; those of another version are replaced.
fn finish(
    prepared: Option<Prepared>,
    config: &Config,
    warnings: &mut Warnings,
    later: &Later,
) -> Option<Datapath> {
    let Some(prepared) = prepared else {
        return load_datapath(config, warnings);
    };
    match prepared.finish() {
        Ok(mut datapath) => {
            if let Some(account) = &later.flows {
                datapath.flows.set_account(account.clone());
            }
            Some(datapath)
        }
        Err(error) => {
            warnings.fast_path = vec![without_fast_path(&error)];
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
    Numbers::told(offer.numbers.clone()).unwrap_or_else(|| {
        tracing::warn!(
            version = offer.version,
            "the running agent numbers sites otherwise: counters of sites begin anew"
        );
        Numbers::default()
    })
}

/// What the new lanes will have.
struct Coming {
    /// The peers of each lane.
    specs: Vec<Vec<PeerSpec>>,
    routes: Arc<RouteTable>,
}

impl Coming {
    fn of(plan: &Plan, config: &Config, lanes: u16) -> Result<Self> {
        let mut specs = vec![Vec::new(); lanes.into()];
        for link in &plan.links {
            specs[usize::from(link.lane)].push(spec_of(link, config)?);
        }
        let routes = plan.routes().map(|(_, prefix, site)| (prefix, site));
        Ok(Self {
            specs,
            routes: Arc::new(RouteTable::new(routes)),
        })
    }

    /// Gives the lanes their peers with their sessions, and their routes.
    fn fill(&self, made: &mut [(ParkedLane, LaneHandle)], given: &Given) -> Imported {
        let (mut sum, now) = (Imported::default(), clock::now());
        let mut states = given.lanes(now);
        for ((lane, _), specs) in made.iter_mut().zip(&self.specs) {
            let imported = match states.next() {
                Some(state) => state.and_then(|mut state| lane.import(&mut state, specs, now)),
                None => Err(Damaged),
            };
            let imported = imported.unwrap_or_else(|Damaged| {
                lane.add_peers(specs, now);
                Imported {
                    sessions: 0,
                    anew: specs.len(),
                }
            });
            sum.sessions += imported.sessions;
            sum.anew += imported.anew;
            lane.set_routes(Arc::clone(&self.routes));
        }
        if let Some((first, _)) = made.first_mut() {
            for mut state in states.flatten() {
                // Only a count: what cannot be read of it is not worth more.
                let _ = first.import_drops_of(&mut state);
            }
        }
        sum
    }
}

/// What the agent before has sent.
struct Given {
    header: Header,
    /// Of the control socket and of the door.
    listeners: Option<[OwnedFd; 2]>,
    /// Of each lane.
    descriptors: Vec<[OwnedFd; 2]>,
    state: Zeroizing<Vec<u8>>,
}

impl Given {
    fn receive(channel: &mut Channel) -> Result<Self> {
        let header: Header = channel
            .receive()
            .context("the running agent goes on by itself")?;
        let mut descriptors = channel.receive_descriptors()?.into_iter();
        let mut pair = || Some([descriptors.next()?, descriptors.next()?]);
        let listeners = Some(pair().context("no control socket came")?);
        let lanes = std::iter::from_fn(&mut pair).take(header.lanes.len());
        Ok(Self {
            header,
            listeners,
            descriptors: lanes.collect(),
            state: channel.receive_bytes()?,
        })
    }

    /// The queue and the socket of each lane: those that came, as far as they are what the file wants.
    fn pairs(&mut self, config: &Config, count: u16) -> Result<Vec<(TunQueue, UdpSocket)>> {
        let name = config.gateway.tun_name();
        let came = std::mem::take(&mut self.descriptors).into_iter();
        let mut came = came.zip(&self.header.lanes);
        let mut pairs = Vec::new();
        for lane in 0..count {
            let wanted = address_of(config.gateway.listen, lane)?;
            let (queue, socket) = match came.next() {
                Some(([udp, queue], off)) => {
                    let socket = UdpSocket::taken_over(udp, off)?;
                    let fits = socket.local_address()? == wanted;
                    (TunQueue::taken_over(queue, off), fits.then_some(socket))
                }
                None => (
                    TunQueue::open(&name).with_context(|| tun_failure(&name))?,
                    None,
                ),
            };
            let socket = match socket {
                Some(socket) => socket,
                None => bind(config.gateway.listen, lane)?,
            };
            pairs.push((queue, socket));
        }
        Ok(pairs)
    }

    /// The state of each lane, none from an agent of another version.
    fn lanes(&self, now: Instant) -> impl Iterator<Item = Result<Reader<'_>, Damaged>> {
        let passed = clock::monotonic_ns().saturating_sub(self.header.state_ns);
        let written = now.checked_sub(Duration::from_nanos(passed)).unwrap_or(now);
        let mut state = Reader::new(&self.state, written);
        std::iter::from_fn(move || (!state.is_empty()).then(|| state.part()))
    }

    fn sockets(&mut self, config: &Config) -> Result<Sockets> {
        let name = &config.gateway.name;
        let [control, door] = self.listeners.take().context("no control socket came")?;
        let control = Server::taken_over(control, &socket_path(name));
        let door = Server::taken_over(door, &handover::socket_path(name));
        match (control, door) {
            (Ok(control), Ok(door)) => Ok(Sockets { control, door }),
            // Somebody has removed the files.
            _ => Sockets::bind(&config.gateway),
        }
    }

    /// Tells how long no packet was carried, and what took the time.
    fn tell_gap(&self, received: Instant, filled: Instant, imported: &Imported) {
        let (now, now_ns) = (clock::now(), clock::monotonic_ns());
        let header = &self.header;
        let since = |then: u64| now_ns.saturating_sub(then) / 1000;
        let ago = |then: Instant| (now - then).as_micros() as u64;
        tracing::info!(
            gap_us = since(header.parked_ns),
            stopping_us = since(header.asked_ns).saturating_sub(since(header.state_ns)),
            carrying_us = since(header.state_ns).saturating_sub(ago(received)),
            filling_us = ago(received) - ago(filled),
            starting_us = ago(filled),
            state_bytes = self.state.len(),
            sessions = imported.sessions,
            handshakes = imported.anew,
            "took over from the agent before"
        );
    }
}

impl Gateway {
    /// It runs since the first of its agents was started, serves its LAN as before, and remembers.
    fn adopt_past(&mut self, later: &mut Later) {
        self.service = later.service;
        self.vrrp.resumed = std::mem::take(&mut later.virtual_routers);
        let events = std::mem::take(&mut later.events);
        self.journal.send_modify(|journal| journal.adopt(events));
        let uptime = Duration::from_millis(later.uptime_ms);
        if let Some(started) = self.started.checked_sub(uptime)
            && later.started_since_epoch_ms > 0
        {
            self.started = started;
            self.started_since_epoch = Duration::from_millis(later.started_since_epoch_ms);
        }
    }

    /// Brings everything but the lanes from what the agent before wanted to what this one wants.
    async fn settle(
        &mut self,
        plan: Plan,
        before: &Numbers,
        later: Later,
        steered: &OwnedFd,
    ) -> Result<()> {
        let now = clock::now();
        if let Some(datapath) = &mut self.datapath {
            let indices = plan.links.iter().map(|link| link.receiver_index << 8);
            datapath.sessions.retain(indices)?;
            for link in &plan.links {
                datapath
                    .sessions
                    .insert(link.receiver_index << 8, link.id)?;
            }
        }
        for link in &plan.links {
            let hold_down = plan.hold_down(link.site);
            self.links.insert(link.clone(), hold_down, now);
        }
        let peers = self.lanes.refresh().await?;
        let told = later.links.into_iter();
        let with_session = |link| {
            let mut peers = peers.iter();
            peers.any(|peer| peer.link == link && peer.handshake_age.is_some())
        };
        for link in told.filter(|told| told.state != LinkState::Up || with_session(told.link)) {
            self.links.adopt(link, now);
        }
        self.links.on_snapshot(peers.clone(), now);
        let gone = before.sites_gone(&plan);
        self.plan = plan;
        self.dial_due(now)?;

        let (reused, free): (Vec<SiteId>, Vec<SiteId>) = gone
            .into_iter()
            .partition(|id| self.plan.site(*id).is_some());
        // A number that goes to another site starts counting at zero.
        self.forget_sites(&reused)?;
        self.record_interfaces().await;
        self.follow_health_targets();
        self.follow_wans().await?;
        self.apply_host().await?;
        // Before their mates miss three advertisements.
        self.follow_vrrp().await?;
        self.write_routes()?;
        self.forget_sites(&free)?;
        self.write_interfaces().await?;
        self.attach();
        self.steer(steered)
    }

    /// The lane of a packet is chosen by our program from now on, not by that of the agent before.
    fn steer(&self, queue: &OwnedFd) -> Result<()> {
        use std::os::fd::AsFd;
        match &self.datapath {
            Some(datapath) if self.lanes.count() > 1 => {
                let steered = tun::steer(queue.as_fd(), datapath.steering()?);
                steered.map_err(|error| anyhow!(error).context("to let eBPF choose the lane"))
            }
            _ => Ok(()),
        }
    }
}
