//! From a [`Builder`] to namespaces, cables and addresses.

use std::net::IpAddr;

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
            host: Netns::create(&format!("{prefix}-host-{name}"))?,
            gateway: Netns::create(&format!("{prefix}-gw-{name}"))?,
            wan: plan.wan,
        });
    }
    for site in &sites {
        join_lan(plan, site)?;
    }
    let router = match plan.wan {
        Wan::Direct => {
            join_direct(plan, &sites)?;
            None
        }
        Wan::Router => Some(join_router(plan, &sites)?),
    };
    Ok(Topology {
        sites,
        router,
        prefix: prefix.clone(),
        directory,
    })
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

fn join_router(plan: &Builder, sites: &[Site]) -> Result<Netns> {
    let router = Netns::create(&format!("{}-wan", plan.prefix))?;
    router.set_sysctl("net/ipv4/ip_forward", "1")?;
    router.set_sysctl("net/ipv6/conf/all/forwarding", "1")?;
    for site in sites {
        let port = format!("wan{}", site.number);
        let mtu = if site.number == 1 {
            plan.wan_mtu.max(1500)
        } else {
            plan.wan_mtu
        };
        cable(
            End::new(&site.gateway, "wan0", mtu),
            End::new(&router, &port, mtu),
        )?;
        for (family, length) in [(Family::V4, 30), (Family::V6, 64)] {
            let next_hop = router_address(site, family);
            add_address(&site.gateway, "wan0", site.wan_address(family), length)?;
            add_address(&router, &port, next_hop, length)?;
            site.gateway
                .ip(&format!("route add default via {next_hop}"))?;
        }
    }
    Ok(router)
}

/// The router's address on the cable to a site: the one after the gateway's.
pub(super) fn router_address(site: &Site, family: Family) -> IpAddr {
    match site.wan_address(family) {
        IpAddr::V4(address) => IpAddr::V4((address.to_bits() + 1).into()),
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() + 1).into()),
    }
}

/// One end of a cable.
struct End<'a> {
    netns: &'a Netns,
    interface: &'a str,
    mtu: u16,
}

impl<'a> End<'a> {
    fn new(netns: &'a Netns, interface: &'a str, mtu: u16) -> Self {
        Self {
            netns,
            interface,
            mtu,
        }
    }
}

/// A veth pair that behaves like a wire: no segment larger than the MTU crosses it (`tso off gso off`),
/// and what arrives is joined again as a NIC does (`gro on`).
fn cable(one: End<'_>, other: End<'_>) -> Result<()> {
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
        end.netns
            .run(&format!("ethtool -K {interface} tso off gso off gro on"))?;
        end.netns.ip(&format!("link set {interface} up"))?;
    }
    Ok(())
}

fn add_address(netns: &Netns, interface: &str, address: IpAddr, length: u8) -> Result<()> {
    let nodad = if address.is_ipv6() { "nodad" } else { "" };
    netns.ip(&format!(
        "address add {address}/{length} dev {interface} {nodad}"
    ))?;
    Ok(())
}
