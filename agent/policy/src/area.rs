//! Sets of addresses of both families.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crossway_types::address::Family;
use crossway_types::prefix::Prefix;

use super::spans::Spans;

/// Both families, in the order of the parts of an [`Area`].
pub(crate) const FAMILIES: [Family; 2] = [Family::Ipv4, Family::Ipv6];

/// Addresses of IPv4 and of IPv6.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Area {
    v4: Spans,
    v6: Spans,
}

impl Area {
    pub(crate) fn new(v4: Spans, v6: Spans) -> Self {
        Self { v4, v6 }
    }

    pub(crate) fn of_prefixes(prefixes: impl IntoIterator<Item = Prefix>) -> Self {
        let (v4, v6): (Vec<Prefix>, Vec<Prefix>) = prefixes.into_iter().partition(Prefix::is_ipv4);
        let spans = |prefixes: Vec<Prefix>| Spans::new(prefixes.iter().map(span));
        Self::new(spans(v4), spans(v6))
    }

    pub(crate) fn union<'a>(areas: impl IntoIterator<Item = &'a Self>) -> Self {
        let areas: Vec<&Self> = areas.into_iter().collect();
        let all = |family| Spans::new(areas.iter().flat_map(|area| area.family(family).iter()));
        Self::new(all(Family::Ipv4), all(Family::Ipv6))
    }

    pub(crate) fn family(&self, family: Family) -> &Spans {
        match family {
            Family::Ipv4 => &self.v4,
            Family::Ipv6 => &self.v6,
        }
    }
}

/// The numbers of a prefix's addresses.
pub(crate) fn span(prefix: &Prefix) -> (u128, u128) {
    let (first, width) = match prefix.address() {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let free = width - u32::from(prefix.length());
    let hosts = u128::MAX.checked_shr(u128::BITS - free).unwrap_or_default();
    (first, first | hosts)
}

/// The address with this number.
pub(crate) fn address(family: Family, number: u128) -> IpAddr {
    match family {
        Family::Ipv4 => Ipv4Addr::from_bits(number as u32).into(),
        Family::Ipv6 => Ipv6Addr::from_bits(number).into(),
    }
}

/// The last number of a family.
pub(crate) fn last(family: Family) -> u128 {
    match family {
        Family::Ipv4 => u32::MAX.into(),
        Family::Ipv6 => u128::MAX,
    }
}
