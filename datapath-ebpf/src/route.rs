//! Longest-prefix match: which site an address belongs to.

use aya_ebpf::btf_maps::lpm_trie::Key;
use datapath_abi::{
    outcome::StackReason,
    route::{Route, RouteKey4, RouteKey6, SITE_KERNEL, VNET_BITS},
    site::{Site, SiteState},
};

use crate::{headers::Family, maps};

/// The route to an address (IPv4 ones mapped, as in the flow table).
#[inline(always)]
pub(crate) fn look_up(vnet: u32, family: Family, address: &[u8; 16]) -> Option<Route> {
    let vnet = vnet.to_be_bytes();
    match family {
        Family::V4 => {
            let [.., a, b, c, d] = *address;
            let address = [a, b, c, d];
            maps::route4(&Key::new(VNET_BITS + 32, RouteKey4 { vnet, address }))
        }
        Family::V6 => {
            let address = *address;
            maps::route6(&Key::new(VNET_BITS + 128, RouteKey6 { vnet, address }))
        }
    }
}

/// The id of the site to which an address belongs, for accounting: whether it is up does not matter.
#[inline(always)]
pub(crate) fn site_of(vnet: u32, family: Family, address: &[u8; 16]) -> Option<u32> {
    look_up(vnet, family, address)
        .map(|route| route.site)
        .filter(|site| *site != SITE_KERNEL)
}

/// The site that a packet may be sent to, or why it is not for the fast path.
#[inline(always)]
pub(crate) fn site_for(
    vnet: u32,
    family: Family,
    destination: &[u8; 16],
) -> Result<(u32, Site), StackReason> {
    let route = look_up(vnet, family, destination).ok_or(StackReason::NoRoute)?;
    if route.site == SITE_KERNEL {
        return Err(StackReason::KernelRoute);
    }
    match maps::site(route.site) {
        Some(site) if site.state == SiteState::Up as u32 => Ok((route.site, site)),
        _ => Err(StackReason::SiteDown),
    }
}
