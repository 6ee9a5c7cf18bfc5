//! From a [`Builder`] to namespaces, cables and addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;

use super::{Builder, Directory, Family, Site, Topology, Wan};
use crate::netns::Netns;

pub(super) fn build(plan: &Builder) -> Result<Topology> {
    let prefix = &plan.prefix;
    // First, so that each part built so far is removed when a later one fails.
    let directory = Directory::create(prefix)?;
    let mut sites = Vec::with_capacity(plan.sites.len());
    for (name, number) in plan.sites.iter().zip(1_u8..) {
        sites.push(Site {
            name: name.clone(),
            number,
            lan: lan_of(plan, name, number),
            host: Netns::create(&format!("{prefix}-host-{name}"))?,
            gateway: Netns::create(&format!("{prefix}-gw-{name}"))?,
            wan: plan.wan,
        });
    }
    for site in &sites {
        join_lan(plan, site)?;
    }
    let (mut router, mut far_router) = (None, None);
    match (plan.wan, plan.middle_mtu) {
        (Wan::Direct, _) => join_direct(plan, &sites)?,
        (Wan::Router, None) => {
            let only = router.insert(create_router(plan, "wan")?);
            join_router(plan, &sites, only)?;
        }
        (Wan::Router, Some(mtu)) => {
            let near = router.insert(create_router(plan, "wan")?);
            let far = far_router.insert(create_router(plan, "wan-far")?);
            join_router(plan, &sites[..1], near)?;
            join_router(plan, &sites[1..], far)?;
            join_middle(near, far, mtu)?;
        }
    }
    Ok(Topology {
        sites,
        router,
        far_router,
        prefix: prefix.clone(),
        directory,
    })
}

/// The first of the sites that are alike has given its number to all of them.
fn lan_of(plan: &Builder, name: &str, number: u8) -> u8 {
    if !plan.alike.iter().any(|alike| alike == name) {
        return number;
    }
    let mut sites = plan.sites.iter().zip(1_u8..);
    let first = sites.find(|(site, _)| plan.alike.first() == Some(site));
    first.map_or(number, |(_, first)| first)
}

fn join_lan(plan: &Builder, site: &Site) -> Result<()> {
    cable(
        End::new(&site.gateway, "lan0", plan.lan_mtu),
        End::new(&site.host, "eth0", plan.lan_mtu),
    )?;
    if plan.host_checksums {
        site.host.run("ethtool -K eth0 tx off")?;
    }
    for (family, length) in [(Family::V4, 24), (Family::V6, 64)] {
        let gateway = site.gateway_address(family);
        add_address(&site.gateway, "lan0", gateway, length)?;
        add_address(&site.host, "eth0", site.host_address(family), length)?;
        site.host.ip(&format!("route add default via {gateway}"))?;
    }
    Ok(())
}

fn join_direct(plan: &Builder, sites: &[Site]) -> Result<()> {
    let [a, b] = sites else {
        unreachable!("checked by Builder::build");
    };
    cable(
        End::new(&a.gateway, "wan0", plan.wan_mtu),
        End::new(&b.gateway, "wan0", plan.wan_mtu),
    )?;
    for site in sites {
        for (family, length) in [(Family::V4, 24), (Family::V6, 64)] {
            add_address(&site.gateway, "wan0", site.wan_address(family), length)?;
        }
    }
    Ok(())
}

fn create_router(plan: &Builder, name: &str) -> Result<Netns> {
    let router = Netns::create(&format!("{}-{name}", plan.prefix))?;
    router.set_sysctl("net/ipv4/ip_forward", "1")?;
    router.set_sysctl("net/ipv6/conf/all/forwarding", "1")?;
    Ok(router)
}

fn join_router(plan: &Builder, sites: &[Site], router: &Netns) -> Result<()> {
    for site in sites {
        let port = format!("wan{}", site.number);
        let mtu = if site.number == 1 {
            plan.wan_mtu.max(1500)
        } else {
            plan.wan_mtu
        };
        cable(
            End::new(&site.gateway, "wan0", mtu),
            End::new(router, &port, mtu),
        )?;
        for (family, length) in [(Family::V4, 30), (Family::V6, 64)] {
            let next_hop = router_address(site, family);
            add_address(&site.gateway, "wan0", site.wan_address(family), length)?;
            add_address(router, &port, next_hop, length)?;
            site.gateway
                .ip(&format!("route add default via {next_hop}"))?;
        }
    }
    Ok(())
}

fn join_middle(near: &Netns, far: &Netns, mtu: u16) -> Result<()> {
    cable(End::new(near, "middle", mtu), End::new(far, "middle", mtu))?;
    for (family, length) in [(Family::V4, 30), (Family::V6, 64)] {
        let addresses: [IpAddr; 2] = [1, 2].map(|last| match family {
            Family::V4 => Ipv4Addr::new(198, 51, 100, last as u8).into(),
            Family::V6 => Ipv6Addr::new(0xfd00, 0x100, 0, 0, 0, 0, 0, last).into(),
        });
        let [near_address, far_address] = addresses;
        add_address(near, "middle", near_address, length)?;
        add_address(far, "middle", far_address, length)?;
        near.ip(&format!("route add default via {far_address}"))?;
        far.ip(&format!("route add default via {near_address}"))?;
    }
    Ok(())
}

/// The router's address on the cable to a site: the one after the gateway's.
pub(super) fn router_address(site: &Site, family: Family) -> IpAddr {
    address_after(site.wan_address(family))
}

/// The next address: on every cable, the far end's.
pub(crate) fn address_after(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => IpAddr::V4((address.to_bits() + 1).into()),
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() + 1).into()),
    }
}

/// One end of a cable.
pub(super) struct End<'a> {
    netns: &'a Netns,
    interface: &'a str,
    mtu: u16,
}

impl<'a> End<'a> {
    pub(super) fn new(netns: &'a Netns, interface: &'a str, mtu: u16) -> Self {
        Self {
            netns,
            interface,
            mtu,
        }
    }
}

/// A veth pair that behaves like a wire: nothing larger than the MTU crosses it, neither TCP segments
/// (`tso off gso off`) nor datagrams (`tx-udp-segmentation off`: a tunnel's, for example, sent with
/// UDP_SEGMENT), and what arrives is joined again as a NIC does (`gro on`).
pub(super) fn cable(one: End<'_>, other: End<'_>) -> Result<()> {
    one.netns.ip(&format!(
        "link add {} mtu {} type veth peer name {} mtu {} netns {}",
        one.interface,
        one.mtu,
        other.interface,
        other.mtu,
        other.netns.name()
    ))?;
    for end in [one, other] {
        let interface = end.interface;
        end.netns.run(&format!(
            "ethtool -K {interface} tso off gso off tx-udp-segmentation off gro on"
        ))?;
        end.netns.ip(&format!("link set {interface} up"))?;
    }
    Ok(())
}

pub(super) fn add_address(
    netns: &Netns,
    interface: &str,
    address: IpAddr,
    length: u8,
) -> Result<()> {
    let nodad = if address.is_ipv6() { "nodad" } else { "" };
    netns.ip(&format!(
        "address add {address}/{length} dev {interface} {nodad}"
    ))?;
    Ok(())
}

/// A cable between two namespaces, by the interfaces at its ends.
pub(crate) struct Wire<'a> {
    ends: [(&'a Netns, &'a str); 2],
    mtu: u16,
}

impl<'a> Wire<'a> {
    pub(crate) fn new(one: (&'a Netns, &'a str), other: (&'a Netns, &'a str), mtu: u16) -> Self {
        Self {
            ends: [one, other],
            mtu,
        }
    }
}

/// Lays it, with an address at each end.
pub(crate) fn add_wire(wire: &Wire<'_>, addresses: [IpAddr; 2], length: u8) -> Result<()> {
    let [one, other] = wire.ends;
    let end = |(netns, interface)| End::new(netns, interface, wire.mtu);
    cable(end(one), end(other))?;
    for ((netns, interface), address) in wire.ends.into_iter().zip(addresses) {
        add_address(netns, interface, address, length)?;
    }
    Ok(())
}
