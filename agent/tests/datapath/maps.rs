//! The other maps, each against what another program sees in the pin.

use aya::maps::{HashMap, MapData, PerCpuArray, PerCpuValues};
use aya::util::nr_cpus;
use crossway::datapath::{Datapath, TcAttach};
use crossway::ids::{IfIndex, LinkId, SiteId};
use datapath_abi::maps;
use datapath_abi::outcome::{DropReason, StackReason, Tally};
use datapath_abi::settings::{Interface, Role};
use datapath_abi::site::{Site, SiteCounters, SiteState};

use super::support::*;

fn load(gateway: &str) -> Datapath {
    enter_sandbox();
    Datapath::load(gateway, TcAttach::Auto).unwrap()
}

fn on_every_cpu<V: aya::Pod>(value: V) -> PerCpuValues<V> {
    PerCpuValues::try_from(vec![value; cpus()]).unwrap()
}

fn cpus() -> usize {
    nr_cpus().unwrap()
}

#[test]
fn a_removed_site_leaves_neither_state_nor_counters() {
    let mut datapath = load("maps-sites");
    let id = SiteId(3);
    let site = Site {
        state: SiteState::Up as u32,
        queue_mask: 1,
        mtu: 1420,
        lanes: 1,
    };
    datapath.sites.set(id, site).unwrap();
    assert_eq!(datapath.sites.get(id).unwrap(), site);
    let counted = SiteCounters {
        to_site_packets: 2,
        to_site_bytes: 300,
        from_site_packets: 5,
        from_site_bytes: 700,
    };
    let mut counters: PerCpuArray<MapData, SiteCounters> = pinned(&datapath, maps::SITE_COUNTERS);
    counters.set(id.0, on_every_cpu(counted), 0).unwrap();
    let total = datapath.sites.counters(id).unwrap();
    assert_eq!(total.to_site_packets, 2 * cpus() as u64);
    assert_eq!(total.from_site_bytes, 700 * cpus() as u64);

    datapath.sites.remove(id).unwrap();
    assert_eq!(datapath.sites.get(id).unwrap(), Site::default());
    assert_eq!(
        datapath.sites.counters(id).unwrap(),
        SiteCounters::default()
    );
    let beyond = SiteId(maps::MAX_SITES as u32);
    let error = format!("{:#}", datapath.sites.set(beyond, site).unwrap_err());
    assert!(error.starts_with("SITES: site 4096"), "{error}");
    datapath.detach().unwrap();
}

#[test]
fn a_session_is_known_by_its_receiver_index_without_the_low_byte() {
    let mut datapath = load("maps-sessions");
    let sessions = &mut datapath.sessions;
    sessions.insert(0x0001_0200, LinkId(9)).unwrap();
    assert_eq!(sessions.get(0x0001_0207).unwrap(), Some(LinkId(9)));
    assert_eq!(sessions.get(0x0001_0300).unwrap(), None);
    sessions.remove(0x0001_02ff).unwrap();
    sessions.remove(0x0001_02ff).unwrap();
    assert_eq!(sessions.get(0x0001_0200).unwrap(), None);
    for link in 0..100 {
        sessions.insert(link << 8, LinkId(link)).unwrap();
    }
    sessions.clear().unwrap();
    let map: HashMap<MapData, u32, u32> = pinned(&datapath, maps::SESSIONS);
    assert_eq!(map.keys().count(), 0);
    datapath.detach().unwrap();
}

#[test]
fn interfaces_are_those_given_last() {
    let mut datapath = load("maps-interfaces");
    let interface = |role: Role, mtu| Interface {
        role: role as u32,
        vnet: 0,
        mtu,
        flags: 0,
    };
    let lan = (IfIndex(2), interface(Role::Lan, 1500));
    let wan = (IfIndex(3), interface(Role::Wan, 1500));
    let smaller = (IfIndex(2), interface(Role::Lan, 1400));
    datapath.settings.set_interfaces(&[lan, wan]).unwrap();
    datapath.settings.set_interfaces(&[smaller]).unwrap();
    let present = datapath.settings.interfaces().unwrap();
    assert_eq!(present.into_iter().collect::<Vec<_>>(), [smaller]);
    datapath.detach().unwrap();
}

#[test]
fn tallies_are_read_by_reason_over_all_cpus() {
    let datapath = load("maps-tallies");
    let once = Tally {
        packets: 1,
        bytes: 60,
    };
    let expected = Tally {
        packets: cpus() as u64,
        bytes: 60 * cpus() as u64,
    };
    let mut drops: PerCpuArray<MapData, Tally> = pinned(&datapath, maps::DROPS);
    let reason = DropReason::WanBadLength;
    drops.set(reason.index(), on_every_cpu(once), 0).unwrap();
    let read = datapath.tallies.drops().unwrap();
    assert_eq!(read.len(), DropReason::COUNT);
    for (found, tally) in read {
        let expected = if found == reason {
            expected
        } else {
            Tally::default()
        };
        assert_eq!(tally, expected, "{}", found.as_str());
    }

    let mut to_stack: PerCpuArray<MapData, Tally> = pinned(&datapath, maps::TO_STACK);
    let reason = StackReason::RedirectFailed;
    to_stack.set(reason.index(), on_every_cpu(once), 0).unwrap();
    assert_eq!(
        datapath.tallies.to_stack().unwrap().last(),
        Some(&(reason, expected))
    );
    datapath.detach().unwrap();
}
