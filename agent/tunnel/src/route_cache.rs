//! The routes with what was looked up of late in front of them: the packets of a flow come in runs,
//! and a hash table for each prefix length is worth asking once for such a run.

use std::net::IpAddr;
use std::sync::Arc;

use crossway_types::ids::SiteId;
use crossway_types::mapping::Maps;
use crossway_types::routes::RouteTable;

/// Addresses remembered: enough for the hosts that talk at once, and a few pages of memory.
const ENTRIES: usize = 256;

/// An address and its site.
type Entry = (IpAddr, Option<SiteId>);

/// Each address has one place; another one there is forgotten.
pub(super) struct RouteCache {
    table: Arc<RouteTable>,
    entries: Box<[Option<Entry>; ENTRIES]>,
}

impl RouteCache {
    /// Over a table without routes.
    pub(super) fn new() -> Self {
        Self {
            table: Arc::default(),
            entries: Box::new([None; ENTRIES]),
        }
    }

    /// Replaces the table; gives back the old one.
    pub(super) fn replace(&mut self, table: Arc<RouteTable>) -> Arc<RouteTable> {
        self.entries.fill(None);
        std::mem::replace(&mut self.table, table)
    }

    /// The mappings of the table, if there are any.
    #[inline]
    pub(super) fn maps(&self) -> Option<&Maps> {
        self.table.maps()
    }

    /// Whether `site` may send packets with this source.
    #[inline]
    pub(super) fn may_come_from(&mut self, source: IpAddr, site: SiteId) -> bool {
        self.site_of(source) == Some(site) || self.table.is_withdrawn_of(source, site)
    }

    /// The site whose longest prefix holds `address`.
    #[inline]
    pub(super) fn site_of(&mut self, address: IpAddr) -> Option<SiteId> {
        let entry = &mut self.entries[place(address)];
        match entry {
            Some((known, site)) if *known == address => *site,
            _ => {
                let site = self.table.site_of(address);
                *entry = Some((address, site));
                site
            }
        }
    }
}

/// The upper bits of a product that every bit of the address goes into (Knuth's multiplicative hash).
fn place(address: IpAddr) -> usize {
    let bits = match address {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            (bits >> 64) as u64 ^ (bits as u64).rotate_left(17)
        }
    };
    let product = bits.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (product >> (u64::BITS - ENTRIES.ilog2())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_what_the_table_says_and_goes_with_it() {
        let routes = |site| {
            Arc::new(RouteTable::new([
                ("10.2.0.0/16".parse().unwrap(), SiteId(site)),
                ("2001:db8::/48".parse().unwrap(), SiteId(site + 1)),
            ]))
        };
        let mut cache = RouteCache::new();
        for site in [5, 7] {
            let table = routes(site);
            cache.replace(Arc::clone(&table));
            // Twice, and more addresses than places.
            for host in (0..1000u32).chain(0..1000) {
                let v4 = IpAddr::from((0x0a01_ff00 + host).to_be_bytes());
                assert_eq!(cache.site_of(v4), table.site_of(v4));
                let v6 = (0x2001_0db8_u128 << 96) | (u128::from(host % 7) << 80) | u128::from(host);
                let v6 = IpAddr::from(v6.to_be_bytes());
                assert_eq!(cache.site_of(v6), table.site_of(v6));
            }
        }
    }
    /// What is the same in all of them is no reason to share a place.
    #[test]
    fn hosts_and_networks_are_spread_over_the_places() {
        let spread = |addresses: &mut dyn Iterator<Item = IpAddr>| {
            let places: std::collections::HashSet<usize> = addresses.map(place).collect();
            places.len()
        };
        let v6 = |bits: u128| IpAddr::from(bits.to_be_bytes());
        let prefix = 0x2001_0db8_u128 << 96;
        let hosts_v4 =
            spread(&mut (0..100u32).map(|host| (0x0a01_0000 + host).to_be_bytes().into()));
        let hosts = spread(&mut (0..100).map(|host| v6(prefix | host)));
        let networks = spread(&mut (0..100).map(|network| v6(prefix | (network << 64) | 1)));
        for places in [hosts_v4, hosts, networks] {
            assert!(places > 60, "{places} of 256 for 100");
        }
    }
}
