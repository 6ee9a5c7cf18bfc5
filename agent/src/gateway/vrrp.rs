//! The gateway's side of its virtual routers: where they can run, what the sites' state means for their
//! priority, and what becomes of a change.

use std::net::IpAddr;

use anyhow::{Context, Result};
use tokio::sync::mpsc;

use super::Gateway;
use super::links::site_state;
use crate::config::{Lan, VirtualRouter, XdpChoice};
use crate::control::message::EventKind;
use crate::control::message::{self, SiteState};
use crate::host::addresses::HostAddress;
use crate::host::links::Interface;
use crate::host::virtual_mac::{VirtualMac, WantedVirtualMac};
use crate::journal::Change;
use crate::prefix::Prefix;
use crate::vrrp::service::Service;
use crate::vrrp::status::{Event, Key, Place, Setup, Status, What};
use crossway_liveness::vrrp::router::State;
use crossway_liveness::vrrp::track::Health;
use crossway_sys::clock;
use crossway_types::address::{Family, Mac};

/// The virtual routers of a running gateway.
pub(super) struct Vrrp {
    events: mpsc::UnboundedSender<Event>,
    /// There from the first virtual router on.
    service: Option<Service>,
    health: Option<Health>,
    /// Master in the agent before us, which handed over: they go on at once.
    pub(super) resumed: Vec<Key>,
}

impl Vrrp {
    /// None yet; changes of state will come out of the other end of `events`.
    pub(super) fn new(events: mpsc::UnboundedSender<Event>) -> Self {
        Self {
            events,
            service: None,
            health: None,
            resumed: Vec::new(),
        }
    }

    /// Whether there are any, or were.
    pub(super) fn is_running(&self) -> bool {
        self.service.is_some()
    }

    /// Hands every virtual router over to its mate.
    pub(super) async fn stop(&mut self) {
        if let Some(service) = self.service.take() {
            service.stop().await;
        }
    }

    /// For a hand-over: leaves everything running as it is but the advertisements, which the next agent must
    /// go on with before three of them are missed. It gets what this returns as `resumed`, and calls
    /// [`Host::keep_virtual_macs`](crate::host::Host::keep_virtual_macs) before it brings up anything.
    pub(super) async fn leave(&mut self) -> Vec<Key> {
        match self.service.take() {
            Some(service) => service.leave().await,
            None => Vec::new(),
        }
    }

    fn statuses(&self) -> Vec<Status> {
        self.service
            .as_ref()
            .map(Service::statuses)
            .unwrap_or_default()
    }
}

impl Gateway {
    /// Whether another gateway is, or should be, the router of one of our LANs: the far sites should send
    /// there too, if they can.
    pub(super) fn is_standby(&self) -> bool {
        let statuses = self.vrrp.statuses().into_iter();
        let masters = statuses.filter(|status| status.state == State::Master);
        masters.count() < self.config.gateway.vrrp.len()
    }

    /// Something has happened to a virtual router: the far sites learn which gateway serves the LAN now.
    pub(super) fn on_vrrp_event(&mut self, event: &Event) -> Result<()> {
        self.report_vrrp(event);
        self.follow_service()
    }

    /// Before the configuration is put in force: hands over what is not in it any more, while the devices
    /// are there.
    pub(super) async fn stop_unwanted_virtual_routers(&mut self) {
        if let Some(service) = &self.vrrp.service {
            let wanted = self.config.gateway.vrrp.iter();
            service.keep(wanted.map(key).collect()).await;
        }
    }

    /// The one place that every change of state passes.
    fn report_vrrp(&mut self, event: &Event) {
        let Key {
            interface,
            id,
            family,
        } = &event.key;
        let (from, to, cause) = match &event.what {
            What::Changed(change) => (
                Some(change.from.as_str().to_owned()),
                change.to.as_str(),
                change.why.to_string(),
            ),
            What::SilentMate(mate) => (
                None,
                "split",
                format!("{mate} answers on the LAN, but its advertisements do not come"),
            ),
            What::Split(rival) => (
                None,
                "split",
                format!(
                    "{} with priority {} is master too",
                    rival.address, rival.priority
                ),
            ),
        };
        self.record(Change {
            kind: EventKind::VirtualRouter,
            subject: format!("{interface} {id} {family}"),
            from,
            to: to.to_owned(),
            cause,
        });
    }

    /// Starts, changes or stops virtual routers as the configuration and the interfaces are now.
    pub(super) async fn follow_vrrp(&mut self) -> Result<()> {
        let routers = &self.config.gateway.vrrp;
        if routers.is_empty() && self.vrrp.service.is_none() {
            return Ok(());
        }
        let addresses = self.host.addresses().await?;
        let mut setups = Vec::with_capacity(routers.len());
        let mut warnings = Vec::new();
        for router in routers {
            let lan = self.host.interface(&router.interface).await;
            let device = self.host.virtual_macs().iter();
            let device = device.clone().find(|device| serves(device, router));
            let place = match (&lan, device) {
                (Ok(lan), Some(device)) => {
                    warnings.extend(outside(router, lan, &addresses));
                    place(router, lan, device, &addresses)
                }
                (Err(error), _) => Err(error.to_string()),
                (Ok(_), None) => Err("it has no device for its virtual MAC yet".to_owned()),
            };
            setups.push(setup(router, place));
        }
        for warning in &warnings {
            if !self.warnings.vrrp.contains(warning) {
                tracing::warn!("{warning}");
            }
        }
        self.warnings.vrrp = warnings;
        self.feed_vrrp_health();
        let service = match &mut self.vrrp.service {
            Some(service) => service,
            none => {
                let events = self.vrrp.events.clone();
                none.insert(Service::start(events).context("a thread for VRRP")?)
            }
        };
        if let Some(health) = self.vrrp.health {
            service.set_health(health);
        }
        service.resume(setups, std::mem::take(&mut self.vrrp.resumed));
        self.follow_service()
    }

    /// Tells the virtual routers how many sites can be reached. To be called whenever that may have
    /// changed.
    pub(super) fn feed_vrrp_health(&mut self) {
        if self.config.gateway.vrrp.is_empty() {
            return;
        }
        let by_site = self.links.by_site();
        let usable = self.plan.sites.iter().filter(|site| {
            let links = by_site.get(&site.id);
            links.is_some_and(|links| site_state(links).0 != SiteState::Down)
        });
        let health = Health {
            usable: usable.count() as u32,
            all: self.plan.sites.len() as u32,
        };
        if self.vrrp.health.replace(health) == Some(health) {
            return;
        }
        if let Some(service) = &self.vrrp.service {
            service.set_health(health);
        }
    }

    /// The devices that the virtual routers need.
    pub(super) fn wanted_virtual_macs(&self) -> Vec<WantedVirtualMac> {
        let routers = self.config.gateway.vrrp.iter();
        routers
            .map(|router| WantedVirtualMac {
                lan: router.interface.clone(),
                family: router.family,
                id: router.id,
            })
            .collect()
    }

    /// The LANs, and beside each the devices on it that take the packets for a virtual router: what
    /// comes in there is the LAN's.
    pub(super) fn lans_with_virtual_macs(&self) -> Vec<Lan> {
        let lans = &self.config.gateway.lan;
        let devices = self.host.virtual_macs().iter().filter_map(|device| {
            let lan = lans.iter().find(|lan| lan.interface == device.wanted.lan)?;
            Some(Lan {
                interface: device.name.clone(),
                vnet: lan.vnet.clone(),
                xdp: XdpChoice::Off,
            })
        });
        lans.iter().cloned().chain(devices).collect()
    }

    /// For `status`; their warnings are also among those of the whole gateway.
    pub(super) fn virtual_routers(&self) -> Vec<message::VirtualRouter> {
        self.vrrp.statuses().into_iter().map(describe).collect()
    }
}

/// A line for each warning.
pub(super) fn warnings_of(routers: &[message::VirtualRouter]) -> impl Iterator<Item = String> {
    routers.iter().flat_map(|router| {
        let name = format!("{} {} {}", router.interface, router.id, router.family);
        let warnings = router.warnings.iter();
        warnings.map(move |text| format!("virtual router {name}: {text}"))
    })
}

fn serves(device: &VirtualMac, router: &VirtualRouter) -> bool {
    let wanted = &device.wanted;
    (wanted.lan.as_str(), wanted.family, wanted.id)
        == (router.interface.as_str(), router.family, router.id)
}

fn key(router: &VirtualRouter) -> Key {
    Key {
        interface: router.interface.clone(),
        id: router.id,
        family: router.family,
    }
}

fn setup(router: &VirtualRouter, place: Result<Place, String>) -> Setup {
    Setup {
        key: key(router),
        addresses: router.addresses.clone(),
        priority: router.priority,
        track_weight: router.track_weight,
        interval: router.advertisement_interval,
        preempt: router.preempt,
        place,
    }
}

/// Where it can run, or why not.
fn place(
    router: &VirtualRouter,
    lan: &Interface,
    device: &VirtualMac,
    addresses: &[HostAddress],
) -> Result<Place, String> {
    let name = &lan.name;
    if !lan.up {
        return Err(format!("{name} is down"));
    }
    if !lan.carrier {
        return Err(format!("{name} has no carrier"));
    }
    let of_lan = || addresses.iter().filter(|own| own.interface == lan.index);
    let mut own = of_lan().map(|own| own.address.address);
    if let Some(taken) = own.find(|own| router.addresses.contains(own)) {
        return Err(format!(
            "{taken} is an address of {name} itself: remove it there, the master gets it on {}",
            device.name
        ));
    }
    let mut usable = of_lan()
        .filter(|own| own.usable)
        .map(|own| own.address.address);
    let local = match router.family {
        Family::Ipv4 => usable.find(IpAddr::is_ipv4),
        Family::Ipv6 => usable.find(is_link_local),
    };
    let kind = match router.family {
        Family::Ipv4 => "IPv4",
        Family::Ipv6 => "IPv6 link-local",
    };
    Ok(Place {
        lan: lan.index,
        device: device.index,
        local: local.ok_or_else(|| {
            format!("{name} has no {kind} address: advertisements need one to come from")
        })?,
    })
}

/// Virtual addresses that no host of the LAN would look for there.
fn outside(router: &VirtualRouter, lan: &Interface, addresses: &[HostAddress]) -> Vec<String> {
    let of_lan = addresses.iter().filter(|own| own.interface == lan.index);
    let networks: Vec<Prefix> = of_lan
        .map(|own| Prefix::containing(own.address.address, own.address.length))
        .filter(|network| network.is_ipv4() == (router.family == Family::Ipv4))
        .collect();
    let inside = |address: &IpAddr| {
        is_link_local(address) || networks.iter().any(|network| network.contains(*address))
    };
    let addresses = router.addresses.iter().filter(|address| !inside(address));
    addresses
        .map(|address| {
            let names: Vec<String> = networks.iter().map(ToString::to_string).collect();
            format!(
                "virtual address {address} lies outside the networks of {} ({}): no host there \
                 finds it; write one inside, or give {} an address of its network",
                lan.name,
                if names.is_empty() {
                    format!("it has no {} address", router.family)
                } else {
                    names.join(", ")
                },
                lan.name
            )
        })
        .collect()
}

fn is_link_local(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

fn describe(status: Status) -> message::VirtualRouter {
    let now = clock::now();
    let other = status.other_master(now).copied();
    let master = match (status.state, &status.setup.place) {
        (State::Master, Ok(place)) => Some((place.local, status.priority)),
        _ => other.map(|other| (other.address, other.priority)),
    };
    let warnings = status.warnings(now);
    let setup = status.setup;
    message::VirtualRouter {
        interface: setup.key.interface,
        id: setup.key.id,
        family: setup.key.family.as_str().to_owned(),
        virtual_mac: Mac::of_router(setup.key.family, setup.key.id).to_string(),
        addresses: setup.addresses,
        state: status.state.as_str().to_owned(),
        since_seconds: now.saturating_duration_since(status.since).as_secs(),
        why: status.why,
        priority: status.priority,
        configured_priority: setup.priority,
        advertisement_interval_ms: setup.interval.duration().as_millis() as u64,
        master_address: master.map(|(address, _)| address),
        master_priority: master.map(|(_, priority)| priority),
        warnings,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::InterfaceAddress;
    use crate::ids::IfIndex;
    use crossway_liveness::vrrp::Interval;

    fn router(addresses: &[&str]) -> VirtualRouter {
        let addresses: Vec<IpAddr> = addresses.iter().map(|it| it.parse().unwrap()).collect();
        VirtualRouter {
            interface: "lan0".to_owned(),
            id: 51,
            family: Family::of(addresses[0]),
            addresses,
            priority: 100,
            track_weight: None,
            advertisement_interval: Interval::LONGEST,
            preempt: true,
        }
    }

    fn lan() -> Interface {
        Interface {
            index: IfIndex(2),
            name: "lan0".to_owned(),
            mtu: 1500,
            kind: None,
            up: true,
            carrier: true,
            ethernet: true,
            open_queues: 0,
        }
    }

    fn device(router: &VirtualRouter) -> VirtualMac {
        VirtualMac {
            wanted: WantedVirtualMac {
                lan: "lan0".to_owned(),
                family: router.family,
                id: 51,
            },
            name: "vr4-51-2".to_owned(),
            index: IfIndex(9),
            lan_index: IfIndex(2),
        }
    }

    fn own(interface: u32, address: &str, length: u8, usable: bool) -> HostAddress {
        let address: IpAddr = address.parse().unwrap();
        HostAddress {
            interface: IfIndex(interface),
            address: InterfaceAddress { address, length },
            global: !is_link_local(&address),
            usable,
        }
    }

    #[test]
    fn advertisements_come_from_the_lans_first_usable_address_of_the_family() {
        let addresses = [
            own(3, "10.9.0.1", 24, true),
            own(2, "10.1.0.1", 24, true),
            own(2, "10.1.0.2", 24, true),
            own(2, "2001:db8:1::1", 64, true),
            own(2, "fe80::2", 64, false),
            own(2, "fe80::1", 64, true),
        ];
        for (virtual_address, local) in [("10.1.0.254", "10.1.0.1"), ("fe80::254", "fe80::1")] {
            let router = router(&[virtual_address]);
            let place = place(&router, &lan(), &device(&router), &addresses).unwrap();
            assert_eq!(place.local.to_string(), local);
            assert_eq!((place.lan, place.device), (IfIndex(2), IfIndex(9)));
        }
    }

    #[test]
    fn where_it_cannot_run_the_reason_is_told() {
        let router = router(&["10.1.0.254"]);
        let why = |lan: Interface, addresses: &[HostAddress]| {
            place(&router, &lan, &device(&router), addresses).unwrap_err()
        };
        let fine = [own(2, "10.1.0.1", 24, true)];
        let down = Interface { up: false, ..lan() };
        assert_eq!(why(down, &fine), "lan0 is down");
        let cut = Interface {
            carrier: false,
            ..lan()
        };
        assert_eq!(why(cut, &fine), "lan0 has no carrier");
        assert!(why(lan(), &[]).starts_with("lan0 has no IPv4 address"));
        let taken = own(2, "10.1.0.254", 24, true);
        assert!(why(lan(), &[fine[0], taken]).contains("an address of lan0 itself"));
    }

    #[test]
    fn a_virtual_address_outside_the_lans_networks_is_warned_of() {
        let addresses = [own(2, "10.1.0.1", 24, true), own(3, "10.9.0.1", 24, true)];
        let warnings = outside(&router(&["10.1.0.254", "10.9.0.254"]), &lan(), &addresses);
        let [warning] = &warnings[..] else {
            panic!("{warnings:?}");
        };
        let expected = "virtual address 10.9.0.254 lies outside the networks of lan0 (10.1.0.0/24)";
        assert!(warning.starts_with(expected), "{warning}");
        let warnings = outside(&router(&["fe80::254", "2001:db8::1"]), &lan(), &addresses);
        assert!(
            warnings[0].contains("it has no IPv6 address"),
            "{warnings:?}"
        );
        assert_eq!(warnings.len(), 1);
    }
}
