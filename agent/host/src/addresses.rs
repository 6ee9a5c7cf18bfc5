//! Addresses: those of the host, those put on the TUN and on virtual MACs, and the one that answers for a site route.

use std::net::IpAddr;

use futures::TryStreamExt;
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope,
};
use rtnetlink::{AddressMessageBuilder, Handle};

use super::error::HostError;
use crossway_types::ids::IfIndex;
use crossway_types::interface::InterfaceAddress;

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostAddress {
    /// Interface that has it.
    pub interface: IfIndex,
    /// The address and its prefix length.
    pub address: InterfaceAddress,
    /// Valid beyond the link (scope universe or site).
    pub global: bool,
    /// Neither being checked for duplicates (RFC 4862, 5.4) nor found to be one, nor deprecated.
    pub usable: bool,
}

/// All addresses of the host, in the kernel's order: primary addresses come first.
pub async fn list(handle: &Handle) -> Result<Vec<HostAddress>, HostError> {
    handle
        .address()
        .get()
        .execute()
        .try_filter_map(async |message| Ok(parse(&message)))
        .try_collect()
        .await
        .map_err(|error| HostError::netlink("to list addresses", error))
}

/// Puts `address` on an interface; one that is there already is fine.
pub async fn add(
    handle: &Handle,
    interface: IfIndex,
    address: InterfaceAddress,
) -> Result<(), HostError> {
    let mut request = handle
        .address()
        .add(interface.0, address.address, address.length);
    if address.address.is_ipv6() {
        // Nobody else is on a TUN, and a tentative address cannot be a route's source; on a virtual
        // MAC it would be a second in which nobody answers.
        request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
    }
    let what = format!("to add the address {}", Shown(address));
    match request
        .execute()
        .await
        .map_err(|error| HostError::netlink(what, error))
    {
        Err(error) if error.errno() == Some(libc::EEXIST) => Ok(()),
        other => other,
    }
}

/// Takes `address` from an interface; one that is gone already is fine.
pub async fn remove(
    handle: &Handle,
    interface: IfIndex,
    address: InterfaceAddress,
) -> Result<(), HostError> {
    let message = match address.address {
        IpAddr::V4(v4) => AddressMessageBuilder::<std::net::Ipv4Addr>::new()
            .index(interface.0)
            .address(v4, address.length)
            .build(),
        IpAddr::V6(v6) => AddressMessageBuilder::<std::net::Ipv6Addr>::new()
            .index(interface.0)
            .address(v6, address.length)
            .build(),
    };
    let what = format!("to remove the address {}", Shown(address));
    match handle
        .address()
        .del(message)
        .execute()
        .await
        .map_err(|error| HostError::netlink(what, error))
    {
        Err(error) if matches!(error.errno(), Some(libc::EADDRNOTAVAIL | libc::ENODEV)) => Ok(()),
        other => other,
    }
}

/// The source of this gateway's own packets into a site: the first tunnel address of the family,
/// else the first usable global LAN address of it. ICMP errors to the sites come from there, so it
/// should be an address that the far side routes back.
pub fn preferred_source(
    ipv4: bool,
    tunnel: &[InterfaceAddress],
    lan: impl IntoIterator<Item = HostAddress>,
) -> Option<IpAddr> {
    let of_tunnel = tunnel.iter().map(|address| address.address);
    let of_lan = lan
        .into_iter()
        .filter(|address| address.global && address.usable)
        .map(|address| address.address.address);
    of_tunnel
        .chain(of_lan)
        .find(|address| address.is_ipv4() == ipv4)
}

fn parse(message: &AddressMessage) -> Option<HostAddress> {
    let mut address = None;
    let mut local = None;
    let mut flags = AddressFlags::from_bits_retain(message.header.flags.bits().into());
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Address(found) => address = Some(*found),
            AddressAttribute::Local(found) => local = Some(*found),
            AddressAttribute::Flags(found) => flags = *found,
            _ => {}
        }
    }
    let unusable = AddressFlags::Tentative | AddressFlags::Dadfailed | AddressFlags::Deprecated;
    Some(HostAddress {
        interface: IfIndex(message.header.index),
        address: InterfaceAddress {
            // On a point-to-point interface IFA_ADDRESS is the other end's.
            address: local.or(address)?,
            length: message.header.prefix_len,
        },
        global: matches!(
            message.header.scope,
            AddressScope::Universe | AddressScope::Site
        ),
        usable: !flags.intersects(unusable),
    })
}

struct Shown(InterfaceAddress);

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.0.address, self.0.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_lan(text: &str, usable: bool) -> HostAddress {
        let global = !text.starts_with("fe80");
        HostAddress {
            interface: IfIndex(2),
            address: address(text),
            global,
            usable,
        }
    }

    fn address(text: &str) -> InterfaceAddress {
        InterfaceAddress {
            address: text.parse().unwrap(),
            length: 24,
        }
    }

    #[test]
    fn a_tunnel_address_of_the_family_is_the_preferred_source() {
        let tunnel = [address("2001:db8:ff::1"), address("10.255.0.1")];
        let lan = [on_lan("10.1.0.1", true)];
        let source = preferred_source(true, &tunnel, lan);
        assert_eq!(source, Some("10.255.0.1".parse().unwrap()));
    }

    #[test]
    fn without_one_the_first_usable_global_lan_address_is() {
        let lan = [
            on_lan("10.1.0.1", true),
            on_lan("fe80::1", true),
            on_lan("2001:db8:1::1", false),
            on_lan("2001:db8:1::2", true),
        ];
        let tunnel = [address("10.255.0.1")];
        let source = preferred_source(false, &tunnel, lan);
        assert_eq!(source, Some("2001:db8:1::2".parse().unwrap()));
        assert_eq!(preferred_source(true, &[], [lan[1]]), None);
    }
}
