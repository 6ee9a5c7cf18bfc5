//! The maps of the loaded programs: written as the agent writes them, and read.

use std::{collections::HashMap as StdHashMap, net::IpAddr};

use aya::{
    Pod,
    maps::{Array, HashMap, LpmTrie, Map, MapData, PerCpuArray, RingBuf, lpm_trie::Key},
};
use datapath_abi::{
    capture::{CaptureCounts, CaptureFilter, Captured},
    flow::{FlowCounters, FlowKey, FlowKey4, FlowStat},
    local::{LocalKey, VlanKey},
    maps,
    outcome::{DropReason, StackReason, Tally},
    policy::{Denied, Refused, RuleFlows},
    route::{Route, RouteKey4, RouteKey6, VNET_BITS},
    settings::{Interface, Role, Settings},
    site::{Site, SiteCounters, SiteState},
};

use super::Datapath;

impl Datapath {
    pub(crate) fn set_settings(&mut self, settings: Settings) {
        self.array(maps::SETTINGS).set(0, settings, 0).unwrap();
    }

    pub(crate) fn set_interface(&mut self, ifindex: u32, role: Role, vnet: u32, mtu: u32) {
        let interface = Interface {
            role: role as u32,
            vnet,
            mtu,
            flags: 0,
        };
        self.write_interface(ifindex, interface);
    }

    /// An interface is a LAN with these flags.
    pub(crate) fn set_lan_flags(&mut self, ifindex: u32, flags: u32) {
        let interface = Interface {
            role: Role::Lan as u32,
            vnet: 0,
            mtu: 1500,
            flags,
        };
        self.write_interface(ifindex, interface);
    }

    pub(crate) fn write_interface(&mut self, ifindex: u32, interface: Interface) {
        self.interfaces.add(ifindex, interface).unwrap();
    }

    pub(crate) fn set_site(&mut self, id: u32, state: SiteState, mtu: u32) {
        let site = Site {
            state: state as u32,
            queue_mask: 1,
            mtu,
            lanes: 1,
        };
        self.write_site(id, site);
    }

    pub(crate) fn write_site(&mut self, id: u32, site: Site) {
        self.array(maps::SITES).set(id, site, 0).unwrap();
    }

    pub(crate) fn add_route(&mut self, vnet: u32, prefix: &str, site: u32) {
        let route = Route { site, route: 1 };
        match route_key(vnet, prefix) {
            RouteKey::V4(key) => self.trie(maps::ROUTES4).insert(&key, route, 0),
            RouteKey::V6(key) => self.trie(maps::ROUTES6).insert(&key, route, 0),
        }
        .unwrap();
    }

    pub(crate) fn remove_route(&mut self, vnet: u32, prefix: &str) {
        match route_key(vnet, prefix) {
            RouteKey::V4(key) => self.trie(maps::ROUTES4).remove(&key),
            RouteKey::V6(key) => self.trie(maps::ROUTES6).remove(&key),
        }
        .unwrap();
    }

    pub(crate) fn add_session(&mut self, index: u32) {
        self.sessions.insert(index << 8, 7).unwrap();
    }

    /// An address that the host has, or with fewer bits a prefix of them.
    pub(crate) fn add_local(&mut self, prefix: &str) {
        let (address, length) = prefix.split_once('/').expect("address/length");
        let length: u32 = length.parse().unwrap();
        let (address, bits) = match address.parse().unwrap() {
            IpAddr::V4(address) => (address.to_ipv6_mapped(), 96 + length),
            IpAddr::V6(address) => (address, length),
        };
        let address = address.octets();
        let map = self.ebpf.map_mut(maps::LOCAL_ADDRESSES);
        let mut trie: LpmTrie<_, LocalKey, u32> =
            LpmTrie::try_from(map.expect("the map is there")).unwrap();
        trie.insert(&Key::new(bits, LocalKey { address }), 1, 0)
            .unwrap();
    }

    /// The VLAN of this id at the loopback device, where tests let frames arrive, is a WAN.
    pub(crate) fn add_wan_vlan(&mut self, id: u32) {
        let key = VlanKey { ifindex: 1, id };
        self.hash(maps::WAN_VLANS).insert(key, 1_u32, 0).unwrap();
    }

    /// Which packets are captured.
    pub(crate) fn set_capture(&mut self, filter: CaptureFilter) {
        self.array(maps::CAPTURE).set(0, filter, 0).unwrap();
    }

    /// What was captured since this was asked last.
    pub(crate) fn captured(&mut self) -> Vec<(Captured, Vec<u8>)> {
        let map = self.ebpf.map_mut(maps::CAPTURED).expect("the map is there");
        let mut ring = RingBuf::try_from(map).unwrap();
        let mut captured = Vec::new();
        while let Some(record) = ring.next() {
            let (head, bytes) = Captured::of_record(&record).expect("a record");
            captured.push((head, bytes.to_vec()));
        }
        captured
    }

    pub(crate) fn capture_counts(&self) -> CaptureCounts {
        let mut sum = CaptureCounts::default();
        let counts = self.per_cpu::<CaptureCounts>(maps::CAPTURE_COUNTS, 0);
        for counts in counts {
            sum.wanted += counts.wanted;
            sum.lost += counts.lost;
        }
        sum
    }

    pub(crate) fn to_stack(&self, reason: StackReason) -> Tally {
        self.tally(maps::TO_STACK, reason.index())
    }

    pub(crate) fn drops(&self, reason: DropReason) -> Tally {
        self.tally(maps::DROPS, reason.index())
    }

    pub(crate) fn flow_stat(&self, stat: FlowStat) -> u64 {
        self.per_cpu::<u64>(maps::FLOW_STATS, stat as u32)
            .iter()
            .sum()
    }

    pub(crate) fn site_counters(&self, id: u32) -> SiteCounters {
        let mut total = SiteCounters::default();
        for counters in self.per_cpu::<SiteCounters>(maps::SITE_COUNTERS, id) {
            total.to_site_packets += counters.to_site_packets;
            total.to_site_bytes += counters.to_site_bytes;
            total.from_site_packets += counters.from_site_packets;
            total.from_site_bytes += counters.from_site_bytes;
        }
        total
    }

    pub(crate) fn flows(&self) -> StdHashMap<FlowKey, FlowCounters> {
        let v4: HashMap<_, FlowKey4, FlowCounters> = self.map(maps::FLOWS4);
        let v6: HashMap<_, FlowKey, FlowCounters> = self.map(maps::FLOWS6);
        let v4 = v4.iter().map(Result::unwrap);
        let v4 = v4.map(|(key, counters)| (FlowKey::from(key), counters));
        v4.chain(v6.iter().map(Result::unwrap)).collect()
    }

    /// The flows that were denied.
    pub(crate) fn denied(&self) -> Vec<(FlowKey, Denied)> {
        let denied: HashMap<_, FlowKey, Denied> = self.map(maps::DENIED);
        denied.iter().map(Result::unwrap).collect()
    }

    /// The denied packets that the agent was told of since this was asked last.
    pub(crate) fn refused(&mut self) -> Vec<Refused> {
        let map = self.ebpf.map_mut(maps::REFUSED).expect("the map is there");
        let mut ring = RingBuf::try_from(map).unwrap();
        let mut records = Vec::new();
        while let Some(record) = ring.next() {
            records.push(Refused::of_record(&record).expect("a record"));
        }
        records
    }

    /// New flows of a rule.
    pub(crate) fn rule_flows(&self, slot: u32) -> RuleFlows {
        let mut total = RuleFlows::default();
        for flows in self.per_cpu::<RuleFlows>(maps::POLICY_RULES, slot) {
            total.active += flows.active;
            total.shadow += flows.shadow;
        }
        total
    }

    /// Writes a flow of either family, as the agent does.
    pub(crate) fn write_flow(&mut self, key: &FlowKey, counters: &FlowCounters) {
        let written = match key.to_v4() {
            Some(key) => self.hash(maps::FLOWS4).insert(key, *counters, 0),
            None => self.hash(maps::FLOWS6).insert(*key, *counters, 0),
        };
        written.unwrap();
    }

    /// Takes what the programs said, as aya-log writes it.
    pub(crate) fn take_log(&mut self) -> Vec<Vec<u8>> {
        let map = self.ebpf.map_mut(maps::LOG).expect("the map is there");
        let mut ring = RingBuf::try_from(map).unwrap();
        let mut records = Vec::new();
        while let Some(record) = ring.next() {
            records.push(record.to_vec());
        }
        records
    }

    fn tally(&self, map: &str, index: u32) -> Tally {
        self.per_cpu::<Tally>(map, index).into_iter().sum()
    }

    fn per_cpu<V: Pod>(&self, name: &str, index: u32) -> Vec<V> {
        let array: PerCpuArray<_, V> = self.map(name);
        array.get(&index, 0).unwrap().to_vec()
    }

    pub(super) fn map<'a, M>(&'a self, name: &str) -> M
    where
        M: TryFrom<&'a Map>,
    {
        let map = self.ebpf.map(name).expect("the map is there");
        M::try_from(map).ok().expect("the map has this type")
    }

    fn array<V: Pod>(&mut self, name: &str) -> Array<&mut MapData, V> {
        Array::try_from(self.ebpf.map_mut(name).expect("the map is there")).unwrap()
    }

    fn hash<K: Pod, V: Pod>(&mut self, name: &str) -> HashMap<&mut MapData, K, V> {
        HashMap::try_from(self.ebpf.map_mut(name).expect("the map is there")).unwrap()
    }

    fn trie<K: Pod>(&mut self, name: &str) -> LpmTrie<&mut MapData, K, Route> {
        LpmTrie::try_from(self.ebpf.map_mut(name).expect("the map is there")).unwrap()
    }
}

enum RouteKey {
    V4(Key<RouteKey4>),
    V6(Key<RouteKey6>),
}

fn route_key(vnet: u32, prefix: &str) -> RouteKey {
    let (address, length) = prefix.split_once('/').expect("address/length");
    let bits = VNET_BITS + length.parse::<u32>().unwrap();
    let vnet = vnet.to_be_bytes();
    match address.parse().unwrap() {
        IpAddr::V4(address) => {
            let address = address.octets();
            RouteKey::V4(Key::new(bits, RouteKey4 { vnet, address }))
        }
        IpAddr::V6(address) => {
            let address = address.octets();
            RouteKey::V6(Key::new(bits, RouteKey6 { vnet, address }))
        }
    }
}
