//! Rules between sections: what each of them allows, and all of them together do not.

mod links;
mod mapping;
mod replicas;

use std::collections::HashMap;
use std::fmt::Display;
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};

use datapath_abi::maps::{MAX_ROUTES, MAX_SITES};

use super::diagnostic::Report;
use super::gateway::{GatewayDraft, SMALLEST_MTU_V6};
use super::remote::RemoteDraft;
use super::section::At;
use super::site::SiteDraft;
use super::{Endpoint, OnDown};
use crossway_types::ids::SiteId;
use crossway_types::keys::public_key_text;
use crossway_types::prefix::{Prefix, PrefixIndex};
use crossway_types::routes::RouteTable;

/// Checks the whole file.
pub(super) fn check(report: &Report<'_>, gateway: Option<&GatewayDraft>, sites: &[SiteDraft]) {
    names_are_unique(report, gateway, sites);
    public_keys_are_unique(report, gateway, sites);
    prefixes_are_unique(report, gateway, sites);
    warn_of_default_routes(report, sites);
    warn_of_prefixes_that_nobody_takes_over(report, sites);
    warn_of_endpoints_in_routes(report, gateway, sites);
    links::check(report, gateway, sites);
    sizes_fit(report, sites);
    if let Some(gateway) = gateway {
        mtu_suits_ipv6(report, gateway, sites);
        replicas::check(report, gateway);
        mapping::check(report, gateway, sites);
        if let Some(listen) = gateway.listen {
            for remote in remotes(Some(gateway), sites) {
                endpoints_suit_listen(report, listen.value, remote);
            }
        }
    }
}

/// Every gateway but this one: the replicas, then those of the sites.
fn remotes<'a>(
    gateway: Option<&'a GatewayDraft>,
    sites: &'a [SiteDraft],
) -> impl Iterator<Item = &'a RemoteDraft> {
    let replicas = gateway.into_iter().flat_map(|gateway| &gateway.replicas);
    replicas.chain(sites.iter().flat_map(|site| &site.gateways))
}

fn names_are_unique(report: &Report<'_>, gateway: Option<&GatewayDraft>, sites: &[SiteDraft]) {
    let mut site_names = Unique::default();
    for site in sites {
        if let Some(name) = &site.name {
            let place = format!("{}, name", site.place);
            site_names.take(
                report,
                &name.value,
                name,
                &place,
                "a site",
                "rename one of them",
            );
        }
    }
    let mut gateway_names = Unique::default();
    if let Some(name) = gateway.and_then(|gateway| gateway.name.as_ref()) {
        gateway_names.take(report, &name.value, name, "gateway, name", "a gateway", "");
    }
    for remote in remotes(gateway, sites) {
        if let Some(name) = &remote.name {
            let place = format!("{}, name", remote.place);
            gateway_names.take(
                report,
                &name.value,
                name,
                &place,
                "a gateway",
                "rename one of them",
            );
        }
    }
}

fn public_keys_are_unique(
    report: &Report<'_>,
    gateway: Option<&GatewayDraft>,
    sites: &[SiteDraft],
) {
    let mut keys = Unique::default();
    for remote in remotes(gateway, sites) {
        if let Some(key) = &remote.public_key {
            keys.take(
                report,
                public_key_text(&key.value),
                key,
                &format!("{}, public_key", remote.place),
                "the key of another gateway",
                "each gateway has a key pair of its own, make one with `crossway keygen`",
            );
        }
    }
}

fn prefixes_are_unique(report: &Report<'_>, gateway: Option<&GatewayDraft>, sites: &[SiteDraft]) {
    let mut mends = mapping::Mends::new(gateway, sites);
    let mut seen: HashMap<(&str, Prefix), (&str, usize)> = HashMap::new();
    for site in sites {
        for route in &site.routes {
            let key = (site.vnet.as_str(), route.value);
            let Some((owner, first)) = seen.get(&key) else {
                seen.insert(key, (&site.place, route.offset));
                continue;
            };
            let line = report.line(*first);
            let (problem, mend) = if *owner == site.place {
                (
                    format!("{} is listed twice (line {line})", route.value),
                    "keep one of them".to_owned(),
                )
            } else {
                (
                    format!(
                        "{} is already a route of {owner} (line {line})",
                        route.value
                    ),
                    mends.of(site, route.value),
                )
            };
            report.error(
                route.offset,
                format!("{}, routes", site.place),
                problem,
                mend,
            );
        }
    }
}

fn warn_of_default_routes(report: &Report<'_>, sites: &[SiteDraft]) {
    for site in sites {
        for route in site.routes.iter().filter(|route| route.value.length() == 0) {
            report.warning(
                route.offset,
                format!("{}, routes", site.place),
                format!(
                    "{} sends all traffic without a longer route to this site",
                    route.value
                ),
                "if that is not meant, write the networks behind the site",
            );
        }
    }
}

/// A warning only: a line of the host's own may be what takes over.
fn warn_of_prefixes_that_nobody_takes_over(report: &Report<'_>, sites: &[SiteDraft]) {
    let stands_back = |site: &&SiteDraft| site.on_down == OnDown::NextShorter;
    if !sites.iter().any(|site| stands_back(&site)) {
        return;
    }
    let routes = sites.iter().enumerate().flat_map(|(index, site)| {
        let routes = site.routes.iter();
        routes.map(move |route| (route.value, index))
    });
    let index = PrefixIndex::new(routes);
    for (number, site) in sites.iter().enumerate().filter(|(_, s)| stands_back(s)) {
        let alone = |prefix: Prefix| {
            let shorter = (0..prefix.length()).rev();
            let mut covers = shorter
                .filter_map(|length| index.get(&Prefix::containing(prefix.address(), length)));
            covers.all(|other| *other == number)
        };
        let alone: Vec<_> = site.routes.iter().filter(|at| alone(at.value)).collect();
        let Some(first) = alone.first() else { continue };
        let more = match alone.len() {
            1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        report.warning(
            first.offset,
            format!("{}, on_down", site.place),
            format!(
                "next-shorter, but no other site has a shorter prefix for {}{more}: while this site \
                 is down, the kernel's own routes take the packets, unencrypted",
                first.value
            ),
            "give another site a shorter prefix, or write on_down = \"unreachable\", unless a line of your own should take over",
        );
    }
}

/// A warning only: the kernel may have a longer route to the endpoint, which `run` looks at.
fn warn_of_endpoints_in_routes(
    report: &Report<'_>,
    gateway: Option<&GatewayDraft>,
    sites: &[SiteDraft],
) {
    let routes = sites.iter().enumerate().flat_map(|(index, site)| {
        let networks = site.routes.iter().filter(|route| route.value.length() > 0);
        networks.map(move |route| (route.value, SiteId(index as u32)))
    });
    let table = RouteTable::new(routes);
    for remote in remotes(gateway, sites) {
        for (link, endpoint) in remote.endpoints() {
            let Endpoint::Address(address) = endpoint.value else {
                continue;
            };
            let Some(SiteId(index)) = table.site_of(address.ip()) else {
                continue;
            };
            report.warning(
                endpoint.offset,
                link.place_of_endpoint(),
                format!(
                    "{address} lies in a route of {}: the tunnel's own packets may go into the tunnel",
                    sites[index as usize].place
                ),
                "write an endpoint outside the routes, or longer prefixes in the routes",
            );
        }
    }
}

fn sizes_fit(report: &Report<'_>, sites: &[SiteDraft]) {
    if let Some(site) = sites.get(MAX_SITES) {
        let offset = site.name.as_ref().map_or(0, |name| name.offset);
        let problem = format!("{} sites are too many", sites.len());
        report.error(
            offset,
            "site",
            problem,
            format!("one gateway takes {MAX_SITES}"),
        );
    }
    for (family, v4) in [("IPv4", true), ("IPv6", false)] {
        let mut routes = sites
            .iter()
            .flat_map(|site| &site.routes)
            .filter(|route| route.value.is_ipv4() == v4);
        if let Some(route) = routes.nth(MAX_ROUTES) {
            let problem = format!(
                "{} {family} routes are too many",
                MAX_ROUTES + 1 + routes.count()
            );
            report.error(
                route.offset,
                "site, routes",
                problem,
                format!("one gateway takes {MAX_ROUTES}"),
            );
        }
    }
}

fn mtu_suits_ipv6(report: &Report<'_>, gateway: &GatewayDraft, sites: &[SiteDraft]) {
    let Some(mtu) = gateway.mtu.filter(|mtu| mtu.value < SMALLEST_MTU_V6) else {
        return;
    };
    let v6_route = sites
        .iter()
        .flat_map(|site| &site.routes)
        .find(|route| !route.value.is_ipv4())
        .map(|route| (route.value.to_string(), route.offset));
    let v6_address = gateway
        .tunnel_addresses
        .iter()
        .find(|address| address.value.address.is_ipv6())
        .map(|address| (address.value.address.to_string(), address.offset));
    if let Some((cause, offset)) = v6_route.or(v6_address) {
        report.error(
            mtu.offset,
            "gateway, mtu",
            format!(
                "{} is too small for IPv6 ({cause}, line {})",
                mtu.value,
                report.line(offset)
            ),
            format!("write {SMALLEST_MTU_V6} or more"),
        );
    }
}

fn endpoints_suit_listen(report: &Report<'_>, listen: SocketAddr, remote: &RemoteDraft) {
    for (link, endpoint) in remote.endpoints() {
        let Endpoint::Address(address) = endpoint.value else {
            continue;
        };
        let (family, mend) = match (listen.ip(), address.ip()) {
            (IpAddr::V4(_), IpAddr::V6(_)) => {
                ("IPv6", format!("write listen = \"[::]:{}\"", listen.port()))
            }
            // A socket bound to `::` takes IPv4 as well, one bound to an IPv6 address does not.
            (IpAddr::V6(own), IpAddr::V4(_)) if !own.is_unspecified() => {
                ("IPv4", format!("write listen = \"[::]:{}\"", listen.port()))
            }
            _ => continue,
        };
        report.error(
            endpoint.offset,
            link.place_of_endpoint(),
            format!("{address} is an {family} address, but listen is {listen}"),
            mend,
        );
    }
}

/// Values that may occur once, with the byte offset of the first.
struct Unique<K>(HashMap<K, usize>);

impl<K> Default for Unique<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash + Display> Unique<K> {
    fn take<T>(
        &mut self,
        report: &Report<'_>,
        key: K,
        at: &At<T>,
        place: &str,
        what: &str,
        mend: &str,
    ) {
        match self.0.get(&key) {
            None => {
                self.0.insert(key, at.offset);
            }
            Some(first) => {
                let line = report.line(*first);
                let problem = format!("{key} is already {what} (line {line})");
                report.error(at.offset, place, problem, mend);
            }
        }
    }
}
