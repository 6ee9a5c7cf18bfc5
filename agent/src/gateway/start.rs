//! Bringing a gateway up. Nothing is changed on the host before everything that can be refused has
//! been looked at.

use std::path::PathBuf;
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow, bail};
use tokio::signal::unix::Signal;
use tokio::sync::mpsc;

use super::answer::Rates;
use super::links::Links;
use super::plan::{Numbers, Plan};
use super::{Gateway, Inputs, Tun, Warnings};
use crate::clock;
use crate::config::{Config, Endpoint};
use crate::control::{Server, socket_path};
use crate::datapath::{Datapath, TcAttach};
use crate::host::Host;
use crate::host::guard::{self, NamedEndpoint, NamedInterface, NamedRoute};
use crate::host::site_routes::is_ours;
use crate::host::tunnel_mtu::{self, TunnelMtu, WanMtu};
use crate::host::watch::Watch;
use crate::ids::IfIndex;
use crate::io::tun::TunQueue;
use crate::io::udp::UdpSocket;
use crate::keys::SecretKey;
use crate::lane::{self, LaneHandle};
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

    // Subscribed before the host is read, so that no change falls in between.
    let watch = Watch::start()?;
    let mut host = Host::connect(&config.gateway.name).await?;
    let mut numbers = Numbers::default();
    let plan = numbers.plan(&config);
    let mtu = choose_mtu(&host, &config, &plan).await?;
    refuse_swallowed(&host, &config).await?;

    let name = config.gateway.tun_name();
    let udp = UdpSocket::bind(config.gateway.listen).with_context(|| {
        format!(
            "UDP {}: is another WireGuard or gateway on this port?",
            config.gateway.listen
        )
    })?;
    host.claim_tun(&name).await?;
    let opened = open_lane(&host, &name, udp, identity.clone(), mtu.mtu).await;
    let (index, lane, thread) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            if let Err(second) = host.restore().await {
                tracing::warn!("{second}");
            }
            return Err(error);
        }
    };

    let (resolved, dials) = mpsc::channel(QUEUE);
    let mut gateway = Gateway {
        links: Links::new(config.gateway.listen.is_ipv4(), resolved),
        path,
        config,
        identity,
        numbers,
        plan: Plan::default(),
        host,
        datapath: None,
        lane,
        lane_thread: Some(thread),
        lane_state: None,
        tun: Tun { name, index, mtu },
        rates: Rates::default(),
        pending_flows: Vec::new(),
        warnings: Warnings::default(),
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
    tokio::spawn(server.serve(sender));
    let events = match &mut gateway.datapath {
        Some(datapath) => datapath.take_events()?,
        None => None,
    };
    let inputs = Inputs {
        requests,
        dials,
        watch,
        events,
        terminate,
        interrupt,
        hang_up,
    };
    Ok((gateway, inputs))
}

type OpenLane = (IfIndex, LaneHandle, JoinHandle<std::io::Result<()>>);

/// Opens the TUN called `name` and starts the lane between it and `udp`.
async fn open_lane(
    host: &Host,
    name: &str,
    udp: UdpSocket,
    identity: Identity,
    mtu: u16,
) -> Result<OpenLane> {
    let queue = TunQueue::open(name).with_context(|| tun_failure(name))?;
    let index = host.interface(name).await?.index;
    let (lane, thread) = lane::spawn(0, queue, udp, identity, usize::from(mtu))
        .context("to start the lane's thread")?;
    Ok((index, lane, thread))
}

impl Gateway {
    /// Peers first, then the kernel's routes, then the fast path: a packet never meets a step whose
    /// next is missing.
    async fn bring_up(&mut self, plan: Plan) -> Result<()> {
        let difference = self.plan.difference(&plan);
        self.load_datapath();
        self.apply(plan, difference).await?;
        self.write_interfaces().await?;
        self.attach();
        Ok(())
    }

    /// Loads the fast path. The connector works without it, so a failure is a warning.
    fn load_datapath(&mut self) {
        let name = &self.config.gateway.name;
        let loaded = if self.config.gateway.fast_path {
            Datapath::load(name, TcAttach::Auto).and_then(|mut datapath| {
                // Receiver indices of an agent before us lead nowhere now.
                datapath.sessions.clear()?;
                Ok(Some(datapath))
            })
        } else {
            Datapath::remove_left_behind(name).map(|()| None)
        };
        match loaded {
            Ok(datapath) => self.datapath = datapath,
            Err(error) => self.without_fast_path(&error),
        }
    }

    /// Goes on without the fast path.
    pub(super) fn without_fast_path(&mut self, error: &anyhow::Error) {
        let warning = format!("the fast path is off, the kernel stack forwards instead: {error:#}");
        tracing::warn!("{warning}");
        self.warnings.fast_path = vec![warning];
        if let Some(datapath) = self.datapath.take()
            && let Err(error) = datapath.detach()
        {
            tracing::warn!("eBPF programs could not be detached: {error:#}");
        }
    }
}

/// MTU inside the tunnel.
pub(super) async fn choose_mtu(host: &Host, config: &Config, plan: &Plan) -> Result<TunnelMtu> {
    let mut wans = Vec::new();
    for wan in &config.gateway.wan {
        let interface = host.interface(&wan.interface).await?;
        wans.push(WanMtu {
            interface: interface.name,
            mtu: interface.mtu,
        });
    }
    let routes = plan.routes().any(|(_, prefix, _)| !prefix.is_ipv4());
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
    let mut kernel = host.kernel_routes().await?;
    if let Ok(tun) = host.interface(&config.gateway.tun_name()).await {
        kernel.retain(|route| !is_ours(route, tun.index));
    }
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
            for endpoint in &gateway.endpoints {
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
    let interface = host.interface(name).await.map_err(|error| anyhow!(error))?;
    Ok((interface.index, interface.mtu))
}
