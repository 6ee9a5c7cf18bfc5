//! Prefixes of other sites that are shown here under other ones of the same length, because several sites have the same
//! (Linux calls it NETMAP). Host bits stay: `10.0.0.7` is shown as `10.101.0.7`.
//!
//! A lane maps a packet on its way into the tunnel, and back on its way out of it. So everything on this side (routes,
//! programs, the flow table, the host) sees the shown addresses only, the far site its own only, and no way goes round
//! it. Nothing is remembered of a packet: both directions follow from the prefixes alone.
//!
//! IPv6 is mapped as IPv4 is, with the checksums corrected, and not neutrally as in RFC 6296. Neutral mapping hides the
//! difference in 16 bits of the address: of the subnet if the prefix has at most 48 bits, else of the host, whose shown
//! address nobody could then read off. The price is that a checksum which cannot be seen, as inside of ESP in transport
//! mode, is wrong behind the map.

pub mod free;
mod rewrite;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::{BitAnd, BitOr, Not};

use crate::checksum;
use crate::ids::SiteId;
use crate::prefix::Prefix;

/// A prefix and what it is shown as; both of one family and length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    real: Prefix,
    shown: Prefix,
}

impl Mapping {
    /// `None` for prefixes of different families or lengths.
    pub fn new(real: Prefix, shown: Prefix) -> Option<Self> {
        let alike = real.is_ipv4() == shown.is_ipv4() && real.length() == shown.length();
        alike.then_some(Self { real, shown })
    }

    /// What the hosts have.
    pub fn real(&self) -> Prefix {
        self.real
    }

    /// What stands for it elsewhere.
    pub fn shown(&self) -> Prefix {
        self.shown
    }

    /// The address that a host really has; `None` for one that this mapping does not show.
    pub fn to_real(&self, shown: IpAddr) -> Option<IpAddr> {
        moved(shown, self.shown, self.real)
    }

    /// The address that a host is shown under; `None` for one that is not mapped by this.
    pub fn to_shown(&self, real: IpAddr) -> Option<IpAddr> {
        moved(real, self.real, self.shown)
    }

    /// The prefix that a shown one stands for; `None` unless this mapping shows all of it.
    pub fn prefix_to_real(&self, shown: Prefix) -> Option<Prefix> {
        if !self.shown.covers(&shown) {
            return None;
        }
        let address = self.to_real(shown.address())?;
        Some(Prefix::containing(address, shown.length()))
    }
}

/// An address of one prefix with its own bits in another one.
fn moved(address: IpAddr, from: Prefix, to: Prefix) -> Option<IpAddr> {
    if !from.contains(address) {
        return None;
    }
    let host = u32::from(from.length());
    match (address, to.address()) {
        (IpAddr::V4(own), IpAddr::V4(to)) => {
            let host = u32::MAX.checked_shr(host).unwrap_or(0);
            Some(Ipv4Addr::from_bits(to.to_bits() | (own.to_bits() & host)).into())
        }
        (IpAddr::V6(own), IpAddr::V6(to)) => {
            let host = u128::MAX.checked_shr(host).unwrap_or(0);
            Some(Ipv6Addr::from_bits(to.to_bits() | (own.to_bits() & host)).into())
        }
        _ => None,
    }
}

/// The address that `shown` stands for by any of `maps`.
pub fn real_of(maps: &[Mapping], shown: IpAddr) -> Option<IpAddr> {
    maps.iter().find_map(|mapping| mapping.to_real(shown))
}

/// All mappings of a gateway, as its lanes use them. Built once off the packet path, then read only.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Maps {
    /// Of this gateway's own site.
    own: Both,
    /// By the number of the site.
    sites: Vec<Both>,
}

/// The mappings of a site, both ways.
#[derive(Debug, Default, PartialEq, Eq)]
struct Both {
    to_shown: Table,
    to_real: Table,
}

/// Of a site without mappings.
static NONE: Both = Both {
    to_shown: Table::EMPTY,
    to_real: Table::EMPTY,
};

impl Maps {
    /// Mappings of this gateway's own prefixes, and of those of sites; `None` if there are none.
    pub fn new<'a>(
        own: &[Mapping],
        sites: impl IntoIterator<Item = (SiteId, &'a [Mapping])>,
    ) -> Option<Self> {
        let mut maps = Self {
            own: Both::of(own),
            sites: Vec::new(),
        };
        for (SiteId(site), of_site) in sites {
            if of_site.is_empty() {
                continue;
            }
            let site = site as usize;
            if maps.sites.len() <= site {
                maps.sites.resize_with(site + 1, Both::default);
            }
            maps.sites[site] = Both::of(of_site);
        }
        (maps != Self::default()).then_some(maps)
    }

    /// What maps a packet that goes to `site`.
    #[inline]
    pub fn outbound(&self, site: SiteId) -> Mapper<'_> {
        Mapper {
            source: &self.own.to_shown,
            destination: &self.of(site).to_real,
        }
    }

    /// What maps a packet that comes from `site`.
    #[inline]
    pub fn inbound(&self, site: SiteId) -> Mapper<'_> {
        Mapper {
            source: &self.of(site).to_shown,
            destination: &self.own.to_real,
        }
    }

    fn of(&self, site: SiteId) -> &Both {
        self.sites.get(site.0 as usize).unwrap_or(&NONE)
    }
}

impl Both {
    fn of(maps: &[Mapping]) -> Self {
        Self {
            to_shown: Table::of(maps.iter().map(|mapping| (mapping.real, mapping.shown))),
            to_real: Table::of(maps.iter().map(|mapping| (mapping.shown, mapping.real))),
        }
    }
}

/// Maps the packets of one direction to or from one site.
#[derive(Clone, Copy, Debug)]
pub struct Mapper<'a> {
    source: &'a Table,
    destination: &'a Table,
}

/// Prefixes and what stands in their place; those of a family do not overlap.
#[derive(Debug, Default, PartialEq, Eq)]
struct Table {
    v4: Vec<Rule<u32>>,
    v6: Vec<Rule<u128>>,
}

/// One prefix for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rule<A> {
    from: A,
    mask: A,
    to: A,
    /// What the change adds to a sum of 16-bit words. It is the same for every host: the host's bits stay, and a sum does
    /// not ask which of the bits of a word are whose.
    change: u16,
}

impl Table {
    const EMPTY: Self = Self {
        v4: Vec::new(),
        v6: Vec::new(),
    };

    fn of(pairs: impl IntoIterator<Item = (Prefix, Prefix)>) -> Self {
        let mut table = Self::EMPTY;
        for (from, to) in pairs {
            let bits = u32::from(from.length());
            match (from.address(), to.address()) {
                (IpAddr::V4(from), IpAddr::V4(to)) => table.v4.push(Rule {
                    from: from.to_bits(),
                    mask: u32::MAX.checked_shl(32 - bits).unwrap_or(0),
                    to: to.to_bits(),
                    change: change(&from.octets(), &to.octets()),
                }),
                (IpAddr::V6(from), IpAddr::V6(to)) => table.v6.push(Rule {
                    from: from.to_bits(),
                    mask: u128::MAX.checked_shl(128 - bits).unwrap_or(0),
                    to: to.to_bits(),
                    change: change(&from.octets(), &to.octets()),
                }),
                _ => {}
            }
        }
        table.v4.sort_unstable_by_key(|rule| rule.from);
        table.v6.sort_unstable_by_key(|rule| rule.from);
        table
    }
}

/// What stands in the place of an address, and what that adds to a sum.
#[inline]
fn find<A>(rules: &[Rule<A>], address: A) -> Option<(A, u16)>
where
    A: Copy + Ord + BitAnd<Output = A> + BitOr<Output = A> + Not<Output = A>,
{
    let behind = rules.partition_point(|rule| rule.from <= address);
    let rule = rules.get(behind.checked_sub(1)?)?;
    let fits = address & rule.mask == rule.from;
    fits.then(|| (rule.to | (address & !rule.mask), rule.change))
}

/// What it adds to a sum that `new` stands where `old` stood.
fn change(old: &[u8], new: &[u8]) -> u16 {
    let without_old = u64::from(!checksum::fold(checksum::add(0, old)));
    checksum::fold(checksum::add(without_old, new))
}

#[cfg(test)]
mod tests;
