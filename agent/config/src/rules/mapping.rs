//! What the mappings of LANs must not do to each other and to sites, and which would part two sites.

use crossway_types::mapping::Mapping;
use crossway_types::mapping::free::FreePrefixes;
use crossway_types::prefix::{Prefix, PrefixIndex};

use crate::diagnostic::Report;
use crate::gateway::GatewayDraft;
use crate::mapping::another;
use crate::section::At;
use crate::site::SiteDraft;

pub(super) fn check(report: &Report<'_>, gateway: &GatewayDraft, sites: &[SiteDraft]) {
    let maps = &gateway.lan_maps;
    if maps.is_empty() {
        return;
    }
    lans_do_not_overlap(report, maps);
    let routes = sites.iter().enumerate().flat_map(|(number, site)| {
        let routes = site.routes.iter();
        routes.map(move |route| (route.value, number))
    });
    let routes = PrefixIndex::new(routes);
    for map in maps {
        let shown = map.value.shown();
        // A shorter one leaves these addresses to the LAN.
        if let Some((prefix, number)) = routes.inside(shown).next() {
            report.error(
                map.offset,
                "gateway, lan, map",
                format!("{shown} overlaps {prefix} of {}", sites[*number].place),
                "show the LAN as a prefix that no site has",
            );
        }
    }
}

fn lans_do_not_overlap(report: &Report<'_>, maps: &[At<Mapping>]) {
    for side in [Mapping::real, Mapping::shown] {
        let all = PrefixIndex::new(maps.iter().map(|map| (side(&map.value), map.offset)));
        for (at, map) in maps.iter().enumerate() {
            let prefix: Prefix = side(&map.value);
            let before = maps[..at].iter().any(|other| side(&other.value) == prefix);
            let other = another(&all, prefix).or(before.then_some(prefix));
            if let Some(other) = other {
                report.error(
                    map.offset,
                    "gateway, lan, map",
                    format!("{prefix} overlaps {other}, which another line maps"),
                    "map prefixes that do not overlap",
                );
            }
        }
    }
}

/// Overlaps for which a free prefix is looked for: nobody reads more.
const MOST_PROPOSALS: usize = 32;

/// What to do about prefixes that two sites have.
pub(super) struct Mends<'a> {
    gateway: Option<&'a GatewayDraft>,
    sites: &'a [SiteDraft],
    free: Option<FreePrefixes>,
    told: usize,
}

impl<'a> Mends<'a> {
    pub(super) fn new(gateway: Option<&'a GatewayDraft>, sites: &'a [SiteDraft]) -> Self {
        Self {
            gateway,
            sites,
            free: None,
            told: 0,
        }
    }

    /// For `prefix` of `site`, which another site has too.
    pub(super) fn of(&mut self, site: &SiteDraft, prefix: Prefix) -> String {
        let mapped = site.maps.iter().any(|map| map.value.shown() == prefix);
        match (mapped, self.propose(prefix)) {
            (true, Some(free)) => format!("show it as one that is free, such as {free}"),
            (true, None) => "show it as one that is free".to_owned(),
            (false, Some(free)) => format!(
                "keep it at one site, give the other a longer prefix or, if both have these addresses, show one as \
                 another with map = {{ \"{prefix}\" = \"{free}\" }}"
            ),
            (false, None) => "keep it at one site, or give the other a longer prefix".to_owned(),
        }
    }

    fn propose(&mut self, prefix: Prefix) -> Option<Prefix> {
        self.told += 1;
        if self.told > MOST_PROPOSALS {
            return None;
        }
        let (gateway, sites) = (self.gateway, self.sites);
        let free = self.free.get_or_insert_with(|| {
            let routes = sites.iter().flat_map(|site| {
                let real = site.maps.iter().map(|map| map.value.real());
                site.routes.iter().map(|route| route.value).chain(real)
            });
            let own = gateway.into_iter().flat_map(|gateway| {
                let maps = gateway.lan_maps.iter();
                let tunnel = gateway.tunnel_addresses.iter();
                maps.flat_map(|map| [map.value.real(), map.value.shown()])
                    .chain(tunnel.map(|own| Prefix::host(own.value.address)))
            });
            // A default route leaves room for all others.
            FreePrefixes::besides(routes.chain(own).filter(|used| used.length() > 0))
        });
        free.propose(prefix)
    }
}
