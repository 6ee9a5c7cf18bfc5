//! Prefixes that meet without being equal, which may be meant: a summary of a hub's holds its spokes. And those that meet
//! the networks of this gateway's own LANs, where the file is checked on the gateway.

use std::collections::BTreeSet;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;

use crate::config::Config;
use crate::control::overlaps;
use crate::prefix::Prefix;
use crossway_types::mapping::Mapping;
use crossway_types::mapping::free::FreePrefixes;

/// More than a person reads.
const MOST: usize = 20;

/// What a person may want to know of a file, a line each.
pub(super) fn notes(config: &Config) -> Vec<String> {
    notes_on(config, &networks_of_lans(config))
}

/// The networks of the LAN interfaces, as far as they are on this machine.
fn networks_of_lans(config: &Config) -> BTreeSet<(String, Prefix)> {
    let is_lan = |name: &str| config.gateway.lan.iter().any(|lan| lan.interface == name);
    let interfaces = getifaddrs().into_iter().flatten();
    let networks = interfaces.filter(|it| is_lan(&it.interface_name));
    let networks = networks.filter_map(|it| {
        let network = network_of(&it.address?, &it.netmask?)?;
        Some((it.interface_name, network))
    });
    networks.collect()
}

fn network_of(address: &SockaddrStorage, mask: &SockaddrStorage) -> Option<Prefix> {
    if let (Some(address), Some(mask)) = (address.as_sockaddr_in(), mask.as_sockaddr_in()) {
        let length = mask.ip().to_bits().leading_ones();
        return Some(Prefix::containing(address.ip().into(), length as u8));
    }
    let address = address.as_sockaddr_in6()?.ip();
    let length = mask.as_sockaddr_in6()?.ip().to_bits().leading_ones();
    let network = Prefix::containing(address.into(), length as u8);
    (!address.is_unicast_link_local()).then_some(network)
}

fn notes_on(config: &Config, lans: &BTreeSet<(String, Prefix)>) -> Vec<String> {
    let routes: Vec<(Prefix, &str)> = config
        .sites
        .iter()
        .flat_map(|site| site.routes.iter().map(|route| (*route, site.name.as_str())))
        .collect();
    let mut free = free_prefixes(config, lans);
    let mut notes = Vec::new();
    for lan in lans {
        notes.extend(notes_of_lan(config, lan, &routes, &mut free));
    }
    let between = overlaps("default", &routes);
    let between = between.iter().filter(|found| {
        // Two of one site change nothing, and everything lies in a default route.
        found.outer_site != found.inner_site && !found.outer.ends_with("/0")
    });
    for found in between {
        let inner = found.inner.parse().ok().filter(|_| notes.len() < MOST);
        let mend = inner.map(|inner| mend(config, (inner, &found.inner_site), &mut free));
        notes.push(format!(
            "{} of site {} lies in {} of site {}, whose hosts with such addresses cannot be reached from here{}",
            found.inner,
            found.inner_site,
            found.outer,
            found.outer_site,
            mend.unwrap_or_default()
        ));
    }
    let more = notes.len().saturating_sub(MOST);
    notes.truncate(MOST);
    if more > 0 {
        notes.push(format!("and {more} more prefixes that meet others"));
    }
    notes
}

/// Besides all that the file and the LANs have.
fn free_prefixes(config: &Config, lans: &BTreeSet<(String, Prefix)>) -> FreePrefixes {
    let of_sites = config.sites.iter().flat_map(|site| {
        let real = site.maps.iter().map(Mapping::real);
        site.routes.iter().copied().chain(real)
    });
    let own = config.gateway.lan.iter().flat_map(|lan| &lan.maps);
    let own = own.flat_map(|map| [map.real(), map.shown()]);
    let lans = lans.iter().map(|(_, network)| *network);
    let used = of_sites.chain(own).chain(lans);
    FreePrefixes::besides(used.filter(|used| used.length() > 0))
}

fn notes_of_lan(
    config: &Config,
    (interface, network): &(String, Prefix),
    routes: &[(Prefix, &str)],
    free: &mut FreePrefixes,
) -> Vec<String> {
    let meets =
        |route: &Prefix| network.covers(route) || (route.covers(network) && route.length() > 0);
    let meeting = routes.iter().filter(|(route, _)| meets(route)).take(MOST);
    let notes = meeting.map(|(route, site)| {
        if network.covers(route) {
            format!(
                "{route} of site {site} lies in {network}, the network of {interface}: hosts look for these addresses \
                 on their own LAN and never ask the gateway{}",
                mend(config, (*route, site), free)
            )
        } else {
            format!(
                "{network}, the network of {interface}, lies in {route} of site {site}: hosts of that site with such \
                 addresses cannot be reached from here"
            )
        }
    });
    notes.collect()
}

/// How a site's prefix is shown as another one; empty if none is free.
fn mend(config: &Config, (route, site): (Prefix, &str), free: &mut FreePrefixes) -> String {
    let Some(proposal) = free.propose(route) else {
        return String::new();
    };
    let mut sites = config.sites.iter();
    let maps = sites
        .find(|known| known.name == site)
        .map(|site| &site.maps);
    let mut maps = maps.into_iter().flatten();
    match maps.find(|map| map.shown() == route) {
        Some(map) => format!(
            ": if both have these addresses, show {} of site {site} as {proposal} instead",
            map.real()
        ),
        None => format!(
            ": if both have these addresses, add to site {site} map = {{ \"{route}\" = \"{proposal}\" }}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const FILE: &str = r#"
[gateway]
name = "berlin-1"
private_key_file = "berlin-1.key"
listen = "0.0.0.0:51820"
lan = [{ interface = "eth1" }]
wan = [{ interface = "eth0" }]
[[site]]
name = "paris"
routes = ["10.0.0.0/16", "0.0.0.0/0"]
gateway = [{ name = "paris-1", public_key = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=" }]
[[site]]
name = "rome"
routes = ["10.0.3.0/24", "10.2.0.0/24"]
map = { "10.2.0.0/24" = "10.0.4.0/24" }
gateway = [{ name = "rome-1", public_key = "dw9XL3P5LVBwUdFzAoSVNGJhYnQhpZXsQBhPhaRgtFs=" }]
"#;

    fn config() -> Config {
        let accepted = Config::parse(FILE, Path::new("berlin-1.toml"));
        accepted.unwrap().config
    }

    #[test]
    fn what_meets_is_named_with_a_free_prefix() {
        let lans = BTreeSet::from([
            ("eth1".to_owned(), "10.0.3.0/24".parse().unwrap()),
            ("eth1".to_owned(), "10.9.0.0/24".parse().unwrap()),
        ]);
        assert_eq!(
            notes_on(&config(), &lans),
            [
                "10.0.3.0/24, the network of eth1, lies in 10.0.0.0/16 of site paris: hosts of that site with such addresses \
                 cannot be reached from here",
                "10.0.3.0/24 of site rome lies in 10.0.3.0/24, the network of eth1: hosts look for these addresses on their \
                 own LAN and never ask the gateway: if both have these addresses, add to site rome \
                 map = { \"10.0.3.0/24\" = \"10.101.0.0/24\" }",
                "10.0.3.0/24 of site rome lies in 10.0.0.0/16 of site paris, whose hosts with such addresses cannot be \
                 reached from here: if both have these addresses, add to site rome \
                 map = { \"10.0.3.0/24\" = \"10.102.0.0/24\" }",
                "10.0.4.0/24 of site rome lies in 10.0.0.0/16 of site paris, whose hosts with such addresses cannot be \
                 reached from here: if both have these addresses, show 10.2.0.0/24 of site rome as 10.103.0.0/24 instead",
            ]
        );
    }

    #[test]
    fn a_file_without_overlaps_has_no_notes() {
        let mut config = config();
        config.sites.pop();
        assert_eq!(notes_on(&config, &BTreeSet::new()), Vec::<String>::new());
    }
}
