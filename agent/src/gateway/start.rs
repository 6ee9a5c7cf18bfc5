//! Bringing a gateway up: `preflight.rs` checks what can be refused, `parts.rs` puts it together. Nothing is
//! changed on the host before those checks have passed.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::Gateway;
use super::desired::Desired;
use super::host_side::Tun;
use super::judging::LanePolicy;
use super::lanes::{HeldTo, Lanes};
use super::parts::{Parts, Sockets, Sources};
use super::plan::Numbers;
use super::preflight::Preflight;
use super::reconcile::Event;
use super::timestamps::start_of_calendars;
use super::warnings::{Source, Warnings};
use crate::clock;
use crate::config::Config;
use crate::datapath::{Datapath, Held, Holder, TcAttach};
use crate::host::Host;
use crate::ids::IfIndex;
use crate::io::tun::TunQueue;
use crate::io::udp::UdpSocket;
use crate::lane::ToControl;
use crate::tunnel::noise::Identity;

/// Brings a gateway up.
pub(super) async fn start(config: Config, path: PathBuf) -> Result<(Gateway, Sockets, Sources)> {
    let sockets = Sockets::bind(&config.gateway)?;
    let Preflight {
        identity,
        mut host,
        watch,
        mtu,
    } = Preflight::look(&config).await?;

    let mut warnings = Warnings::default();
    let mut datapath = load_datapath(&config, Holder::Only, &mut warnings)?;
    let count = lanes_to_run(&config, datapath.is_some(), &mut warnings);
    let (to_control, from_lanes) = ToControl::new();
    let policy = LanePolicy::new(&config.policy);
    if let Some(datapath) = &mut datapath {
        // After a kill the programs carry on.
        policy.learn_from(datapath, clock::now());
    }
    let held_to = HeldTo {
        mtu: mtu.mtu,
        dscp: config.gateway.dscp,
        calendar_begins: start_of_calendars(&config.gateway.name),
        policy: policy.clone(),
    };
    let steering = datapath.as_ref().filter(|_| count > 1);
    let with = LaneParts {
        identity: &identity,
        held_to,
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
    let parts = Parts {
        tun: Tun {
            name: config.gateway.tun_name(),
            index,
            mtu,
        },
        desired: Desired::new(config, Numbers::default(), lanes.count()),
        path,
        identity,
        host,
        datapath,
        lanes,
        policy,
        warnings,
    };
    let now = clock::now();
    let (mut gateway, sources) = parts.assemble(sockets.share()?, from_lanes, watch, now);
    gateway.mark(Event::Started);
    if let Err(error) = gateway.reconcile_or_refuse(now).await {
        // What has been done is undone; the reason for the failure matters more than one of that.
        if let Err(second) = Box::pin(gateway.stop()).await {
            tracing::warn!("{second:#}");
        }
        return Err(error);
    }
    Ok((gateway, sockets, sources))
}

/// What every lane gets.
struct LaneParts<'a> {
    identity: &'a Identity,
    held_to: HeldTo,
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
    let lanes = Lanes::start(&name, pairs, with.identity, with.held_to, with.to_control)?;
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
    match host.restore().await {
        Ok(report) => report
            .failures
            .iter()
            .for_each(|why| tracing::warn!("{why}")),
        Err(error) => tracing::warn!("{error}"),
    }
}

/// Several lanes need eBPF to keep a flow on its lane, and stock peers on lane 0.
pub(super) fn lanes_to_run(config: &Config, fast_path: bool, warnings: &mut Warnings) -> u16 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let wanted = config.gateway.lanes_to_run(&config.sites, cores);
    if wanted > 1 && !fast_path {
        let warning = format!("one lane runs instead of {wanted}: several need the fast path");
        warnings.add(Source::FastPath, warning);
        return 1;
    }
    wanted
}

/// Loads the fast path. The connector works without it, so a failure is a warning.
///
/// # Errors
/// Another agent has the gateway's maps.
pub(super) fn load_datapath(
    config: &Config,
    holder: Holder,
    warnings: &mut Warnings,
) -> Result<Option<Datapath>> {
    let gateway = &config.gateway;
    let name = &gateway.name;
    let loaded = if gateway.fast_path {
        let loaded = Datapath::load_for(name, holder, TcAttach::Auto, gateway.flows);
        loaded.and_then(|mut datapath| {
            // Receiver indices of an agent before us lead nowhere now.
            datapath.sessions.clear()?;
            Ok(Some(datapath))
        })
    } else {
        Datapath::remove_left_behind(name, holder).map(|()| None)
    };
    match loaded {
        Err(error) if error.is::<Held>() => Err(error),
        Err(error) => {
            warnings.replace(Source::FastPath, vec![without_fast_path(&error)]);
            Ok(None)
        }
        loaded => loaded,
    }
}

pub(super) fn without_fast_path(error: &anyhow::Error) -> String {
    format!("the fast path is off, the kernel stack forwards instead: {error:#}")
}

pub(super) fn tun_failure(name: &str) -> String {
    format!(
        "TUN device {name}: it needs /dev/net/tun and CAP_NET_ADMIN (run as root), and no other \
         program may hold a device of this name"
    )
}
