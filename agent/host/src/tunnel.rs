//! The TUN as an interface of the host: claimed before it is opened, given its MTU, addresses and
//! routes, and released at a clean stop. (`io::tun` opens it and moves its packets.)

use std::io;
use std::net::IpAddr;

use rtnetlink::Handle;

use super::error::HostError;
use super::kernel_routes::{self, KernelRoute};
use super::links::{self, Interface};
use super::site_routes::{self, Difference, Ours, SiteRoute, Way};
use super::state::{StateFile, TunBefore, TunState};
use super::{Report, Routes, addresses, turn_back};
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
        release(handle, routes, file, false).await?;
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
                group: tun.group,
            }),
        },
    };
    file.state.tun = Some(TunState {
        name: name.to_owned(),
        before,
        addresses,
    });
    file.save();
    Ok(())
}

/// What the kernel gives a TUN (`TUN_READQ_SIZE` in drivers/net/tun.c).
const QUEUE_LENGTH: u32 = 500;

/// Gives the TUN room for packets again, if somebody has taken all of it: it would drop each.
pub(super) async fn set_queue_length(
    handle: &Handle,
    tun: &Interface,
    report: &mut Report,
) -> Result<(), HostError> {
    if tun.queue_length == 0 {
        links::set_queue_length(handle, tun, QUEUE_LENGTH).await?;
        report.changed(format!("{}: queue length 0 -> {QUEUE_LENGTH}", tun.name));
    }
    Ok(())
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
    remember_addresses(file, ours);
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
    remember_addresses(file, kept);
    Ok(())
}

/// Routes that the sites need.
#[derive(Debug, Default)]
pub(super) struct SiteRoutes {
    /// One for each prefix.
    pub(super) routes: Vec<SiteRoute>,
    /// The prefixes that are unreachable where no other route is for them: see [`site_routes::backstop_metric`].
    pub(super) backstops: Vec<Prefix>,
}

/// Brings the sites' routes to `wanted`: additions and replacements first, so that no destination
/// is without its route for a moment. Returns the routes that are not ours, as they were before, also where the
/// kernel has refused one of ours.
pub(super) async fn set_routes(
    routes: &Routes,
    file: &mut StateFile,
    tun: &Interface,
    wanted: SiteRoutes,
    report: &mut Report,
) -> Result<Vec<KernelRoute>, HostError> {
    let index = tun.index;
    let SiteRoutes {
        routes: wanted,
        backstops,
    } = wanted;
    let discarded: Vec<Prefix> = wanted
        .iter()
        .filter(|route| route.way != Way::Tunnel)
        .map(|route| route.prefix)
        .collect();
    let ours = ours(file, index);
    // Written before the change, so that a killed agent leaves none that nobody knows.
    let either = ours.discarded.iter().chain(&discarded);
    remember_discarded(file, either.copied().collect());
    let (counts, settled, others) = routes
        .blocking(move |socket| -> Result<_, HostError> {
            let there = kernel_routes::list(socket, Some(&ours))?;
            let difference = Difference {
                backstop: ours.backstop,
                ..site_routes::difference(wanted, there.own, backstops, there.backstops)
            };
            let counts = [
                ("added", difference.add.len()),
                ("replaced", difference.replace.len()),
                ("removed", difference.remove.len()),
            ];
            let settled = site_routes::settle(socket, index, &difference);
            Ok((counts, settled, there.others))
        })
        .await?;
    match settled {
        Ok(()) => {
            remember_discarded(file, discarded);
            for (word, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
                report.changed(format!("{}: {count} routes {word}", tun.name));
            }
        }
        Err(error) => report.note(Err(error)),
    }
    Ok(others)
}

/// Deletes the TUN if it is ours; else takes away what we put on it. `closed`: [`close`] has taken the routes away.
pub(super) async fn release(
    handle: &Handle,
    routes: &Routes,
    file: &mut StateFile,
    closed: bool,
) -> Result<(), HostError> {
    let Some(state) = file.state.tun.clone() else {
        return Ok(());
    };
    if !closed {
        remove_discarded(routes, file).await?;
    }
    let Some(tun) = links::find(handle, &state.name).await? else {
        return Ok(());
    };
    let mut report = Report::default();
    let none = turn_back::Turns::default();
    turn_back::reconcile(handle, routes, &tun, none, &mut report).await;
    if let Some(warning) = report.warnings.pop() {
        tracing::warn!("{warning}");
    }
    let Some(before) = state.before else {
        return links::delete(handle, &tun).await;
    };
    if tun.group != before.group {
        links::set_group(handle, &tun, before.group).await?;
    }
    if !closed {
        remove_routes(routes, file, &tun).await?;
    }
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
/// one that was there before only our routes go. Says whether all of them have gone.
pub(super) async fn close(
    handle: &Handle,
    routes: &Routes,
    file: &mut StateFile,
) -> Result<bool, HostError> {
    let Some(state) = file.state.tun.clone() else {
        return Ok(false);
    };
    let Some(tun) = links::find(handle, &state.name).await? else {
        return Ok(false);
    };
    if state.before.is_some() {
        // Those that lead nowhere are among them.
        remove_routes(routes, file, &tun).await?;
        return Ok(true);
    }
    // First: a route that makes a prefix unreachable would swallow packets that no counter of the kernel's has.
    let discarded = remove_discarded(routes, file).await;
    links::set_up(handle, &tun, false).await?;
    discarded?;
    Ok(true)
}

/// Takes away all our routes.
async fn remove_routes(
    routes: &Routes,
    file: &mut StateFile,
    tun: &Interface,
) -> Result<(), HostError> {
    let mut report = Report::default();
    set_routes(routes, file, tun, SiteRoutes::default(), &mut report).await?;
    match report.failures.pop() {
        Some(why) => Err(HostError::Netlink {
            what: "to remove routes".to_owned(),
            error: io::Error::other(why),
        }),
        None => Ok(()),
    }
}

/// Takes away the routes that lead nowhere: unlike the others they do not go with the TUN.
async fn remove_discarded(routes: &Routes, file: &mut StateFile) -> Result<(), HostError> {
    // No interface has this index: only routes without one are looked for.
    let nowhere = IfIndex(0);
    let ours = ours(file, nowhere);
    routes
        .blocking(move |socket| -> Result<_, HostError> {
            let there = kernel_routes::list(socket, Some(&ours))?;
            let difference = Difference {
                backstop: ours.backstop,
                ..site_routes::difference(Vec::new(), there.own, Vec::new(), there.backstops)
            };
            site_routes::settle(socket, nowhere, &difference)
        })
        .await?;
    remember_discarded(file, Vec::new());
    Ok(())
}

/// What tells our routes from others.
pub(super) fn ours(file: &StateFile, tun: IfIndex) -> Ours {
    let discarded = file.state.discarded.iter();
    let name = file.state.tun.as_ref().map(|tun| tun.name.as_str());
    Ours {
        tun,
        backstop: name.map(site_routes::backstop_metric),
        discarded: discarded
            .map(|(address, length)| Prefix::containing(*address, *length))
            .collect(),
    }
}

fn remember_discarded(file: &mut StateFile, mut prefixes: Vec<Prefix>) {
    prefixes.sort_unstable();
    prefixes.dedup();
    let prefixes = prefixes.iter();
    let discarded: Vec<_> = prefixes
        .map(|prefix| (prefix.address(), prefix.length()))
        .collect();
    if file.state.discarded != discarded {
        file.state.discarded = discarded;
        file.save();
    }
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

fn remember_addresses(file: &mut StateFile, ours: Vec<(IpAddr, u8)>) {
    if let Some(state) = &mut file.state.tun
        && state.addresses != ours
    {
        state.addresses = ours;
        file.save();
    }
}

fn is_link_local(address: &addresses::HostAddress) -> bool {
    match address.address.address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}
