//! The gateway's side of its host: what it wants of it, and what it has last seen.

use std::net::IpAddr;
use std::num::NonZeroU32;

use anyhow::Result;
use datapath_abi::settings::{DEFAULT_VNET, Interface, Role, SOFTWARE_GSO};

use super::desired::Desired;
use super::links::Wan;
use super::on_down::DownSites;
use super::preflight::{choose_mtu, wan_mtus};
use crate::config::Config;
use crate::datapath;
use crate::host::guard;
use crate::host::kernel_routes::KernelRoute;
use crate::host::links;
use crate::host::tunnel_mtu::TunnelMtu;
use crate::host::watch::{Interest, SharedInterest};
use crate::host::{Host, Report, Wanted};
use crate::ids::IfIndex;
use crate::prefix::Prefix;

/// Seconds between two looks at sysctls and device features: some are set behind our back without a note of the kernel's.
const TICKS_BETWEEN_LOOKS: u32 = 3;

/// The host, and the tunnel device on it.
pub(super) struct HostSide {
    pub(super) kernel: Host,
    pub(super) tun: Tun,
    /// The routes of others, from when ours were set last until the fast path has them: there may be a
    /// million.
    pub(super) other_routes: Option<Vec<KernelRoute>>,
    /// Which of others' routes are worth a look.
    interest: SharedInterest,
    ticks: u32,
}

/// The tunnel device.
pub(super) struct Tun {
    pub(super) name: String,
    pub(super) index: IfIndex,
    pub(super) mtu: TunnelMtu,
}

impl HostSide {
    pub(super) fn new(kernel: Host, tun: Tun, interest: SharedInterest) -> Self {
        Self {
            kernel,
            tun,
            other_routes: None,
            interest,
            ticks: 0,
        }
    }

    /// At each tick: whether others have changed what the kernel has no notes of, which is looked at now and then.
    pub(super) fn has_drifted(&mut self) -> bool {
        self.ticks = (self.ticks + 1) % TICKS_BETWEEN_LOOKS;
        self.ticks == 0 && self.kernel.has_drifted()
    }

    /// From now on the host is looked at for routes that have to do with these prefixes, with the far gateways, or
    /// with the routers of the uplinks in `others`.
    pub(super) async fn set_interest(
        &self,
        prefixes: &[Prefix],
        endpoints: Vec<IpAddr>,
        others: &[KernelRoute],
        config: &Config,
    ) {
        let mut wans = Vec::new();
        for wan in &config.gateway.wan {
            wans.extend(self.kernel.find(&wan.interface).await.ok().flatten());
        }
        let wans: Vec<IfIndex> = wans.iter().map(|wan| wan.index).collect();
        let routers = guard::routers_of(others, &wans);
        let mut interest = Interest::new(prefixes.iter().copied(), routers);
        interest.set_endpoints(endpoints);
        self.interest.set(interest);
    }

    /// Takes where far gateways are now.
    pub(super) fn set_endpoints(&self, endpoints: Vec<IpAddr>) {
        self.interest
            .change(|interest| interest.set_endpoints(endpoints));
    }

    /// Takes the index of the tunnel device as it is.
    pub(super) async fn look_at_tunnel(&mut self) -> Result<()> {
        self.tun.index = self.kernel.interface(&self.tun.name).await?.index;
        Ok(())
    }

    /// The MTU that the tunnel device should have: the present one while no WAN is there to tell.
    pub(super) async fn choose_mtu(&self, config: &Config) -> Result<TunnelMtu> {
        let wans = wan_mtus(&self.kernel, config).await?;
        if wans.is_empty() && config.gateway.mtu.is_none() {
            return Ok(self.tun.mtu.clone());
        }
        choose_mtu(&wans, config)
    }

    /// The WAN interfaces as they are.
    pub(super) async fn wans(&self, config: &Config) -> Vec<Wan> {
        let mut wans = Vec::new();
        for wan in &config.gateway.wan {
            let found = self.kernel.find(&wan.interface).await.ok().flatten();
            wans.push(Wan {
                name: wan.interface.clone(),
                carrier: found.as_ref().is_some_and(|wan| wan.up && wan.carrier),
                index: found.and_then(|wan| NonZeroU32::new(wan.index.0)),
            });
        }
        wans
    }

    /// Each of these interfaces as it is, `None` for one that is away; those that cannot be read are left out.
    pub(super) async fn interfaces<'a>(
        &self,
        names: &'a [String],
    ) -> Vec<(&'a str, Option<links::Interface>)> {
        let mut interfaces = Vec::new();
        for name in names {
            match self.kernel.find(name).await {
                Ok(found) => interfaces.push((name.as_str(), found)),
                Err(error) => tracing::warn!("{error}"),
            }
        }
        interfaces
    }

    /// Makes the host as it should be.
    pub(super) async fn apply(&mut self, desired: &Desired, down: &DownSites) -> Result<Report> {
        let wanted = self.wanted(desired, down);
        let report = self.kernel.apply(&wanted).await?;
        self.take_other_routes();
        Ok(report)
    }

    /// The routes alone of [`Self::apply`], also while an interface is away.
    pub(super) async fn apply_routes(
        &mut self,
        desired: &Desired,
        down: &DownSites,
    ) -> Result<Report> {
        let wanted = self.wanted(desired, down);
        let report = self.kernel.apply_routes(&wanted).await?;
        self.take_other_routes();
        Ok(report)
    }

    /// Those that were read before are as good as any where they could not be read now.
    fn take_other_routes(&mut self) {
        let read = self.kernel.take_other_routes();
        self.other_routes = read.or_else(|| self.other_routes.take());
    }

    fn wanted(&self, desired: &Desired, down: &DownSites) -> Wanted {
        let Desired { config, plan, .. } = desired;
        let gateway = &config.gateway;
        Wanted {
            tun: self.tun.name.clone(),
            mtu: self.tun.mtu.mtu,
            addresses: gateway.tunnel_addresses.clone(),
            routes: down.reached(plan).collect(),
            down: down.unreached(plan).collect(),
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
            bound_wans: plan.bound_wans(),
            hub: plan.sites.len() > 1,
            virtual_macs: desired.virtual_macs(),
        }
    }

    /// The interfaces that have a role for the programs. One that is away has no index; it gets its role when
    /// it comes back.
    pub(super) async fn roles(&self, desired: &Desired) -> Vec<(IfIndex, Interface)> {
        let mut interfaces = Vec::new();
        let lans = desired.lans_with(self.kernel.virtual_macs());
        let lan = lans.iter().map(|lan| (&lan.interface, Role::Lan));
        let wan = desired.config.gateway.wan.iter();
        let wan = wan.map(|wan| (&wan.interface, Role::Wan));
        for (name, role) in lan.chain(wan).chain([(&self.tun.name, Role::Tun)]) {
            if let Ok(Some(found)) = self.kernel.find(name).await {
                let software_gso = role == Role::Lan && !datapath::segments_tcp(name);
                let interface = Interface {
                    role: role as u32,
                    vnet: DEFAULT_VNET,
                    mtu: found.mtu,
                    flags: if software_gso { SOFTWARE_GSO } else { 0 },
                };
                interfaces.push((found.index, interface));
            }
        }
        interfaces
    }
}
