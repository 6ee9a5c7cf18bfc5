//! The ways to the far gateways: the route, and the size of packets on it.

use std::net::SocketAddr;
use std::thread;

use super::path;
use crate::config::{Config, Endpoint};
use crate::control::message::{Link, NotChecked};
use crate::doctor::facts::{Facts, Way};
use crate::host::Host;
use crate::host::tunnel_mtu::{OVERHEAD, OVERHEAD_IPV4};

/// Far gateways that are looked at; each has a thread while it is asked.
const MOST: usize = 16;
/// The tunnel's MTU where no gateway runs and the file names none.
const USUAL_MTU: u32 = 1420;

/// A far gateway, before it is looked at.
struct End {
    link: String,
    endpoint: SocketAddr,
    wan: Option<String>,
    /// What its packets are held to; `None` where that is what the tunnel is held to.
    mtu: Option<u16>,
}

pub(super) async fn of(facts: &mut Facts, config: &Config, host: &Host) -> Vec<Way> {
    let mut ends = match &facts.running {
        Some(running) => of_links(&running.links),
        None => of_file(config),
    };
    ends.dedup_by(|a, b| a.endpoint.ip() == b.endpoint.ip() && a.wan == b.wan);
    if ends.len() > MOST {
        facts.not_checked.push(NotChecked {
            check: "path-mtu".to_owned(),
            why: format!("{MOST} of {} far gateways were looked at", ends.len()),
        });
        ends.truncate(MOST);
    }
    let mtu = match &facts.running {
        Some(running) => running.status.tun.mtu_bytes,
        None => config.gateway.mtu.map_or(USUAL_MTU, u32::from),
    };
    let mut ways = Vec::new();
    for end in ends {
        let leaves_by = host.way_to(end.endpoint.ip()).await.ok().flatten();
        let mut interfaces = facts.host.interfaces.iter();
        let interface = interfaces.find(|found| match &end.wan {
            Some(wan) => found.name == *wan,
            None => Some(found.index) == leaves_by,
        });
        let overhead = if end.endpoint.is_ipv4() {
            OVERHEAD_IPV4
        } else {
            OVERHEAD
        };
        let most = interface.map_or(u32::MAX, |interface| interface.mtu);
        let way = Way {
            link: end.link,
            endpoint: end.endpoint,
            bound: end.wan.is_some(),
            leaves_by: interface.map(|interface| interface.name.clone()),
            // What does not even fit the interface is told by the choice of the MTU.
            largest: (end.mtu.map_or(mtu, u32::from) + overhead).min(most),
            measured: None,
        };
        ways.push((way, end.wan));
    }
    measure(&mut ways);
    ways.into_iter().map(|(way, _)| way).collect()
}

fn measure(ways: &mut [(Way, Option<String>)]) {
    thread::scope(|scope| {
        for (way, wan) in ways {
            if way.leaves_by.is_some() {
                scope.spawn(|| {
                    let remote = way.endpoint.ip();
                    way.measured = path::measure(remote, wan.as_deref(), way.largest);
                });
            }
        }
    });
}

fn of_links(links: &[Link]) -> Vec<End> {
    let known = links.iter().filter_map(|link| {
        let endpoint = link.endpoint.as_deref()?.parse().ok()?;
        let words = [Some(&link.site), Some(&link.gateway), link.link.as_ref()];
        let words = words.into_iter().flatten().filter(|word| !word.is_empty());
        Some(End {
            link: words.map(String::as_str).collect::<Vec<_>>().join("/"),
            endpoint,
            wan: link.wan.clone(),
            mtu: link.path_mtu.as_ref().map(|path| path.mtu_bytes),
        })
    });
    known.collect()
}

fn of_file(config: &Config) -> Vec<End> {
    let mut ends = Vec::new();
    for site in &config.sites {
        for gateway in &site.gateways {
            for link in &gateway.links {
                let addresses = link.endpoints.iter().filter_map(|endpoint| match endpoint {
                    Endpoint::Address(address) => Some(*address),
                    Endpoint::Name { .. } => None,
                });
                ends.extend(addresses.map(|endpoint| End {
                    link: format!("{}/{}", site.name, gateway.name),
                    endpoint,
                    wan: link.wan.clone(),
                    mtu: None,
                }));
            }
        }
    }
    ends
}
