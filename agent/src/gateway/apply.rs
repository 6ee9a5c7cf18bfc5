//! Making the lane, the host and the eBPF maps as a plan says, touching only what differs.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use datapath_abi::ABI_VERSION;
use datapath_abi::settings::{DEFAULT_VNET, Interface, Role, SOFTWARE_GSO, Settings};
use datapath_abi::site::{Site, SiteState};

use super::Gateway;
use super::ground::{choose_mtu, index_of};
use super::on_down::DownSites;
use super::plan::{Difference, Plan, PlannedLink};
use crate::config::Config;
use crate::control::message::EventKind;
use crate::datapath::{self, Datapath, Target};
use crate::disk;
use crate::host::kernel_routes::KernelRoute;
use crate::host::tunnel_mtu::TunnelMtu;
use crate::host::{Wanted, mirror, ways};
use crate::ids::{SiteId, VnetId};
use crate::journal::Change;
use crate::lane::Command;
use crate::prefix::Prefix;
use crate::tunnel::PeerSpec;
use crossway_sys::clock;

impl Gateway {
    /// Carries out a difference and takes the plan. Links first, then routes: what is new finds its
    /// session, and what is gone loses its route before its site.
    pub(super) async fn apply(&mut self, plan: Plan, difference: Difference) -> Result<()> {
        for link in &difference.links_removed {
            self.remove_link(link)?;
        }
        for link in &difference.links_added {
            self.add_link(link, &plan)?;
        }
        let now = clock::now();
        for link in &difference.links_moved {
            self.tune_link(link, &plan, now)?;
            self.links.redial(link.id, now);
        }
        for link in &difference.links_tuned {
            self.tune_link(link, &plan, now)?;
        }
        self.plan = plan;
        for site in &difference.sites_removed {
            self.carriers.retain(|(id, _), _| *id != site.id);
        }
        for site in &difference.sites_added {
            self.rates.forget(site.id);
        }
        let down = DownSites::of(&self.plan, &self.states);
        if difference.routes || down != self.down {
            self.down = down;
            let routes = Arc::new(self.down.lane_routes(&self.plan));
            self.lanes.set_routes(routes).await?;
        }
        let (reused, free): (Vec<SiteId>, Vec<SiteId>) = difference
            .sites_removed
            .iter()
            .map(|site| site.id)
            .partition(|id| self.plan.site(*id).is_some());
        // A number that goes to another site starts counting at zero.
        self.forget_sites(&reused)?;
        self.follow_wans().await?;
        self.apply_host().await?;
        self.write_routes()?;
        self.forget_sites(&free)?;
        self.dial_due(now)?;
        Ok(())
    }

    /// Ranks and watches a link as the file says now.
    fn tune_link(&mut self, link: &PlannedLink, plan: &Plan, now: Instant) -> Result<()> {
        self.links
            .replan(link.clone(), plan.hold_down(link.site), now);
        let liveness = Box::new(link.path.liveness.clone());
        let source = probe_source(link, &self.config);
        self.lanes
            .send(link.lane, Command::SetLiveness(link.id, liveness, source))
    }

    fn add_link(&mut self, link: &PlannedLink, plan: &Plan) -> Result<()> {
        let spec = spec_of(link, &self.config)?;
        if let Some(datapath) = &mut self.datapath {
            datapath
                .sessions
                .insert(link.receiver_index << 8, link.id)?;
        }
        self.links
            .insert(link.clone(), plan.hold_down(link.site), clock::now());
        self.lanes.send(link.lane, Command::AddPeer(Box::new(spec)))
    }

    fn remove_link(&mut self, link: &PlannedLink) -> Result<()> {
        self.links.remove(link.id);
        self.lanes.send(link.lane, Command::RemovePeer(link.id))?;
        if let Some(datapath) = &mut self.datapath {
            datapath.sessions.remove(link.receiver_index << 8)?;
        }
        Ok(())
    }

    pub(super) fn forget_sites(&mut self, sites: &[SiteId]) -> Result<()> {
        let Some(datapath) = &mut self.datapath else {
            return Ok(());
        };
        sites
            .iter()
            .try_for_each(|site| datapath.sites.remove(*site))
    }

    /// Tells the programs of each site, and which lanes may carry its flows now: one whose link is
    /// not up drains to lane 0.
    pub(super) fn write_sites(&mut self) -> Result<()> {
        let Some(datapath) = &mut self.datapath else {
            return Ok(());
        };
        let lanes_up = self.links.lanes_up();
        for site in &self.plan.sites {
            let state = if self.down.contains(site.id) {
                SiteState::Down
            } else {
                SiteState::Up
            };
            let wanted = Site {
                state: state as u32,
                queue_mask: lanes_up.get(&site.id).copied().unwrap_or(1),
                mtu: u32::from(self.tun.mtu.mtu),
                lanes: u32::from(site.lanes),
            };
            if datapath.sites.get(site.id)? != wanted {
                datapath.sites.set(site.id, wanted)?;
            }
        }
        Ok(())
    }

    /// TUN, addresses, routes and sysctls.
    pub(super) async fn apply_host(&mut self) -> Result<()> {
        let report = self.host.apply(&self.wanted_host()).await?;
        for change in &report.changes {
            tracing::info!("host: {change}");
        }
        for warning in report
            .warnings
            .iter()
            .filter(|text| !self.warnings.host.contains(text))
        {
            tracing::warn!("host: {warning}");
        }
        self.warnings.host = report.warnings;
        self.warnings.host.extend(self.tun.mtu.warning.clone());
        Ok(())
    }

    /// The routes of that alone.
    pub(super) async fn apply_routes(&mut self) -> Result<()> {
        let report = self.host.apply_routes(&self.wanted_host()).await?;
        for change in &report.changes {
            tracing::info!("host: {change}");
        }
        Ok(())
    }

    fn wanted_host(&self) -> Wanted {
        let gateway = &self.config.gateway;
        Wanted {
            tun: self.tun.name.clone(),
            mtu: self.tun.mtu.mtu,
            addresses: gateway.tunnel_addresses.clone(),
            routes: self.down.reached(&self.plan).collect(),
            down: self.down.unreached(&self.plan).collect(),
            lan: gateway
                .lan
                .iter()
                .map(|lan| lan.interface.clone())
                .collect(),
            wan: gateway
                .wan
                .iter()
                .map(|wan| wan.interface.clone())
                .collect(),
            bound_wans: self.plan.bound_wans(),
            hub: self.plan.sites.len() > 1,
            virtual_macs: self.wanted_virtual_macs(),
        }
    }

    /// Routes of the sites, and those that the kernel keeps inside them.
    pub(super) fn write_routes(&mut self) -> Result<()> {
        let active = self.down.active(&self.plan);
        let prefixes: Vec<Prefix> = active.map(|(_, prefix, _)| prefix).collect();
        let kernel = self.host.take_other_routes();
        self.warn_of_missing_ways(&kernel);
        let mirror = mirror::mirror(&kernel, &prefixes, self.tun.index);
        for warning in mirror
            .warnings
            .iter()
            .filter(|text| !self.warnings.routes.contains(text))
        {
            tracing::warn!("{warning}");
        }
        self.warnings.routes = mirror.warnings;
        let Some(datapath) = &mut self.datapath else {
            return Ok(());
        };
        let of_sites = self.down.active(&self.plan).zip(1..);
        let of_sites = of_sites
            .map(|((vnet, prefix, site), route)| ((vnet, prefix), Target::Site { site, route }));
        let of_kernel = mirror.kernel.into_iter();
        let of_kernel = of_kernel.map(|prefix| ((VnetId(DEFAULT_VNET), prefix), Target::Kernel));
        let mut wanted = Vec::with_capacity(prefixes.len() + of_kernel.len());
        // In this order: of equal prefixes the last counts.
        wanted.extend(of_sites);
        wanted.extend(of_kernel);
        let changes = datapath.routes.replace_all(wanted)?;
        tracing::debug!(?changes, "routes of the fast path");
        Ok(())
    }

    /// Says which links cannot leave by the interface that they are bound to.
    fn warn_of_missing_ways(&mut self, kernel: &[KernelRoute]) {
        let warnings = ways::missing(kernel, &self.links.bound_endpoints());
        let new = |text: &&String| !self.warnings.paths.contains(text);
        for warning in warnings.iter().filter(new) {
            tracing::warn!("{warning}");
        }
        self.warnings.paths = warnings;
    }

    /// Roles of the interfaces, settings, and the programs at their hooks. A failure leaves the
    /// kernel stack forwarding.
    pub(super) fn attach(&mut self) {
        let Some(mut datapath) = self.datapath.take() else {
            return;
        };
        let attached = self.attach_to(&mut datapath);
        self.warnings.fast_path = datapath.refusals().to_vec();
        self.datapath = Some(datapath);
        if let Err(error) = attached {
            self.leave_fast_path(&error);
        }
    }

    fn attach_to(&self, datapath: &mut Datapath) -> Result<()> {
        let gateway = &self.config.gateway;
        datapath.settings.set(Settings {
            abi_version: ABI_VERSION,
            tun_ifindex: self.tun.index.0,
            listen_port: gateway.listen.port(),
            lanes: self.lanes.count(),
            // The routes' own.
            route_generation: 0,
        })?;
        datapath.attach(datapath::Wanted {
            lan: &self.lans_with_virtual_macs(),
            wan: &gateway.wan,
            tun: Some(&self.tun.name),
        })
    }

    /// Tells the programs which interface has which role.
    pub(super) async fn write_interfaces(&mut self) -> Result<()> {
        let gateway = &self.config.gateway;
        let mut interfaces = Vec::new();
        let lans = self.lans_with_virtual_macs();
        let lan = lans.iter().map(|lan| (&lan.interface, Role::Lan));
        let wan = gateway.wan.iter().map(|wan| (&wan.interface, Role::Wan));
        for (name, role) in lan.chain(wan).chain([(&self.tun.name, Role::Tun)]) {
            // One that is away has no index; it gets its role when it comes back.
            if let Ok((index, mtu)) = index_of(&self.host, name).await {
                let software_gso = role == Role::Lan && !datapath::segments_tcp(name);
                interfaces.push((index, abi_interface(role, mtu, software_gso)));
            }
        }
        match &mut self.datapath {
            Some(datapath) => datapath.settings.set_interfaces(&interfaces),
            None => Ok(()),
        }
    }

    /// Addresses, routes or interfaces of the host have changed.
    pub(super) async fn on_host_changed(&mut self) {
        self.record_interfaces().await;
        if let Err(error) = self.follow_host().await {
            let text = format!("{error:#}");
            tracing::warn!("the host has changed and could not be followed: {text}");
            self.warnings.host = vec![text];
            // An interface that is gone has no virtual router any more.
            if let Err(error) = self.follow_vrrp().await {
                tracing::warn!("{error:#}");
            }
        }
    }

    pub(super) async fn follow_host(&mut self) -> Result<()> {
        let mtu = choose_mtu(&self.host, &self.config).await?;
        if self.set_mtu(mtu)? {
            self.write_sites()?;
        }
        self.tun.index = index_of(&self.host, &self.tun.name).await?.0;
        self.apply_host().await?;
        self.write_routes()?;
        self.follow_interfaces().await
    }

    /// Holds the lanes to an MTU of the tunnel; says whether it is another one.
    pub(super) fn set_mtu(&mut self, mtu: TunnelMtu) -> Result<bool> {
        if mtu == self.tun.mtu {
            return Ok(false);
        }
        self.record(Change {
            kind: EventKind::Host,
            subject: self.tun.name.clone(),
            from: Some(format!("MTU {}", self.tun.mtu.mtu)),
            to: format!("MTU {}", mtu.mtu),
            cause: mtu.reason.clone(),
        });
        self.tun.mtu = mtu;
        self.lanes.set_mtu(self.tun.mtu.mtu)?;
        Ok(true)
    }

    /// Roles and attachments, by the interfaces as they are now.
    pub(super) async fn follow_interfaces(&mut self) -> Result<()> {
        self.write_interfaces().await?;
        self.attach();
        self.follow_vrrp().await
    }
}

/// What the lane is told of a link.
pub(super) fn spec_of(link: &PlannedLink, config: &Config) -> Result<PeerSpec> {
    let preshared_key = match &link.gateway.preshared_key_file {
        Some(file) => {
            let key = disk::read_key(file)
                .with_context(|| format!("pre-shared key file {}", file.display()))?;
            Some(key)
        }
        None => None,
    };
    Ok(PeerSpec {
        link: link.id,
        site: link.site,
        receiver_index: link.receiver_index,
        public_key: link.gateway.public_key,
        preshared_key,
        keepalive: link.keepalive(),
        endpoint: None,
        // Told before it is dialled.
        interface: None,
        liveness: link.path.liveness.clone(),
        probe_source: probe_source(link, config),
    })
}

/// Our address inside the tunnel that a link's probe is asked from.
fn probe_source(link: &PlannedLink, config: &Config) -> Option<IpAddr> {
    let probe = link.path.liveness.probe?;
    let own = config.gateway.tunnel_addresses.iter();
    own.map(|own| own.address)
        .find(|own| own.is_ipv4() == probe.is_ipv4())
}

fn abi_interface(role: Role, mtu: u32, software_gso: bool) -> Interface {
    Interface {
        role: role as u32,
        vnet: DEFAULT_VNET,
        mtu,
        flags: if software_gso { SOFTWARE_GSO } else { 0 },
    }
}
