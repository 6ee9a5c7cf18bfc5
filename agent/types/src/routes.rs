//! Longest-prefix match in user space: which site a destination belongs to, and whether a
//! decrypted packet's source may come from the site that sent it.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::ids::SiteId;
use crate::mapping::Maps;
use crate::prefix::Prefix;

/// The routes of one virtual network. Built once off the packet path, then read only.
///
/// One hash table for each prefix length in use, probed from the longest: configurations use few
/// lengths, so a lookup is a handful of probes.
#[derive(Debug, Default)]
pub struct RouteTable {
    v4: Vec<(u8, OfLength<u32>)>,
    v6: Vec<(u8, OfLength<u128>)>,
    /// Prefixes that no packet is sent by, while their sites may still send.
    withdrawn: Option<Box<Self>>,
    /// What the addresses of these routes really are, where they are others.
    maps: Option<Box<Maps>>,
}

/// The prefixes of one length.
type OfLength<K> = HashMap<K, SiteId, BuildHasherDefault<AddressHasher>>;

/// One multiplication, of which both halves are used. Who writes the configuration chooses the keys,
/// so nothing better is needed against collisions that somebody aims at.
#[derive(Debug, Default)]
struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn write_u32(&mut self, address: u32) {
        self.mix(address.into());
    }

    fn write_u128(&mut self, address: u128) {
        self.mix((address >> 64) as u64);
        self.mix(address as u64);
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.mix((*byte).into());
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl AddressHasher {
    fn mix(&mut self, word: u64) {
        // 2^64 divided by the golden ratio: any odd number without a pattern does.
        const FACTOR: u128 = 0x9e37_79b9_7f4a_7c15;
        let product = u128::from(self.0 ^ word) * FACTOR;
        self.0 = (product >> 64) as u64 ^ product as u64;
    }
}

impl RouteTable {
    /// A table of these routes; of equal prefixes the last one counts.
    pub fn new(routes: impl IntoIterator<Item = (Prefix, SiteId)>) -> Self {
        let mut table = Self::default();
        for (prefix, site) in routes {
            match prefix.address() {
                IpAddr::V4(address) => {
                    of_length(&mut table.v4, prefix.length()).insert(address.into(), site);
                }
                IpAddr::V6(address) => {
                    of_length(&mut table.v6, prefix.length()).insert(address.into(), site);
                }
            }
        }
        table
    }

    /// With the prefixes of sites that are down and stand back for shorter ones.
    #[must_use]
    pub fn with_withdrawn(mut self, routes: impl IntoIterator<Item = (Prefix, SiteId)>) -> Self {
        let withdrawn = Self::new(routes);
        let some = !(withdrawn.v4.is_empty() && withdrawn.v6.is_empty());
        self.withdrawn = some.then(|| Box::new(withdrawn));
        self
    }

    /// With these mappings, of which the routes are the shown side.
    #[must_use]
    pub fn with_maps(mut self, maps: Option<Maps>) -> Self {
        self.maps = maps.map(Box::new);
        self
    }

    /// The mappings, if there are any.
    #[inline]
    pub fn maps(&self) -> Option<&Maps> {
        self.maps.as_deref()
    }

    /// Whether `site` may send packets with this source: it is reached there, or would be if it were
    /// known to be up again.
    pub fn may_come_from(&self, source: IpAddr, site: SiteId) -> bool {
        self.site_of(source) == Some(site) || self.is_withdrawn_of(source, site)
    }

    /// Whether the longest of the withdrawn prefixes that hold `source` is of `site`.
    pub fn is_withdrawn_of(&self, source: IpAddr, site: SiteId) -> bool {
        let withdrawn = self.withdrawn.as_ref();
        withdrawn.is_some_and(|withdrawn| withdrawn.site_of(source) == Some(site))
    }

    /// The site whose longest prefix holds `address`.
    pub fn site_of(&self, address: IpAddr) -> Option<SiteId> {
        match address {
            IpAddr::V4(address) => self.site_of_v4(address),
            IpAddr::V6(address) => self.site_of_v6(address),
        }
    }

    fn site_of_v4(&self, address: Ipv4Addr) -> Option<SiteId> {
        let address = u32::from(address);
        self.v4.iter().find_map(|(length, sites)| {
            let mask = u32::MAX.checked_shl(32 - u32::from(*length)).unwrap_or(0);
            sites.get(&(address & mask)).copied()
        })
    }

    fn site_of_v6(&self, address: Ipv6Addr) -> Option<SiteId> {
        let address = u128::from(address);
        self.v6.iter().find_map(|(length, sites)| {
            let mask = u128::MAX.checked_shl(128 - u32::from(*length)).unwrap_or(0);
            sites.get(&(address & mask)).copied()
        })
    }
}

/// The table for `length`, entered so that longer lengths come first.
fn of_length<K>(tables: &mut Vec<(u8, OfLength<K>)>, length: u8) -> &mut OfLength<K> {
    let at = tables.partition_point(|(other, _)| *other > length);
    if tables.get(at).is_none_or(|(other, _)| *other != length) {
        tables.insert(at, (length, OfLength::default()));
    }
    &mut tables[at].1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_wins_in_each_family() {
        let table = RouteTable::new([
            ("10.0.0.0/8".parse().unwrap(), SiteId(1)),
            ("10.2.0.0/16".parse().unwrap(), SiteId(2)),
            ("10.2.3.4/32".parse().unwrap(), SiteId(3)),
            ("::/0".parse().unwrap(), SiteId(4)),
            ("2001:db8:2::/48".parse().unwrap(), SiteId(5)),
        ]);
        let site = |text: &str| table.site_of(text.parse().unwrap());
        assert_eq!(site("10.9.9.9"), Some(SiteId(1)));
        assert_eq!(site("10.2.9.9"), Some(SiteId(2)));
        assert_eq!(site("10.2.3.4"), Some(SiteId(3)));
        assert_eq!(site("192.0.2.1"), None);
        assert_eq!(site("2001:db8:3::1"), Some(SiteId(4)));
        assert_eq!(site("2001:db8:2::1"), Some(SiteId(5)));
    }
}
