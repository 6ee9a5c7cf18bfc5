//! From a configuration to numbered sites and links, and what differs between two of them. Pure.

mod maps;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use datapath_abi::settings::DEFAULT_VNET;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::config::{Config, Link, RemoteGateway, Site};
use crate::ids::{LinkId, SiteId, VnetId};
use crate::prefix::Prefix;
use crossway_types::mapping::Mapping;

/// Receiver indices have 24 bits; the lower 8 of the 32 on the wire are the session's.
const RECEIVER_INDICES: u32 = 1 << 24;

/// A configuration with numbers.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// In the order of the file.
    pub sites: Vec<PlannedSite>,
    /// In the order of the file.
    pub links: Vec<PlannedLink>,
    /// Prefixes of this site that are shown to all others under other ones.
    pub own_maps: Vec<Mapping>,
}

/// A site with its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedSite {
    /// Kept by name across reloads.
    pub id: SiteId,
    /// Virtual network of its routes.
    pub vnet: VnetId,
    /// Lanes that its flows are spread over.
    pub lanes: u16,
    /// What the file says.
    pub config: Site,
}

/// A link with its numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedLink {
    /// Kept by site, gateway and lane across reloads.
    pub id: LinkId,
    /// Our receiver index, without its session part.
    pub receiver_index: u32,
    /// The lane that carries it: both ends use the UDP port of that number above their first.
    pub lane: u16,
    /// The site it reaches; `None` where a replica of this gateway is at its far end. Then it carries no
    /// traffic.
    pub site: Option<SiteId>,
    /// Name of that site; empty without one.
    pub site_name: String,
    /// What the file says of the gateway at its far end.
    pub gateway: RemoteGateway,
    /// What the file says of its path.
    pub path: Link,
    /// Whom its probe asks, by the address inside of the tunnel.
    pub probe: Option<IpAddr>,
}

/// In place of the name of a site, which is not empty: the link leads to a replica.
const NO_SITE: &str = "";

/// Site, gateway, link and lane.
type LinkName = (String, String, Option<String>, u16);

/// The numbers given out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    sites: HashMap<String, SiteId>,
    links: HashMap<LinkName, (LinkId, u32)>,
    /// Those of `links`.
    receiver_indices: HashSet<u32>,
}

/// What a new plan changes.
#[derive(Debug, Default)]
pub struct Difference {
    /// Sites that are new.
    pub sites_added: Vec<PlannedSite>,
    /// Sites that are gone.
    pub sites_removed: Vec<PlannedSite>,
    /// What becomes of links.
    pub links: LinkChanges,
    /// Whether any prefix has come, gone or moved, or is mapped in another way.
    pub routes: bool,
}

/// How links differ between two plans.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct LinkChanges {
    /// New, or with other keys so that a new session is due.
    pub added: Vec<PlannedLink>,
    /// Gone, or with other keys.
    pub removed: Vec<PlannedLink>,
    /// Only dialled elsewhere, or from elsewhere.
    pub moved: Vec<PlannedLink>,
    /// Only ranked or monitored in another way.
    pub tuned: Vec<PlannedLink>,
}

impl Numbers {
    /// Numbers a configuration, for a gateway that runs `lanes`. Names that are gone give their
    /// numbers back.
    pub fn plan(&mut self, config: &Config, lanes: u16) -> Plan {
        let sites: HashSet<&str> = config.sites.iter().map(|site| site.name.as_str()).collect();
        self.sites.retain(|name, _| sites.contains(name.as_str()));
        let links: HashSet<LinkName> = link_names(config, lanes).collect();
        self.links.retain(|name, _| links.contains(name));
        self.receiver_indices = self.links.values().map(|(_, index)| *index).collect();
        let mut free_sites = free(self.sites.values().map(|id| id.0).collect());
        let mut free_links = free(self.links.values().map(|(link, _)| link.0).collect());

        let lans = config.gateway.lan.iter();
        let mut plan = Plan {
            own_maps: lans.flat_map(|lan| lan.maps.iter().copied()).collect(),
            ..Plan::default()
        };
        for site in &config.sites {
            let id = self.site(&site.name, &mut free_sites);
            plan.sites.push(PlannedSite {
                id,
                vnet: VnetId(DEFAULT_VNET),
                lanes: site
                    .gateways
                    .iter()
                    .map(|far| far.lanes.min(lanes))
                    .max()
                    .unwrap_or(1),
                config: site.clone(),
            });
            for gateway in &site.gateways {
                for (path, lane) in paths(gateway, lanes) {
                    let name = link_name(&site.name, gateway, path, lane);
                    let (link, receiver_index) = self.link(name, &mut free_links);
                    plan.links.push(PlannedLink {
                        id: link,
                        receiver_index,
                        lane,
                        site: Some(id),
                        site_name: site.name.clone(),
                        gateway: gateway.clone(),
                        path: path.clone(),
                        probe: maps::probe_of(site, path),
                    });
                }
            }
        }
        for (replica, path, lane) in replicas(config) {
            let name = link_name(NO_SITE, replica, path, lane);
            let (link, receiver_index) = self.link(name, &mut free_links);
            plan.links.push(PlannedLink {
                id: link,
                receiver_index,
                lane,
                site: None,
                site_name: NO_SITE.to_owned(),
                gateway: replica.clone(),
                path: path.clone(),
                probe: None,
            });
        }
        plan
    }

    /// For the agent that takes over.
    pub fn export(&self) -> Value {
        json!({ "sites": self.sites.iter().collect::<Vec<_>>(), "links": self.links.iter().collect::<Vec<_>>() })
    }

    /// What [`Self::export`] returned; `None` if an agent of another kind did.
    pub fn import(value: Value) -> Option<Self> {
        #[derive(Deserialize)]
        struct Export {
            sites: Vec<(String, SiteId)>,
            links: Vec<(LinkName, (LinkId, u32))>,
        }
        let export: Export = serde_json::from_value(value).ok()?;
        let receiver_indices = export.links.iter().map(|(_, (_, index))| *index).collect();
        Some(Self {
            sites: export.sites.into_iter().collect(),
            links: export.links.into_iter().collect(),
            receiver_indices,
        })
    }

    /// Each site's name by its number.
    pub fn site_names(&self) -> HashMap<SiteId, String> {
        let sites = self.sites.iter();
        sites.map(|(name, id)| (*id, name.clone())).collect()
    }

    fn site(&mut self, name: &str, free: &mut impl Iterator<Item = u32>) -> SiteId {
        if let Some(id) = self.sites.get(name) {
            return *id;
        }
        let id = SiteId(free.next().unwrap_or(0));
        self.sites.insert(name.to_owned(), id);
        id
    }

    fn link(&mut self, name: LinkName, free: &mut impl Iterator<Item = u32>) -> (LinkId, u32) {
        if let Some(numbers) = self.links.get(&name) {
            return *numbers;
        }
        let link = LinkId(free.next().unwrap_or(0));
        let receiver_index = loop {
            // Random, so that nobody off the path can guess what `wan_guard` lets through.
            let index = rand::random::<u32>() % RECEIVER_INDICES;
            if self.receiver_indices.insert(index) {
                break index;
            }
        };
        self.links.insert(name, (link, receiver_index));
        (link, receiver_index)
    }
}

fn link_names(config: &Config, lanes: u16) -> impl Iterator<Item = LinkName> {
    let of_sites = config.sites.iter().flat_map(move |site| {
        site.gateways.iter().flat_map(move |gateway| {
            paths(gateway, lanes)
                .map(move |(path, lane)| link_name(&site.name, gateway, path, lane))
        })
    });
    let of_replicas = replicas(config);
    of_sites.chain(of_replicas.map(|(replica, path, lane)| link_name(NO_SITE, replica, path, lane)))
}

/// The one path to each replica, on the lane that every gateway has.
fn replicas(config: &Config) -> impl Iterator<Item = (&RemoteGateway, &Link, u16)> {
    let replicas = config.gateway.replicas.iter();
    replicas.flat_map(|replica| paths(replica, 1).map(move |(path, lane)| (replica, path, lane)))
}

/// Each path to a gateway on each lane that both ends have.
fn paths(gateway: &RemoteGateway, lanes: u16) -> impl Iterator<Item = (&Link, u16)> {
    let lanes = gateway.lanes.min(lanes);
    let links = gateway.links.iter();
    links.flat_map(move |path| (0..lanes).map(move |lane| (path, lane)))
}

fn link_name(site: &str, gateway: &RemoteGateway, path: &Link, lane: u16) -> LinkName {
    (
        site.to_owned(),
        gateway.name.clone(),
        path.name.clone(),
        lane,
    )
}

/// Numbers that are not `taken`, from the lowest.
fn free(taken: HashSet<u32>) -> impl Iterator<Item = u32> {
    (0..=u32::MAX).filter(move |id| !taken.contains(id))
}

impl Plan {
    /// Every prefix with its site.
    pub fn routes(&self) -> impl Iterator<Item = (VnetId, Prefix, SiteId)> {
        self.sites.iter().flat_map(|site| {
            site.config
                .routes
                .iter()
                .map(|prefix| (site.vnet, *prefix, site.id))
        })
    }

    /// The site of an id.
    pub fn site(&self, id: SiteId) -> Option<&PlannedSite> {
        self.sites.iter().find(|site| site.id == id)
    }

    /// Names of the interfaces that links are bound to.
    pub fn bound_wans(&self) -> Vec<String> {
        let wans = self.links.iter().filter_map(|link| link.path.wan.clone());
        let wans: BTreeSet<String> = wans.collect();
        wans.into_iter().collect()
    }

    /// The hold-down of a site's links; none of a replica's.
    pub fn hold_down(&self, id: Option<SiteId>) -> Duration {
        id.and_then(|id| self.site(id))
            .map(|site| site.config.hold_down)
            .unwrap_or_default()
    }

    /// What has to be done to come from `self` to `new`.
    pub fn difference(&self, new: &Self) -> Difference {
        let mut difference = Difference::default();
        let old_sites: HashMap<SiteId, &PlannedSite> =
            self.sites.iter().map(|site| (site.id, site)).collect();
        for site in &new.sites {
            // A number may have gone to another name in between.
            let same = old_sites
                .get(&site.id)
                .filter(|old| old.config.name == site.config.name);
            if same.is_none() {
                difference.sites_added.push(site.clone());
            }
        }
        let new_sites: HashMap<SiteId, &PlannedSite> =
            new.sites.iter().map(|site| (site.id, site)).collect();
        let gone = |site: &&PlannedSite| {
            new_sites
                .get(&site.id)
                .is_none_or(|other| other.config.name != site.config.name)
        };
        difference.sites_removed = self.sites.iter().filter(gone).cloned().collect();

        difference.links = LinkChanges::between(&self.links, &new.links);

        let sorted = |plan: &Self| {
            let mut routes: Vec<_> = plan.routes().collect();
            routes.sort_unstable();
            routes
        };
        // Most files keep their order, which is compared without a copy.
        let moved = !self.routes().eq(new.routes()) && sorted(self) != sorted(new);
        difference.routes = moved || self.maps() != new.maps();
        difference
    }
}

impl PlannedLink {
    /// `paris-1`, or `paris-1/isp-a` where the gateway lists its links.
    pub fn name(&self) -> String {
        match &self.path.name {
            Some(path) => format!("{}/{path}", self.gateway.name),
            None => self.gateway.name.clone(),
        }
    }

    /// Whether `self` takes the way that `other` takes.
    fn same_path(&self, other: &Self) -> bool {
        self.path.endpoints == other.path.endpoints && self.path.wan == other.path.wan
    }

    /// Whether the session of `self` can go on as that of `other`.
    fn same_session(&self, other: &Self) -> bool {
        let (old, new) = (&self.gateway, &other.gateway);
        self.receiver_index == other.receiver_index
            && self.site == other.site
            && old.engine == new.engine
            && old.public_key == new.public_key
            && old.shares_the_key_of(new)
            && old.persistent_keepalive == new.persistent_keepalive
    }
}

impl LinkChanges {
    /// What has to be done to come from the links `old` to the links `new`.
    pub fn between(old: &[PlannedLink], new: &[PlannedLink]) -> Self {
        let by_id = |links: &[PlannedLink]| -> HashMap<LinkId, usize> {
            let ids = links.iter().enumerate();
            ids.map(|(at, link)| (link.id, at)).collect()
        };
        let mut changes = Self::default();
        let before = by_id(old);
        for link in new {
            match before.get(&link.id).map(|at| &old[*at]) {
                Some(old) if !old.same_session(link) => changes.added.push(link.clone()),
                Some(old) if old.path == link.path && old.probe == link.probe => {}
                Some(old) if old.same_path(link) => changes.tuned.push(link.clone()),
                Some(_) => changes.moved.push(link.clone()),
                None => changes.added.push(link.clone()),
            }
        }
        let after = by_id(new);
        let gone = |link: &&PlannedLink| {
            let kept = after.get(&link.id).map(|at| &new[*at]);
            kept.is_none_or(|kept| !link.same_session(kept))
        };
        changes.removed = old.iter().filter(gone).cloned().collect();
        changes
    }
}

impl Difference {
    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.sites_added.is_empty()
            && self.sites_removed.is_empty()
            && self.links == LinkChanges::default()
            && !self.routes
    }
}

#[cfg(test)]
mod tests;
