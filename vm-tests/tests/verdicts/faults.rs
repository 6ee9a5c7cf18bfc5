//! What the programs tell the agent of, through aya-log: once on a CPU, not for each packet.

use datapath_abi::{
    fault::FaultKind::{self, FlowRefused, NoRole, NoSettings, NoSite},
    flow::FlowStat,
    maps,
    outcome::StackReason,
    settings::Role,
    site::SiteState,
};

use crate::{
    frame::Packet,
    harness::{Context, Datapath, TC_REDIRECT, TC_TO_STACK, lay_lan, settings},
};

const LOOPBACK: u32 = 1;
const TUN: u32 = 5;
/// Of each kind of packet; the scheduler may move the test to another CPU, which then says it as well.
const PACKETS: usize = 100;

fn packet() -> Packet {
    Packet::new("10.1.0.5", "10.2.0.9").udp(1, 2, b"x")
}

/// Sends a hundred packets through a program, which must leave them to the stack and say this of them, and not a
/// hundred times.
fn assert_said(datapath: &mut Datapath, program: &str, frame: &[u8], kind: FaultKind, about: u32) {
    assert_said_with(datapath, program, frame, TC_TO_STACK, (kind, about));
}

/// As [`assert_said`], with another verdict.
fn assert_said_with(
    datapath: &mut Datapath,
    program: &str,
    frame: &[u8],
    verdict: i32,
    (kind, about): (FaultKind, u32),
) {
    for _ in 0..PACKETS {
        let run = datapath.tc(program, frame, Context::default());
        assert_eq!(run.verdict, verdict);
    }
    let said = datapath.take_log();
    assert!((1..PACKETS / 2).contains(&said.len()), "{}", said.len());
    let [kind, about] = [kind as u32, about].map(u32::to_ne_bytes);
    for record in said {
        let holds = |bytes: &[u8]| record.windows(bytes.len()).any(|window| window == bytes);
        assert!(holds(program.as_bytes()), "{program}: {record:02x?}");
        assert!(holds(&kind) && holds(&about), "{program}: {record:02x?}");
    }
}

#[test]
fn a_program_that_finds_no_settings_of_its_version_says_so() {
    let mut datapath = Datapath::load();
    let (frame, packet) = (packet().frame(), packet().bare());
    assert_said(&mut datapath, maps::LAN_INGRESS, &frame, NoSettings, 0);
    assert_said(&mut datapath, maps::TUN_INGRESS, &packet, NoSettings, 0);
    assert_said(&mut datapath, maps::TUN_EGRESS, &packet, NoSettings, 0);
    let counted = datapath.to_stack(StackReason::NotReady).packets;
    assert_eq!(counted, 2 * PACKETS as u64);
}

#[test]
fn a_program_at_an_interface_without_a_role_says_which() {
    let mut datapath = Datapath::load();
    datapath.set_settings(settings(TUN));
    datapath.set_interface(LOOPBACK, Role::Wan, 0, 1500);
    let (frame, packet) = (packet().frame(), packet().bare());
    assert_said(&mut datapath, maps::LAN_INGRESS, &frame, NoRole, LOOPBACK);
    assert_said(&mut datapath, maps::TUN_INGRESS, &packet, NoRole, LOOPBACK);
    assert_said(&mut datapath, maps::TUN_EGRESS, &packet, NoRole, LOOPBACK);
}

#[test]
fn a_route_to_a_site_that_is_not_there_is_told() {
    let mut datapath = Datapath::load();
    datapath.set_settings(settings(TUN));
    datapath.set_interface(LOOPBACK, Role::Lan, 0, 1500);
    datapath.add_route(0, "10.2.0.0/16", 9);
    let frame = packet().frame();
    assert_said(&mut datapath, maps::LAN_INGRESS, &frame, NoSite, 9);
    let counted = datapath.to_stack(StackReason::SiteDown).packets;
    assert_eq!(counted, PACKETS as u64);
}

#[test]
fn a_flow_that_the_table_does_not_take_is_told_and_its_packets_pass() {
    let mut datapath = Datapath::load_with_one_flow();
    let tun = lay_lan();
    datapath.set_settings(settings(tun));
    datapath.set_interface(LOOPBACK, Role::Lan, 0, 1500);
    datapath.set_interface(tun, Role::Tun, 0, 1420);
    datapath.set_site(2, SiteState::Up, 1420);
    datapath.add_route(0, "10.2.0.0/16", 2);
    let first = packet().frame();
    let run = datapath.tc(maps::LAN_INGRESS, &first, Context::default());
    assert_eq!(run.verdict, TC_REDIRECT);
    assert_eq!(datapath.take_log(), Vec::<Vec<u8>>::new());
    let second = Packet::new("10.1.0.5", "10.2.0.9").udp(7, 8, b"x").frame();
    let what = (FlowRefused, 0);
    assert_said_with(&mut datapath, maps::LAN_INGRESS, &second, TC_REDIRECT, what);
    let all = PACKETS as u64 + 1;
    assert_eq!(datapath.flow_stat(FlowStat::InsertFailed), all - 1);
    assert_eq!(datapath.site_counters(2).to_site_packets, all);
}
