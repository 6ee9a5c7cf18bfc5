//! Which addresses are whose: those of a site are the ones that its routes lead to.

use std::net::IpAddr;

use crossway_types::address::Family;
use crossway_types::prefix::Prefix;

use super::area::{Area, FAMILIES, last, span};
use super::spans::Spans;

/// What names in rules stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// The sites.
    pub sites: Vec<SiteNetwork>,
    /// This gateway's own tunnel addresses.
    pub own: Vec<IpAddr>,
}

/// A site as rules see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SiteNetwork {
    /// Its name.
    pub name: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its routes. An address is of the site that has the longest.
    pub routes: Vec<Prefix>,
}

/// Who has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Owner {
    /// No site has a route to it.
    Lan,
    /// The site with this index.
    Site(u32),
}

impl Owner {
    /// Counted from 0, the LAN first.
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Lan => 0,
            Self::Site(site) => site as usize + 1,
        }
    }
}

impl Network {
    /// Every route with its owner, sorted: a prefix stands in front of those that it covers.
    pub(crate) fn routes(&self) -> Vec<(Prefix, Owner)> {
        let mut routes: Vec<_> = self
            .sites
            .iter()
            .zip(0..)
            .flat_map(|(site, index)| {
                let routes = site.routes.iter();
                routes.map(move |route| (*route, Owner::Site(index)))
            })
            .collect();
        routes.sort_unstable();
        routes
    }

    /// The addresses of each owner, by its index.
    pub(crate) fn areas(&self) -> Vec<Area> {
        let routes = self.routes();
        let [v4, v6] = FAMILIES.map(|family| {
            let of_family = routes.iter().filter(|(prefix, _)| {
                let address = prefix.address();
                Family::of(address) == family
            });
            let mut spans = vec![Vec::new(); self.sites.len() + 1];
            for (span, owner) in split(of_family, last(family)) {
                spans[owner.index()].push(span);
            }
            spans
        });
        let pairs = v4.into_iter().zip(v6);
        pairs
            .map(|(v4, v6)| Area::new(Spans::new(v4), Spans::new(v6)))
            .collect()
    }
}

/// Who has which of the numbers up to `last`: of nested routes the inner.
fn split<'a>(
    routes: impl Iterator<Item = &'a (Prefix, Owner)>,
    last: u128,
) -> Vec<((u128, u128), Owner)> {
    let mut sweep = Sweep {
        next: Some(0),
        owned: Vec::new(),
    };
    // Those that hold the present number, the inner one last, with their ends.
    let mut open = vec![(last, Owner::Lan)];
    for (prefix, owner) in routes {
        let (first, end) = span(prefix);
        while let Some((end, inner)) = open.pop_if(|(end, _)| *end < first) {
            sweep.up_to(end, inner);
        }
        if let (Some((_, outer)), Some(before)) = (open.last(), first.checked_sub(1)) {
            sweep.up_to(before, *outer);
        }
        open.push((end, *owner));
    }
    while let Some((end, owner)) = open.pop() {
        sweep.up_to(end, owner);
    }
    sweep.owned
}

struct Sweep {
    /// The first number that nobody has yet; none behind the last there is.
    next: Option<u128>,
    owned: Vec<((u128, u128), Owner)>,
}

impl Sweep {
    fn up_to(&mut self, end: u128, owner: Owner) {
        if let Some(next) = self.next.filter(|next| *next <= end) {
            self.owned.push(((next, end), owner));
            self.next = end.checked_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(name: &str, routes: &[&str]) -> SiteNetwork {
        SiteNetwork {
            name: name.to_owned(),
            tags: Vec::new(),
            routes: routes.iter().map(|route| route.parse().unwrap()).collect(),
        }
    }

    fn without(area: &Area, other: &Area) -> Area {
        let [v4, v6] = FAMILIES.map(|family| area.family(family).without(other.family(family)));
        Area::new(v4, v6)
    }

    #[test]
    fn an_address_is_of_the_site_with_the_longest_route_or_of_the_lan() {
        let network = Network {
            sites: vec![
                site("a", &["10.0.0.0/8", "::/0"]),
                site("b", &["10.2.0.0/16", "10.2.3.0/24", "255.255.255.255"]),
                site("c", &["10.2.3.128/25", "ffff::/16"]),
            ],
            own: Vec::new(),
        };
        let areas = network.areas();
        let of = |prefixes: &[&str]| {
            Area::of_prefixes(prefixes.iter().map(|prefix| prefix.parse().unwrap()))
        };
        let ten = of(&["10.0.0.0/8", "::/0"]);
        assert_eq!(areas[1], without(&ten, &of(&["10.2.0.0/16", "ffff::/16"])));
        let b = of(&["10.2.0.0/16", "255.255.255.255"]);
        let b = without(&b, &of(&["10.2.3.128/25"]));
        assert_eq!(areas[2], b);
        assert_eq!(areas[3], of(&["10.2.3.128/25", "ffff::/16"]));
        let lan = of(&["0.0.0.0/0"]);
        let lan = without(&lan, &of(&["10.0.0.0/8", "255.255.255.255"]));
        assert_eq!(areas[0], lan);
    }
}
