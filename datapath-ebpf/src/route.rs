//! Longest-prefix match: which site an address belongs to.

use aya_ebpf::btf_maps::lpm_trie::Key;
use datapath_abi::{
    address::{self, Address},
    headers::Family,
    maps::MAX_SITES,
    outcome::StackReason,
    route::{RouteKey4, RouteKey6, SITE_KERNEL, VNET_BITS},
    site::{Site, SiteState},
};

use crate::{fault::Fault, maps, verdict::Verdict};

/// What [`look_up`] returns for an address that no prefix covers. Not an `Option`: the compiler would
/// carry an undefined value for `None`, which the verifier does not let a program even copy.
const NO_SITE: u32 = SITE_KERNEL - 1;
const _: () = assert!(NO_SITE as usize > MAX_SITES);

/// Where the longest matching prefix leads: the id of a site, [`SITE_KERNEL`] or [`NO_SITE`].
#[inline(always)]
pub(crate) fn look_up(vnet: u32, family: Family, address: &Address) -> u32 {
    let vnet = vnet.to_be_bytes();
    let route = match family {
        Family::V4 => {
            let address = address[3].to_ne_bytes();
            maps::route4(&Key::new(VNET_BITS + 32, RouteKey4 { vnet, address }))
        }
        Family::V6 => {
            let address = address::to_bytes(*address);
            maps::route6(&Key::new(VNET_BITS + 128, RouteKey6 { vnet, address }))
        }
    };
    match route {
        Some(route) => route.site,
        None => NO_SITE,
    }
}

/// Whether that is a site, up or not: its traffic is counted.
#[inline(always)]
pub(crate) fn is_site(target: u32) -> bool {
    target < MAX_SITES as u32
}

/// Whether a prefix covers it, a site's or the kernel's.
#[inline(always)]
pub(crate) fn is_covered(target: u32) -> bool {
    target != NO_SITE
}

/// The site there, if packets may be sent to it, or why it is not for the fast path.
#[inline(always)]
pub(crate) fn site_at(target: u32) -> Verdict<&'static Site> {
    match target {
        NO_SITE => return Err(StackReason::NoRoute.into()),
        SITE_KERNEL => return Err(StackReason::KernelRoute.into()),
        _ => {}
    }
    match maps::site(target) {
        Some(site) if site.state == SiteState::Up as u32 => Ok(site),
        Some(site) if site.state != SiteState::Absent as u32 => Err(StackReason::SiteDown.into()),
        _ => Err(Fault::no_site(target).into()),
    }
}
