//! Putting a gateway together, whichever way it starts, with what it listens to.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use tokio::sync::{mpsc, oneshot};

use super::Gateway;
use super::answer::Rates;
use super::desired::Desired;
use super::forwarding::Forwarding;
use super::give;
use super::history::KeptHistory;
use super::host_side::{HostSide, Tun};
use super::inputs::{Inputs, Signals, Timers};
use super::judging::{Judging, LanePolicy};
use super::lan_side::LanSide;
use super::lanes::Lanes;
use super::links::Links;
use super::machine::Machine;
use super::names::lookups::Lookups;
use super::names::{Answer, memory};
use super::process::Process;
use super::reconcile::Agenda;
use super::record::SharedJournal;
use super::replicas::Replicas;
use super::states::States;
use super::sweep::{SharedRecent, Sweep};
use super::timestamps::Timestamps;
use super::warnings::Warnings;
use crate::control::server::SharedSocket;
use crate::control::{Server, Streams, admission, socket_path};
use crate::datapath::Datapath;
use crate::discovery::{Discovery, Ordered};
use crate::export::Export;
use crate::health::Outcome;
use crate::host::Host;
use crate::host::firewall::notes::Notes;
use crate::host::watch::Watch;
use crate::journal::Damper;
use crate::lane::FromLanes;
use crate::metrics::{Exporter, Reading};
use crate::tunnel::noise::Identity;
use crate::vrrp::status::Event as VrrpEvent;
use crate::{config, handover};

/// Requests and outcomes of probes that may wait; each is small and taken at once.
const QUEUE: usize = 64;

/// Where a gateway is commanded and where it is taken over.
pub(super) struct Sockets {
    pub(super) control: Server,
    pub(super) door: Server,
}

impl Sockets {
    pub(super) fn bind(gateway: &config::Gateway) -> Result<Self> {
        let wanted = gateway.control_group.as_deref();
        let group = admission::group(wanted).context("control_group")?;
        let control = Server::bind(&socket_path(&gateway.name))?;
        if let Some(group) = group {
            control.admit_group(group)?;
        }
        Ok(Self {
            control,
            door: Server::bind_private(&handover::socket_path(&gateway.name))?,
        })
    }

    pub(super) fn share(&self) -> Result<[SharedSocket; 2]> {
        Ok([self.control.share()?, self.door.share()?])
    }
}

/// What comes in beside commands.
pub(super) struct Sources {
    names: mpsc::UnboundedReceiver<Answer>,
    from_lanes: FromLanes,
    outcomes: mpsc::Receiver<Outcome>,
    vrrp: mpsc::UnboundedReceiver<VrrpEvent>,
    services: mpsc::UnboundedReceiver<Ordered>,
    readings: mpsc::Receiver<oneshot::Sender<Reading>>,
    watch: Watch,
}

/// What a gateway is made of, by whichever way it starts.
pub(super) struct Parts {
    pub(super) desired: Desired,
    pub(super) path: PathBuf,
    pub(super) identity: Identity,
    pub(super) host: Host,
    pub(super) datapath: Option<Datapath>,
    pub(super) lanes: Lanes,
    /// What they judge by.
    pub(super) policy: LanePolicy,
    pub(super) tun: Tun,
    pub(super) warnings: Warnings,
}

impl Parts {
    /// A gateway with nothing in force yet, and what it will listen to.
    pub(super) fn assemble(
        self,
        sockets: [SharedSocket; 2],
        from_lanes: FromLanes,
        watch: Watch,
        now: Instant,
    ) -> (Gateway, Sources) {
        let (answers, names) = mpsc::unbounded_channel();
        let (probed, outcomes) = mpsc::channel(QUEUE);
        let (vrrp_events, vrrp) = mpsc::unbounded_channel();
        let (ordered, services) = mpsc::unbounded_channel();
        let (asked, readings) = mpsc::channel(1);
        let config = &self.desired.config.gateway;
        let mut links = Links::new(config.listen.is_ipv4());
        let remembered = memory::read(&memory::path_of(&config.name));
        links.resolved.remember(remembered);
        let lookups = Lookups::new(answers);
        let timestamps = Timestamps::new(&config.name, now);
        let history = KeptHistory::new(&config.name, config.history_mib);
        let policy = (self.desired.config.policy.clone(), self.policy);
        let gateway = Gateway {
            identity: self.identity,
            desired: self.desired,
            agenda: Agenda::default(),
            forwarding: Forwarding::new(self.lanes, links, lookups, self.datapath, policy),
            judging: Judging::new(now),
            host: HostSide::new(self.host, self.tun, watch.interest()),
            lan: LanSide::new(probed, vrrp_events, now),
            replicas: Replicas::default(),
            states: States::default(),
            journal: SharedJournal::default(),
            history,
            damper: Damper::default(),
            timestamps,
            warnings: self.warnings,
            rates: Rates::default(),
            pending_flows: Vec::new(),
            exporter: Exporter::new(asked),
            sweep: Sweep::default(),
            finished: SharedRecent::default(),
            export: Export::default(),
            discovery: Discovery::new(ordered),
            process: Process::new(self.path, sockets, now),
        };
        let sources = Sources {
            names,
            from_lanes,
            outcomes,
            vrrp,
            services,
            readings,
            watch,
        };
        (gateway, sources)
    }
}

impl Gateway {
    /// Begins to take commands.
    pub(super) fn listen(
        &mut self,
        sockets: Sockets,
        sources: Sources,
        signals: Signals,
    ) -> Result<Inputs> {
        let (sender, requests) = mpsc::channel(QUEUE);
        tokio::spawn(sockets.control.serve(
            sender,
            Streams {
                journal: self.journal.subscribe(),
                finished: self.finished.subscribe(),
                log: self.process.log.subscribe(),
            },
        ));
        let (asked, successors) = mpsc::channel(1);
        tokio::spawn(give::attend(sockets.door, asked));
        let datapath = self.forwarding.datapath.as_mut();
        let (program_log, refused) = match datapath {
            Some(datapath) => (Some(datapath.take_log()?), Some(datapath.take_refused()?)),
            None => (None, None),
        };
        Ok(Inputs {
            requests,
            names: sources.names,
            from_lanes: sources.from_lanes,
            outcomes: sources.outcomes,
            vrrp: sources.vrrp,
            services: sources.services,
            readings: sources.readings,
            watch: sources.watch,
            firewall: Notes::start(),
            machine: Machine::watch(),
            program_log,
            refused,
            successors,
            signals,
            timers: Timers::new(),
        })
    }
}
