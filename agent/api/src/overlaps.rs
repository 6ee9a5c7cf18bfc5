//! Which prefixes cover each other.

use super::message::Overlap;
use crossway_types::prefix::Prefix;

/// Every pair of `routes` of which one covers the other, by outer, then inner prefix. `routes` are
/// the (prefix, site) pairs of one virtual network in any order.
///
/// Sorted by address and length, the prefixes that cover an entry are those of its predecessors that
/// have not ended yet: a stack of at most 129. So the time is that of sorting and of the answer.
pub fn overlaps(vnet: &str, routes: &[(Prefix, &str)]) -> Vec<Overlap> {
    let mut sorted: Vec<&(Prefix, &str)> = routes.iter().collect();
    sorted.sort_by_key(|(prefix, site)| (prefix.address(), prefix.length(), *site));
    let mut open: Vec<usize> = Vec::new();
    let mut pairs: Vec<(usize, usize)> = Vec::new();
    for (inner, (prefix, _)) in sorted.iter().enumerate() {
        while open
            .last()
            .is_some_and(|outer| !sorted[*outer].0.covers(prefix))
        {
            open.pop();
        }
        pairs.extend(open.iter().map(|outer| (*outer, inner)));
        open.push(inner);
    }
    pairs.sort_unstable();
    pairs
        .into_iter()
        .map(|(outer, inner)| describe(vnet, *sorted[outer], *sorted[inner]))
        .collect()
}

fn describe(vnet: &str, outer: (Prefix, &str), inner: (Prefix, &str)) -> Overlap {
    let ((outer, outer_site), (inner, inner_site)) = (outer, inner);
    let effect = if outer_site == inner_site {
        format!("both lead to {outer_site}: {inner} changes nothing")
    } else if outer == inner {
        format!("{outer} is claimed by {outer_site} and {inner_site}: one of them is never used")
    } else {
        format!("{inner} goes to {inner_site}, the rest of {outer} to {outer_site}")
    };
    Overlap {
        vnet: vnet.to_owned(),
        outer: outer.to_string(),
        outer_site: outer_site.to_owned(),
        inner: inner.to_string(),
        inner_site: inner_site.to_owned(),
        outer_real: None,
        inner_real: None,
        effect,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn pairs(routes: &[(&str, &str)]) -> Vec<(String, String)> {
        let routes: Vec<(Prefix, &str)> = routes
            .iter()
            .map(|(prefix, site)| (prefix.parse().unwrap(), *site))
            .collect();
        overlaps("default", &routes)
            .into_iter()
            .map(|overlap| (overlap.outer, overlap.inner))
            .collect()
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let own = |(outer, inner): &(&str, &str)| ((*outer).to_owned(), (*inner).to_owned());
        pairs.iter().map(own).collect()
    }

    #[test]
    fn every_covering_pair_is_found_once() {
        assert_eq!(
            pairs(&[
                ("10.2.3.0/24", "rome"),
                ("10.0.0.0/8", "paris"),
                ("10.2.0.0/16", "oslo"),
                ("10.3.0.0/16", "oslo"),
                ("11.0.0.0/8", "paris"),
                ("2001:db8::/32", "paris"),
                ("2001:db8:2::/48", "rome"),
            ]),
            owned(&[
                ("10.0.0.0/8", "10.2.0.0/16"),
                ("10.0.0.0/8", "10.2.3.0/24"),
                ("10.0.0.0/8", "10.3.0.0/16"),
                ("10.2.0.0/16", "10.2.3.0/24"),
                ("2001:db8::/32", "2001:db8:2::/48"),
            ])
        );
    }

    #[test]
    fn a_default_route_covers_its_own_family_only() {
        assert_eq!(
            pairs(&[("0.0.0.0/0", "a"), ("::/0", "b"), ("2001:db8::/32", "c")]),
            owned(&[("::/0", "2001:db8::/32")])
        );
    }

    #[test]
    fn the_effect_says_who_gets_what() {
        let prefix = |text: &str| text.parse::<Prefix>().unwrap();
        let found = overlaps(
            "default",
            &[
                (prefix("10.0.0.0/8"), "paris"),
                (prefix("10.2.0.0/16"), "oslo"),
            ],
        );
        assert_eq!(
            found[0].effect,
            "10.2.0.0/16 goes to oslo, the rest of 10.0.0.0/8 to paris"
        );
        let found = overlaps(
            "default",
            &[
                (prefix("10.0.0.0/8"), "paris"),
                (prefix("10.2.0.0/16"), "paris"),
            ],
        );
        assert_eq!(
            found[0].effect,
            "both lead to paris: 10.2.0.0/16 changes nothing"
        );
    }

    #[test]
    fn a_hundred_thousand_routes_under_one_default_route_give_as_many_pairs() {
        let mut routes = vec![(
            Prefix::containing(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
            "hub",
        )];
        routes.extend((0..100_000_u32).map(|index| {
            let address = IpAddr::V4(Ipv4Addr::from(index << 8));
            (Prefix::containing(address, 24), "spoke")
        }));
        assert_eq!(overlaps("default", &routes).len(), 100_000);
    }
}
