//! Bringing a gateway up: `ground.rs` looks at what can be refused, `parts.rs` puts it together. Nothing is
//! changed on the host before all that has been looked at.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::ground::Ground;
use super::lanes::Lanes;
use super::parts::{Parts, Sockets};
use super::plan::{Numbers, Plan};
use super::{Gateway, Inputs, Signals, Tun, Warnings};
use crate::config::Config;
use crate::control::message::EventKind;
use crate::datapath::{Datapath, TcAttach};
use crate::host::Host;
use crate::ids::IfIndex;
use crate::io::tun::TunQueue;
use crate::io::udp::UdpSocket;
use crate::journal::Change;
use crate::lane::ToControl;
use crate::tunnel::noise::Identity;

/// Brings a gateway up.
pub(super) async fn start(
    config: Config,
    path: PathBuf,
    signals: Signals,
) -> Result<(Gateway, Inputs)> {
    let sockets = Sockets::bind(&config.gateway)?;
    let Ground {
        identity,
        mut host,
        watch,
        mtu,
    } = Ground::look(&config).await?;

    let mut warnings = Warnings::default();
    let datapath = load_datapath(&config, &mut warnings);
    let count = lanes_to_run(&config, datapath.is_some(), &mut warnings);
    let steering = datapath.as_ref().filter(|_| count > 1);
    let (to_control, from_lanes) = ToControl::new();
    let with = LaneParts {
        identity: &identity,
        mtu: mtu.mtu,
        to_control: &to_control,
    };
    let opened = open_lanes(&mut host, &config, count, steering, with).await;
    let (index, lanes) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            undo(host, datapath).await;
            return Err(error);
        }
    };
    let mut numbers = Numbers::default();
    let plan = numbers.plan(&config, lanes.count());
    let parts = Parts {
        tun: Tun {
            name: config.gateway.tun_name(),
            index,
            mtu,
        },
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
    if let Err(error) = gateway.bring_up(plan).await {
        // What has been done is undone; the reason for the failure matters more than one of that.
        if let Err(second) = gateway.stop().await {
            tracing::warn!("{second:#}");
        }
        return Err(error);
    }
    let inputs = gateway.listen(sockets, sources, signals)?;
    Ok((gateway, inputs))
}

/// What every lane is given.
struct LaneParts<'a> {
    identity: &'a Identity,
    mtu: u16,
    to_control: &'a ToControl,
}

/// Binds the ports, opens the TUN and starts a lane for each pair. Several lanes are steered by eBPF.
async fn open_lanes(
    host: &mut Host,
    config: &Config,
    count: u16,
    steering: Option<&Datapath>,
    with: LaneParts<'_>,
) -> Result<(IfIndex, Lanes)> {
    let mut sockets = Vec::new();
    for lane in 0..count {
        sockets.push(bind(config.gateway.listen, lane)?);
    }
    let name = config.gateway.tun_name();
    host.claim_tun(&name).await?;
    let mut pairs = Vec::new();
    for socket in sockets {
        let queue = TunQueue::open(&name).with_context(|| tun_failure(&name))?;
        pairs.push((queue, socket));
    }
    if let (Some(datapath), Some((queue, _))) = (steering, pairs.first()) {
        queue
            .steer(datapath.steering()?)
            .context("to let eBPF choose the lane of a packet (kernel 4.16)")?;
    }
    let index = host.interface(&name).await?.index;
    let lanes = Lanes::start(&name, pairs, with.identity, with.mtu, with.to_control)?;
    Ok((index, lanes))
}

pub(super) fn bind(listen: SocketAddr, lane: u16) -> Result<UdpSocket> {
    let listen = address_of(listen, lane)?;
    UdpSocket::bind(listen)
        .with_context(|| format!("UDP {listen}: is another WireGuard or gateway on this port?"))
}

/// Lane i listens on port + i.
pub(super) fn address_of(listen: SocketAddr, lane: u16) -> Result<SocketAddr> {
    let port = listen.port().checked_add(lane).with_context(|| {
        format!("lane {lane} has no port above {listen}: choose a lower port for `listen`")
    })?;
    Ok(SocketAddr::new(listen.ip(), port))
}

/// Takes back what was done before there was a gateway to stop.
async fn undo(mut host: Host, datapath: Option<Datapath>) {
    if let Some(Err(error)) = datapath.map(Datapath::detach) {
        tracing::warn!("{error:#}");
    }
    if let Err(error) = host.restore().await {
        tracing::warn!("{error}");
    }
}

/// Several lanes need eBPF to keep a flow on its lane, and stock peers on lane 0.
pub(super) fn lanes_to_run(config: &Config, fast_path: bool, warnings: &mut Warnings) -> u16 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let wanted = config.gateway.lanes_to_run(&config.sites, cores);
    if wanted > 1 && !fast_path {
        let warning = format!("one lane runs instead of {wanted}: several need the fast path");
        tracing::warn!("{warning}");
        warnings.fast_path.push(warning);
        return 1;
    }
    wanted
}

/// Loads the fast path. The connector works without it, so a failure is a warning.
pub(super) fn load_datapath(config: &Config, warnings: &mut Warnings) -> Option<Datapath> {
    let name = &config.gateway.name;
    let loaded = if config.gateway.fast_path {
        Datapath::load_for(name, TcAttach::Auto, config.gateway.flows).and_then(|mut datapath| {
            // Receiver indices of an agent before us lead nowhere now.
            datapath.sessions.clear()?;
            Ok(Some(datapath))
        })
    } else {
        Datapath::remove_left_behind(name).map(|()| None)
    };
    loaded.unwrap_or_else(|error| {
        warnings.fast_path = vec![without_fast_path(&error)];
        None
    })
}

pub(super) fn without_fast_path(error: &anyhow::Error) -> String {
    let warning = format!("the fast path is off, the kernel stack forwards instead: {error:#}");
    tracing::warn!("{warning}");
    warning
}

impl Gateway {
    /// Peers first, then the kernel's routes, then the fast path: a packet never meets a step whose
    /// next is missing.
    async fn bring_up(&mut self, plan: Plan) -> Result<()> {
        let difference = self.plan.difference(&plan);
        self.apply(plan, difference).await?;
        self.record_interfaces().await;
        self.follow_health_targets();
        self.write_interfaces().await?;
        self.attach();
        self.follow_vrrp().await
    }

    /// Goes on without the fast path.
    pub(super) fn leave_fast_path(&mut self, error: &anyhow::Error) {
        self.warnings.fast_path = vec![without_fast_path(error)];
        self.record(Change {
            kind: EventKind::FastPath,
            subject: self.config.gateway.name.clone(),
            from: Some("on".to_owned()),
            to: "off".to_owned(),
            cause: format!("{error:#}"),
        });
        if let Some(datapath) = self.datapath.take()
            && let Err(error) = datapath.detach()
        {
            tracing::warn!("eBPF programs could not be detached: {error:#}");
        }
    }
}

pub(super) fn tun_failure(name: &str) -> String {
    format!(
        "TUN device {name}: it needs /dev/net/tun and CAP_NET_ADMIN (run as root), and no other \
         program may hold a device of this name"
    )
}
