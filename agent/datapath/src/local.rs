//! What `wan_guard` knows of the host: whether a frame is for it at all.

use std::collections::{HashMap as StdHashMap, HashSet};
use std::hash::Hash;
use std::net::IpAddr;

use anyhow::{Context, Result};
use aya::Ebpf;
use aya::maps::lpm_trie::Key;
use aya::maps::{HashMap, LpmTrie, MapData};
use datapath_abi::local::{LocalKey, VlanKey};
use datapath_abi::maps;
use datapath_abi::user::removed;

use super::take;
use crossway_types::ids::IfIndex;
use crossway_types::prefix::Prefix;

/// A VLAN interface that is a WAN, as its frames show it at the interface below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WanVlan {
    /// The interface below.
    pub below: IfIndex,
    /// VLAN id.
    pub id: u16,
    /// The VLAN interface.
    pub interface: IfIndex,
}

/// The maps LOCAL_ADDRESSES and WAN_VLANS.
pub struct Local {
    addresses: LpmTrie<MapData, LocalKey, u32>,
    vlans: HashMap<MapData, VlanKey, u32>,
    /// What is in them: after a take-over, what the agent before wrote.
    written: HashSet<(u32, [u8; 16])>,
    written_vlans: StdHashMap<VlanKey, u32>,
}

impl Local {
    pub(super) fn new(programs: &mut Ebpf) -> Result<Self> {
        let addresses: LpmTrie<_, LocalKey, u32> = take(programs, maps::LOCAL_ADDRESSES)?;
        let vlans: HashMap<_, VlanKey, u32> = take(programs, maps::WAN_VLANS)?;
        let written = addresses
            .keys()
            .map(|key| key.map(|key| (key.prefix_len(), key.data().address)))
            .collect::<Result<_, _>>()
            .context(maps::LOCAL_ADDRESSES)?;
        let written_vlans = vlans
            .iter()
            .collect::<Result<_, _>>()
            .context(maps::WAN_VLANS)?;
        Ok(Self {
            addresses,
            vlans,
            written,
            written_vlans,
        })
    }

    /// Makes these the addresses of the host, or prefixes of which it takes every address. What is new is written
    /// first: meanwhile junk is dropped for an address too many, rather than let in for one too few.
    pub fn set_addresses(&mut self, wanted: impl IntoIterator<Item = Prefix>) -> Result<()> {
        let wanted: HashSet<_> = wanted.into_iter().map(key_of).collect();
        let (new, gone) = differences(&self.written, &wanted);
        for (bits, address) in new {
            let key = Key::new(bits, LocalKey { address });
            self.addresses
                .insert(&key, 1, 0)
                .context(maps::LOCAL_ADDRESSES)?;
            self.written.insert((bits, address));
        }
        for (bits, address) in gone {
            let key = Key::new(bits, LocalKey { address });
            removed(self.addresses.remove(&key)).context(maps::LOCAL_ADDRESSES)?;
            self.written.remove(&(bits, address));
        }
        Ok(())
    }

    /// Makes these the VLANs that are WANs.
    pub fn set_wan_vlans(&mut self, wanted: &[WanVlan]) -> Result<()> {
        let wanted = wanted.iter().map(|vlan| {
            let key = VlanKey {
                ifindex: vlan.below.0,
                id: vlan.id.into(),
            };
            (key, vlan.interface.0)
        });
        let wanted: StdHashMap<_, _> = wanted.collect();
        for (key, interface) in &wanted {
            if self.written_vlans.get(key) != Some(interface) {
                let inserted = self.vlans.insert(key, interface, 0);
                inserted.context(maps::WAN_VLANS)?;
            }
        }
        for key in self.written_vlans.keys() {
            if !wanted.contains_key(key) {
                removed(self.vlans.remove(key)).context(maps::WAN_VLANS)?;
            }
        }
        self.written_vlans = wanted;
        Ok(())
    }
}

/// Bits and address of a prefix among the IPv6 addresses, where those of IPv4 are mapped.
fn key_of(prefix: Prefix) -> (u32, [u8; 16]) {
    let length = u32::from(prefix.length());
    match prefix.address() {
        IpAddr::V4(address) => (96 + length, address.to_ipv6_mapped().octets()),
        IpAddr::V6(address) => (length, address.octets()),
    }
}

/// What is in the second set alone, and in the first alone.
fn differences<T: Copy + Eq + Hash>(there: &HashSet<T>, wanted: &HashSet<T>) -> (Vec<T>, Vec<T>) {
    let new = wanted.difference(there).copied().collect();
    (new, there.difference(wanted).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_ipv4_lies_among_the_mapped_ones() {
        let (bits, address) = key_of("192.0.2.16/28".parse().unwrap());
        assert_eq!(bits, 124);
        assert_eq!(address, *b"\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\x02\x10");
        let (bits, address) = key_of("2001:db8::/32".parse().unwrap());
        assert_eq!((bits, address[0], address[4]), (32, 0x20, 0));
    }

    #[test]
    fn only_what_differs_is_touched() {
        let (there, wanted) = (HashSet::from([1, 2]), HashSet::from([2, 3]));
        assert_eq!(differences(&there, &wanted), (vec![3], vec![1]));
    }
}
