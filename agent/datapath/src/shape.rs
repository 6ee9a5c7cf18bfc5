//! The maps that this agent can work with: type, sizes and capacity of each, from the shared crate.

use std::fmt;

use aya::maps::{MapInfo, MapType};
use datapath_abi::flow::{FLOW_STAT_COUNT, FlowCounters, FlowKey, FlowKey4};
use datapath_abi::local::{LocalKey, VlanKey};
use datapath_abi::maps;
use datapath_abi::outcome::{DropReason, StackReason, Tally};
use datapath_abi::policy::{Denied, RULE_SLOTS, RuleFlows};
use datapath_abi::route::{Route, RouteKey4, RouteKey6};
use datapath_abi::settings::{Interface, InterfaceSlot, Settings};
use datapath_abi::site::{Site, SiteCounters};

/// Bytes in front of a longest-prefix-match key: its prefix length.
const PREFIX_LENGTH: usize = size_of::<u32>();

/// What two maps must share to be the same table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Shape {
    kind: MapType,
    key: usize,
    value: usize,
    capacity: usize,
}

impl Shape {
    /// The shape that the map `name` must have where so many flows of IPv4 are kept.
    pub(super) fn expected(name: &str, flows: usize) -> Option<Self> {
        let (kind, key, value, capacity) = match name {
            maps::ROUTES4 => trie::<RouteKey4, Route>(maps::ROUTE_ENTRIES),
            maps::ROUTES6 => trie::<RouteKey6, Route>(maps::ROUTE_ENTRIES),
            maps::SITES => array::<Site>(MapType::Array, maps::MAX_SITES),
            maps::SITE_COUNTERS => array::<SiteCounters>(MapType::PerCpuArray, maps::MAX_SITES),
            maps::FLOWS4 => lru::<FlowKey4>(flows),
            maps::FLOWS6 => lru::<FlowKey>(maps::flows_of_ipv6(flows)),
            maps::FLOW_STATS => array::<u64>(MapType::PerCpuArray, FLOW_STAT_COUNT),
            maps::DROPS => array::<Tally>(MapType::PerCpuArray, DropReason::COUNT),
            maps::TO_STACK => array::<Tally>(MapType::PerCpuArray, StackReason::COUNT),
            maps::SESSIONS => hash::<u32>(maps::MAX_SESSIONS),
            maps::SESSION_BITS => array::<u64>(MapType::Array, maps::SESSION_WORDS),
            maps::SETTINGS => array::<Settings>(MapType::Array, 1),
            maps::INTERFACES => hash::<Interface>(maps::MAX_INTERFACES),
            maps::INTERFACE_SLOTS => {
                array::<InterfaceSlot>(MapType::Array, maps::INTERFACE_SLOT_COUNT)
            }
            maps::LOCAL_ADDRESSES => trie::<LocalKey, u32>(maps::MAX_LOCAL_ADDRESSES),
            maps::POLICY => array::<u32>(MapType::ArrayOfMaps, maps::RULE_SETS),
            maps::DENIED => (
                MapType::LruHash,
                size_of::<FlowKey>(),
                size_of::<Denied>(),
                maps::DENIED_FLOWS,
            ),
            maps::POLICY_RULES => array::<RuleFlows>(MapType::PerCpuArray, RULE_SLOTS),
            maps::WAN_VLANS => (
                MapType::Hash,
                size_of::<VlanKey>(),
                size_of::<u32>(),
                maps::MAX_INTERFACES,
            ),
            _ => return None,
        };
        Some(Self {
            kind,
            key,
            value,
            capacity,
        })
    }

    /// The shape that a map in the kernel has.
    pub(super) fn of(info: &MapInfo) -> Option<Self> {
        Some(Self {
            kind: info.map_type().ok()?,
            key: info.key_size() as usize,
            value: info.value_size() as usize,
            capacity: info.max_entries() as usize,
        })
    }
}

fn trie<K, V>(capacity: usize) -> (MapType, usize, usize, usize) {
    (
        MapType::LpmTrie,
        PREFIX_LENGTH + size_of::<K>(),
        size_of::<V>(),
        capacity,
    )
}

fn lru<K>(capacity: usize) -> (MapType, usize, usize, usize) {
    let value = size_of::<FlowCounters>();
    (MapType::LruHash, size_of::<K>(), value, capacity)
}

fn array<V>(kind: MapType, capacity: usize) -> (MapType, usize, usize, usize) {
    (kind, size_of::<u32>(), size_of::<V>(), capacity)
}

fn hash<V>(capacity: usize) -> (MapType, usize, usize, usize) {
    (MapType::Hash, size_of::<u32>(), size_of::<V>(), capacity)
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            key,
            value,
            capacity,
        } = self;
        write!(f, "{kind:?} of {capacity}, {key} to {value} bytes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_map_of_the_boundary_has_a_shape() {
        for name in maps::ALL {
            assert!(Shape::expected(name, 1024).is_some(), "{name}");
        }
        assert_eq!(Shape::expected("OTHER", 1024), None);
    }
}
