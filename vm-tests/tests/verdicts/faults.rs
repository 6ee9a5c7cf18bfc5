//! What the programs tell the agent of, through aya-log: once on a CPU, not for each packet.

use datapath_abi::{
    fault::FaultKind::{self, NoRole, NoSettings, NoSite},
    maps,
    outcome::StackReason,
    settings::Role,
};

use crate::{
    frame::Packet,
    harness::{Context, Datapath, TC_TO_STACK, settings},
};

const LOOPBACK: u32 = 1;
const TUN: u32 = 5;
/// Of each kind of packet; the scheduler may move the test to another CPU, which then says it as well.
const PACKETS: usize = 100;

fn packet() -> Packet {
    Packet::new("10.1.0.5", "10.2.0.9").udp(1, 2, b"x")
}

/// Sends a hundred packets through a program, which must say this of them, and not a hundred times.
fn assert_said(datapath: &mut Datapath, program: &str, frame: &[u8], kind: FaultKind, about: u32) {
    for _ in 0..PACKETS {
        let run = datapath.tc(program, frame, Context::default());
        assert_eq!(run.verdict, TC_TO_STACK);
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
