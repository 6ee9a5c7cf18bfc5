//! The clsact path, and interfaces that TC programs are not for.

use crossway_datapath::{Datapath, Hook, Mode, TcAttach, Wanted};

use super::support::*;

fn attach(datapath: &mut Datapath) {
    let wanted = Wanted {
        lan: &[lan("lan0")],
        tun: Some("tun0"),
        ..Wanted::default()
    };
    datapath.attach(wanted).unwrap();
}

fn interfaces() {
    enter_sandbox();
    veth("lan0", "lan-host");
    tun("tun0");
}

/// Ids of the programs of the filters on one side of `interface`.
fn filter_programs(interface: &str, side: &str) -> Vec<String> {
    tc(&format!("filter show dev {interface} {side}"))
        .lines()
        .filter_map(|line| line.split_once(" id ").map(|(_, id)| id.to_owned()))
        .collect()
}

fn has_clsact(interface: &str) -> bool {
    tc(&format!("qdisc show dev {interface}")).contains("clsact")
}

#[test]
fn clsact_attaches_is_taken_over_and_cleans_up() {
    interfaces();
    let mut killed = load_datapath("clsact", TcAttach::Clsact).unwrap();
    attach(&mut killed);
    assert!(
        killed
            .attachments()
            .iter()
            .all(|attachment| attachment.mode == Mode::Clsact)
    );
    let before = filter_programs("lan0", "ingress");
    assert_eq!(before.len(), 1);
    assert_eq!(filter_programs("tun0", "ingress").len(), 1);
    assert_eq!(filter_programs("tun0", "egress").len(), 1);
    drop(killed);
    assert_eq!(
        filter_programs("lan0", "ingress"),
        before,
        "a killed agent's stay"
    );

    let mut next = load_datapath("clsact", TcAttach::Clsact).unwrap();
    attach(&mut next);
    let after = filter_programs("lan0", "ingress");
    assert_eq!(after.len(), 1);
    assert_ne!(after, before, "the filter runs the new agent's program");
    next.detach().unwrap();
    assert!(!has_clsact("lan0") && !has_clsact("tun0"));
    assert!(!any_pins());
}

#[test]
fn filters_that_somebody_removes_are_missed_and_those_of_an_agent_before_are_not_ours() {
    interfaces();
    let mut killed = load_datapath("clsact-gone", TcAttach::Clsact).unwrap();
    attach(&mut killed);
    drop(killed);
    let mut datapath = load_datapath("clsact-gone", TcAttach::Clsact).unwrap();
    assert!(datapath.programs_on_tunnel().unwrap().is_none());
    attach(&mut datapath);
    let programs = datapath.programs_on_tunnel().unwrap().unwrap();
    assert!(datapath.are_on_tunnel(&programs).unwrap());
    tc("qdisc del dev tun0 clsact");
    assert!(!datapath.are_on_tunnel(&programs).unwrap());
    datapath.detach().unwrap();
}

#[test]
fn a_clsact_qdisc_that_was_there_stays() {
    interfaces();
    tc("qdisc add dev lan0 clsact");
    let mut datapath = load_datapath("clsact-there", TcAttach::Clsact).unwrap();
    attach(&mut datapath);
    datapath.detach().unwrap();
    assert!(has_clsact("lan0"));
    assert_eq!(filter_programs("lan0", "ingress"), [""; 0]);
    assert!(!has_clsact("tun0"));
}

#[test]
fn our_clsact_qdisc_stays_as_long_as_another_uses_it() {
    interfaces();
    let mut first = load_datapath("clsact-one", TcAttach::Clsact).unwrap();
    attach(&mut first);
    let mut second = load_datapath("clsact-two", TcAttach::Clsact).unwrap();
    attach(&mut second);
    assert_eq!(filter_programs("lan0", "ingress").len(), 2);
    first.detach().unwrap();
    assert_eq!(filter_programs("lan0", "ingress").len(), 1);
    second.detach().unwrap();
    assert_eq!(filter_programs("lan0", "ingress"), [""; 0]);
}

#[test]
fn a_change_from_clsact_to_tcx_leaves_no_filter() {
    interfaces();
    let mut old = load_datapath("change", TcAttach::Clsact).unwrap();
    attach(&mut old);
    drop(old);
    let mut new = load_datapath("change", TcAttach::Tcx).unwrap();
    attach(&mut new);
    assert!(!has_clsact("lan0") && !has_clsact("tun0"));
    assert_eq!(link_names(&new.pin_directory()).len(), 3);
    new.detach().unwrap();
}

#[test]
fn a_lan_that_is_no_ethernet_is_left_to_the_kernel_and_status_says_so() {
    interfaces();
    let mut datapath = load_datapath("no-ethernet", TcAttach::Auto).unwrap();
    let wanted = Wanted {
        lan: &[lan("tun0"), lan("lan0")],
        ..Wanted::default()
    };
    datapath.attach(wanted).unwrap();
    let off = datapath
        .attachments()
        .iter()
        .find(|attachment| attachment.interface == "tun0")
        .unwrap();
    assert_eq!((off.hook, off.mode), (Hook::LanIngress, Mode::Off));
    assert!(
        off.reason.contains("not an Ethernet interface"),
        "{}",
        off.reason
    );
    assert_eq!(link_names(&datapath.pin_directory()).len(), 1);
    datapath.detach().unwrap();
}
