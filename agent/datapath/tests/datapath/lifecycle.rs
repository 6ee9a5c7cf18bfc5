//! Loading, taking over, and leaving nothing.

use std::fs;
use std::path::Path;

use aya::maps::{Array, HashMap, MapData};
use crossway_datapath::{Datapath, Holder, Hook, Mode, TcAttach, Wanted};
use crossway_types::ids::VnetId;
use crossway_types::interface::XdpChoice;
use datapath_abi::ABI_VERSION;
use datapath_abi::flow::{FlowCounters, FlowKey, FlowKey4};
use datapath_abi::maps;
use datapath_abi::settings::Settings;

use super::support::*;

/// `lan0`, `wan0` and `tun0`, each with nothing behind it.
fn interfaces() {
    enter_sandbox();
    veth("lan0", "lan-host");
    veth("wan0", "wan-host");
    tun("tun0");
}

fn load(gateway: &str) -> Datapath {
    load_datapath(gateway, TcAttach::Auto).unwrap()
}

/// Attaches to all three interfaces, XDP in the generic mode, which every device has.
fn attach_all(datapath: &mut Datapath) {
    let wanted = Wanted {
        lan: &[lan("lan0")],
        wan: &[wan("wan0", XdpChoice::Generic)],
        tun: Some("tun0"),
    };
    datapath.attach(wanted).unwrap();
}

#[test]
fn everything_is_pinned_while_it_runs_and_nothing_is_left_after_a_clean_stop() {
    interfaces();
    assert!(!is_bpffs());
    let mut datapath = load("life.cycle-1");
    assert!(is_bpffs(), "the file system is mounted if it is missing");
    assert!(!datapath.took_over());
    let directory = datapath.pin_directory();
    assert_eq!(
        directory,
        Path::new("/sys/fs/bpf/crossway/life:cycle-1"),
        "the file system takes no dots"
    );
    for name in maps::ALL {
        assert!(directory.join(name).exists(), "{name}");
    }
    assert_eq!(datapath.settings.get().unwrap().abi_version, ABI_VERSION);

    attach_all(&mut datapath);
    let attached: Vec<_> = datapath
        .attachments()
        .iter()
        .map(|attachment| {
            (
                attachment.interface.as_str(),
                attachment.hook,
                attachment.mode,
            )
        })
        .collect();
    assert_eq!(
        attached,
        [
            ("lan0", Hook::LanIngress, Mode::Tcx),
            ("tun0", Hook::TunIngress, Mode::Tcx),
            ("tun0", Hook::TunEgress, Mode::Tcx),
            ("wan0", Hook::WanGuard, Mode::Generic),
        ]
    );
    assert_eq!(link_names(&directory).len(), 4);

    datapath.detach().unwrap();
    assert!(!any_pins());
    for interface in ["lan0", "wan0", "tun0"] {
        assert!(!ip(&format!("-d link show dev {interface}")).contains("xdp"));
        assert!(!tc(&format!("qdisc show dev {interface}")).contains("clsact"));
    }
}

#[test]
fn another_gateways_pins_survive_a_clean_stop() {
    interfaces();
    let (first, second) = (load("one"), load("two"));
    first.detach().unwrap();
    assert!(second.pin_directory().join(maps::FLOWS4).exists());
    second.detach().unwrap();
    assert!(!any_pins());
}

#[test]
fn a_killed_agents_maps_and_links_are_taken_over() {
    interfaces();
    let mut killed = load("takeover");
    let directory = killed.pin_directory();
    attach_all(&mut killed);
    let settings = Settings {
        tun_ifindex: 7,
        lanes: 1,
        ..killed.settings.get().unwrap()
    };
    killed.settings.set(settings).unwrap();
    let mut flows: HashMap<MapData, FlowKey4, FlowCounters> = pinned(&killed, maps::FLOWS4);
    let key = FlowKey {
        protocol: 6,
        family: 4,
        ..FlowKey::default()
    };
    let entry = key.to_v4().unwrap();
    flows.insert(entry, FlowCounters::default(), 0).unwrap();
    let ids = maps::ALL.map(|name| map_id(&directory, name));
    let programs = ["lan_ingress", "tun_ingress", "tun_egress", "wan_guard"];
    let before = programs.map(|program| link_and_program(&link_of(&directory, program)));
    drop(killed);

    let mut next = load("takeover");
    assert!(next.took_over());
    assert_eq!(maps::ALL.map(|name| map_id(&directory, name)), ids);
    assert_eq!(next.settings.get().unwrap(), settings);
    assert!(next.flows.get(&key).unwrap().is_some());
    attach_all(&mut next);
    for (program, before) in programs.into_iter().zip(before) {
        let after = link_and_program(&link_of(&directory, program));
        assert_eq!(after.0, before.0, "{program}: the same link, so no gap");
        assert_ne!(after.1, before.1, "{program}: with the new agent's program");
    }
    next.detach().unwrap();
}

#[test]
fn attaching_again_touches_nothing_and_what_is_not_wanted_goes() {
    interfaces();
    let mut datapath = load("again");
    let directory = datapath.pin_directory();
    attach_all(&mut datapath);
    let before = link_and_program(&link_of(&directory, "lan_ingress"));
    attach_all(&mut datapath);
    assert_eq!(
        link_and_program(&link_of(&directory, "lan_ingress")),
        before
    );

    let wanted = Wanted {
        lan: &[lan("lan0")],
        ..Wanted::default()
    };
    datapath.attach(wanted).unwrap();
    assert_eq!(link_names(&directory).len(), 1);
    assert_eq!(
        link_and_program(&link_of(&directory, "lan_ingress")),
        before
    );
    datapath.detach().unwrap();
}

#[test]
fn the_next_agent_removes_links_of_interfaces_that_are_configured_no_more() {
    interfaces();
    let mut killed = load("fewer");
    attach_all(&mut killed);
    drop(killed);
    let mut next = load("fewer");
    let wanted = Wanted {
        tun: Some("tun0"),
        ..Wanted::default()
    };
    next.attach(wanted).unwrap();
    let names = link_names(&next.pin_directory());
    assert!(names.iter().all(|name| name.contains("tun0")), "{names:?}");
    assert!(!ip("-d link show dev wan0").contains("xdp"));
    next.detach().unwrap();
}

#[test]
fn an_interface_that_was_made_anew_gets_a_new_link() {
    interfaces();
    let mut datapath = load("anew");
    let directory = datapath.pin_directory();
    attach_all(&mut datapath);
    let before = link_of(&directory, "lan_ingress");
    let gone = link_and_program(&before);
    ip("link del lan0");
    veth("lan0", "lan-host");
    attach_all(&mut datapath);
    let after = link_of(&directory, "lan_ingress");
    assert_ne!(after, before);
    assert_ne!(link_and_program(&after).0, gone.0);
    datapath.detach().unwrap();
}

#[test]
fn maps_of_another_version_are_replaced() {
    interfaces();
    let mut old = load("version");
    let directory = old.pin_directory();
    attach_all(&mut old);
    let route = (VnetId(0), "10.2.0.0/16".parse().unwrap());
    let routes = vec![(route, crossway_datapath::Target::Kernel)];
    old.routes.replace_all(routes).unwrap();
    let mut settings: Array<MapData, Settings> = pinned(&old, maps::SETTINGS);
    let other = Settings {
        abi_version: ABI_VERSION + 1,
        ..Settings::default()
    };
    settings.set(0, other, 0).unwrap();
    let id = map_id(&directory, maps::FLOWS4);
    drop((old, settings));

    let new = load("version");
    assert!(!new.took_over());
    assert_ne!(map_id(&directory, maps::FLOWS4), id);
    assert!(new.routes.is_empty());
    assert_eq!(
        link_names(&directory),
        [""; 0],
        "their programs used the old maps"
    );
    new.detach().unwrap();
}

#[test]
fn maps_of_another_shape_are_replaced() {
    interfaces();
    let old = load("shape");
    let directory = old.pin_directory();
    drop(old);
    fs::remove_file(directory.join(maps::SITES)).unwrap();
    let wrong = MapData::from_pin(directory.join(maps::SESSIONS)).unwrap();
    wrong.pin(directory.join(maps::SITES)).unwrap();

    let new = load("shape");
    assert!(!new.took_over());
    assert_ne!(
        map_id(&directory, maps::SITES),
        map_id(&directory, maps::SESSIONS)
    );
    new.detach().unwrap();
}

#[test]
fn half_a_set_of_maps_is_replaced() {
    interfaces();
    let old = load("half");
    let directory = old.pin_directory();
    let id = map_id(&directory, maps::FLOWS4);
    drop(old);
    fs::remove_file(directory.join(maps::SETTINGS)).unwrap();
    let new = load("half");
    assert!(!new.took_over());
    assert_ne!(map_id(&directory, maps::FLOWS4), id);
    new.detach().unwrap();
}

#[test]
fn what_a_gateway_left_behind_can_be_removed_without_loading_it() {
    interfaces();
    let mut killed = load("left");
    attach_all(&mut killed);
    drop(killed);
    Datapath::remove_left_behind("left", Holder::Only).unwrap();
    assert!(!any_pins());
    Datapath::remove_left_behind("never-ran", Holder::Only).unwrap();
}

#[test]
fn a_missing_interface_is_named_and_the_others_get_their_programs() {
    interfaces();
    let mut datapath = load("missing");
    let wanted = Wanted {
        lan: &[lan("eth9"), lan("lan0")],
        ..Wanted::default()
    };
    datapath.attach(wanted).unwrap();
    let shown: Vec<_> = datapath.attachments().iter().collect();
    let away = shown.iter().find(|it| it.interface == "eth9").unwrap();
    assert_eq!(away.mode, Mode::Off);
    assert!(away.reason.contains("does not exist"), "{away:?}");
    let there = shown.iter().find(|it| it.interface == "lan0").unwrap();
    assert_ne!(there.mode, Mode::Off);
    datapath.detach().unwrap();
}
