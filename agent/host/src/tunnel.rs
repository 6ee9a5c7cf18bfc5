//! The TUN as an interface of the host: claimed before it is opened, given its MTU, addresses and
//! routes, and released at a clean stop. (`io::tun` opens it and moves its packets.)

use std::net::IpAddr;

use rtnetlink::Handle;

use super::error::HostError;
use super::kernel_routes::{self, KernelRoute};
use super::links::{self, Interface};
use super::site_routes::{self, Ours, SiteRoute, Way};
use super::state::{StateFile, TunBefore, TunState};
use super::{Report, Routes, addresses};
use crossway_types::ids::IfIndex;
use crossway_types::interface::InterfaceAddress;
use crossway_types::prefix::Prefix;

/// Remembers how things were before the TUN called `name` is opened: whether it is ours to delete.
pub(super) async fn claim(
    handle: &Handle,
    routes: &Routes,
    file: &mut StateFile,
    name: &str,
) -> Result<(), HostError> {
    if file.state.tun.as_ref().is_some_and(|tun| tun.name != name) {
        release(handle, routes, file).await?;
    }
    let claimed = file.state.tun.take();
    let there = links::find(handle, name).await?;
    let addresses = match (&claimed, &there) {
        (Some(claimed), Some(_)) => claimed.addresses.clone(),
        _ => Vec::new(),
    };
    let before = match there {
        None => None,
        Some(tun) if tun.kind.as_deref() != Some("tun") => {
            return Err(HostError::NotATun {
                name: tun.name,
                kind: tun.kind.unwrap_or_else(|| "hardware".to_owned()),
            });
        }
        Some(tun) => match claimed {
            Some(claimed) => claimed.before,
            // The state file is lost, but only an agent makes such routes.
            None if has_our_routes(routes, file, &tun).await? => None,
            None => Some(TunBefore {
                mtu: tun.mtu,
                up: tun.up,
            }),
        },
    };
    file.state.tun = Some(TunState {
        name: name.to_owned(),
        before,
        addresses,
    });
    file.save()
}

/// Sets the largest packet; before anything else, because below 1280 the kernel takes IPv6 away.
pub(super) async fn set_mtu(
    handle: &Handle,
    tun: &Interface,
    mtu: u16,
    report: &mut Report,
) -> Result<(), HostError> {
    if tun.mtu != u32::from(mtu) {
        links::set_mtu(handle, tun, mtu.into()).await?;
        report.changed(format!("{}: MTU {} -> {mtu}", tun.name, tun.mtu));
    }
    Ok(())
}

/// Brings it up and gives it `wanted`; what we put there earlier and is wanted no more is returned,
/// to be taken away when no route needs it any longer.
pub(super) async fn add_addresses(
    handle: &Handle,
    file: &mut StateFile,
    tun: &Interface,
    wanted: &[InterfaceAddress],
    report: &mut Report,
) -> Result<Vec<InterfaceAddress>, HostError> {
    if !tun.up {
        links::set_up(handle, tun, true).await?;
        report.changed(format!("{}: up", tun.name));
    }
    let all = addresses::list(handle).await?;
    let there: Vec<_> = all
        .iter()
        .filter(|address| address.interface == tun.index)
        .collect();
    let (mut ours, created) = match &file.state.tun {
        Some(state) => (state.addresses.clone(), state.before.is_none()),
        None => (Vec::new(), false),
    };
    let mut leftover: Vec<_> = ours
        .iter()
        .map(|(address, length)| InterfaceAddress {
            address: *address,
            length: *length,
        })
        .filter(|address| !wanted.contains(address))
        .collect();
    let missing: Vec<_> = wanted
        .iter()
        .filter(|wanted| there.iter().all(|address| address.address != **wanted))
        .collect();
    for address in &missing {
        let entry = (address.address, address.length);
        if !ours.contains(&entry) {
            ours.push(entry);
        }
    }
    remember_addresses(file, ours)?;
    for address in missing {
        addresses::add(handle, tun.index, *address).await?;
        let InterfaceAddress { address, length } = address;
        report.changed(format!("{}: address {address}/{length}", tun.name));
    }
    if created {
        // Made by the kernel if whoever opened the TUN brought it up before the sysctls were set.
        let link_local = there.iter().filter(|address| is_link_local(address));
        leftover.extend(link_local.map(|address| address.address));
    }
    Ok(leftover)
}

/// Takes away what [`add_addresses`] returned.
pub(super) async fn remove_addresses(
    handle: &Handle,
    file: &mut StateFile,
    tun: &Interface,
    leftover: Vec<InterfaceAddress>,
    report: &mut Report,
) -> Result<(), HostError> {
    if leftover.is_empty() {
        return Ok(());
    }
    for address in &leftover {
        addresses::remove(handle, tun.index, *address).await?;
        let InterfaceAddress { address, length } = address;
        report.changed(format!("{}: no address {address}/{length}", tun.name));
    }
    let ours = file.state.tun.iter().flat_map(|state| &state.addresses);
    let kept = ours
        .filter(|(address, length)| {
            let address = InterfaceAddress {
                address: *address,
                length: *length,
            };
            !leftover.contains(&address)
        })
        .copied()
        .collect();
    remember_addresses(file, kept)
}

/// Brings the sites' routes to `wanted`: additions and replacements first, so that no destination
/// is without its route for a moment. Returns the routes that are not ours, as they were before.
pub(super) async fn set_routes(
    routes: &Routes,
    file: &mut StateFile,
    tun: &Interface,
    wanted: Vec<SiteRoute>,
    report: &mut Report,
) -> Result<Vec<KernelRoute>, HostError> {
    let index = tun.index;
    let discarded: Vec<Prefix> = wanted
        .iter()
        .filter(|route| route.way != Way::Tunnel)
        .map(|route| route.prefix)
        .collect();
    let ours = ours(file, index);
    // Written before the change, so that a killed agent leaves none that nobody knows.
    let either = ours.discarded.iter().chain(&discarded);
    remember_discarded(file, either.copied().collect())?;
    let (counts, others) = routes
        .blocking(move |socket| -> Result<_, HostError> {
            let there = kernel_routes::list(socket, Some(&ours))?;
            let difference = site_routes::difference(wanted, there.own);
            let counts = [
                ("added", difference.add.len()),
                ("replaced", difference.replace.len()),
                ("removed", difference.remove.len()),
            ];
            site_routes::settle(socket, index, &difference)?;
            Ok((counts, there.others))
        })
        .await?;
    remember_discarded(file, discarded)?;
    for (word, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
        report.changed(format!("{}: {count} routes {word}", tun.name));
    }
    Ok(others)
}

/// Deletes the TUN if it is ours; else takes away what we put on it.
pub(super) async fn release(
    handle: &Handle,
    routes: &Routes,
    file: &mut StateFile,
) -> Result<(), HostError> {
    let Some(state) = file.state.tun.clone() else {
        return Ok(());
    };
    remove_discarded(routes, file).await?;
    let Some(tun) = links::find(handle, &state.name).await? else {
        return Ok(());
    };
    let Some(before) = state.before else {
        return links::delete(handle, &tun).await;
    };
    set_routes(routes, file, &tun, Vec::new(), &mut Report::default()).await?;
    for (address, length) in &state.addresses {
        let address = InterfaceAddress {
            address: *address,
            length: *length,
        };
        addresses::remove(handle, tun.index, address).await?;
    }
    if tun.up != before.up {
        links::set_up(handle, &tun, before.up).await?;
    }
    if tun.mtu != before.mtu {
        links::set_mtu(handle, &tun, before.mtu).await?;
    }
    Ok(())
}

/// Ends what is routed into the TUN. One that we made goes down, and all routes with it at once, however many; of
/// one that was there before only our routes go.
pub(super) async fn close(
    handle: &Handle,
    routes: &Routes,
    file: &mut StateFile,
) -> Result<(), HostError> {
    let Some(state) = file.state.tun.clone() else {
        return Ok(());
    };
    let Some(tun) = links::find(handle, &state.name).await? else {
        return Ok(());
    };
    if state.before.is_none() {
        return links::set_up(handle, &tun, false).await;
    }
    set_routes(routes, file, &tun, Vec::new(), &mut Report::default()).await?;
    Ok(())
}

/// Takes away the routes that lead nowhere: unlike the others they do not go with the TUN.
async fn remove_discarded(routes: &Routes, file: &mut StateFile) -> Result<(), HostError> {
    if file.state.discarded.is_empty() {
        return Ok(());
    }
    // No interface has this index: only routes without one are looked for.
    let nowhere = IfIndex(0);
    let ours = ours(file, nowhere);
    routes
        .blocking(move |socket| -> Result<_, HostError> {
            let there = kernel_routes::list(socket, Some(&ours))?;
            let difference = site_routes::difference(Vec::new(), there.own);
            site_routes::settle(socket, nowhere, &difference)
        })
        .await?;
    remember_discarded(file, Vec::new())
}

/// What tells our routes from others.
pub(super) fn ours(file: &StateFile, tun: IfIndex) -> Ours {
    let discarded = file.state.discarded.iter();
    Ours {
        tun,
        discarded: discarded
            .map(|(address, length)| Prefix::containing(*address, *length))
            .collect(),
    }
}

fn remember_discarded(file: &mut StateFile, mut prefixes: Vec<Prefix>) -> Result<(), HostError> {
    prefixes.sort_unstable();
    prefixes.dedup();
    let prefixes = prefixes.iter();
    let discarded: Vec<_> = prefixes
        .map(|prefix| (prefix.address(), prefix.length()))
        .collect();
    if file.state.discarded == discarded {
        return Ok(());
    }
    file.state.discarded = discarded;
    file.save()
}

async fn has_our_routes(
    routes: &Routes,
    file: &StateFile,
    tun: &Interface,
) -> Result<bool, HostError> {
    let ours = ours(file, tun.index);
    let there = routes.blocking(move |socket| kernel_routes::list(socket, Some(&ours)));
    Ok(!there.await?.own.is_empty())
}

fn remember_addresses(file: &mut StateFile, ours: Vec<(IpAddr, u8)>) -> Result<(), HostError> {
    match &mut file.state.tun {
        Some(state) if state.addresses != ours => {
            state.addresses = ours;
            file.save()
        }
        _ => Ok(()),
    }
}

fn is_link_local(address: &addresses::HostAddress) -> bool {
    match address.address.address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}
