//! Which lane a packet gets: tun_egress marks, tun_steer reads the mark.

use std::collections::HashSet;

use datapath_abi::{
    maps,
    settings::{COUNTED_MARK, COUNTED_MARK_MASK, Role},
    site::{Site, SiteState},
};

use crate::{
    frame::Packet,
    harness::{Context, Datapath, settings},
};

const TUN: u32 = 1;

/// Two sites, so that both directions of a flow can be sent into the tunnel.
fn ready(lanes: u32, queue_mask: u32) -> Datapath {
    let mut datapath = Datapath::load();
    datapath.set_settings(settings(TUN));
    datapath.set_interface(TUN, Role::Tun, 0, 1420);
    for (id, v4, v6) in [
        (1, "10.1.0.0/16", "2001:db8:1::/48"),
        (2, "10.2.0.0/16", "2001:db8:2::/48"),
    ] {
        let site = Site {
            state: SiteState::Up as u32,
            queue_mask,
            mtu: 1420,
            lanes,
        };
        datapath.write_site(id, site);
        datapath.add_route(0, v4, id);
        datapath.add_route(0, v6, id);
    }
    datapath
}

fn lane_of(datapath: &mut Datapath, packet: &[u8]) -> u32 {
    let context = Context {
        ifindex: TUN,
        ..Context::default()
    };
    let mark = datapath.tc(maps::TUN_EGRESS, packet, context).mark;
    assert_eq!(mark & COUNTED_MARK_MASK, COUNTED_MARK);
    let context = Context { mark, ..context };
    let queue = datapath.steer(packet, context);
    assert_eq!(queue, mark & !COUNTED_MARK_MASK);
    queue
}

/// The same flow in both directions, of either family.
fn flow(number: u16) -> [Vec<u8>; 2] {
    let (here, there) = if number.is_multiple_of(2) {
        ("10.1.0.5", "10.2.0.9")
    } else {
        ("2001:db8:1::5", "2001:db8:2::9")
    };
    let port = 40_000 + number;
    [
        Packet::new(here, there).tcp(port, 443, 2, 10).bare(),
        Packet::new(there, here).tcp(443, port, 18, 0).bare(),
    ]
}

#[test]
fn both_directions_of_a_flow_get_one_lane_and_flows_are_spread() {
    let mut datapath = ready(4, 0b1111);
    let mut flows_of_lane = [0; 4];
    for number in 0..400 {
        let [out, back] = flow(number);
        let lane = lane_of(&mut datapath, &out);
        assert_eq!(lane, lane_of(&mut datapath, &back), "flow {number}");
        flows_of_lane[lane as usize] += 1;
    }
    assert!(
        flows_of_lane.iter().all(|flows| (60..=140).contains(flows)),
        "{flows_of_lane:?}"
    );
}

#[test]
fn a_lane_that_is_not_up_drains_to_lane_0_and_the_others_keep_their_flows() {
    let mut all = ready(4, 0b1111);
    let before: Vec<u32> = (0..100)
        .map(|number| lane_of(&mut all, &flow(number)[0]))
        .collect();
    let mut without_2 = ready(4, 0b1011);
    for (number, lane) in before.into_iter().enumerate() {
        let now = lane_of(&mut without_2, &flow(number as u16)[0]);
        assert_eq!(now, if lane == 2 { 0 } else { lane });
    }
}

#[test]
fn a_stock_peer_has_lane_0_for_everything() {
    let mut datapath = ready(1, 1);
    let lanes: HashSet<u32> = (0..50)
        .map(|number| lane_of(&mut datapath, &flow(number)[0]))
        .collect();
    assert_eq!(lanes, HashSet::from([0]));
}

#[test]
fn a_mark_of_somebody_elses_steers_nothing() {
    let mut datapath = ready(4, 0b1111);
    let packet = &flow(0)[0];
    for mark in [0, 3, 0xffff_ffff, COUNTED_MARK ^ 0x100 | 3] {
        let context = Context {
            ifindex: TUN,
            mark,
            ..Context::default()
        };
        assert_eq!(datapath.steer(packet, context), 0);
    }
}
