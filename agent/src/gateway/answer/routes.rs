//! Routes, as the data path has them.

use std::net::IpAddr;

use anyhow::Result;
use datapath_abi::settings::DEFAULT_VNET;

use crate::control::message::{
    OverlapsReply, Response, Route, RouteAnswer, RouteKind, RoutesReply,
};
use crate::control::{overlaps, refusal};
use crate::datapath::Target;
use crate::gateway::forwarding::Forwarding;
use crate::gateway::plan::Plan;
use crate::host::Host;
use crate::host::kernel_routes::{KernelRoute, LOCAL_TABLE};
use crate::ids::{SiteId, VnetId};
use crate::prefix::Prefix;

const VNET: VnetId = VnetId(DEFAULT_VNET);
const VNET_NAME: &str = "default";

/// What decides where packets go.
pub(super) struct RouteView<'a> {
    pub(super) plan: &'a Plan,
    pub(super) forwarding: &'a Forwarding,
    pub(super) kernel: &'a Host,
}

impl RouteView<'_> {
    pub(super) fn all(&self) -> Response {
        match self.all_routes() {
            Ok(routes) => Response::Routes(RoutesReply { routes }),
            Err(error) => refusal(&error),
        }
    }

    fn all_routes(&self) -> Result<Vec<Route>> {
        let from_map = match &self.forwarding.datapath {
            Some(datapath) => datapath.routes.dump()?,
            None => self
                .forwarding
                .down
                .active(self.plan)
                .enumerate()
                .map(|(number, (vnet, prefix, site))| {
                    (
                        (vnet, prefix),
                        Target::Site {
                            site,
                            route: number as u32 + 1,
                        },
                    )
                })
                .collect(),
        };
        let describe = |((_, prefix), target): ((VnetId, Prefix), Target)| Route {
            prefix: prefix.to_string(),
            vnet: VNET_NAME.to_owned(),
            kind: kind_of(target),
            site: self.site_name(target),
            route_id: match target {
                Target::Site { route, .. } => route,
                Target::Kernel => 0,
            },
            real: self.real_prefix(target, prefix),
        };
        Ok(from_map.into_iter().map(describe).collect())
    }

    pub(super) fn overlaps(&self) -> Response {
        let routes: Vec<(Prefix, &str)> = self
            .plan
            .sites
            .iter()
            .flat_map(|site| {
                site.config
                    .routes
                    .iter()
                    .map(|prefix| (*prefix, site.config.name.as_str()))
            })
            .collect();
        let mut overlaps = overlaps(VNET_NAME, &routes);
        for overlap in &mut overlaps {
            overlap.outer_real = self.real_of_named(&overlap.outer_site, &overlap.outer);
            overlap.inner_real = self.real_of_named(&overlap.inner_site, &overlap.inner);
        }
        Response::Overlaps(OverlapsReply { overlaps })
    }

    /// What the prefix of a site stands for, if that is mapped.
    fn real_prefix(&self, target: Target, shown: Prefix) -> Option<String> {
        let Target::Site { site, .. } = target else {
            return None;
        };
        let maps = &self.plan.site(site)?.config.maps;
        let real = maps.iter().find_map(|map| map.prefix_to_real(shown))?;
        Some(real.to_string())
    }

    fn real_of_named(&self, site: &str, shown: &str) -> Option<String> {
        let mut sites = self.plan.sites.iter();
        let site = sites.find(|planned| planned.config.name == site)?;
        let shown = shown.parse().ok()?;
        let mut maps = site.config.maps.iter();
        let real = maps.find_map(|map| map.prefix_to_real(shown))?;
        Some(real.to_string())
    }

    pub(super) async fn find(&self, address: IpAddr) -> Response {
        match self.find_route(address).await {
            Ok(answer) => Response::Route(answer),
            Err(error) => refusal(&error),
        }
    }

    async fn find_route(&self, address: IpAddr) -> Result<RouteAnswer> {
        let (target, prefix) = match &self.forwarding.datapath {
            Some(datapath) => (
                datapath.routes.lookup(VNET, address)?,
                datapath.routes.prefix_of(VNET, address),
            ),
            None => self.longest_planned(address),
        };
        let kernel = self.kernel_decision(address).await?;
        let site = target.and_then(|target| self.site_name(target));
        let link = target.and_then(|target| self.link_name(target));
        let real = match target {
            Some(Target::Site { site, .. }) => self.plan.real_address(site, address),
            _ => None,
        };
        let why = match (&prefix, &target, &site) {
            (Some(prefix), Some(Target::Site { .. }), Some(site)) => match &link {
                Some(link) => format!("{prefix} is a route of site {site}, reached by {link}"),
                None => format!(
                    "{prefix} is a route of site {site}, to which no link is up; the kernel has \
                     {kernel}"
                ),
            },
            (Some(prefix), Some(Target::Kernel), _) => {
                format!("{prefix} is the kernel's: {kernel}")
            }
            _ => format!("no site has a route to it; the kernel decides: {kernel}"),
        };
        let why = match real {
            Some(real) => format!("{why}; there the host is {real}"),
            None => why,
        };
        Ok(RouteAnswer {
            address,
            real,
            vnet: VNET_NAME.to_owned(),
            prefix: prefix.map(|prefix| prefix.to_string()),
            kind: target.map(kind_of),
            site,
            link,
            kernel,
            why,
        })
    }

    fn longest_planned(&self, address: IpAddr) -> (Option<Target>, Option<Prefix>) {
        let longest = self
            .forwarding
            .down
            .active(self.plan)
            .enumerate()
            .filter(|(_, (_, prefix, _))| prefix.contains(address))
            .max_by_key(|(_, (_, prefix, _))| prefix.length());
        match longest {
            Some((number, (_, prefix, site))) => (
                Some(Target::Site {
                    site,
                    route: number as u32 + 1,
                }),
                Some(prefix),
            ),
            None => (None, None),
        }
    }

    fn site_name(&self, target: Target) -> Option<String> {
        match target {
            Target::Site { site, .. } => Some(self.plan.site(site)?.config.name.clone()),
            Target::Kernel => None,
        }
    }

    fn link_name(&self, target: Target) -> Option<String> {
        let up = |site: SiteId| {
            let links = self.forwarding.links.of_site(site);
            let mut carriers = links
                .into_iter()
                .filter(|link| self.forwarding.links.carries(link));
            Some(carriers.next()?.planned.name())
        };
        match target {
            Target::Site { site, .. } => up(site),
            Target::Kernel => None,
        }
    }

    /// What the kernel's own tables say: the local table first, then the longest prefix of the main
    /// one, then the lowest metric.
    async fn kernel_decision(&self, address: IpAddr) -> Result<String> {
        let routes = self.kernel.kernel_routes().await?;
        let best = routes
            .iter()
            .filter(|route| route.is_in_default_tables() && !route.dead)
            .filter(|route| route.prefix.contains(address))
            .max_by_key(|route| {
                let local = route.table == LOCAL_TABLE;
                (
                    local,
                    route.prefix.length(),
                    std::cmp::Reverse(route.metric),
                )
            });
        let Some(route) = best else {
            return Ok("unreachable: no route".to_owned());
        };
        Ok(self.describe_kernel_route(route).await)
    }

    async fn describe_kernel_route(&self, route: &KernelRoute) -> String {
        let mut words = vec![
            format!("{:?}", route.kind).to_lowercase(),
            route.prefix.to_string(),
        ];
        let names = self.kernel.interfaces().await.unwrap_or_default();
        for hop in &route.hops {
            if let Some(gateway) = hop.gateway {
                words.push(format!("via {gateway}"));
            }
            if let Some(index) = hop.interface {
                let name = names.iter().find(|other| other.index == index);
                words.push(format!(
                    "dev {}",
                    name.map_or("?", |interface| &interface.name)
                ));
            }
        }
        if let Some(source) = route.source {
            words.push(format!("src {source}"));
        }
        words.join(" ")
    }
}

fn kind_of(target: Target) -> RouteKind {
    match target {
        Target::Site { .. } => RouteKind::Site,
        Target::Kernel => RouteKind::Kernel,
    }
}
