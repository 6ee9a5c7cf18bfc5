//! Facts of the host.

use std::fs;
use std::io;
use std::net::UdpSocket;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use nix::unistd::geteuid;
use tokio::time::sleep;

use super::{GatherError, ways};
use crate::clock;
use crate::config::{Config, Endpoint};
use crate::control::message::NotChecked;
use crate::doctor::checks::wanted_of_card;
use crate::doctor::facts::{Card, Facts, Feature, HostFacts, StartFacts};
use crate::gateway;
use crate::host::Host;
use crate::host::firewall::{Named, Watched};
use crate::host::forwarding::{self, Need};
use crate::host::links::Interface;
use crate::host::state::SysctlChange;
use crate::host::sysctl::is_strict;
use crate::ids::IfIndex;
use crossway_sys::interface::feature;

/// How long the kernel's counters are watched.
const WATCHED_FOR: Duration = Duration::from_secs(1);
/// Longer than a running gateway takes to set back what somebody has changed.
const SET_BACK_WITHIN: Duration = Duration::from_secs(5);
/// A path under which there is no state file.
const NO_STATE: &str = "/proc/none";

/// Looks at the host, and at the ways to the far gateways.
pub(super) async fn look(facts: &mut Facts) -> Result<(), GatherError> {
    let host = match Host::connect(&facts.gateway).await {
        Ok(host) => host,
        // Its state file is not for every user.
        Err(_) => Host::connect_with_state(NO_STATE.into())
            .await
            .map_err(anyhow::Error::new)?,
    };
    let begun = clock::now();
    let drops_before = reverse_path_drops();
    facts.host = of_kernel(&host).await.map_err(anyhow::Error::new)?;
    refuse_elsewhere(facts)?;
    facts.host.synchronised = clock::is_synchronised();
    facts.host.told_ahead = gateway::told_ahead(&facts.gateway);
    facts.host.now_unix_milliseconds = clock::since_epoch().as_millis() as u64;
    facts.host.conntrack = conntrack();
    if let Some(config) = config_of(facts) {
        look_at_interfaces(facts, &config);
        look_at_firewall(facts, &config);
        look_at_sysctls(facts, &config).await;
        if facts.running.is_none() {
            facts.host.start = Some(of_start(facts, &config).await);
        }
        facts.ways = ways::of(facts, &config, &host).await;
    }
    let left = WATCHED_FOR.saturating_sub(clock::now().saturating_duration_since(begun));
    sleep(left).await;
    facts.host.reverse_path_drops = reverse_path_drops().saturating_sub(drops_before);
    Ok(())
}

/// The configuration, if the file can be understood.
fn config_of(facts: &mut Facts) -> Option<Config> {
    if let Some(Ok(accepted)) = &facts.config {
        return Some(accepted.config.clone());
    }
    let why = "the configuration file cannot be used";
    for check in [
        "forwarding",
        "firewall-input",
        "path-mtu",
        "overlap",
        "nic-offload",
    ] {
        skip(facts, check, why.to_owned());
    }
    None
}

fn skip(facts: &mut Facts, check: &str, why: String) {
    facts.not_checked.push(NotChecked {
        check: check.to_owned(),
        why,
    });
}

async fn of_kernel(host: &Host) -> Result<HostFacts, crate::host::error::HostError> {
    Ok(HostFacts {
        interfaces: host.interfaces().await?,
        addresses: host.addresses().await?,
        neighbours: host.neighbours().await?,
        ..HostFacts::default()
    })
}

/// The facts of this host say nothing of a gateway in another network namespace.
fn refuse_elsewhere(facts: &Facts) -> Result<(), GatherError> {
    let Some(running) = &facts.running else {
        return Ok(());
    };
    let status = &running.status;
    let mut interfaces = facts.host.interfaces.iter();
    if interfaces.any(|interface| interface.name == status.tun.name) {
        return Ok(());
    }
    Err(GatherError::Elsewhere {
        gateway: status.gateway.clone(),
        tun: status.tun.name.clone(),
        pid: status.pid,
        // It need not be where nsenter looks for programs.
        program: std::env::current_exe()
            .map_or_else(|_| "crossway".to_owned(), |path| path.display().to_string()),
    })
}

/// Names of the LAN interfaces and of the WAN interfaces.
fn names(config: &Config) -> (Vec<String>, Vec<String>) {
    let lan = config.gateway.lan.iter().map(|lan| lan.interface.clone());
    let wan = config.gateway.wan.iter().map(|wan| wan.interface.clone());
    (lan.collect(), wan.collect())
}

fn look_at_interfaces(facts: &mut Facts, config: &Config) {
    let (lan, wan) = names(config);
    let all = lan.iter().chain(&wan);
    let strict = all.filter(|name| is_strict(name)).cloned();
    facts.host.strict = strict.collect();
    facts.host.strict.dedup();
    let lan = lan.iter().map(|name| (name, false));
    let wan = wan.iter().map(|name| (name, true));
    let mut cards = Vec::new();
    for (name, wan) in lan.chain(wan) {
        let mut interfaces = facts.host.interfaces.iter();
        if let Some(found) = interfaces.find(|found| found.name == *name && found.ethernet) {
            cards.push(card(found, wan));
        }
    }
    facts.host.cards = cards;
}

fn card(interface: &Interface, wan: bool) -> Card {
    let of = |name: &&'static str| {
        let state = feature::state(&interface.name, name).ok().flatten()?;
        let feature = match (state.active, state.changeable) {
            (true, _) => Feature::On,
            (false, true) => Feature::Off,
            (false, false) => Feature::Absent,
        };
        Some((*name, feature))
    };
    let wanted = wanted_of_card(wan, interface.kind.as_deref());
    Card {
        interface: interface.name.clone(),
        kind: interface.kind.clone(),
        wan,
        features: wanted.iter().filter_map(of).collect(),
    }
}

fn look_at_firewall(facts: &mut Facts, config: &Config) {
    let (lan, wan) = names(config);
    let named = |names: &[String]| {
        let found = facts.host.interfaces.iter();
        let found = found.filter(|found| names.contains(&found.name));
        let found = found.map(|found| Named {
            name: found.name.clone(),
            index: found.index,
        });
        found.collect::<Vec<_>>()
    };
    let (lans, wans) = (named(&lan), named(&wan));
    let tun = config.gateway.tun_name();
    let tun = named(std::slice::from_ref(&tun)).pop().unwrap_or(Named {
        name: tun,
        index: IfIndex(0),
    });
    let mut watched = Watched::default();
    let looked = watched.look_at_datagrams(&wans, config.gateway.listen.port());
    match looked {
        Ok(datagrams) => facts.host.datagrams = datagrams,
        Err(error) => return skip(facts, "firewall-input", error.to_string()),
    }
    // A running gateway tells of what is forwarded.
    if facts.running.is_none() {
        match watched.look(&lans, &tun, config.gateway.fast_path) {
            Ok(found) => facts.host.forward = found.warnings,
            Err(error) => skip(facts, "firewall-forward", error.to_string()),
        }
    }
}

/// What a running gateway does not set back by itself. Before a start nothing is as it needs it.
async fn look_at_sysctls(facts: &mut Facts, config: &Config) {
    if facts.running.is_none() {
        return;
    }
    match unmet(config) {
        Ok(unmet) if unmet.is_empty() => return,
        Ok(_) => sleep(SET_BACK_WITHIN).await,
        Err(error) => return skip(facts, "forwarding", error.to_string()),
    }
    facts.host.unmet = unmet(config).unwrap_or_default();
}

fn unmet(config: &Config) -> Result<Vec<SysctlChange>, crate::host::error::HostError> {
    let (lan, wan) = names(config);
    let gateways = config.sites.iter().flat_map(|site| &site.gateways);
    let links = gateways.flat_map(|gateway| &gateway.links);
    let bound: Vec<String> = links.filter_map(|link| link.wan.clone()).collect();
    let prefixes = config.sites.iter().flat_map(|site| &site.routes);
    let addresses = config.gateway.tunnel_addresses.iter();
    let mut families = prefixes
        .map(crate::prefix::Prefix::is_ipv4)
        .chain(addresses.map(|own| own.address.is_ipv4()));
    forwarding::unmet(Need {
        tun: &config.gateway.tun_name(),
        lan: &lan,
        wan: &wan,
        bound: &bound,
        ipv6: families.any(|ipv4| !ipv4),
        virtual_macs: &[],
    })
}

/// `IPReversePathFilter` of the kernel's counters: a line of names, and a line of numbers.
fn reverse_path_drops() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/net/netstat").unwrap_or_default();
    counter(&text, "IPReversePathFilter").unwrap_or(0)
}

fn counter(text: &str, name: &str) -> Option<u64> {
    let lines: Vec<&str> = text.lines().collect();
    lines.chunks(2).find_map(|pair| {
        let [names, numbers] = pair else {
            return None;
        };
        let mut both = names.split_whitespace().zip(numbers.split_whitespace());
        both.find(|(found, _)| *found == name)?.1.parse().ok()
    })
}

fn conntrack() -> Option<(u64, u64)> {
    let read = |name: &str| {
        let path = format!("/proc/sys/net/netfilter/nf_conntrack_{name}");
        fs::read_to_string(path).ok()?.trim().parse().ok()
    };
    Some((read("count")?, read("max")?))
}

async fn of_start(facts: &mut Facts, config: &Config) -> StartFacts {
    let is_root = geteuid().is_root();
    if !is_root {
        let why = "it needs root".to_owned();
        skip(facts, "forwarding", why);
    }
    let forwarding = "/proc/sys/net/ipv4/conf/all/forwarding";
    let writable = fs::OpenOptions::new().write(true).open(forwarding).is_ok();
    StartFacts {
        refusals: gateway::refusals(config).await,
        unresolved: unresolved(config),
        ports: taken_ports(config),
        kernel: kernel(),
        tun_device: Path::new("/dev/net/tun").exists(),
        sysctls_writable: writable || !is_root,
    }
}

fn unresolved(config: &Config) -> Vec<(String, String)> {
    let gateways = config.sites.iter().flat_map(|site| &site.gateways);
    let links = gateways.flat_map(|gateway| &gateway.links);
    let endpoints = links.flat_map(|link| &link.endpoints);
    let mut unresolved: Vec<(String, String)> = Vec::new();
    for endpoint in endpoints {
        let Endpoint::Name { host, port } = endpoint else {
            continue;
        };
        if let Err(error) = std::net::ToSocketAddrs::to_socket_addrs(&(host.as_str(), *port))
            && !unresolved.iter().any(|(known, _)| known == host)
        {
            unresolved.push((host.clone(), error.to_string()));
        }
    }
    unresolved
}

fn taken_ports(config: &Config) -> Vec<(u16, String)> {
    let first = config.gateway.listen;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let lanes = config.gateway.lanes_to_run(&config.sites, cores);
    let ports = (0..lanes).filter_map(|lane| first.port().checked_add(lane));
    let taken = ports.filter_map(|port| {
        let mut address = first;
        address.set_port(port);
        let error = UdpSocket::bind(address).err()?;
        // The address may come later, and a gateway starts without.
        (error.kind() != io::ErrorKind::AddrNotAvailable).then(|| (port, error.to_string()))
    });
    taken.collect()
}

fn kernel() -> Option<(u32, u32)> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_found_by_its_name_in_the_line_above() {
        let text = "TcpExt: SyncookiesSent IPReversePathFilter\nTcpExt: 4 17\nIpExt: InNoRoutes\nIpExt: 2\n";
        assert_eq!(counter(text, "IPReversePathFilter"), Some(17));
        assert_eq!(counter(text, "InNoRoutes"), Some(2));
        assert_eq!(counter(text, "None"), None);
    }

    #[test]
    fn the_kernel_has_a_version() {
        assert!(kernel().unwrap() >= (4, 0));
    }
}
