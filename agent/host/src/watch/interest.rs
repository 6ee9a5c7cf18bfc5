//! Which routes of others can make a difference. Pure.
//!
//! A host may have a million routes, of which some change all the time. A look at the host reads them all, so it is
//! worth it only for those that can change where a packet of a site or of the tunnel goes.

use std::net::IpAddr;

use crossway_types::prefix::{Prefix, PrefixIndex};

/// What routes are compared with.
#[derive(Clone, Debug)]
pub struct Interest {
    sites: PrefixIndex<()>,
    endpoints: Vec<IpAddr>,
    routers: Vec<IpAddr>,
}

impl Interest {
    /// The prefixes of the sites, and the routers that the uplinks' routes lead to.
    pub fn new(sites: impl IntoIterator<Item = Prefix>, routers: Vec<IpAddr>) -> Self {
        Self {
            sites: PrefixIndex::new(sites.into_iter().map(|prefix| (prefix, ()))),
            endpoints: Vec::new(),
            routers,
        }
    }

    /// Takes where far gateways are.
    pub fn set_endpoints(&mut self, endpoints: Vec<IpAddr>) {
        self.endpoints = endpoints;
    }

    /// Whether a route for `prefix` can make a difference: it lies in a site's prefix or covers one, or a packet of
    /// the tunnel may take it.
    pub fn concerns(&self, prefix: &Prefix) -> bool {
        let mut addresses = self.endpoints.iter().chain(&self.routers);
        self.sites.longest_cover(prefix).is_some()
            || self.sites.inside(*prefix).next().is_some()
            || addresses.any(|address| prefix.contains(*address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_routes_that_touch_a_site_an_endpoint_or_a_router_are_of_interest() {
        let sites = ["10.2.0.0/16", "2001:db8:2::/48"].map(|text| text.parse().unwrap());
        let mut interest = Interest::new(sites, vec!["198.51.100.1".parse().unwrap()]);
        interest.set_endpoints(vec!["203.0.113.7".parse().unwrap()]);
        for (prefix, expected) in [
            ("10.2.0.0/16", true),
            ("10.2.3.0/24", true),
            ("10.0.0.0/8", true),
            ("0.0.0.0/0", true),
            ("203.0.113.0/24", true),
            ("203.0.113.7/32", true),
            ("198.51.100.0/30", true),
            ("2001:db8:2:1::/64", true),
            ("2001:db8::/32", true),
            ("10.3.0.0/16", false),
            ("203.0.113.8/32", false),
            ("198.18.0.0/24", false),
            ("2001:db8:3::/48", false),
            ("fe80::/64", false),
        ] {
            assert_eq!(
                interest.concerns(&prefix.parse().unwrap()),
                expected,
                "{prefix}"
            );
        }
    }
}
