//! Sites: their routes in the lanes and in the maps, and what the programs know and count of them.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Result;
use datapath_abi::ABI_VERSION;
use datapath_abi::settings::{DEFAULT_VNET, Interface, Settings};
use datapath_abi::site::{Site, SiteState};

use super::Forwarding;
use crate::config;
use crate::datapath::{Datapath, RouteChanges, Surroundings, Target, WanVlan, Wanted};
use crate::gateway::host_side::Tun;
use crate::gateway::on_down::DownSites;
use crate::gateway::plan::Plan;
use crate::gateway::reconcile::{Dirty, Step};
use crate::ids::{IfIndex, SiteId, VnetId};
use crate::prefix::Prefix;

impl Forwarding {
    /// Takes which sites are down, and which lanes may carry the flows of the others; the steps that act on a
    /// change of it.
    pub(in crate::gateway) fn set_down(&mut self, down: DownSites) -> Dirty {
        let lanes_up = self.links.lanes_up();
        let (masks, routes) = (lanes_up != self.lanes_up, down != self.down);
        self.lanes_up = lanes_up;
        self.down = down;
        Dirty::from(Step::Sites).when(masks || routes)
            | (Step::LaneRoutes | Step::KernelRoutes).when(routes)
    }

    /// Gives the lanes their routes.
    pub(in crate::gateway) async fn set_lane_routes(&mut self, plan: &Plan) -> Result<()> {
        let routes = Arc::new(self.down.lane_routes(plan));
        self.lanes.set_routes(Arc::clone(&routes)).await?;
        self.routes = Some(routes);
        Ok(())
    }

    /// The numbers that have counted for other sites than the plan gives them to now.
    pub(in crate::gateway) fn reused(&self, plan: &Plan) -> Vec<SiteId> {
        let other = |id: &SiteId, name: &String| {
            plan.site(*id).is_some_and(|site| site.config.name != *name)
        };
        numbers_where(&self.counted, other)
    }

    /// The numbers that have counted for sites and are nobody's in the plan.
    pub(in crate::gateway) fn free(&self, plan: &Plan) -> Vec<SiteId> {
        numbers_where(&self.counted, |id, _| plan.site(*id).is_none())
    }

    /// Makes a number as if it had never been a site's.
    pub(in crate::gateway) fn forget_site(&mut self, site: SiteId) -> Result<()> {
        self.forget_carriers(site);
        if let Some(datapath) = &mut self.datapath {
            let counted = datapath.sites.counters(site)?.total();
            datapath.flows.retire(counted);
            datapath.sites.remove(site)?;
        }
        self.counted.remove(&site);
        Ok(())
    }

    /// Tells the programs of each site, and which lanes may carry its flows now: one whose link is
    /// not up drains to lane 0.
    pub(in crate::gateway) fn write_sites(&mut self, plan: &Plan, mtu: u16) -> Result<()> {
        for site in &plan.sites {
            let name = site.config.name.clone();
            self.counted.insert(site.id, name);
            let Some(datapath) = &mut self.datapath else {
                continue;
            };
            let state = if self.down.contains(site.id) {
                SiteState::Down
            } else {
                SiteState::Up
            };
            let wanted = Site {
                state: state as u32,
                queue_mask: self.lanes_up.get(&site.id).copied().unwrap_or(1),
                mtu: u32::from(mtu),
                lanes: u32::from(site.lanes),
            };
            if datapath.sites.get(site.id)? != wanted {
                datapath.sites.set(site.id, wanted)?;
            }
        }
        Ok(())
    }

    /// Gives the programs the routes of the sites, and those prefixes inside them that are the kernel's.
    pub(in crate::gateway) fn write_routes(
        &mut self,
        plan: &Plan,
        of_kernel: Vec<Prefix>,
    ) -> Result<RouteChanges> {
        let Some(datapath) = &mut self.datapath else {
            return Ok(RouteChanges::default());
        };
        let of_sites = self.down.active(plan).zip(1..);
        let of_sites = of_sites
            .map(|((vnet, prefix, site), route)| ((vnet, prefix), Target::Site { site, route }));
        let of_kernel = of_kernel.into_iter();
        let of_kernel = of_kernel.map(|prefix| ((VnetId(DEFAULT_VNET), prefix), Target::Kernel));
        // In this order: of equal prefixes the last counts.
        datapath
            .routes
            .replace_all(of_sites.chain(of_kernel).collect())
    }

    /// Tells the programs what is around them.
    pub(in crate::gateway) fn set_surroundings(&mut self, around: Surroundings) -> Result<()> {
        self.around = around;
        match &mut self.datapath {
            Some(datapath) => datapath.settings.set_surroundings(around),
            None => Ok(()),
        }
    }

    /// Tells the programs which addresses are the host's own.
    pub(in crate::gateway) fn set_local_addresses(&mut self, all: Vec<Prefix>) -> Result<()> {
        match &mut self.datapath {
            Some(datapath) => datapath.local.set_addresses(all),
            None => Ok(()),
        }
    }

    /// Tells the programs which VLANs are WANs.
    pub(in crate::gateway) fn set_wan_vlans(&mut self, all: &[WanVlan]) -> Result<()> {
        match &mut self.datapath {
            Some(datapath) => datapath.local.set_wan_vlans(all),
            None => Ok(()),
        }
    }

    /// Tells the programs which interface has which role.
    pub(in crate::gateway) fn set_interfaces(
        &mut self,
        all: &[(IfIndex, Interface)],
    ) -> Result<()> {
        match &mut self.datapath {
            Some(datapath) => datapath.settings.set_interfaces(all),
            None => Ok(()),
        }
    }

    /// Attaches the programs to these interfaces. After a failure the programs are of no use.
    pub(in crate::gateway) fn attach(
        &mut self,
        gateway: &config::Gateway,
        lans: &[config::Lan],
        tun: &Tun,
    ) -> Result<()> {
        let lanes = self.lanes.count();
        let Some(datapath) = &mut self.datapath else {
            return Ok(());
        };
        datapath.settings.set(Settings {
            abi_version: ABI_VERSION,
            tun_ifindex: tun.index.0,
            listen_port: gateway.listen.port(),
            lanes,
            // The routes' own.
            route_generation: 0,
            ..Settings::default()
        })?;
        datapath.attach(Wanted {
            lan: lans,
            wan: &gateway.wan,
            tun: Some(&tun.name),
        })
    }

    /// XDP that the file names and a driver refuses, a line each.
    pub(in crate::gateway) fn refused_programs(&self) -> Vec<String> {
        let refusals = self.datapath.as_ref().map(Datapath::refusals);
        refusals.unwrap_or_default().to_vec()
    }
}

fn numbers_where(
    counted: &HashMap<SiteId, String>,
    fits: impl Fn(&SiteId, &String) -> bool,
) -> Vec<SiteId> {
    let counted = counted.iter().filter(|(id, name)| fits(id, name));
    let mut numbers: Vec<SiteId> = counted.map(|(id, _)| *id).collect();
    numbers.sort_unstable();
    numbers
}
