//! Interfaces: by name to index, MTU, kind and state; MTU and up set; deletion.

use std::io;

use futures::TryStreamExt;
use rtnetlink::packet_core::Nla;
use rtnetlink::packet_route::link::{
    InfoData, InfoKind, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
};
use rtnetlink::{Handle, LinkUnspec};

use super::error::HostError;
use crossway_types::ids::IfIndex;

// Linux include/uapi/linux/if_link.h.
const IFLA_TUN_NUM_QUEUES: u16 = 8;

/// An interface as the kernel describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The kernel's index.
    pub index: IfIndex,
    /// Name.
    pub name: String,
    /// Largest IP packet, bytes.
    pub mtu: u32,
    /// Kind of a virtual interface as `ip -d link` names it (`tun`, `veth`, `vlan`); `None` for hardware.
    pub kind: Option<String>,
    /// Administratively up.
    pub up: bool,
    /// Has carrier.
    pub carrier: bool,
    /// Whether its frames have an Ethernet header.
    pub ethernet: bool,
    /// Queues of a TUN that programs hold open; 0 for other kinds.
    pub open_queues: u32,
    /// Its group (`ip link show group`).
    pub group: u32,
    /// Packets that may wait for it (`txqueuelen`).
    pub queue_length: u32,
    /// Link-layer address of an Ethernet interface.
    pub address: Option<[u8; 6]>,
    /// Of a VLAN interface, the interface below and the id of its frames there.
    pub vlan: Option<(IfIndex, u16)>,
}

/// The interface called `name`, if there is one.
pub async fn find(handle: &Handle, name: &str) -> Result<Option<Interface>, HostError> {
    // The kernel answers ERANGE to names that no interface can have.
    if name.is_empty() || name.len() >= libc::IFNAMSIZ {
        return Ok(None);
    }
    let request = handle.link().get().match_name(name);
    match request.execute().try_next().await {
        Ok(message) => Ok(message.map(|message| parse(&message))),
        Err(error) => match HostError::netlink(format!("to read interface {name}"), error) {
            error if error.errno() == Some(libc::ENODEV) => Ok(None),
            error => Err(error),
        },
    }
}

/// The interface called `name`, or an error that lists what there is.
pub async fn get(handle: &Handle, name: &str) -> Result<Interface, HostError> {
    if let Some(interface) = find(handle, name).await? {
        return Ok(interface);
    }
    let present = list(handle).await?;
    Err(HostError::NoSuchInterface {
        name: name.to_owned(),
        present: present.into_iter().map(|other| other.name).collect(),
    })
}

/// All interfaces.
pub async fn list(handle: &Handle) -> Result<Vec<Interface>, HostError> {
    handle
        .link()
        .get()
        .execute()
        .map_ok(|message| parse(&message))
        .try_collect()
        .await
        .map_err(|error| HostError::netlink("to list interfaces", error))
}

/// Sets the largest packet of `interface`.
pub async fn set_mtu(handle: &Handle, interface: &Interface, mtu: u32) -> Result<(), HostError> {
    let change = LinkUnspec::new_with_index(interface.index.0).mtu(mtu);
    let what = format!("to set the MTU of {} to {mtu}", interface.name);
    set(handle, change.build(), what).await
}

/// Puts `interface` into a group.
pub async fn set_group(
    handle: &Handle,
    interface: &Interface,
    group: u32,
) -> Result<(), HostError> {
    let mut change = LinkUnspec::new_with_index(interface.index.0).build();
    change.attributes.push(LinkAttribute::Group(group));
    let what = format!("to put {} into the group {group}", interface.name);
    set(handle, change, what).await
}

/// Sets how many packets may wait for `interface`.
pub async fn set_queue_length(
    handle: &Handle,
    interface: &Interface,
    length: u32,
) -> Result<(), HostError> {
    let mut change = LinkUnspec::new_with_index(interface.index.0).build();
    change.attributes.push(LinkAttribute::TxQueueLen(length));
    let what = format!("to set the queue of {} to {length}", interface.name);
    set(handle, change, what).await
}

/// Sets `interface` up or down.
pub async fn set_up(handle: &Handle, interface: &Interface, up: bool) -> Result<(), HostError> {
    set_state(handle, interface.index, &interface.name, up).await
}

/// As [`set_up`], by the index alone.
pub async fn set_index_up(handle: &Handle, index: IfIndex, up: bool) -> Result<(), HostError> {
    set_state(handle, index, &format!("interface {index}"), up).await
}

async fn set_state(handle: &Handle, index: IfIndex, name: &str, up: bool) -> Result<(), HostError> {
    let change = LinkUnspec::new_with_index(index.0);
    let (change, word) = if up {
        (change.up(), "up")
    } else {
        (change.down(), "down")
    };
    set(handle, change.build(), format!("to set {name} {word}")).await
}

/// Deletes `interface`; one that is gone already is fine.
pub async fn delete(handle: &Handle, interface: &Interface) -> Result<(), HostError> {
    let done = handle.link().del(interface.index.0).execute().await;
    match done.map_err(|error| {
        HostError::netlink(format!("to delete interface {}", interface.name), error)
    }) {
        Err(error) if error.errno() == Some(libc::ENODEV) => Ok(()),
        other => other,
    }
}

async fn set(handle: &Handle, message: LinkMessage, what: String) -> Result<(), HostError> {
    let done = handle.link().set(message).execute().await;
    match done.map_err(|error| HostError::netlink(what.clone(), error)) {
        Err(error) if error.errno() == Some(libc::ENODEV) => Err(HostError::Netlink {
            what,
            error: io::Error::other("the interface has just been deleted"),
        }),
        other => other,
    }
}

fn parse(message: &LinkMessage) -> Interface {
    let flags = message.header.flags;
    let mut interface = Interface {
        index: IfIndex(message.header.index),
        name: String::new(),
        mtu: 0,
        kind: None,
        up: flags.contains(LinkFlags::Up),
        carrier: flags.contains(LinkFlags::LowerUp),
        ethernet: message.header.link_layer_type == LinkLayerType::Ether,
        open_queues: 0,
        group: 0,
        queue_length: 0,
        address: None,
        vlan: None,
    };
    let (mut below, mut vlan) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => interface.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => interface.mtu = *mtu,
            LinkAttribute::Address(address) => {
                interface.address = address.as_slice().try_into().ok();
            }
            LinkAttribute::Group(group) => interface.group = *group,
            LinkAttribute::TxQueueLen(length) => interface.queue_length = *length,
            LinkAttribute::LinkInfo(infos) => {
                interface.kind = infos.iter().find_map(kind_name);
                interface.open_queues = infos.iter().find_map(open_queues).unwrap_or(0);
                vlan = infos.iter().find_map(vlan_id);
            }
            LinkAttribute::Link(index) => below = Some(IfIndex(*index)),
            _ => {}
        }
    }
    interface.vlan = below.zip(vlan);
    interface
}

/// Queues with a program at the other end, not counting those it has switched off (Linux 4.17).
fn open_queues(info: &LinkInfo) -> Option<u32> {
    let LinkInfo::Data(InfoData::Tun(tun)) = info else {
        return None;
    };
    let queues = tun.iter().find(|info| info.kind() == IFLA_TUN_NUM_QUEUES)?;
    let mut value = [0; 4];
    (queues.value_len() == value.len()).then(|| queues.emit_value(&mut value))?;
    Some(u32::from_ne_bytes(value))
}

/// The id of a VLAN interface.
fn vlan_id(info: &LinkInfo) -> Option<u16> {
    let LinkInfo::Data(InfoData::Vlan(vlan)) = info else {
        return None;
    };
    vlan.iter().find_map(|info| match info {
        InfoVlan::Id(id) => Some(*id),
        _ => None,
    })
}

fn kind_name(info: &LinkInfo) -> Option<String> {
    match info {
        LinkInfo::Kind(InfoKind::Other(name)) => Some(name.clone()),
        LinkInfo::Kind(kind) => Some(kind.to_string()),
        _ => None,
    }
}

/// The packets for an interface that were dropped, in the table of /proc/net/dev (proc_pid_net(5)): the name, eight
/// numbers of what came, eight of what left, of which the fourth.
pub(super) fn dropped_to(table: &str, interface: &str) -> Option<u64> {
    let line = table.lines().find_map(|line| {
        let (name, numbers) = line.split_once(':')?;
        (name.trim() == interface).then_some(numbers)
    })?;
    line.split_whitespace().nth(11)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_interface_dropped_is_read_from_the_kernels_table() {
        let table = "Inter-|   Receive\n face |bytes packets\n    lo:  1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n\
            cw-x: 0 0 0 0 0 0 0 0 9 8 7 42 0 0 0 0\n";
        assert_eq!(dropped_to(table, "lo"), Some(12));
        assert_eq!(dropped_to(table, "cw-x"), Some(42));
        assert_eq!(dropped_to(table, "x"), None);
    }
}
