//! Configuration files as values of the agent's own types, and the parts that the tests want of them.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result};

pub use crossway_config::*;
pub use crossway_liveness::bfd::Pace;
use crossway_liveness::vrrp::Interval;
use crossway_types::address::Family;
use crossway_types::keys::parse_public_key;
use crossway_types::mapping::Mapping;
use crossway_types::prefix::Prefix;

/// A public key in its base64 form.
pub fn public_key(text: &str) -> Result<[u8; 32]> {
    parse_public_key(text).with_context(|| format!("{text} is no public key"))
}

/// Routes of a site.
pub fn prefixes<T: AsRef<str>>(texts: &[T]) -> Result<Vec<Prefix>> {
    let texts = texts.iter().map(AsRef::as_ref);
    let parsed = texts.map(|text| text.parse().with_context(|| format!("{text} is no route")));
    parsed.collect()
}

/// A prefix, and what it is shown as.
pub fn mapping(real: &str, shown: &str) -> Result<Mapping> {
    let prefixes = prefixes(&[real, shown])?;
    Mapping::new(prefixes[0], prefixes[1]).with_context(|| format!("{real} is not like {shown}"))
}

/// Shows those of a site's routes that are mapped as the others.
pub fn show(site: &mut Site, maps: &[Mapping]) {
    for route in &mut site.routes {
        let map = maps.iter().find(|map| map.real() == *route);
        *route = map.map_or(*route, Mapping::shown);
    }
    site.maps.extend_from_slice(maps);
}

/// An address of the tunnel, such as `10.255.0.1/32`.
pub fn tunnel_address(text: &str) -> Result<InterfaceAddress> {
    let (address, length) = text.split_once('/').context("no prefix length")?;
    Ok(InterfaceAddress {
        address: address.parse()?,
        length: length.parse()?,
    })
}

/// A link that is watched at this pace.
pub fn watched_each(interval_ms: u32, multiplier: u32) -> Liveness {
    Liveness {
        pace: Pace {
            interval: Duration::from_millis(interval_ms.into()),
            multiplier: multiplier as u8,
        },
        ..Liveness::default()
    }
}

/// A virtual router on `lan0`, for each family of its addresses, IPv4 first.
pub fn virtual_routers(
    id: u8,
    priority: u8,
    interval: Duration,
    addresses: &[IpAddr],
) -> Vec<VirtualRouter> {
    let centiseconds = (interval.as_millis() / 10) as u16;
    let interval = Interval::from_centiseconds(centiseconds).expect("an interval of VRRP");
    let families = [Family::Ipv4, Family::Ipv6].map(|family| {
        let of_family = addresses
            .iter()
            .filter(|address| Family::of(**address) == family);
        of_family.copied().collect::<Vec<IpAddr>>()
    });
    let families = families
        .into_iter()
        .filter(|addresses| !addresses.is_empty());
    families
        .map(|addresses| VirtualRouter {
            advertisement_interval: interval,
            ..VirtualRouter::new("lan0", id, priority, addresses)
        })
        .collect()
}
