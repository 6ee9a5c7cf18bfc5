//! The routes that the programs go by.

mod key;

use std::net::IpAddr;

use anyhow::{Context, Result};
use aya::Ebpf;
use aya::maps::lpm_trie::Key;
use aya::maps::{LpmTrie, MapData, MapError};
use datapath_abi::maps;
use datapath_abi::route::{Route, RouteKey4, RouteKey6, SITE_KERNEL};
use datapath_abi::user::removed;

use self::key::TrieKey;
use super::settings::SharedSettings;
use super::take;
use crossway_types::ids::{SiteId, VnetId};
use crossway_types::prefix::Prefix;

/// Where a destination leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// To a site.
    Site {
        /// The site.
        site: SiteId,
        /// The agent's number for this prefix, for explanations.
        route: u32,
    },
    /// To the kernel stack: a local or connected address, or a route of somebody else's.
    Kernel,
}

/// A route: of which network, which prefix, and where to.
pub type Entry = ((VnetId, Prefix), Target);

/// How many routes [`Routes::replace_all`] touched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteChanges {
    /// New prefixes.
    pub inserted: usize,
    /// Prefixes that lead elsewhere now.
    pub replaced: usize,
    /// Prefixes that are gone.
    pub removed: usize,
}

/// The maps ROUTES4 and ROUTES6.
pub struct Routes {
    v4: LpmTrie<MapData, RouteKey4, Route>,
    v6: LpmTrie<MapData, RouteKey6, Route>,
    /// What is in them, sorted: after a take-over, what the agent before wrote.
    written: Vec<Entry>,
    /// Has the generation of what is in them.
    settings: SharedSettings,
}

impl Routes {
    pub(super) fn new(programs: &mut Ebpf, settings: SharedSettings) -> Result<Self> {
        let mut routes = Self {
            v4: take(programs, maps::ROUTES4)?,
            v6: take(programs, maps::ROUTES6)?,
            written: Vec::new(),
            settings,
        };
        routes.written = routes.dump()?;
        Ok(routes)
    }

    /// Makes these the only routes, touching none that stays as it is; of equal prefixes the last
    /// counts. What is new or different is written first and what is gone is removed after, so that
    /// no destination that has a route before and after is without one in between. After an error,
    /// call it again.
    pub fn replace_all(&mut self, mut wanted: Vec<Entry>) -> Result<RouteChanges> {
        wanted.sort_by_key(|(route, _)| *route);
        wanted.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                kept.1 = next.1;
            }
            same
        });
        let changes = self.write(&wanted);
        // Also after an error: part of it may be written.
        self.settings.raise_route_generation()?;
        self.written = match changes {
            Ok(_) => wanted,
            // Some of it is written: the next call begins from what the maps say.
            Err(_) => self.dump()?,
        };
        changes
    }

    /// Writes what differs from what is there. Both lists are sorted, so that neighbours share the
    /// nodes of the trie that a write walks through.
    fn write(&mut self, wanted: &[Entry]) -> Result<RouteChanges> {
        let mut changes = RouteChanges::default();
        let mut gone = Vec::new();
        let mut present = std::mem::take(&mut self.written).into_iter().peekable();
        for ((vnet, prefix), target) in wanted {
            let route = (*vnet, *prefix);
            while let Some((other, _)) = present.next_if(|(other, _)| *other < route) {
                gone.push(other);
            }
            match present.next_if(|(other, _)| *other == route) {
                Some((_, there)) if there == *target => continue,
                Some(_) => changes.replaced += 1,
                None => changes.inserted += 1,
            }
            self.insert_entry(*vnet, *prefix, *target)?;
        }
        gone.extend(present.map(|(other, _)| other));
        changes.removed = gone.len();
        for (vnet, prefix) in gone {
            self.remove_entry(vnet, prefix)?;
        }
        Ok(changes)
    }

    /// Where a route is among those written, or where it would be.
    fn position(&self, route: (VnetId, Prefix)) -> Result<usize, usize> {
        self.written
            .binary_search_by_key(&route, |(other, _)| *other)
    }

    fn insert_entry(&mut self, vnet: VnetId, prefix: Prefix, target: Target) -> Result<()> {
        let value = target.to_abi();
        match TrieKey::new(vnet, prefix) {
            TrieKey::V4(key) => self.v4.insert(&key, value, 0),
            TrieKey::V6(key) => self.v6.insert(&key, value, 0),
        }
        .with_context(|| {
            let map = map_of(prefix);
            format!(
                "{map}: insert {prefix} (it takes {} routes)",
                maps::ROUTE_ENTRIES
            )
        })
    }

    fn remove_entry(&mut self, vnet: VnetId, prefix: Prefix) -> Result<()> {
        removed(match TrieKey::new(vnet, prefix) {
            TrieKey::V4(key) => self.v4.remove(&key),
            TrieKey::V6(key) => self.v6.remove(&key),
        })
        .with_context(|| format!("{}: remove {prefix}", map_of(prefix)))?;
        Ok(())
    }

    /// Where the programs send `destination`: asks the very map that they ask.
    pub fn lookup(&self, vnet: VnetId, destination: IpAddr) -> Result<Option<Target>> {
        let prefix = Prefix::host(destination);
        let found = match TrieKey::new(vnet, prefix) {
            TrieKey::V4(key) => self.v4.get(&key, 0),
            TrieKey::V6(key) => self.v6.get(&key, 0),
        };
        match found {
            Ok(route) => Ok(Some(Target::from_abi(route))),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => {
                let map = map_of(prefix);
                Err(error).with_context(|| format!("{map}: look up {destination}"))
            }
        }
    }

    /// The longest prefix written that holds `destination`, for explanations: the map tells only
    /// where it leads.
    pub fn prefix_of(&self, vnet: VnetId, destination: IpAddr) -> Option<Prefix> {
        let longest = Prefix::host(destination).length();
        (0..=longest)
            .rev()
            .map(|length| Prefix::containing(destination, length))
            .find(|prefix| self.position((vnet, *prefix)).is_ok())
    }

    /// Every route, read from the maps, in the order of vnet and prefix.
    pub fn dump(&self) -> Result<Vec<Entry>> {
        let mut routes = Vec::new();
        for entry in &self.v4 {
            let (key, route) = entry.context(maps::ROUTES4)?;
            routes.push((key::read4(&key), Target::from_abi(route)));
        }
        for entry in &self.v6 {
            let (key, route) = entry.context(maps::ROUTES6)?;
            routes.push((key::read6(&key), Target::from_abi(route)));
        }
        routes.sort_unstable_by_key(|(route, _)| *route);
        Ok(routes)
    }

    /// Number of routes.
    pub fn len(&self) -> usize {
        self.written.len()
    }

    /// Number of routes of IPv4 and of IPv6.
    pub fn count(&self) -> [usize; 2] {
        let v4 = self.written.iter();
        let v4 = v4.filter(|((_, prefix), _)| prefix.is_ipv4()).count();
        [v4, self.written.len() - v4]
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.written.is_empty()
    }
}

impl Target {
    fn to_abi(self) -> Route {
        match self {
            Self::Site { site, route } => Route {
                site: site.0,
                route,
            },
            Self::Kernel => Route {
                site: SITE_KERNEL,
                route: 0,
            },
        }
    }

    fn from_abi(route: Route) -> Self {
        if route.site == SITE_KERNEL {
            return Self::Kernel;
        }
        Self::Site {
            site: SiteId(route.site),
            route: route.route,
        }
    }
}

fn map_of(prefix: Prefix) -> &'static str {
    if prefix.is_ipv4() {
        maps::ROUTES4
    } else {
        maps::ROUTES6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_keep_their_meaning_across_the_boundary() {
        let site = Target::Site {
            site: SiteId(3),
            route: 9,
        };
        for target in [site, Target::Kernel] {
            assert_eq!(Target::from_abi(target.to_abi()), target);
        }
    }
}
