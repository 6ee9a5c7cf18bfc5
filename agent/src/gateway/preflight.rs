//! The checks before anything is changed: what they find can be refused.

use anyhow::{Context, Result, bail};

use crate::config::{Config, Endpoint, PathMtuMode, RemoteGateway};
use crate::disk;
use crate::host::Host;
use crate::host::guard::{self, NamedEndpoint, NamedInterface, NamedRoute};
use crate::host::tunnel_mtu::{self, Needs, TunnelMtu, WanMtu};
use crate::host::watch::Watch;
use crate::tunnel::noise::Identity;

/// What a start finds before it changes anything, and may be refused for.
pub(super) struct Preflight {
    pub(super) identity: Identity,
    pub(super) host: Host,
    pub(super) watch: Watch,
    pub(super) mtu: TunnelMtu,
}

impl Preflight {
    pub(super) async fn look(config: &Config) -> Result<Self> {
        let file = &config.gateway.private_key_file;
        let key = disk::key_of(file).context("private_key_file")?;
        let identity = Identity::new(key.expose().to_bytes());
        let host = Host::connect(&config.gateway.name).await?;
        // Subscribed before the host is read, so that no change falls in between.
        let watch = Watch::start(host.route_port())?;
        let mtu = choose_mtu(&wan_mtus(&host, config).await?, config)?;
        refuse_swallowed(&host, config).await?;
        Ok(Self {
            identity,
            host,
            watch,
            mtu,
        })
    }
}

/// What a start would be refused for by the host as it is now; nothing is changed.
pub async fn refusals(config: &Config) -> Vec<String> {
    let host = match Host::connect(&config.gateway.name).await {
        Ok(host) => host,
        Err(error) => return vec![error.to_string()],
    };
    let mut refusals = Vec::new();
    let mtu = wan_mtus(&host, config).await;
    refusals.extend(mtu.and_then(|wans| choose_mtu(&wans, config)).err());
    refusals.extend(refuse_swallowed(&host, config).await.err());
    refusals.iter().map(|error| format!("{error:#}")).collect()
}

/// Those of the WANs that are there.
pub(super) async fn wan_mtus(host: &Host, config: &Config) -> Result<Vec<WanMtu>> {
    let mut wans = Vec::new();
    for wan in &config.gateway.wan {
        if let Some(interface) = host.find(&wan.interface).await? {
            wans.push(WanMtu {
                interface: interface.name,
                mtu: interface.mtu,
            });
        }
    }
    Ok(wans)
}

/// MTU inside the tunnel.
pub(super) fn choose_mtu(wans: &[WanMtu], config: &Config) -> Result<TunnelMtu> {
    let mut prefixes = config.sites.iter().flat_map(|site| &site.routes);
    let routes = prefixes.any(|prefix| !prefix.is_ipv4());
    let addresses = config
        .gateway
        .tunnel_addresses
        .iter()
        .any(|own| own.address.is_ipv6());
    let needs = Needs {
        ipv6: routes || addresses,
        each_link: config.gateway.path_mtu == PathMtuMode::Auto,
    };
    Ok(tunnel_mtu::choose(wans, needs, config.gateway.mtu)?)
}

/// Refuses routes that would swallow the tunnel's own packets.
pub(super) async fn refuse_swallowed(host: &Host, config: &Config) -> Result<()> {
    let mut wans = Vec::new();
    for wan in &config.gateway.wan {
        // The routers behind one that is away are looked at when it has come.
        if let Some(found) = host.find(&wan.interface).await? {
            wans.push((wan.interface.as_str(), found.index));
        }
    }
    let wans: Vec<_> = wans
        .iter()
        .map(|(name, index)| NamedInterface {
            name,
            index: *index,
        })
        .collect();
    let kernel = match host.find(&config.gateway.tun_name()).await? {
        Some(tun) => host.other_routes(tun.index).await?,
        None => host.kernel_routes().await?,
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
                // What a name leads to is looked at when that is known.
                if let Endpoint::Address(address) = endpoint {
                    endpoints.push(NamedEndpoint {
                        site,
                        gateway: &gateway.name,
                        address: address.ip(),
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
