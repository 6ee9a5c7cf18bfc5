//! What a gateway is made of, by whichever way it starts, and what it listens to.

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use tokio::sync::mpsc;

use super::answer::Rates;
use super::give;
use super::lanes::Lanes;
use super::links::{Dial, Links};
use super::on_down::DownSites;
use super::plan::{Numbers, Plan};
use super::record::SharedJournal;
use super::replicas::Replicas;
use super::states::States;
use super::upgrade::Upgrade;
use super::vrrp::Vrrp;
use super::{Gateway, Inputs, Signals, Tun, Warnings};
use crate::config::{self, Config};
use crate::control::server::SharedSocket;
use crate::control::{Server, admission, socket_path};
use crate::datapath::Datapath;
use crate::health::probe::Probers;
use crate::health::{Health, Outcome};
use crate::host::Host;
use crate::host::watch::Watch;
use crate::lane::FromLanes;
use crate::tunnel::heartbeat::Service;
use crate::tunnel::noise::Identity;
use crate::vrrp::status::Event as VrrpEvent;
use crate::{clock, handover};

/// Requests and resolved names that may wait; each is small and taken at once.
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
    dials: mpsc::Receiver<Dial>,
    from_lanes: FromLanes,
    outcomes: mpsc::Receiver<Outcome>,
    vrrp: mpsc::UnboundedReceiver<VrrpEvent>,
    watch: Watch,
}

/// What a gateway is made of, by whichever way it starts.
pub(super) struct Parts {
    pub(super) config: Config,
    pub(super) path: PathBuf,
    pub(super) identity: Identity,
    pub(super) numbers: Numbers,
    pub(super) host: Host,
    pub(super) datapath: Option<Datapath>,
    pub(super) lanes: Lanes,
    pub(super) tun: Tun,
    pub(super) warnings: Warnings,
}

impl Parts {
    /// A gateway without a plan, and what it will listen to.
    pub(super) fn assemble(
        self,
        sockets: [SharedSocket; 2],
        from_lanes: FromLanes,
        watch: Watch,
    ) -> (Gateway, Sources) {
        let (resolved, dials) = mpsc::channel(QUEUE);
        let (probed, outcomes) = mpsc::channel(QUEUE);
        let (vrrp_events, vrrp) = mpsc::unbounded_channel();
        let gateway = Gateway {
            links: Links::new(self.config.gateway.listen.is_ipv4(), resolved),
            states: States::default(),
            down: DownSites::default(),
            journal: SharedJournal::default(),
            health: Health::new(clock::now()),
            probers: Probers::new(probed),
            vrrp: Vrrp::new(vrrp_events),
            path: self.path,
            config: self.config,
            identity: self.identity,
            numbers: self.numbers,
            plan: Plan::default(),
            host: self.host,
            datapath: self.datapath,
            lanes: self.lanes,
            service: Service::default(),
            carriers: HashMap::new(),
            replicas: Replicas::default(),
            tun: self.tun,
            rates: Rates::default(),
            pending_flows: Vec::new(),
            warnings: self.warnings,
            started: clock::now(),
            started_since_epoch: clock::since_epoch(),
            sockets,
            upgrade: Upgrade::default(),
            handed_over: false,
        };
        let sources = Sources {
            dials,
            from_lanes,
            outcomes,
            vrrp,
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
        tokio::spawn(sockets.control.serve(sender, self.journal.subscribe()));
        let (asked, successors) = mpsc::channel(1);
        tokio::spawn(give::attend(sockets.door, asked));
        let program_log = self.datapath.as_mut().map(Datapath::take_log).transpose()?;
        Ok(Inputs {
            requests,
            dials: sources.dials,
            from_lanes: sources.from_lanes,
            outcomes: sources.outcomes,
            vrrp: sources.vrrp,
            watch: sources.watch,
            program_log,
            successors,
            signals,
        })
    }
}
