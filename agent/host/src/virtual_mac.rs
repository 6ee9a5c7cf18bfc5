//! Devices that take the packets for a virtual router: a macvlan with the router's MAC on its LAN.
//!
//! Here they are made and deleted, and always left down; who is master brings its device up and gives
//! it the addresses (`vrrp` of the agent). A device that an agent left behind is made anew: it may be
//! up, and somebody else the master by now.

use rtnetlink::packet_route::link::MacVlanMode;
use rtnetlink::{Handle, LinkMacVlan};

use super::Report;
use super::error::HostError;
use super::links::{self, Interface};
use super::state::StateFile;
use super::sysctl::{Key, Name};
use crossway_types::address::{Family, Mac};
use crossway_types::ids::IfIndex;

/// A device that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedVirtualMac {
    /// The LAN interface.
    pub lan: String,
    /// Whose packets it takes.
    pub family: Family,
    /// Virtual router id.
    pub id: u8,
}

/// A device that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualMac {
    /// What it is for.
    pub wanted: WantedVirtualMac,
    /// Its name.
    pub name: String,
    /// Its index.
    pub index: IfIndex,
    /// The LAN interface's index.
    pub lan_index: IfIndex,
}

/// Has exactly these devices there, down where they are new, and returns them. `first`: what is there is of an agent
/// before us. A device whose LAN is away, or which cannot be made, leaves the others as they should be.
pub(super) async fn reconcile(
    handle: &Handle,
    file: &mut StateFile,
    wanted: &[WantedVirtualMac],
    first: bool,
    report: &mut Report,
) -> Vec<VirtualMac> {
    let mut named = Vec::with_capacity(wanted.len());
    for device in wanted {
        match links::find(handle, &device.lan).await {
            Ok(Some(lan)) => named.push((name(device, lan.index), device, lan)),
            // It went with its LAN.
            Ok(None) => {}
            Err(error) => report.note(Err(error)),
        }
    }
    let mut names: Vec<String> = named.iter().map(|(name, ..)| name.clone()).collect();
    for old in file.state.virtual_macs.clone() {
        if (first || !names.contains(&old))
            && let Err(error) = remove(handle, &old, report).await
        {
            // Still ours to remove.
            report.note(Err(error));
            if !names.contains(&old) {
                names.push(old);
            }
        }
    }
    // Before one is made: after kill -9 it is known whose it is.
    if file.state.virtual_macs != names {
        file.state.virtual_macs = names;
        file.save();
    }
    let mut devices = Vec::with_capacity(named.len());
    for (name, wanted, lan) in named {
        match ensure(handle, &name, wanted, &lan, first, report).await {
            Ok(device) => devices.push(VirtualMac {
                wanted: wanted.clone(),
                index: device.index,
                lan_index: lan.index,
                name,
            }),
            Err(error) => report.note(Err(error)),
        }
    }
    devices
}

/// The device, which is made where it is not there, and made anew where an agent before us left it.
async fn ensure(
    handle: &Handle,
    name: &str,
    wanted: &WantedVirtualMac,
    lan: &Interface,
    first: bool,
    report: &mut Report,
) -> Result<Interface, HostError> {
    match links::find(handle, name).await? {
        Some(there) if !first => return Ok(there),
        // The state file is lost, but the name and the kind are an agent's.
        Some(_) => remove(handle, name, report).await?,
        None => {}
    }
    make(handle, name, wanted, lan, report).await
}

/// `vr4-51-3` for the virtual router 51 of IPv4 on the interface with index 3. The index is part of it since
/// two LANs may each have a virtual router of that id.
fn name(device: &WantedVirtualMac, lan: IfIndex) -> String {
    let family = match device.family {
        Family::Ipv4 => 4,
        Family::Ipv6 => 6,
    };
    format!("vr{family}-{}-{lan}", device.id)
}

async fn make(
    handle: &Handle,
    name: &str,
    wanted: &WantedVirtualMac,
    lan: &Interface,
    report: &mut Report,
) -> Result<Interface, HostError> {
    let mac = Mac::of_router(wanted.family, wanted.id);
    // Bridge: the LAN interface goes on seeing what others send from the same MAC, which another
    // master's advertisements do. The private mode, which keepalived takes, hides them from it.
    let message = LinkMacVlan::new(name, lan.index.0, MacVlanMode::Bridge)
        .address(mac.0.to_vec())
        .build();
    let what = format!("to add the virtual MAC {mac} to {}", lan.name);
    let made = handle.link().add(message).execute().await;
    made.map_err(|error| HostError::netlink(what, error))?;
    report.changed(format!("{}: {name} with the virtual MAC {mac}", lan.name));
    quieten(name, wanted.family)?;
    links::get(handle, name).await
}

/// It says and learns nothing by itself.
fn quieten(name: &str, family: Family) -> Result<(), HostError> {
    let no_ipv6 = match family {
        Family::Ipv4 => "1",
        Family::Ipv6 => "0",
    };
    for (setting, value) in [
        (Name::AddrGenMode, "1"),
        (Name::AcceptDad, "0"),
        (Name::AcceptRa, "0"),
        (Name::DisableIpv6, no_ipv6),
    ] {
        Key::ipv6(name, setting).write(value)?;
    }
    Ok(())
}

async fn remove(handle: &Handle, name: &str, report: &mut Report) -> Result<(), HostError> {
    let Some(there) = links::find(handle, name).await? else {
        return Ok(());
    };
    if there.kind.as_deref() != Some("macvlan") {
        return Err(HostError::NotAVirtualMac {
            name: there.name,
            kind: there.kind.unwrap_or_else(|| "hardware".to_owned()),
        });
    }
    links::delete(handle, &there).await?;
    report.changed(format!("{name}: deleted"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_is_one_that_linux_allows() {
        let device = WantedVirtualMac {
            lan: "lan".to_owned(),
            family: Family::Ipv6,
            id: 255,
        };
        let longest = name(&device, IfIndex(9_999_999));
        assert_eq!(longest, "vr6-255-9999999");
        assert!(longest.len() < libc::IFNAMSIZ);
    }
}
