//! Flows in a gateway's table as its programs would enter them, for tables that no traffic here could fill.

use std::path::Path;

use aya::maps::{HashMap, Map, MapData};
use datapath_abi::flow::{FlowCounters, FlowKey4};
use datapath_abi::maps;
use vm_tests::crossway::Crossway;

/// Enters `count` flows of site number 0, seen just now: flow number `number` has seen as many packets.
pub(crate) fn enter_flows(gateway: &Crossway, count: u32) {
    let mut table = table(gateway);
    let now = now_ns();
    for number in 0..count {
        let [_, a, b, c] = number.to_be_bytes();
        let key = FlowKey4 {
            local: [10, a, b, c],
            remote: [10, 2, 0, 10],
            protocol: 17,
            ..FlowKey4::default()
        };
        let counters = FlowCounters {
            to_site_packets: u64::from(number),
            to_site_bytes: 100 * u64::from(number),
            first_seen_ns: now,
            last_seen_ns: now,
            ..FlowCounters::default()
        };
        table.insert(key, counters, 0).unwrap();
    }
}

fn table(gateway: &Crossway) -> HashMap<MapData, FlowKey4, FlowCounters> {
    let pin = Path::new("/sys/fs/bpf/crossway").join(gateway.name());
    let map = MapData::from_pin(pin.join(maps::FLOWS4)).unwrap();
    Map::LruHashMap(map).try_into().unwrap()
}

/// CLOCK_MONOTONIC, where the machine was never suspended.
fn now_ns() -> u64 {
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
    let seconds: u64 = uptime.split('.').next().unwrap().parse().unwrap();
    seconds * 1_000_000_000
}
