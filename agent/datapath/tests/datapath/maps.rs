//! The other maps, each against what another program sees in the pin.

use aya::maps::{Array, HashMap, MapData, PerCpuArray, PerCpuValues};
use aya::util::nr_cpus;
use crossway_datapath::{Datapath, Surroundings, TcAttach};
use crossway_types::ids::{IfIndex, LinkId, SiteId};
use datapath_abi::maps::{self, INTERFACE_SLOT_COUNT, session_bit};
use datapath_abi::outcome::{DropReason, StackReason, Tally};
use datapath_abi::settings::{Interface, InterfaceSlot, NAT, Role, STRICT_SOURCES, Settings};
use datapath_abi::site::{Site, SiteCounters, SiteState};

use super::support::*;

fn load(gateway: &str) -> Datapath {
    enter_sandbox();
    load_datapath(gateway, TcAttach::Auto).unwrap()
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
fn a_change_of_interfaces_or_routes_has_sources_looked_at_again() {
    let mut datapath = load("maps-sources");
    let lan = |flags| {
        let interface = Interface {
            role: Role::Lan as u32,
            vnet: 0,
            mtu: 1500,
            flags,
        };
        [(IfIndex(2), interface)]
    };
    let generation = |datapath: &Datapath| datapath.settings.get().unwrap().route_generation;
    datapath.settings.set_interfaces(&lan(0)).unwrap();
    let before = generation(&datapath);
    datapath.settings.set_interfaces(&lan(0)).unwrap();
    assert_eq!(generation(&datapath), before, "nothing has changed");
    datapath
        .settings
        .set_interfaces(&lan(STRICT_SOURCES))
        .unwrap();
    assert_ne!(generation(&datapath), before);
    let around = Surroundings {
        nat: true,
        answers_from4: Some([192, 0, 2, 1].into()),
        answers_from6: None,
    };
    datapath.settings.set_surroundings(around).unwrap();
    datapath.settings.set(Settings::default()).unwrap();
    let settings = datapath.settings.get().unwrap();
    assert_eq!(
        (settings.flags, settings.answers_from4),
        (NAT, [192, 0, 2, 1])
    );
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
    assert_eq!(slots(&datapath), [smaller]);

    // Of two that meet in a slot the first has it, until it goes; the hash has both.
    let meets = (
        IfIndex(2 + INTERFACE_SLOT_COUNT as u32),
        interface(Role::Lan, 9000),
    );
    datapath.settings.set_interfaces(&[smaller, meets]).unwrap();
    assert_eq!(datapath.settings.interfaces().unwrap().len(), 2);
    assert_eq!(slots(&datapath), [smaller]);
    datapath.settings.set_interfaces(&[meets, wan]).unwrap();
    assert_eq!(slots(&datapath), [meets, wan]);
    drop(datapath);

    // An agent that takes over knows which slots are full.
    let mut next = load_datapath("maps-interfaces", TcAttach::Auto).unwrap();
    next.settings.set_interfaces(&[wan]).unwrap();
    assert_eq!(slots(&next), [wan]);
    next.detach().unwrap();
}

/// What the programs find first.
fn slots(datapath: &Datapath) -> Vec<(IfIndex, Interface)> {
    let slots: Array<MapData, InterfaceSlot> = pinned(datapath, maps::INTERFACE_SLOTS);
    let full = slots
        .iter()
        .map(Result::unwrap)
        .filter(|slot| slot.ifindex != 0);
    full.map(|slot| (IfIndex(slot.ifindex), slot.interface))
        .collect()
}

#[test]
fn sessions_that_share_a_bit_keep_it_until_the_last_is_gone() {
    let mut datapath = load("maps-session-bits");
    let (first, second) = (0x0001_0200, 0x0101_0200);
    let (word, bit) = session_bit(first >> 8);
    assert_eq!(session_bit(second >> 8), (word, bit));
    let bits: Array<MapData, u64> = pinned(&datapath, maps::SESSION_BITS);
    for index in [first, first, second] {
        datapath.sessions.insert(index, LinkId(1)).unwrap();
    }
    assert_eq!(bits.get(&word, 0).unwrap(), bit);
    datapath.sessions.remove(first).unwrap();
    datapath.sessions.remove(first).unwrap();
    assert_eq!(bits.get(&word, 0).unwrap(), bit);
    drop(datapath);

    let mut next = load_datapath("maps-session-bits", TcAttach::Auto).unwrap();
    next.sessions.insert(first, LinkId(2)).unwrap();
    next.sessions.remove(second).unwrap();
    assert_eq!(bits.get(&word, 0).unwrap(), bit);
    next.sessions.clear().unwrap();
    assert_eq!(bits.get(&word, 0).unwrap(), 0);
    next.detach().unwrap();
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
