//! Where a virtual router can run, and what is wrong with its addresses. Pure.

use std::net::IpAddr;

use crate::config::VirtualRouter;
use crate::host::addresses::HostAddress;
use crate::host::links::Interface;
use crate::host::virtual_mac::VirtualMac;
use crate::prefix::Prefix;
use crate::vrrp::status::{Key, Place, Setup};
use crossway_types::address::{Family, Mac};

/// What is to run for `router`, with `lan` and the device of its virtual MAC as they are; a warning for each
/// of its addresses that no host would find.
pub(super) fn of(
    router: &VirtualRouter,
    lan: Result<&Interface, String>,
    devices: &[VirtualMac],
    addresses: &[HostAddress],
) -> (Setup, Vec<String>) {
    let device = devices.iter().find(|device| serves(device, router));
    match (lan, device) {
        (Ok(lan), Some(device)) => {
            let place = place(router, lan, device, addresses);
            (setup(router, place), outside(router, lan, addresses))
        }
        (Err(error), _) => (setup(router, Err(error)), Vec::new()),
        (Ok(_), None) => {
            let why = "it has no device for its virtual MAC yet".to_owned();
            (setup(router, Err(why)), Vec::new())
        }
    }
}

fn serves(device: &VirtualMac, router: &VirtualRouter) -> bool {
    let wanted = &device.wanted;
    (wanted.lan.as_str(), wanted.family, wanted.id)
        == (router.interface.as_str(), router.family, router.id)
}

pub(super) fn key(router: &VirtualRouter) -> Key {
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
        mac: lan.address.map(Mac),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::InterfaceAddress;
    use crate::host::virtual_mac::WantedVirtualMac;
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
            group: 0,
            queue_length: 1000,
            address: None,
            vlan: None,
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
