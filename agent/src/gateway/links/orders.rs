//! What a person orders of links, and what interfaces say of their paths.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Instant;

use super::{LinkStatus, Links, PathLimits, Wan, election_of};
use crate::config::Endpoint;
use crate::control::message::LinkOrder;
use crate::host::tunnel_mtu::of_link;
use crate::host::ways::BoundEndpoint;
use crate::ids::{IfIndex, LinkId};
use crate::liveness::path_mtu::Bounds;
use crate::tunnel::link_bfd::LanRole;

/// An index that no interface has (the kernel's are positive `int`s, counted up from 1): it refuses what would leave by
/// it.
const NOWHERE: NonZeroU32 = NonZeroU32::new(i32::MAX as u32).unwrap();

impl Wan {
    /// Why nothing passes, of one without a carrier.
    fn why_dead(&self) -> String {
        let name = &self.name;
        match self.index {
            Some(_) => format!("{name} has no carrier"),
            None => format!("{name} does not exist"),
        }
    }
}

impl Links {
    /// The links that `target` names: `site`, `site/gateway` or `site/gateway/link`.
    pub fn named(&self, target: &str) -> Vec<LinkId> {
        let mut parts = target.splitn(3, '/');
        let (site, gateway, path) = (parts.next(), parts.next(), parts.next());
        let fits = |link: &&LinkStatus| {
            let planned = &link.planned;
            planned.site.is_some()
                && site == Some(planned.site_name.as_str())
                && gateway.is_none_or(|gateway| gateway == planned.gateway.name)
                && path.is_none_or(|path| Some(path) == planned.path.name.as_deref())
        };
        let mut links: Vec<LinkId> = self
            .by_id
            .values()
            .filter(fits)
            .map(|link| link.planned.id)
            .collect();
        links.sort_unstable();
        links
    }

    /// Every name that [`Self::named`] takes for one link or more, but for those of whole sites.
    pub fn names(&self) -> Vec<String> {
        let name =
            |link: &LinkStatus| format!("{}/{}", link.planned.site_name, link.planned.name());
        let ranked = self.by_id.values();
        let ranked = ranked.filter(|link| link.planned.site.is_some());
        let mut names: Vec<String> = ranked.map(name).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Promotes links, on each lane in place of those that were promoted before.
    pub fn promote(&mut self, links: &[LinkId]) {
        for election in self.elections.values_mut() {
            if links.iter().any(|link| election.has(*link)) {
                election.promote(links);
            }
        }
    }

    /// Carries out an order for one link; promotions are [`Self::promote`]'s.
    pub fn order(&mut self, id: LinkId, order: LinkOrder, now: Instant) {
        let Some(link) = self.by_id.get_mut(&id) else {
            return;
        };
        match order {
            LinkOrder::Drain => link.drained = true,
            LinkOrder::Undrain => link.drained = false,
            LinkOrder::Prefer | LinkOrder::Unprefer | LinkOrder::Promote => {}
        }
        if let Some(key) = election_of(&link.planned)
            && let Some(election) = self.elections.get_mut(&key)
        {
            match order {
                LinkOrder::Prefer => election.prefer(id, true),
                LinkOrder::Unprefer => election.prefer(id, false),
                LinkOrder::Promote | LinkOrder::Drain | LinkOrder::Undrain => {}
            }
        }
        self.assess(id, now);
    }

    /// What the far ends have to be told: each link with its lane. A replica asks for no service.
    pub fn poll_services(&mut self, of_gateway: LanRole) -> Vec<(LinkId, u16, LanRole)> {
        let links = self.by_id.values_mut();
        let links = links.filter(|link| link.planned.site.is_some());
        let changed = links.filter_map(|link| {
            let service = if link.drained {
                LanRole::Drained
            } else {
                of_gateway
            };
            let before = std::mem::replace(&mut link.service, service);
            (before != service).then_some((link.planned.id, link.planned.lane, service))
        });
        changed.collect()
    }

    /// Which links leave by another interface than their lane knows: an interface that has come back has
    /// another index. One that is away is [`NOWHERE`]: what is bound to it does not leave by another.
    pub fn poll_interfaces(&mut self, wans: &[Wan]) -> Vec<(LinkId, u16, Option<NonZeroU32>)> {
        let links = self.by_id.values_mut();
        let changed = links.filter_map(|link| {
            let own = link.planned.path.wan.as_ref()?;
            let wan = wans.iter().find(|wan| wan.name == *own)?;
            let index = wan.index.or(Some(NOWHERE));
            let before = std::mem::replace(&mut link.interface, index);
            (before != index).then_some((link.planned.id, link.planned.lane, index))
        });
        changed.collect()
    }

    /// Whose path is held to something else than its lane knows. A link that is bound to no interface may leave by any:
    /// it begins with what the smallest leaves.
    pub fn poll_paths(&mut self, wans: &[Wan], limits: PathLimits) -> Vec<(LinkId, u16, Bounds)> {
        let smallest = wans.iter().filter_map(|wan| wan.mtu).min();
        let largest = wans.iter().filter_map(|wan| wan.mtu).max();
        let links = self.by_id.values_mut();
        let links = links.filter(|link| link.planned.site.is_some());
        let changed = links.filter_map(|link| {
            let own = link.planned.path.wan.as_ref();
            let own = own.and_then(|own| wans.iter().find(|wan| wan.name == *own)?.mtu);
            // While an interface is away, what was known of it is as good as anything.
            let (least, most) = (own.or(smallest)?, own.or(largest)?);
            let (assumed, _) = of_link(least, limits.tunnel, limits.chosen);
            let (_, most) = of_link(most, limits.tunnel, limits.chosen);
            let bounds = Bounds {
                assumed,
                most,
                probes: limits.probes,
            };
            let before = link.bounds.replace(bounds);
            (before != Some(bounds)).then_some((link.planned.id, link.planned.lane, bounds))
        });
        changed.collect()
    }

    /// Where the links that are bound to an interface are dialled, names apart.
    pub fn bound_endpoints(&self) -> Vec<BoundEndpoint> {
        let mut bound = Vec::new();
        for link in self.by_id.values() {
            let LinkStatus { planned, .. } = link;
            let index = link.interface.filter(|index| *index != NOWHERE);
            let (Some(wan), Some(index)) = (&planned.path.wan, index) else {
                continue;
            };
            for endpoint in &planned.path.endpoints {
                if let Endpoint::Address(address) = endpoint {
                    bound.push(BoundEndpoint {
                        link: format!("{}/{}", planned.site_name, planned.name()),
                        wan: wan.clone(),
                        index: IfIndex(index.get()),
                        address: address.ip(),
                    });
                }
            }
        }
        bound.sort_by(|a, b| a.link.cmp(&b.link));
        bound.dedup();
        bound
    }

    /// Where far gateways are or may be, names that have not answered apart.
    pub fn endpoints(&self) -> Vec<IpAddr> {
        let mut all = BTreeSet::new();
        for link in self.by_id.values() {
            let heard = link.peer.as_ref().and_then(|peer| peer.endpoint);
            all.extend(heard.map(|endpoint| endpoint.remote.ip().to_canonical()));
            all.extend(link.planned.path.endpoints.iter().filter_map(|endpoint| {
                let Endpoint::Address(address) = endpoint else {
                    return None;
                };
                Some(address.ip())
            }));
        }
        all.into_iter().collect()
    }

    /// Takes which WAN interfaces have no carrier; returns the links whose path has died by it. A link
    /// that is bound to no interface lives as long as any of them does.
    pub fn on_carriers(&mut self, wans: &[Wan], now: Instant) -> Vec<LinkId> {
        let all_dead = !wans.is_empty() && wans.iter().all(|wan| !wan.carrier);
        let ids: Vec<LinkId> = self.by_id.keys().copied().collect();
        let mut died = Vec::new();
        for id in ids {
            let Some(link) = self.by_id.get_mut(&id) else {
                continue;
            };
            let why = match &link.planned.path.wan {
                Some(own) => wans
                    .iter()
                    .find(|wan| wan.name == *own && !wan.carrier)
                    .map(Wan::why_dead),
                // A replica is reached by the LAN or a cable of its own.
                None if link.planned.site.is_none() => None,
                None => all_dead.then(|| "no WAN interface has a carrier".to_owned()),
            };
            if why.is_some() == link.path_down.is_some() {
                continue;
            }
            if why.is_some() {
                died.push(id);
            } else {
                // Not what went through before: the far end is dialled anew.
                link.next_dial = now;
            }
            link.path_down = why;
            self.assess(id, now);
        }
        died
    }
}
