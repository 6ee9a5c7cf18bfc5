//! Bringing a gateway up. Nothing is changed on the host before everything that can be refused has
//! been looked at.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
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
use crate::config::{Config, Endpoint, RemoteGateway};
use crate::control::message::EventKind;
use crate::control::server::SharedSocket;
use crate::control::{Server, socket_path};
use crate::datapath::{Datapath, TcAttach};
use crate::health::probe::Probers;
use crate::health::{Health, Outcome};
use crate::host::Host;
use crate::host::guard::{self, NamedEndpoint, NamedInterface, NamedRoute};
use crate::host::tunnel_mtu::{self, TunnelMtu, WanMtu};
use crate::host::watch::Watch;
use crate::ids::IfIndex;
use crate::io::tun::TunQueue;
use crate::io::udp::UdpSocket;
use crate::journal::Change;
use crate::keys::SecretKey;
use crate::lane::{FromLanes, ToControl};
use crate::tunnel::heartbeat::Service;
use crate::tunnel::noise::Identity;
use crate::vrrp::status::Event as VrrpEvent;
use crate::{clock, handover};

/// Requests and resolved names that may wait; each is small and taken at once.
const QUEUE: usize = 64;

/// Brings a gateway up.
pub(super) async fn start(
    config: Config,
    path: PathBuf,
    signals: Signals,
) -> Result<(Gateway, Inputs)> {
    let sockets = Sockets::bind(&config.gateway.name)?;
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

/// Where a gateway is commanded and where it is taken over.
pub(super) struct Sockets {
    pub(super) control: Server,
    pub(super) door: Server,
}

impl Sockets {
    pub(super) fn bind(gateway: &str) -> Result<Self> {
        Ok(Self {
            control: Server::bind(&socket_path(gateway))?,
            door: Server::bind_private(&handover::socket_path(gateway))?,
        })
    }

    pub(super) fn share(&self) -> Result<[SharedSocket; 2]> {
        Ok([self.control.share()?, self.door.share()?])
    }
}

/// What a start finds before it changes anything, and may be refused for.
pub(super) struct Ground {
    pub(super) identity: Identity,
    pub(super) host: Host,
    pub(super) watch: Watch,
    pub(super) mtu: TunnelMtu,
}

impl Ground {
    pub(super) async fn look(config: &Config) -> Result<Self> {
        let file = &config.gateway.private_key_file;
        let key = SecretKey::read_file(file)
            .with_context(|| format!("private key file {}", file.display()))?;
        let identity = Identity::new(key.expose().to_bytes());
        let host = Host::connect(&config.gateway.name).await?;
        // Subscribed before the host is read, so that no change falls in between.
        let watch = Watch::start(host.route_port())?;
        let mtu = choose_mtu(&host, config).await?;
        refuse_swallowed(&host, config).await?;
        Ok(Self {
            identity,
            host,
            watch,
            mtu,
        })
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
            replicas: Replicas::default(),
            tun: self.tun,
            rates: Rates::default(),
            pending_flows: Vec::new(),
            warnings: self.warnings,
            started: clock::now(),
            started_since_epoch: clock::since_epoch(),
            sockets,
            upgrade: Upgrade::new(),
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
        let events = match &mut self.datapath {
            Some(datapath) => datapath.take_events()?,
            None => None,
        };
        Ok(Inputs {
            requests,
            dials: sources.dials,
            from_lanes: sources.from_lanes,
            outcomes: sources.outcomes,
            vrrp: sources.vrrp,
            watch: sources.watch,
            events,
            successors,
            signals,
        })
    }
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
    for (site, gateways) in named_gateways(config) {
        for gateway in gateways {
            for endpoint in gateway.links.iter().flat_map(|link| &link.endpoints) {
                for address in addresses_of(endpoint).await {
                    endpoints.push(NamedEndpoint {
                        site,
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

/// Every gateway that is dialled, by site; the replicas are of none.
fn named_gateways(config: &Config) -> impl Iterator<Item = (&str, &[RemoteGateway])> {
    let of_sites = config.sites.iter();
    let of_sites = of_sites.map(|site| (site.name.as_str(), site.gateways.as_slice()));
    of_sites.chain([("", config.gateway.replicas.as_slice())])
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

pub(super) fn tun_failure(name: &str) -> String {
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
