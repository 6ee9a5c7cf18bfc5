//! Bringing a gateway up. Nothing is changed on the host before everything that can be refused has
//! been looked at.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use tokio::signal::unix::Signal;
use tokio::sync::mpsc;

use super::answer::Rates;
use super::lanes::Lanes;
use super::links::Links;
use super::on_down::DownSites;
use super::plan::{Numbers, Plan};
use super::record::SharedJournal;
use super::states::States;
use super::vrrp::Vrrp;
use super::{Gateway, Inputs, Tun, Warnings};
use crate::clock;
use crate::config::{Config, Endpoint};
use crate::control::message::EventKind;
use crate::control::{Server, socket_path};
use crate::datapath::{Datapath, TcAttach};
use crate::health::Health;
use crate::health::probe::Probers;
use crate::host::Host;
use crate::host::guard::{self, NamedEndpoint, NamedInterface, NamedRoute};
use crate::host::tunnel_mtu::{self, TunnelMtu, WanMtu};
use crate::host::watch::Watch;
use crate::ids::IfIndex;
use crate::io::tun::TunQueue;
use crate::io::udp::UdpSocket;
use crate::journal::Change;
use crate::keys::SecretKey;
use crate::tunnel::LinkChange;
use crate::tunnel::heartbeat::Service;
use crate::tunnel::noise::Identity;

/// Requests and resolved names that may wait; each is small and taken at once.
const QUEUE: usize = 64;

/// Brings a gateway up.
pub(super) async fn start(
    config: Config,
    path: PathBuf,
    signals: [Result<Signal>; 3],
) -> Result<(Gateway, Inputs)> {
    let [terminate, interrupt, hang_up] = signals;
    let (terminate, interrupt, hang_up) = (terminate?, interrupt?, hang_up?);
    let server = Server::bind(&socket_path(&config.gateway.name))?;
    let key = SecretKey::read_file(&config.gateway.private_key_file).with_context(|| {
        format!(
            "private key file {}",
            config.gateway.private_key_file.display()
        )
    })?;
    let identity = Identity::new(key.expose().to_bytes());

    let mut host = Host::connect(&config.gateway.name).await?;
    // Subscribed before the host is read, so that no change falls in between.
    let watch = Watch::start(host.route_port())?;
    let mtu = choose_mtu(&host, &config).await?;
    refuse_swallowed(&host, &config).await?;

    let mut warnings = Warnings::default();
    let datapath = load_datapath(&config, &mut warnings);
    let count = lanes_to_run(&config, datapath.is_some(), &mut warnings);
    let steering = datapath.as_ref().filter(|_| count > 1);
    let (changed, changes) = mpsc::unbounded_channel();
    let with = LaneParts {
        identity: &identity,
        mtu: mtu.mtu,
        changes: &changed,
    };
    let opened = open_lanes(&mut host, &config, count, steering, with).await;
    let (index, lanes) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            undo(host, datapath).await;
            return Err(error);
        }
    };
    let name = config.gateway.tun_name();
    let mut numbers = Numbers::default();
    let plan = numbers.plan(&config, lanes.count());

    let (resolved, dials) = mpsc::channel(QUEUE);
    let (probed, outcomes) = mpsc::channel(QUEUE);
    let (vrrp_events, vrrp) = mpsc::unbounded_channel();
    let mut gateway = Gateway {
        links: Links::new(config.gateway.listen.is_ipv4(), resolved),
        states: States::default(),
        down: DownSites::default(),
        journal: SharedJournal::default(),
        health: Health::new(clock::now()),
        probers: Probers::new(probed),
        vrrp: Vrrp::new(vrrp_events),
        path,
        config,
        identity,
        numbers,
        plan: Plan::default(),
        host,
        datapath,
        lanes,
        service: Service::default(),
        tun: Tun { name, index, mtu },
        rates: Rates::default(),
        pending_flows: Vec::new(),
        warnings,
        started: clock::now(),
        started_since_epoch: clock::since_epoch(),
    };
    if let Err(error) = gateway.bring_up(plan).await {
        // What has been done is undone; the reason for the failure matters more than one of that.
        if let Err(second) = gateway.stop().await {
            tracing::warn!("{second:#}");
        }
        return Err(error);
    }
    let (sender, requests) = mpsc::channel(QUEUE);
    tokio::spawn(server.serve(sender, gateway.journal.subscribe()));
    let events = match &mut gateway.datapath {
        Some(datapath) => datapath.take_events()?,
        None => None,
    };
    let inputs = Inputs {
        requests,
        dials,
        changes,
        outcomes,
        vrrp,
        watch,
        events,
        terminate,
        interrupt,
        hang_up,
    };
    Ok((gateway, inputs))
}

/// What every lane is given.
struct LaneParts<'a> {
    identity: &'a Identity,
    mtu: u16,
    changes: &'a mpsc::UnboundedSender<LinkChange>,
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
    let lanes = Lanes::start(&name, pairs, with.identity, with.mtu, with.changes)?;
    Ok((index, lanes))
}

fn bind(listen: SocketAddr, lane: u16) -> Result<UdpSocket> {
    let port = listen.port().checked_add(lane).with_context(|| {
        format!("lane {lane} has no port above {listen}: choose a lower port for `listen`")
    })?;
    let listen = SocketAddr::new(listen.ip(), port);
    UdpSocket::bind(listen)
        .with_context(|| format!("UDP {listen}: is another WireGuard or gateway on this port?"))
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
fn lanes_to_run(config: &Config, fast_path: bool, warnings: &mut Warnings) -> u16 {
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
fn load_datapath(config: &Config, warnings: &mut Warnings) -> Option<Datapath> {
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

fn without_fast_path(error: &anyhow::Error) -> String {
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

/// MTU inside the tunnel.
pub(super) async fn choose_mtu(host: &Host, config: &Config) -> Result<TunnelMtu> {
    let mut wans = Vec::new();
    for wan in &config.gateway.wan {
        let interface = host.interface(&wan.interface).await?;
        wans.push(WanMtu {
            interface: interface.name,
            mtu: interface.mtu,
        });
    }
    let mut prefixes = config.sites.iter().flat_map(|site| &site.routes);
    let routes = prefixes.any(|prefix| !prefix.is_ipv4());
    let addresses = config
        .gateway
        .tunnel_addresses
        .iter()
        .any(|own| own.address.is_ipv6());
    Ok(tunnel_mtu::choose(
        &wans,
        routes || addresses,
        config.gateway.mtu,
    )?)
}

/// Refuses routes that would swallow the tunnel's own packets.
pub(super) async fn refuse_swallowed(host: &Host, config: &Config) -> Result<()> {
    let mut wans = Vec::new();
    for wan in &config.gateway.wan {
        wans.push((
            wan.interface.as_str(),
            host.interface(&wan.interface).await?.index,
        ));
    }
    let wans: Vec<_> = wans
        .iter()
        .map(|(name, index)| NamedInterface {
            name,
            index: *index,
        })
        .collect();
    let kernel = match host.interface(&config.gateway.tun_name()).await {
        Ok(tun) => host.other_routes(tun.index).await?,
        Err(_) => host.kernel_routes().await?,
    };
    let routes: Vec<_> = config
        .sites
        .iter()
        .flat_map(|site| {
            site.routes.iter().map(|prefix| NamedRoute {
                site: &site.name,
                prefix: *prefix,
            })
        })
        .collect();
    let mut endpoints = Vec::new();
    for site in &config.sites {
        for gateway in &site.gateways {
            for endpoint in gateway.links.iter().flat_map(|link| &link.endpoints) {
                for address in addresses_of(endpoint).await {
                    endpoints.push(NamedEndpoint {
                        site: &site.name,
                        gateway: &gateway.name,
                        address,
                    });
                }
            }
        }
    }
    let refusals = guard::refusals(&kernel, &routes, &endpoints, &wans);
    if !refusals.is_empty() {
        let lines: Vec<String> = refusals.iter().map(ToString::to_string).collect();
        bail!("{}", lines.join("\n"));
    }
    Ok(())
}

/// The addresses of an endpoint; none for a name that does not resolve now (it is tried again later).
async fn addresses_of(endpoint: &Endpoint) -> Vec<std::net::IpAddr> {
    match endpoint {
        Endpoint::Address(address) => vec![address.ip()],
        Endpoint::Name { host, port } => {
            match tokio::net::lookup_host((host.as_str(), *port)).await {
                Ok(addresses) => addresses.map(|address| address.ip()).collect(),
                Err(_) => Vec::new(),
            }
        }
    }
}

fn tun_failure(name: &str) -> String {
    format!(
        "TUN device {name}: it needs /dev/net/tun and CAP_NET_ADMIN (run as root), and no other \
         program may hold a device of this name"
    )
}

/// Index of an interface, for maps that want it.
pub(super) async fn index_of(host: &Host, name: &str) -> Result<(IfIndex, u32)> {
    let interface = host.interface(name).await?;
    Ok((interface.index, interface.mtu))
}
