//! `lan_ingress`: frames from hosts of this site, case by case.

#[path = "lan/corpus.rs"]
mod corpus;
#[path = "lan/sources.rs"]
mod sources;

use datapath_abi::{
    maps::{self, INTERFACE_SLOT_COUNT},
    outcome::StackReason::{Malformed, NoRoute, NotReady, WrongSource},
    route::SITE_KERNEL,
    settings::{ALSO_WAN, COUNTED_MARK, Role, Settings, slot_of},
    site::{SiteCounters, SiteState},
};

use self::corpus::corpus;
use crate::{
    case::{Verdict, assert_routed, mutations, noise, run},
    frame::{ETHERNET, PROVIDER_VLAN, Packet, VLAN},
    harness::{Context, Datapath, TC_TO_STACK, ifindex, ip, kernel_runs, lay_lan, settings},
};

const LOOPBACK: u32 = 1;

/// Frames arrive at the loopback device, which plays the LAN of 10.1.0.0/16; 10.9.0.0/16 is on another.
fn ready() -> Datapath {
    let mut datapath = Datapath::load();
    let tun = lay_lan();
    for command in [
        "link add lan1 type veth peer name host1",
        "link set lan1 up",
        "link set host1 up",
        "route add 10.9.0.0/16 dev lan1",
        "route add blackhole 10.8.0.0/16",
        "addr add 10.1.0.1/32 dev lan1",
    ] {
        ip(command);
    }
    datapath.set_settings(settings(tun));
    datapath.set_interface(LOOPBACK, Role::Lan, 0, 1500);
    datapath.set_site(1, SiteState::Up, 1420);
    datapath.set_site(2, SiteState::Down, 1420);
    datapath.set_site(3, SiteState::Up, 1280);
    for (vnet, prefix, site) in [
        (0, "10.2.0.0/16", 1),
        (0, "10.2.9.0/24", SITE_KERNEL),
        (0, "10.2.9.128/25", 3),
        (0, "10.3.0.0/16", 2),
        (0, "10.4.0.0/16", 4),
        (0, "10.5.0.0/16", 1 << 20),
        (7, "10.6.0.0/16", 1),
        (0, "2001:db8:2::/48", 1),
        (0, "2001:db8:2:9::/64", SITE_KERNEL),
        (0, "2001:db8:2:9:8000::/65", 3),
        (0, "2001:db8:3::/48", 2),
    ] {
        datapath.add_route(vnet, prefix, site);
    }
    datapath
}

fn v4() -> Packet {
    Packet::new("10.1.0.5", "10.2.0.9")
}

fn v6() -> Packet {
    Packet::new("2001:db8:1::5", "2001:db8:2::9")
}

fn to(destination: &str) -> Vec<u8> {
    let source = if destination.contains(':') {
        "2001:db8:1::5"
    } else {
        "10.1.0.5"
    };
    Packet::new(source, destination).udp(1, 2, b"x").frame()
}

fn from(source: &str) -> Vec<u8> {
    let destination = if source.contains(':') {
        "2001:db8:2::9"
    } else {
        "10.2.0.9"
    };
    Packet::new(source, destination).udp(1, 2, b"x").frame()
}

/// The frame without VLAN tags: the IP packet in it.
fn inner(frame: &[u8]) -> &[u8] {
    match u16::from_be_bytes([frame[12], frame[13]]) {
        VLAN | PROVIDER_VLAN => inner_of_tagged(frame),
        _ => &frame[ETHERNET..],
    }
}

fn inner_of_tagged(frame: &[u8]) -> &[u8] {
    let mut at = ETHERNET;
    while matches!(
        u16::from_be_bytes([frame[at - 2], frame[at - 1]]),
        VLAN | PROVIDER_VLAN
    ) {
        at += 4;
    }
    &frame[at..]
}

/// Bytes of an IP packet by its own header.
fn ip_length(packet: &[u8]) -> u64 {
    let field = |at| u64::from(u16::from_be_bytes([packet[at], packet[at + 1]]));
    if packet[0] >> 4 == 4 {
        field(2)
    } else {
        40 + field(4)
    }
}

#[test]
fn every_frame_gets_its_verdict() {
    let mut datapath = ready();
    for case in corpus() {
        println!("{}", case.name);
        let (run, verdict, sites) =
            run(&mut datapath, maps::LAN_INGRESS, &case.packet, case.context);
        assert_eq!(verdict, case.verdict, "{}", case.name);
        if verdict == Verdict::Redirect {
            assert_eq!(run.mark, COUNTED_MARK, "{}", case.name);
            assert_routed(case.name, inner(&case.packet), &run.frame[ETHERNET..]);
            if case.context.gso_size == 0 {
                let expected = SiteCounters {
                    to_site_packets: 1,
                    to_site_bytes: ip_length(inner(&case.packet)),
                    ..SiteCounters::default()
                };
                assert_eq!(sites, expected, "{}", case.name);
            }
        } else {
            assert_eq!(run.mark, 0, "{}", case.name);
            assert_eq!(sites, SiteCounters::default(), "{}", case.name);
        }
    }
}

#[test]
fn a_frame_cut_anywhere_goes_to_the_stack() {
    let mut datapath = ready();
    for case in corpus() {
        if case.verdict != Verdict::Redirect || case.packet.len() > 300 {
            continue;
        }
        let whole =
            case.packet.len() - inner(&case.packet).len() + ip_length(inner(&case.packet)) as usize;
        for length in 0..whole {
            let cut = &case.packet[..length];
            if !kernel_runs(cut) {
                continue;
            }
            let (_, verdict, _) = run(&mut datapath, maps::LAN_INGRESS, cut, case.context);
            assert_eq!(
                verdict,
                Verdict::Stack(Malformed),
                "{} cut to {length}",
                case.name
            );
        }
    }
}

#[test]
fn a_mangled_frame_is_routed_or_left_as_it_is() {
    let mut datapath = ready();
    let frames: Vec<Vec<u8>> = corpus().into_iter().map(|case| case.packet).collect();
    let mut redirected = 0;
    let noise = [0x0800_u16, 0x86dd, VLAN].map(|kind| {
        let head = [&[0; 12], &kind.to_be_bytes()[..]].concat();
        noise(&head, 1000)
    });
    for frame in mutations(&frames, 60)
        .into_iter()
        .chain(noise.into_iter().flatten())
    {
        let context = Context::default();
        let (run, verdict, sites) = run(&mut datapath, maps::LAN_INGRESS, &frame, context);
        if verdict == Verdict::Redirect {
            assert_routed("mangled", inner(&frame), &run.frame[ETHERNET..]);
            assert_eq!(sites.to_site_packets, 1);
            redirected += 1;
        }
    }
    assert!(redirected > 500, "the mutations are too wild: {redirected}");
}

#[test]
fn nothing_is_redirected_before_the_agent_is_ready() {
    let frame = v4().tcp(1, 2, 2, 0).frame();
    let mut datapath = ready();
    let expect = |datapath: &mut Datapath, expected| {
        let context = Context::default();
        let (_, verdict, _) = run(datapath, maps::LAN_INGRESS, &frame, context);
        assert_eq!(verdict, expected);
    };
    expect(&mut datapath, Verdict::Redirect);
    datapath.set_settings(settings(0));
    expect(&mut datapath, Verdict::Stack(NotReady));
    let tun = ifindex("tun0");
    datapath.set_settings(Settings {
        abi_version: 999,
        ..settings(tun)
    });
    expect(&mut datapath, Verdict::Stack(NotReady));
    datapath.set_settings(settings(tun));
    datapath.set_interface(LOOPBACK, Role::Wan, 0, 1500);
    expect(&mut datapath, Verdict::Stack(NotReady));
    datapath.set_interface(LOOPBACK, Role::Lan, 7, 1500);
    expect(&mut datapath, Verdict::Stack(NoRoute));
}

#[test]
fn an_interface_whose_slot_is_another_ones_is_found_all_the_same() {
    let mut datapath = ready();
    let taken = slot_of(LOOPBACK) + INTERFACE_SLOT_COUNT as u32;
    assert_eq!(slot_of(taken), slot_of(LOOPBACK));
    datapath.set_interface(taken, Role::Wan, 0, 1500);
    let frame = v4().tcp(1, 2, 2, 0).frame();
    let (_, verdict, _) = run(&mut datapath, maps::LAN_INGRESS, &frame, Context::default());
    assert_eq!(verdict, Verdict::Redirect);
}

#[test]
fn the_tunnels_own_datagrams_are_left_alone_where_lan_and_wan_are_one() {
    let mut datapath = ready();
    datapath.add_local("10.1.0.1/32");
    datapath.add_local("2001:db8:1::1/128");
    datapath.add_route(0, "10.7.0.0/16", 1);
    let udp = |source, from, destination, to| {
        let packet = Packet::new(source, destination);
        packet.udp(from, to, &[4; 40]).frame()
    };
    let lane = 51821;
    for (name, frame, left, counted) in [
        (
            "from a far gateway",
            udp("10.1.0.9", 9, "10.1.0.1", lane),
            true,
            NoRoute,
        ),
        (
            "IPv6",
            udp("2001:db8:9::9", 9, "2001:db8:1::1", lane),
            true,
            NoRoute,
        ),
        (
            "ours, come back",
            udp("10.1.0.1", lane, "10.7.0.9", 9),
            true,
            WrongSource,
        ),
        (
            "another port of ours",
            udp("10.1.0.9", 9, "10.1.0.1", 51822),
            false,
            NoRoute,
        ),
        (
            "a WireGuard of a host's",
            udp("10.1.0.9", lane, "10.1.0.8", lane),
            false,
            NoRoute,
        ),
    ] {
        for flags in [0, ALSO_WAN] {
            datapath.set_lan_flags(LOOPBACK, flags);
            let before = datapath.to_stack(counted);
            let run = datapath.tc(maps::LAN_INGRESS, &frame, Context::default());
            assert_eq!(run.verdict, TC_TO_STACK, "{name}");
            assert_eq!(run.frame, frame, "{name}");
            let expected = u64::from(!(left && flags == ALSO_WAN));
            let more = datapath.to_stack(counted).packets - before.packets;
            assert_eq!(more, expected, "{name} {flags}");
        }
    }
}
