//! The gateway's side of its host: what it wants of it, and what it has last seen.

use std::net::IpAddr;
use std::num::NonZeroU32;

use anyhow::Result;
use datapath_abi::settings::{
    ALSO_WAN, DEFAULT_VNET, Interface, Role, SOFTWARE_GSO, STRICT_SOURCES,
};

use super::desired::Desired;
use super::links::Wan;
use super::on_down::DownSites;
use super::preflight::{choose_mtu, wan_mtus};
use crate::config::Config;
use crate::datapath::{self, Surroundings, WanVlan};
use crate::host::addresses::preferred_source;
use crate::host::firewall::{self, Named};
use crate::host::guard;
use crate::host::kernel_routes::KernelRoute;
use crate::host::links;
use crate::host::sysctl::is_strict;
use crate::host::tunnel_mtu::TunnelMtu;
use crate::host::watch::{Interest, SharedInterest};
use crate::host::{Host, Report, Wanted};
use crate::ids::IfIndex;
use crate::prefix::Prefix;

/// Ticks, of a second each, from one look to the next at what the kernel has no notes of: nftables, sysctls, device
/// features.
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
    /// How the kernel judged sources, by LAN, when the programs were told.
    judged: Vec<(String, bool)>,
    /// The host's nftables, and whether something in them translates addresses.
    watched: firewall::Watched,
    nat: bool,
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
            judged: Vec::new(),
            watched: firewall::Watched::default(),
            nat: false,
        }
    }

    /// A tick: whether what the kernel has no notes of is to be looked at.
    pub(super) fn is_look_due(&mut self) -> bool {
        let is_due = self.ticks == 0;
        self.ticks = (self.ticks + 1) % TICKS_BETWEEN_LOOKS;
        is_due
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
                mtu: found.as_ref().map(|wan| wan.mtu),
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
    pub(super) async fn apply(
        &mut self,
        desired: &Desired,
        down: &DownSites,
        by_stack: bool,
    ) -> Result<Report> {
        let wanted = Wanted {
            by_stack,
            ..self.wanted(desired, down)
        };
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

    /// A warning while no interface has the address that the gateway listens on.
    pub(super) async fn why_deaf(&self, config: &Config) -> Option<String> {
        let listen = config.gateway.listen.ip();
        if listen.is_unspecified() {
            return None;
        }
        let addresses = self.kernel.addresses().await.ok()?;
        let there = addresses.iter().any(|own| own.address.address == listen);
        (!there && !listen.is_loopback()).then(|| {
            format!(
                "no interface has the address {listen} of `listen`: nobody is heard until one does; give it to an \
                 interface, or write 0.0.0.0 or [::] for all addresses"
            )
        })
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
            sites: plan
                .sites
                .iter()
                .map(|site| site.config.routes.clone())
                .collect(),
            by_stack: false,
            virtual_macs: desired.virtual_macs(),
        }
    }

    /// The interfaces that have a role for the programs. One that is away has no index; it gets its role when
    /// it comes back.
    pub(super) async fn roles(&mut self, desired: &Desired) -> Vec<(IfIndex, Interface)> {
        let mut interfaces = Vec::new();
        self.judged = self.judge_sources(desired);
        let lans = desired.lans_with(self.kernel.virtual_macs());
        let lan = lans.iter().map(|lan| (&lan.interface, Role::Lan));
        let wan = desired.config.gateway.wan.iter();
        let wan = wan.map(|wan| (&wan.interface, Role::Wan));
        for (name, role) in lan.chain(wan).chain([(&self.tun.name, Role::Tun)]) {
            let Ok(Some(found)) = self.kernel.find(name).await else {
                continue;
            };
            let mut known = interfaces.iter_mut();
            let lan = known.find(|(index, _): &&mut (IfIndex, Interface)| *index == found.index);
            if let Some((_, lan)) = lan {
                // The programs of the LAN go by the role; `wan_guard` by none.
                lan.flags |= ALSO_WAN;
                continue;
            }
            let interface = Interface {
                role: role as u32,
                vnet: DEFAULT_VNET,
                mtu: found.mtu,
                flags: match role {
                    Role::Lan => lan_flags(name),
                    Role::Wan | Role::Tun => 0,
                },
            };
            interfaces.push((found.index, interface));
        }
        interfaces
    }

    /// Whether the kernel judges the sources of a LAN otherwise than the programs were told: nobody says so.
    pub(super) fn judges_otherwise(&self, desired: &Desired) -> bool {
        self.judge_sources(desired) != self.judged
    }

    /// How the kernel judges sources, by LAN.
    fn judge_sources(&self, desired: &Desired) -> Vec<(String, bool)> {
        let lans = desired.lans_with(self.kernel.virtual_macs());
        let strict = |name: String| {
            let strict = is_strict(&name);
            (name, strict)
        };
        lans.into_iter().map(|lan| strict(lan.interface)).collect()
    }

    /// The kernel has said that its rules have changed.
    pub(super) fn on_firewall_changed(&mut self) {
        self.watched.on_changed();
    }

    /// What the host's firewall would do to what the stack must carry, and whether it translates addresses now and
    /// did not before, or the other way round.
    pub(super) async fn look_at_firewall(
        &mut self,
        config: &Config,
        fast_path: bool,
    ) -> Result<(Vec<String>, bool)> {
        let named = |name: &str, index| Named {
            name: name.to_owned(),
            index,
        };
        let mut lans = Vec::new();
        for lan in &config.gateway.lan {
            if let Some(found) = self.kernel.find(&lan.interface).await? {
                lans.push(named(&lan.interface, found.index));
            }
        }
        let tun = named(&self.tun.name, self.tun.index);
        let found = self.watched.look(&lans, &tun, fast_path)?;
        let before = std::mem::replace(&mut self.nat, found.nat);
        Ok((found.warnings, found.nat != before))
    }

    /// The nftables chains that see packets which the kernel forwards on this way.
    pub(super) fn chains(
        &mut self,
        passage: firewall::Passage<'_>,
        ipv4: bool,
    ) -> Result<Vec<firewall::ForwardChain>> {
        Ok(self.watched.chains(passage, ipv4)?)
    }

    /// The WAN interfaces that are VLANs of another interface.
    pub(super) async fn wan_vlans(&self, config: &Config) -> Vec<WanVlan> {
        let mut vlans = Vec::new();
        for wan in &config.gateway.wan {
            if let Ok(Some(found)) = self.kernel.find(&wan.interface).await
                && let Some((below, id)) = found.vlan
            {
                vlans.push(WanVlan {
                    below,
                    id,
                    interface: found.index,
                });
            }
        }
        vlans
    }

    /// What is around the programs.
    pub(super) async fn surroundings(&self, config: &Config) -> Result<Surroundings> {
        let addresses = self.kernel.addresses().await?;
        let mut lans = Vec::new();
        for lan in &config.gateway.lan {
            lans.extend(self.kernel.find(&lan.interface).await?);
        }
        let source = |ipv4| {
            let of_lan = |lan: &links::Interface| {
                let index = lan.index;
                let all = addresses.iter().copied();
                all.filter(move |address| address.interface == index)
            };
            let of_lans = lans.iter().flat_map(of_lan);
            preferred_source(ipv4, &config.gateway.tunnel_addresses, of_lans)
        };
        Ok(Surroundings {
            nat: self.nat,
            answers_from4: source(true).and_then(|source| match source {
                IpAddr::V4(source) => Some(source),
                IpAddr::V6(_) => None,
            }),
            answers_from6: source(false).and_then(|source| match source {
                IpAddr::V6(source) => Some(source),
                IpAddr::V4(_) => None,
            }),
        })
    }
}

/// What the programs must know of a LAN interface.
fn lan_flags(name: &str) -> u32 {
    let software_gso = !datapath::segments_tcp(name);
    let flag = |flag, condition| if condition { flag } else { 0 };
    flag(SOFTWARE_GSO, software_gso) | flag(STRICT_SOURCES, is_strict(name))
}
