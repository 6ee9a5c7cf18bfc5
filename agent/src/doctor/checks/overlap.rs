//! Prefixes of sites that meet networks of this host.

use super::finding;
use crate::config::Config;
use crate::control::message::{Finding, Severity};
use crate::doctor::facts::Facts;
use crate::prefix::Prefix;
use crossway_types::mapping::Mapping;
use crossway_types::mapping::free::FreePrefixes;

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let Some(Ok(accepted)) = &facts.config else {
        return Vec::new();
    };
    let config = &accepted.config;
    let networks = networks(facts, &config.gateway.tun_name());
    let mut findings = Vec::new();
    for site in &config.sites {
        for prefix in &site.routes {
            for (interface, network) in &networks {
                findings.extend(meet(config, (&site.name, *prefix), (interface, *network)));
            }
        }
    }
    findings
}

/// The networks that interfaces are in, but for the tunnel's own.
fn networks(facts: &Facts, tun: &str) -> Vec<(String, Prefix)> {
    let mut networks: Vec<(String, Prefix)> = Vec::new();
    for own in facts.host.addresses.iter().filter(|own| own.global) {
        let mut interfaces = facts.host.interfaces.iter();
        let interface = interfaces.find(|interface| interface.index == own.interface);
        let Some(interface) = interface.filter(|interface| interface.name != tun) else {
            continue;
        };
        let network = Prefix::containing(own.address.address, own.address.length);
        // A single address is in no network.
        let single = if network.is_ipv4() { 32 } else { 128 };
        let network = (interface.name.clone(), network);
        if network.1.length() < single && !networks.contains(&network) {
            networks.push(network);
        }
    }
    networks
}

/// A prefix that is free, as far as the file and this network say.
fn proposal(config: &Config, network: Prefix, prefix: Prefix) -> String {
    let routes = config.sites.iter().flat_map(|site| {
        let real = site.maps.iter().map(Mapping::real);
        site.routes.iter().copied().chain(real)
    });
    let used = routes.chain([network]).filter(|used| used.length() > 0);
    let free = FreePrefixes::besides(used).propose(prefix);
    free.map_or_else(
        || "one that nobody has".to_owned(),
        |free| format!("{free} is free"),
    )
}

fn meet(
    config: &Config,
    (site, prefix): (&str, Prefix),
    (interface, network): (&str, Prefix),
) -> Option<Finding> {
    let gateway = &config.gateway;
    let is_lan = gateway.lan.iter().any(|lan| lan.interface == interface);
    let is_wan = gateway.wan.iter().any(|wan| wan.interface == interface);
    if is_lan && network.covers(&prefix) {
        let what = format!("{prefix} of site {site} lies in {network}, the network of {interface}");
        let why = "hosts of this LAN look for those addresses on the LAN itself and never ask the gateway".to_owned();
        let mend = format!(
            "show it as another one with map in the [[site]] ({}), give one of the two other addresses, or take {prefix} out \
             of the site",
            proposal(config, network, prefix)
        );
        let problem = Severity::Problem;
        return Some(finding(
            "overlap",
            problem,
            prefix.to_string(),
            [what, why, mend],
        ));
    }
    // A gateway's own LAN may lie in a summary of a hub's.
    if !is_lan && !is_wan && prefix.covers(&network) {
        let what =
            format!("{network}, the network of {interface}, lies in {prefix} of site {site}");
        let why = "this host and what it forwards do not reach the site's hosts of those addresses"
            .to_owned();
        let mend = format!(
            "nothing if the site does not use {network}; else give {interface} another network"
        );
        let note = Severity::Note;
        return Some(finding(
            "overlap",
            note,
            network.to_string(),
            [what, why, mend],
        ));
    }
    None
}
