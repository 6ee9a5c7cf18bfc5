//! Making the host as [`Wanted`] says. Each part is done by itself: what fails, or what an interface that is away
//! keeps from being done, is told, and the rest is done all the same.

use std::collections::HashMap;

use super::addresses::preferred_source;
use super::drift::Seen;
use super::error::HostError;
use super::forwarding::{self, Facts, Need};
use super::links::Interface;
use super::site_routes::{SiteRoute, Way};
use super::state::{StateFile, SysctlChange};
use super::sysctl::{self, Family, Key};
use super::tunnel::SiteRoutes;
use super::turn_back;
use super::virtual_mac::{self, VirtualMac};
use super::{Host, Report, Wanted, kept_features, kept_sysctls, tunnel};
use crossway_types::interface::OnDown;

impl Host {
    /// Makes the host as `wanted` says, touching only what differs. The TUN has been claimed and
    /// opened. Call it again when the configuration or, as [`watch`](super::watch) tells, the host has changed:
    /// the kernel deletes IPv4 routes together with the address that is their source.
    ///
    /// # Errors
    /// There is no TUN. Anything else is in the report, and the rest is done.
    pub async fn apply(&mut self, wanted: &Wanted) -> Result<Report, HostError> {
        let mut report = Report::default();
        report.warnings.extend(self.warning.clone());
        let lan = self.resolve("LAN", &wanted.lan, &mut report).await;
        self.resolve("WAN", &wanted.wan, &mut report).await;
        let tun = self.interface(&wanted.tun).await?;
        let claimed = self.file.state.tun.as_ref().map(|tun| &tun.name);
        if claimed != Some(&wanted.tun) {
            let file = &mut self.file;
            tunnel::claim(&self.handle, &self.routes, file, &wanted.tun).await?;
        }

        let set = tunnel::set_mtu(&self.handle, &tun, wanted.mtu, &mut report).await;
        report.note(set);
        let set = tunnel::set_queue_length(&self.handle, &tun, &mut report).await;
        report.note(set);
        let first = self.virtual_macs.is_none();
        let (file, devices) = (&mut self.file, &wanted.virtual_macs);
        let made = virtual_mac::reconcile(&self.handle, file, devices, first, &mut report).await;
        kept_features::reconcile(&mut self.file, &wanted.lan, &mut report);
        let set = self.set_sysctls(wanted, &made, &mut report);
        report.note(set);
        self.virtual_macs = Some(made);
        let file = &mut self.file;
        let added = tunnel::add_addresses(&self.handle, file, &tun, &wanted.addresses, &mut report);
        let leftover = added.await;
        self.set_routes(wanted, &tun, &lan, &mut report).await;
        let turns = if wanted.by_stack {
            turn_back::Turns::of(&wanted.sites)
        } else {
            turn_back::Turns::default()
        };
        turn_back::reconcile(&self.handle, &self.routes, &tun, turns, &mut report).await;
        match leftover {
            Ok(leftover) => {
                let file = &mut self.file;
                let removed =
                    tunnel::remove_addresses(&self.handle, file, &tun, leftover, &mut report).await;
                report.note(removed);
            }
            Err(error) => report.note(Err(error)),
        }
        self.file.save_again();
        report.warnings.extend(self.file.trouble());
        Ok(report)
    }

    /// The routes alone of what [`Host::apply`] does, which has been called before: for sites that go
    /// down and come back, also while an interface is away.
    ///
    /// # Errors
    /// There is no TUN. Anything else is in the report.
    pub async fn apply_routes(&mut self, wanted: &Wanted) -> Result<Report, HostError> {
        let mut report = Report::default();
        let mut lan = Vec::new();
        for name in &wanted.lan {
            match self.find(name).await {
                Ok(found) => lan.extend(found),
                Err(error) => report.note(Err(error)),
            }
        }
        let tun = self.interface(&wanted.tun).await?;
        self.set_routes(wanted, &tun, &lan, &mut report).await;
        Ok(report)
    }

    /// Those of the interfaces that are there, with a warning for each that carries nothing.
    async fn resolve(&self, role: &str, names: &[String], report: &mut Report) -> Vec<Interface> {
        let mut interfaces = Vec::new();
        for name in names {
            match self.find(name).await {
                Ok(Some(interface)) => {
                    report.warnings.extend(why_idle(role, &interface));
                    interfaces.push(interface);
                }
                Ok(None) => {
                    let warning = self.describe_absent(role, name).await;
                    report.warnings.push(warning);
                }
                Err(error) => report.note(Err(error)),
            }
        }
        interfaces
    }

    async fn describe_absent(&self, role: &str, name: &str) -> String {
        let present = self.interfaces().await.unwrap_or_default();
        absent(role, name, &present)
    }

    async fn set_routes(
        &mut self,
        wanted: &Wanted,
        tun: &Interface,
        lan: &[Interface],
        report: &mut Report,
    ) {
        let routes = match self.site_routes(wanted, lan).await {
            Ok(routes) => routes,
            Err(error) => return report.note(Err(error)),
        };
        let set = tunnel::set_routes(&self.routes, &mut self.file, tun, routes, report).await;
        match set {
            Ok(others) => self.other_routes = Some(others),
            Err(error) => report.note(Err(error)),
        }
    }

    async fn site_routes(
        &self,
        wanted: &Wanted,
        lan: &[Interface],
    ) -> Result<SiteRoutes, HostError> {
        let addresses = self.addresses().await?;
        let of_lan = |interface: &Interface| {
            let index = interface.index;
            let addresses = addresses.iter().copied();
            addresses.filter(move |address| address.interface == index)
        };
        let [of_ipv4, of_ipv6] = [true, false].map(|ipv4| {
            let lan = lan.iter().flat_map(of_lan);
            preferred_source(ipv4, &wanted.addresses, lan)
        });
        let routes = wanted.routes.iter().map(|prefix| SiteRoute {
            prefix: *prefix,
            way: Way::Tunnel,
            source: if prefix.is_ipv4() { of_ipv4 } else { of_ipv6 },
            mtu: None,
        });
        let down = wanted.down.iter().filter_map(|(prefix, on_down)| {
            Some(SiteRoute {
                prefix: *prefix,
                way: match on_down {
                    OnDown::Unreachable => Way::Unreachable,
                    OnDown::Drop => Way::Blackhole,
                    OnDown::NextShorter => return None,
                },
                source: None,
                mtu: None,
            })
        });
        Ok(SiteRoutes {
            routes: routes.chain(down).collect(),
            backstops: wanted.backstops(),
        })
    }

    fn set_sysctls(
        &mut self,
        wanted: &Wanted,
        virtual_macs: &[VirtualMac],
        report: &mut Report,
    ) -> Result<(), HostError> {
        let ipv6_interfaces = Family::Ipv6.interfaces()?;
        let mut ipv6 = wanted.uses_ipv6();
        if ipv6 && ipv6_interfaces.is_empty() {
            report.note(Err(HostError::NoIpv6));
            ipv6 = false;
        }
        let mut facts = Facts::default();
        for key in forwarding::relevant(&Family::Ipv4.interfaces()?, &ipv6_interfaces) {
            if let Some(value) = kept_sysctls::original(&self.file, &key)? {
                facts.values.insert(key, value);
            }
        }
        let need = Need {
            tun: &wanted.tun,
            lan: &wanted.lan,
            wan: &wanted.wan,
            bound: &wanted.bound_wans,
            ipv6,
            virtual_macs,
        };
        let plan = forwarding::plan(need, &facts);
        let looked_at = plan.looked_at.clone();
        let held = apply_plan(&mut self.file, plan, report);
        self.seen = Seen::look(looked_at, held, wanted);
        Ok(())
    }
}

/// What a person is told of an interface that is away.
pub fn absent(role: &str, name: &str, present: &[Interface]) -> String {
    let present: Vec<&str> = present.iter().map(|other| other.name.as_str()).collect();
    format!(
        "{role} interface {name} does not exist: it is taken in as soon as it comes; if the name is wrong, \
         correct it in the configuration (this host has {})",
        present.join(", ")
    )
}

/// Why an interface that is there carries nothing.
pub fn why_idle(role: &str, interface: &Interface) -> Option<String> {
    let name = &interface.name;
    if !interface.up {
        return Some(format!(
            "{role} interface {name} is down: it carries nothing until `ip link set {name} up`"
        ));
    }
    (!interface.carrier).then(|| {
        format!("{role} interface {name} has no carrier: check its cable and its other end")
    })
}

/// The passing changes come and go around the lasting ones, if those are not made already.
fn apply_plan(
    file: &mut StateFile,
    plan: forwarding::Plan,
    report: &mut Report,
) -> HashMap<Key, String> {
    let forwards = |change: &&SysctlChange| {
        let key = &change.key;
        key.family == Family::Ipv6 && key.name == sysctl::Name::Forwarding
    };
    let is_other = |change: &SysctlChange| {
        let now = change.key.read().ok().flatten();
        now.as_ref() != Some(&change.set)
    };
    let due = plan.lasting.iter().filter(forwards).any(is_other);
    if due && !plan.meanwhile.is_empty() {
        let both = plan.lasting.iter().chain(&plan.meanwhile).cloned();
        kept_sysctls::reconcile(file, both.collect(), report);
    }
    kept_sysctls::reconcile(file, plan.lasting, report)
}
